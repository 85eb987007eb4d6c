"""Groups of cases come from a file, which may be that of all patients, or from their names."""

import pytest

from nnunet_attention.cli.group_arguments import groups_reader
from nnunet_attention.errors import CommandError

CASES = {"Dataset001_One": ["a_1", "a_2", "b_1"]}


def test_a_file_of_all_patients_serves_where_some_are_compared(tmp_path):
    file = tmp_path / "groups.csv"
    file.write_text("case,group\na_1,a\na_2,a\nb_1,b\ntest_1,c\n")
    found = groups_reader(file, None)(CASES)
    assert found == {"Dataset001_One": {"a_1": "a", "a_2": "a", "b_1": "b"}}
    # But each case that is compared needs its row.
    with pytest.raises(CommandError, match="b_2"):
        groups_reader(file, None)({"Dataset001_One": [*CASES["Dataset001_One"], "b_2"]})


def test_without_options_there_are_no_groups(tmp_path):
    assert groups_reader(None, None) is None
    with pytest.raises(CommandError, match="both say"):
        groups_reader(tmp_path, "(a)")
