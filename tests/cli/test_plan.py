"""`nnunet-attention plan` plans and converts, and says what comes next."""

import json

import pytest
import torch
from fingerprinted_dataset import DATASET_JSON, NAME, write_fingerprinted_dataset
from nnssl_checkpoints import save_nnssl
from plain_checkpoints import plain_checkpoint

from nnunet_attention.cli import main, plan
from nnunet_attention.networks.gate_start import GATE_STARTS
from nnunet_attention.nnunet.planners import OWN_PLANNER_NAMES
from nnunet_attention.plans import PLANNERS


@pytest.fixture
def folder(tmp_path, monkeypatch):
    return write_fingerprinted_dataset(tmp_path, monkeypatch, (40, 64, 80), (3, 2, 1))


@pytest.fixture
def stock(folder, minimal_plans):
    """Stock plans of the data set, made small by hand."""
    minimal_plans["dataset_name"] = NAME
    (folder / "nnUNetPlans.json").write_text(json.dumps(minimal_plans))
    (folder / "dataset.json").write_text(json.dumps(DATASET_JSON))
    return minimal_plans


def plans_in(folder, name):
    return json.loads((folder / f"{name}.json").read_text())


def test_the_parser_offers_the_planners_there_are():
    assert list(PLANNERS) == list(OWN_PLANNER_NAMES)


def test_the_parser_offers_the_starts_that_the_networks_have():
    assert plan.GATE_START_NAMES == GATE_STARTS


def test_a_data_set_is_planned_and_the_next_commands_printed(folder, capsys):
    assert main(["plan", "-d", "901"]) == 0
    assert plans_in(folder, "AttentionUNetPlans")["plans_name"] == "AttentionUNetPlans"
    output = capsys.readouterr().out
    lines = output.splitlines()
    assert lines[0] == f"plans: {folder / 'AttentionUNetPlans.json'}"
    # What nnU-Net prints while it plans goes elsewhere.
    assert lines[1].startswith("2d: patch ")
    assert "3d_fullres: gates" in output
    assert lines[-3:] == [
        "nnUNetv2_preprocess -d 901 -plans_name AttentionUNetPlans -c 2d 3d_fullres",
        "nnUNetv2_train 901 2d 0 -p AttentionUNetPlans",
        "nnUNetv2_train 901 3d_fullres 0 -p AttentionUNetPlans",
    ]


def test_planner_memory_name_options_and_configurations_are_handed_on(folder, capsys):
    assert (
        main(
            [
                *(
                    "plan",
                    "-d",
                    NAME,
                    "-pl",
                    "AttentionResEncUNetPlannerM",
                    "-c",
                    "2d",
                    "3d_lowres",
                ),
                *("-gpu_memory_target", "8", "-overwrite_plans_name", "Mine"),
                *("--gate_full_resolution", "--output_transform"),
            ]
        )
        == 0
    )
    plans = plans_in(folder, "Mine")
    assert plans["experiment_planner_used"] == "AttentionResEncUNetPlannerM"
    arguments = plans["configurations"]["3d_fullres"]["architecture"]["arch_kwargs"]
    assert arguments["gate_full_resolution"] is True
    assert arguments["output_transform"] is True
    output = capsys.readouterr()
    assert "2d: patch" in output.out
    assert "3d_fullres: patch" not in output.out
    assert f"{NAME} has no configuration 3d_lowres" in output.err


def test_preprocessed_data_are_not_made_again(folder, stock, capsys):
    assert main(["plan", "-d", "901", "--from", "nnUNetPlans"]) == 0
    assert "nnUNetv2_preprocess -d 901" in capsys.readouterr().out
    data = folder / "nnUNetPlans_3d_fullres"
    data.mkdir()
    for case in range(DATASET_JSON["numTraining"]):
        (data / f"case_{case}.pkl").touch()
    assert main(["plan", "-d", "901", "--from", "nnUNetPlans"]) == 0
    output = capsys.readouterr().out
    assert "nnUNetv2_preprocess" not in output
    assert "# preprocessed already: nnUNetPlans_3d_fullres" in output


