"""`nnunet-attention upgrade` writes the result and says how to use it, or fails in one line."""

import json
from pathlib import Path

import pytest
import torch
from nnssl_checkpoints import plans_like_source, save_nnssl
from plain_checkpoints import DATASET_JSON, plain_checkpoint

from nnunet_attention.cli import main
from nnunet_attention.weights import load_checkpoint


@pytest.fixture(autouse=True)
def no_results_folder(monkeypatch):
    monkeypatch.delenv("nnUNet_results", raising=False)


@pytest.fixture
def source(tmp_path, minimal_plans) -> Path:
    torch.save(plain_checkpoint(minimal_plans), tmp_path / "plain.pth")
    return tmp_path / "plain.pth"


@pytest.fixture
def results(tmp_path, minimal_plans, monkeypatch) -> Path:
    """The data set's folder in nnUNet_results, with a model of one fold."""
    folder = tmp_path / "results" / "Dataset900_Minimal"
    model = folder / "nnUNetTrainer__nnUNetPlans__3d_fullres"
    (model / "fold_0").mkdir(parents=True)
    (model / "plans.json").write_text(json.dumps(minimal_plans))
    (model / "dataset.json").write_text(json.dumps(DATASET_JSON))
    torch.save(plain_checkpoint(minimal_plans), model / "fold_0" / "checkpoint_final.pth")
    monkeypatch.setenv("nnUNet_results", str(tmp_path / "results"))
    return folder


def test_a_checkpoint_is_upgraded_and_its_use_printed(source, tmp_path, capsys):
    target = tmp_path / "attention start.pth"
    assert main(["upgrade", str(source), "-o", str(target)]) == 0
    assert load_checkpoint(target)["trainer_name"] == "AttentionUNetTrainer"
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == f"wrote {target}"
    assert float(lines[1].removeprefix("largest difference in logits on random input: ")) <= 1e-4
    assert lines[3] == (
        "  nnUNetv2_train Dataset900_Minimal 3d_fullres 0 -p nnUNetPlans -tr AttentionUNetTrainer "
        f"-pretrained_weights '{target}'"
    )


def test_the_option_comes_with_a_warning_about_the_plans(source, tmp_path, capsys):
    target = tmp_path / "attention.pth"
    assert main(["upgrade", str(source), "-o", str(target), "--gate_full_resolution"]) == 0
    assert "decoder.gates.1.psi.weight" in load_checkpoint(target)["network_weights"]
    assert '"gate_full_resolution": true' in capsys.readouterr().out


def test_a_model_folder_is_upgraded_and_its_use_printed(results, tmp_path, capsys):
    model = results / "nnUNetTrainer__nnUNetPlans__3d_fullres"
    assert main(["upgrade", str(model), "-o", str(tmp_path / "upgraded")]) == 0
    assert (tmp_path / "upgraded" / "fold_0" / "checkpoint_final.pth").is_file()
    output = capsys.readouterr()
    assert output.err == f"{Path('fold_0', 'checkpoint_final.pth')}\n"
    assert output.out.splitlines()[3:] == [
        "  nnUNetv2_predict_from_modelfolder -i IMAGES -o SEGMENTATIONS "
        f"-m {tmp_path / 'upgraded'} -f 0"
    ]


def test_a_fold_with_only_its_best_checkpoint_is_predicted_with_that(results, tmp_path, capsys):
    model = results / "nnUNetTrainer__nnUNetPlans__3d_fullres"
    (model / "fold_0" / "checkpoint_final.pth").rename(model / "fold_0" / "checkpoint_best.pth")
    assert main(["upgrade", str(model), "-o", str(tmp_path / "upgraded")]) == 0
    assert capsys.readouterr().out.endswith("-f 0 -chk checkpoint_best.pth\n")


def test_in_the_results_folder_the_use_by_name_is_printed(results, capsys):
    model = results / "nnUNetTrainer__nnUNetPlans__3d_fullres"
    target = results / "AttentionUNetTrainer__nnUNetPlans__3d_fullres"
    assert main(["upgrade", str(model), "-o", str(target)]) == 0
    assert capsys.readouterr().out.splitlines()[-1] == (
        "  nnUNetv2_predict -i IMAGES -o SEGMENTATIONS -d Dataset900_Minimal -p nnUNetPlans "
        "-c 3d_fullres -tr AttentionUNetTrainer -f 0"
    )


def test_another_name_in_the_results_folder_is_pointed_out(results, capsys):
    model = results / "nnUNetTrainer__nnUNetPlans__3d_fullres"
    assert main(["upgrade", str(model), "-o", str(results / "upgraded")]) == 0
    wanted = results / "AttentionUNetTrainer__nnUNetPlans__3d_fullres"
    last = capsys.readouterr().out.splitlines()[-1]
    assert last == f"nnUNetv2_predict finds it only as {wanted}"


