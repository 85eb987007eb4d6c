"""`nnunet-attention evolution` draws what a training recorded, or says in one line why not."""

from nnunet_attention.cli import main


def test_pictures_of_a_training_that_cannot_be_written_are_named_before_drawing(tmp_path, capsys):
    (tmp_path / "model" / "fold_0").mkdir(parents=True)
    (tmp_path / "model" / "dataset.json").write_text('{"labels": {"background": 0}}')
    (tmp_path / "file").write_text("")
    fold = tmp_path / "model" / "fold_0"
    assert main(["evolution", str(fold), "-o", str(tmp_path / "file" / "out")]) == 1
    assert "-o: cannot write in" in (said := capsys.readouterr().err)
    assert said.count("\n") == 1
