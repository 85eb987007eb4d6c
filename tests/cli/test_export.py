"""`nnunet-attention export` says what it wrote, or in one line why it did not."""

import json
from pathlib import Path

import pytest
from portable_models import dataset_with, model_of, plans_with, write_model

from nnunet_attention.cli import main
from nnunet_attention.portable import exporting

pytestmark = pytest.mark.filterwarnings("ignore")


@pytest.fixture
def source(tmp_path, monkeypatch) -> Path:
    monkeypatch.setattr(exporting, "export_network", lambda _, path, *__, **___: path.touch())
    monkeypatch.setattr(exporting, "_compared", lambda *_: ({"logits": 2e-6}, 7.25))
    return write_model(tmp_path / "model", model_of(plans_with(), dataset_with(), 2))


def test_files_and_differences_are_printed(source, tmp_path, capsys):
    target = tmp_path / "exported"
    assert main(["export", str(source), "-o", str(target), "-f", "0", "1"]) == 0
    printed = capsys.readouterr()
    assert printed.out.splitlines() == [
        f"{target / 'fold_0.onnx'}: differs from torch by 2.0e-06, with logits up to 7.2",
        f"{target / 'fold_1.onnx'}: differs from torch by 2.0e-06, with logits up to 7.2",
        f"how to use it: {target / 'README.md'}",
    ]
    assert printed.err.splitlines() == ["fold 0", "fold 1"]
    assert json.loads((target / "model.json").read_text())["precision"] == "f32"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["-f", "4"], "has no checkpoint_final.pth for fold 4"),
        (["-chk", "checkpoint_best.pth"], "has no checkpoint_best.pth for fold 0 to 4"),
        (["--coefficients"], "has no attention gates"),
    ],
)
def test_errors_are_one_line(source, tmp_path, capsys, arguments, message):
    assert main(["export", str(source), "-o", str(tmp_path / "exported"), *arguments]) == 1
    error = capsys.readouterr().err
    assert error.startswith("nnunet-attention export: ")
    assert message in error
    assert error.count("\n") == 1
    assert not (tmp_path / "exported").exists()


def test_without_a_model_folder_the_option_is_named(tmp_path, capsys):
    assert main(["export", str(tmp_path / "absent"), "-o", str(tmp_path / "exported")]) == 1
    assert "absent: there is no such model folder" in capsys.readouterr().err


def test_an_unknown_precision_is_wrong_usage(source, tmp_path, capsys):
    with pytest.raises(SystemExit) as stopped:
        main(["export", str(source), "-o", str(tmp_path / "exported"), "--precision", "f8"])
    assert stopped.value.code == 2
    assert "choose from" in capsys.readouterr().err