def test_plans_are_converted_under_a_name_of_their_own(folder, stock):
    assert main(["plan", "-d", "901", "--from", "nnUNetPlans"]) == 0
    found = plans_in(folder, "Attention_nnUNetPlans")
    assert found["plans_name"] == "Attention_nnUNetPlans"
    for key in ("patch_size", "batch_size", "data_identifier"):
        assert (
            found["configurations"]["3d_fullres"][key] == stock["configurations"]["3d_fullres"][key]
        )


def test_plans_of_another_content_are_refused_with_the_remedy(folder, stock, capsys):
    arguments = ["plan", "-d", "901", "--from", "nnUNetPlans"]
    assert main(arguments) == 0
    assert main(arguments) == 0
    before = (folder / "Attention_nnUNetPlans.json").read_text()
    capsys.readouterr()
    assert main([*arguments, "--gate_full_resolution"]) == 1
    output = capsys.readouterr()
    assert "-overwrite_plans_name" in output.err
    assert output.err.count("\n") == 1
    assert (folder / "Attention_nnUNetPlans.json").read_text() == before
    assert main([*arguments, "--gate_full_resolution", "-overwrite_plans_name", "Mine"]) == 0


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("-d", "901", "--from", "nnUNetPlans"), "--from nnUNetPlans: no "),
        (("-d", "901", "--from", "X", "-gpu_memory_target", "9"), "leave out -pl and"),
        (("-d", "901", "--from", "X", "-pl", "AttentionUNetPlanner"), "leave out -pl and"),
        (("-d", "901", "--from", "X", "-np", "2"), "-np would be ignored with --from"),
        (("-d", "901", "-overwrite_plans_name", "My__Plans"), "neither two underscores"),
        (("-d", "901", "-overwrite_plans_name", "../Plans"), "nor a folder"),
        (("-d", "902"), "-d 902: no data set has this number or name"),
        (("-d", "Dataset902_Absent"), "dataset.json: there is no such file; check -d"),
        (("-d", "hippocampus"), "-d hippocampus: no data set has this number or name"),
    ],
)
def test_bad_input_gives_one_line_exit_code_1_and_no_file(arguments, message, folder, capsys):
    assert main(["plan", *arguments]) == 1
    output = capsys.readouterr()
    assert message in output.err
    assert output.err.count("\n") == 1
    assert output.out == ""
    assert [path.name for path in folder.iterdir()] == ["dataset_fingerprint.json"]


@pytest.mark.parametrize("variable", ["nnUNet_raw", "nnUNet_preprocessed"])
def test_an_unset_variable_is_named(variable, folder, monkeypatch, capsys):
    monkeypatch.delenv(variable)
    assert main(["plan", "-d", "901"]) == 1
    assert f"{variable} is not set; export {variable}=" in capsys.readouterr().err


@pytest.mark.parametrize("text", ["0", "-8", "much", "nan", "inf"])
def test_a_memory_target_must_be_positive(text, capsys):
    with pytest.raises(SystemExit):
        main(["plan", "-d", "901", f"-gpu_memory_target={text}"])
    assert (
        f"argument -gpu_memory_target: {text} is not a number of GB above 0"
        in capsys.readouterr().err
    )


def test_images_too_small_for_a_gate_are_refused_and_may_be_gated_at_full_resolution(
    tmp_path, monkeypatch, capsys
):
    # A patch of 8 is halved once only, for nnU-Net keeps 4 voxels: two stages, one skip.
    folder = write_fingerprinted_dataset(tmp_path, monkeypatch, (8, 8, 8), (1, 1, 1))
    assert main(["plan", "-d", "901"]) == 1
    error = capsys.readouterr().err.splitlines()[-1]
    assert f"{NAME} cannot be planned: a network of 2 stages has no skip" in error
    assert [path.name for path in folder.iterdir()] == ["dataset_fingerprint.json"]
    assert main(["plan", "-d", "901", "--gate_full_resolution"]) == 0