def test_bad_input_gives_one_line_exit_code_1_and_no_output(tmp_path, capsys):
    source, target = tmp_path / "bad.pth", tmp_path / "attention.pth"
    source.write_bytes(b"PK\x03\x04 and no more")
    assert main(["upgrade", str(source), "-o", str(target)]) == 1
    output = capsys.readouterr()
    assert output.out == ""
    assert output.err.startswith(f"nnunet-attention upgrade: {source} is not an nnU-Net checkpoint")
    assert output.err.count("\n") == 1
    assert not target.exists()


def test_a_source_that_is_not_there_is_named(tmp_path, capsys):
    target = tmp_path / "attention.pth"
    assert main(["upgrade", str(tmp_path / "absent"), "-o", str(target)]) == 1
    assert "absent: there is no such file" in capsys.readouterr().err


@pytest.mark.parametrize("kind", ["checkpoint", "folder"])
def test_a_target_that_cannot_be_written_is_named_before_loading(
    source, results, tmp_path, capsys, monkeypatch, kind
):
    for name in ("upgrade", "model_folder"):
        monkeypatch.setattr(f"nnunet_attention.weights.{name}.load_checkpoint", None)
    (tmp_path / "file").write_text("")
    given = source if kind == "checkpoint" else results
    assert main(["upgrade", str(given), "-o", str(tmp_path / "file" / "new")]) == 1
    assert "there is a file of this name" in (said := capsys.readouterr().err)
    assert said.count("\n") == 1


@pytest.fixture
def planned(tmp_path, minimal_plans, monkeypatch) -> Path:
    """A data set's folder in nnUNet_preprocessed, with plans like the source's."""
    folder = tmp_path / "preprocessed" / "Dataset900_Minimal"
    folder.mkdir(parents=True)
    monkeypatch.setenv("nnUNet_preprocessed", str(folder.parent))
    monkeypatch.setenv("nnUNet_raw", str(folder.parent))
    (folder / "LikePlans.json").write_text(json.dumps(plans_like_source(minimal_plans)))
    (folder / "dataset.json").write_text(json.dumps(DATASET_JSON))
    return folder


@pytest.mark.parametrize("plain", [False, True])
def test_a_pretrained_encoder_is_fitted_to_plans_and_every_tensor_named(
    planned, tmp_path, capsys, plain
):
    source, target = save_nnssl(tmp_path / "mae.pth"), tmp_path / "start.pth"
    command = ["upgrade", str(source), "-o", str(target), "-d", "900", "-p", "LikePlans"]
    assert main([*command, *(["--plain"] if plain else []), "--least", ".9"]) == 0
    weights = load_checkpoint(target)["network_weights"]
    assert any(name.startswith("decoder.gates.") for name in weights) != plain
    told = capsys.readouterr().out
    for name in ("encoder.stem.convs.0.conv.weight", "decoder.transpconvs.1.bias"):
        assert name in told
    assert "1 image channel repeated to 2" in told
    assert "100.0% of the encoder's weights come from the source" in told
    trainer = "PlainUNetFinetuneTrainer" if plain else "AttentionUNetFinetuneTrainer"
    assert f"-tr {trainer} -pretrained_weights" in told
    assert "Isensee et al. (2024)" in told


def test_which_of_a_models_checkpoints_is_fitted_is_told(planned, tmp_path, capsys):
    best = tmp_path / "model" / "fold_1" / "checkpoint_best.pth"
    best.parent.mkdir(parents=True)
    torch.save(plain_checkpoint(json.loads((planned / "LikePlans.json").read_text())), best)
    target = tmp_path / "start.pth"
    command = ["upgrade", str(best.parents[1]), "-o", str(target), "-d", "900", "-p", "LikePlans"]
    assert main(command) == 0
    assert f"weights: {best}\nwrote {target}\n" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("options", "told"),
    [
        (["--plain"], "--plain would be ignored without -d"),
        (["--least", ".5", "-c", "2d"], "-c, --least would be ignored without -d"),
        (
            ["-d", "900", "--gate_full_resolution"],
            "--gate_full_resolution would be ignored with -d",
        ),
        (["-d", "900", "-p", "Absent"], "Absent.json: there is no such file"),
        (["-d", "900", "-p", "LikePlans", "-c", "2d"], "-c 2d: the plans"),
        ([], "nnssl checkpoint, which has not learnt to segment"),
    ],
)
def test_what_cannot_be_done_with_a_pretrained_encoder_is_told_in_one_line(
    planned, tmp_path, capsys, options, told
):
    source, target = save_nnssl(tmp_path / "mae.pth"), tmp_path / "start.pth"
    assert main(["upgrade", str(source), "-o", str(target), *options]) != 0
    error = capsys.readouterr().err
    assert told in error
    assert len(error.strip().splitlines()) == 1
    assert not target.exists()
