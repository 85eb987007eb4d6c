"""Tables that users write are read as they are meant, or refused."""

import pytest

from nnunet_attention.errors import CommandError
from nnunet_attention.evaluation.columns import read_columns


def read(tmp_path, text: str | bytes):
    path = tmp_path / "table.csv"
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return read_columns("--table", path, ("case", "group"))


@pytest.mark.parametrize(
    "text",
    [
        "case,group\na,p\nb,q\n",
        "\ufeffcase,group\r\na,p\r\nb,q\r\n",
        " case , group \n a , p \n\n b , q \n",
        "site,group,case\nx,p,a\nx,q,b\n",
        '"case","group"\n"a","p"\n"b","q"\n',
    ],
)
def test_names_of_columns_say_what_cells_are(text, tmp_path):
    table = read(tmp_path, text)
    assert list(table["case"]) == ["a", "b"]
    assert list(table["group"]) == ["p", "q"]


def test_every_cell_is_text(tmp_path):
    table = read(tmp_path, "case,group\n001,NaN\n1e3,\nb\n")
    assert table.to_numpy().tolist() == [["001", "NaN"], ["1e3", ""], ["b", ""]]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("case;group\na;p\n", "no column case and group"),
        ("case\na\n", r"no column group \(it has case\); its first line must name the columns"),
        # Read without care, each group would be taken for a case.
        ("case,group\na,p,x\nb,q,y\n", "rows have more cells than its first line has columns"),
        ("case,group\na,p,\nb,q,\n", "rows have more cells than its first line has columns"),
        ("case,group\na,p\nb,q,y\n", "cannot be read as CSV"),
        ("", "cannot be read as CSV"),
        (b"case,group\n\xe9,p\n", "cannot be read as CSV"),
    ],
)
def test_what_is_no_such_table_is_refused(text, message, tmp_path):
    with pytest.raises(CommandError, match=message):
        read(tmp_path, text)


def test_a_file_that_is_not_there_or_is_a_folder_is_named(tmp_path):
    with pytest.raises(CommandError, match="--table: there is no such file"):
        read_columns("--table", tmp_path / "nothing.csv", ("case", "group"))
    with pytest.raises(CommandError, match="--table cannot be read as CSV"):
        read_columns("--table", tmp_path, ("case", "group"))