@pytest.mark.parametrize("source", [(), ("--from", "nnUNetPlans")])
def test_preprocessed_data_on_a_read_only_disk_are_one_line(
    folder, stock, monkeypatch, capsys, source
):
    def refuse(path, *arguments, **options):
        raise OSError(30, "Read-only file system", str(path))

    before = sorted(folder.iterdir())
    for name in ("write_bytes", "write_text"):
        monkeypatch.setattr(f"pathlib.Path.{name}", refuse)
    assert main(["plan", "-d", "901", *source]) == 1
    output = capsys.readouterr()
    assert output.out == ""
    assert "the file system is read-only" in output.err
    assert output.err.count("\n") == 1
    assert sorted(folder.iterdir()) == before


def test_a_data_set_is_planned_like_pretrained_weights(folder, tmp_path, capsys):
    path = save_nnssl(tmp_path / "mae.pth")
    command = ["plan", "-d", "901", "--like", str(path), "--spacing", "2", "2", "2"]
    assert main([*command, "--patch", "8", "16", "16"]) == 0
    configuration = plans_in(folder, "AttentionPretrainedPlans")["configurations"]["3d_fullres"]
    assert configuration["spacing"] == [2, 2, 2]
    assert configuration["patch_size"] == [8, 16, 16]
    output, error = capsys.readouterr()
    # The configurations that nnU-Net would plan are not those that are written.
    assert error == (
        "nnU-Net would normalise these images with CTNormalization, and those of the source were "
        "normalised with ZScoreNormalization: they may be of another modality\n"
    )
    assert output.startswith(f"plans: {folder / 'AttentionPretrainedPlans.json'}")
    assert "100.0% of the encoder's weights come from the source" in output
    assert "VRAM (GB)" in output
    assert (
        "nnUNetv2_preprocess -d 901 -plans_name AttentionPretrainedPlans -c 3d_fullres\n"
        "nnUNetv2_train 901 3d_fullres 0 -p AttentionPretrainedPlans "
        "-tr AttentionUNetFinetuneTrainer\n"
    ) in output
    assert "Isensee et al. (2024)" in output


def test_which_of_a_models_checkpoints_is_planned_like_is_told(
    folder, tmp_path, minimal_plans, capsys
):
    best = tmp_path / "model" / "fold_1" / "checkpoint_best.pth"
    best.parent.mkdir(parents=True)
    configuration = minimal_plans["configurations"]["3d_fullres"]
    configuration.update(normalization_schemes=["ZScoreNormalization"], spacing=[3, 2, 1])
    torch.save(plain_checkpoint(minimal_plans), best)
    assert main(["plan", "-d", "901", "--like", str(tmp_path / "model")]) == 0
    assert capsys.readouterr().out.startswith(f"weights: {best}\n")


@pytest.mark.parametrize(
    ("options", "told"),
    [
        (["--spacing", "dataset"], "--spacing would be ignored without --like"),
        (["--like", "MAE", "--spacing", "fine"], "--spacing fine: give pretrained, dataset"),
        (["--like", "MAE", "--gate_start", "he"], "--gate_start would be ignored with --like"),
        (["--like", "MAE", "-pl", OWN_PLANNER_NAMES[0]], "-pl would be ignored with --like"),
        (["--like", "absent.pth"], "absent.pth: there is no such file"),
    ],
)
def test_what_does_not_go_with_pretrained_weights_is_told_in_one_line(
    folder, tmp_path, capsys, options, told
):
    path = save_nnssl(tmp_path / "mae.pth")
    options = [str(path) if option == "MAE" else option for option in options]
    assert main(["plan", "-d", "901", *options]) != 0
    error = capsys.readouterr().err
    assert told in error
    assert len(error.strip().splitlines()) == 1
    assert not list(folder.glob("*Plans.json"))
