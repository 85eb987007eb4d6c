import argparse
import json
import re
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest
import torch
from fake_nnunet import DATASET, FakeNnunet, nnunet
from repository import DOCS

from nnunet_attention.cli import main
from nnunet_attention.cli.crossval import add_arguments

__all__ = ["nnunet"]  # the fixture

DOCUMENTATION = DOCS / "crossval.md"


def crossval(*arguments) -> int:
    return main(["crossval", *map(str, arguments)])


def failure(capsys, *arguments) -> str:
    assert crossval(*arguments) == 1
    return capsys.readouterr().err


def test_the_dry_run_lists_every_step_with_its_command_and_does_nothing(nnunet, capsys):
    assert crossval("-d", 901, "-tr", "TrainerA", "-f", 0, "--npz", "--dry-run") == 0
    listed = capsys.readouterr().out
    steps = [line.split(maxsplit=1)[1] for line in listed.splitlines() if line[:3].strip()]
    assert steps == [
        f"{DATASET} fingerprint",
        f"{DATASET} plans nnUNetPlans",
        f"{DATASET} preprocessing nnUNetPlans 3d_fullres",
        f"{DATASET} splits",
        f"{DATASET} TrainerA__nnUNetPlans__3d_fullres fold 0 [absent]",
        f"{DATASET} TrainerA__nnUNetPlans__3d_fullres accumulation",
        "leaderboard",
    ]
    assert (
        f"nnUNetv2_train {DATASET} 3d_fullres 0 -tr TrainerA -p nnUNetPlans -device cuda --npz"
        in listed
    )
    assert list(nnunet.folders.preprocessed.iterdir()) == []
    assert list(nnunet.folders.results.iterdir()) == []


@pytest.mark.parametrize(
    ("plans", "command"),
    [
        ("nnUNetResEncUNetLPlans", "nnUNetv2_plan_experiment -d 901 -pl nnUNetPlannerResEncL"),
        ("AttentionUNetPlans", f"nnunet-attention plan -d {DATASET} -pl AttentionUNetPlanner"),
        ("Attention_nnUNetPlans", f"nnunet-attention plan -d {DATASET} --from nnUNetPlans"),
    ],
)
def test_missing_plans_are_made_by_the_planner_that_their_name_tells(
    nnunet, capsys, plans, command
):
    assert crossval("-d", 901, "-tr", "TrainerA", "-p", plans, "--dry-run") == 0
    assert command in capsys.readouterr().out


def test_plans_of_an_unknown_planner_must_be_there(nnunet, capsys):
    message = failure(capsys, "-d", 901, "-tr", "TrainerA", "-p", "MyPlans", "--dry-run")
    assert "-p MyPlans: there is no" in message


@pytest.mark.parametrize("content", ["", "[]", '{"plans_name": "nnUNetPlans"'])
def test_damaged_plans_are_told_before_they_are_made_again(nnunet, capsys, content):
    path = nnunet.folders.plans(DATASET, "nnUNetPlans")
    path.parent.mkdir()
    path.write_text(content)
    assert crossval("-d", 901, "-tr", "TrainerA", "--dry-run") == 0
    assert f"plans nnUNetPlans [made again: {path} is damaged]" in capsys.readouterr().out


def test_damaged_plans_of_an_unknown_planner_are_refused(nnunet, capsys):
    path = nnunet.folders.plans(DATASET, "MyPlans")
    path.parent.mkdir()
    path.touch()
    message = failure(capsys, "-d", 901, "-tr", "TrainerA", "-p", "MyPlans", "--dry-run")
    assert f"-p MyPlans: {path} is damaged" in message
    assert message.count("\n") == 1


def test_a_list_without_the_leaderboard_does_not_name_it(nnunet, capsys):
    assert crossval("-d", 901, "-tr", "TrainerA", "--dry-run", "--no-leaderboard") == 0
    assert "leaderboard" not in capsys.readouterr().out


@pytest.mark.parametrize(
    ("option", "value"),
    [
        ("--partition", "gpu"),
        ("--time", 60),
        ("--mem", 8),
        ("--cpus", 2),
        ("--gres", "gpu:1"),
        ("--jobs-at-once", 3),
        ("--sbatch", "account=lab"),
        ("--signal-seconds", 60),
    ],
)
def test_an_option_for_slurm_without_slurm_is_refused(nnunet, capsys, option, value):
    message = failure(capsys, "-d", 901, "-tr", "A", "-device", "cpu", option, value)
    assert f"{option} would be ignored without --slurm" in message
    assert message.count("\n") == 1
    assert list(nnunet.folders.results.iterdir()) == []


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--at-once", 2), "--at-once would be ignored with -device cuda"),
        (("--at-once", 2, "--slurm"), "--at-once would be ignored with --slurm"),
        (("-num_gpus", 2, "-device", "cpu"), "-num_gpus 2 cannot be combined with -device cpu"),
        (("--time", 9, "--mem", 9), "--time, --mem would be ignored without --slurm"),
    ],
)
def test_an_option_that_would_change_nothing_is_refused(nnunet, capsys, arguments, message):
    assert message in failure(capsys, "-d", 901, "-tr", "A", *arguments, "--dry-run")


def test_plans_for_trainers_that_name_their_own_are_refused(nnunet, capsys):
    message = failure(capsys, "-d", 901, "-tr", "A__P", "-p", "Q", "--dry-run")
    assert "-p would be ignored as every trainer names its own plans" in message


def test_the_folds_of_the_splits_are_listed_and_left_to_the_leaderboard(nnunet, capsys):
    cases = [f"case_{number:02d}" for number in range(10)]
    path = nnunet.folders.splits(DATASET)
    path.parent.mkdir()
    splits = [{"train": cases[5:], "val": cases[:5]}, {"train": cases[:5], "val": cases[5:]}]
    path.write_text(json.dumps(splits))
    assert crossval("-d", 901, "-tr", "A", "--dry-run") == 0
    listed = capsys.readouterr().out
    assert "fold 1 [absent]" in listed
    assert "fold 2" not in listed
    assert "-tr A__nnUNetPlans -o " in listed


def test_a_trainer_may_name_its_plans(nnunet, capsys):
    arguments = ("-tr", "TrainerA", "TrainerB__AttentionUNetPlans", "-f", 0, "--dry-run")
    assert crossval("-d", 901, *arguments) == 0
    listed = capsys.readouterr().out
    assert "-tr TrainerA -p nnUNetPlans" in listed
    assert "-tr TrainerB -p AttentionUNetPlans" in listed
    assert "-tr TrainerB -p nnUNetPlans" not in listed


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("-d", 999, "-tr", "A"), "no data set has this number or name"),
        (("-d", "Dataset9_Short", "-tr", "A"), "give DatasetXXX_Name or its number"),
        (("-d", 901, 901, "-tr", "A"), f"-d: {DATASET} given twice"),
        (("-d", 901, "-tr", "A", "A"), "-tr: A__nnUNetPlans given twice"),
        (("-d", 901, "-tr", "A", "-f", 0, "all"), "give fold numbers, or all by itself"),
        (("-d", 901, "-tr", "A", "-f", 0, "00"), "-f: 0 given twice"),
        (("-d", 901, "-tr", "A", "-pretrained_weights", "no"), "no: there is no such file"),
    ],
)
def test_bad_input_is_one_clear_error(nnunet, capsys, arguments, message):
    assert message in failure(capsys, *arguments, "--dry-run")


def test_an_unset_variable_is_named(nnunet, capsys, monkeypatch):
    monkeypatch.delenv("nnUNet_results")
    assert "nnUNet_results not set" in failure(capsys, "-d", 901, "-tr", "A", "--dry-run")


def test_without_a_gpu_the_remedy_is_named(nnunet, capsys, monkeypatch):
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    assert "give -device cpu" in failure(capsys, "-d", 901, "-tr", "A")


def test_an_option_for_sbatch_without_a_value_is_refused(nnunet, capsys):
    arguments = ("-d", 901, "-tr", "A", "--slurm", "--sbatch", "account")
    assert "--sbatch account: give NAME=VALUE" in failure(capsys, *arguments)


class Touching:
    """Makes a file when it is unpickled as nnU-Net's command does it."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return Path.touch, (self.path,)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ([1], "holds a list"),
        ({"state_dict": {}}, "weights.pth has no network_weights; give a checkpoint of nnU-Net"),
        ("unsafe", "weights.pth"),
    ],
)
def test_weights_are_checked_before_nnunets_command_loads_them(
    nnunet, capsys, tmp_path, content, message
):
    trace = tmp_path / "trace"
    if content == "unsafe":
        content = {"network_weights": {}, "more": Touching(trace)}
    torch.save(content, tmp_path / "weights.pth")
    arguments = ("-d", 901, "-tr", "A", "-pretrained_weights", tmp_path / "weights.pth")
    assert message in failure(capsys, *arguments, "--dry-run")
    assert not trace.exists()


def test_pretrained_weights_are_for_the_first_start_only(nnunet, capsys, tmp_path):
    weights = tmp_path / "weights.pth"
    torch.save({"network_weights": {}}, weights)
    arguments = ("-d", 901, "-tr", "A", "-f", 0, "-pretrained_weights", weights, "--dry-run")
    assert crossval(*arguments) == 0
    assert f"-device cuda -pretrained_weights {weights}\n" in capsys.readouterr().out
    fold = nnunet.folders.fold(DATASET, "A", "nnUNetPlans", "3d_fullres", "0")
    fold.mkdir(parents=True)
    with zipfile.ZipFile(fold / "checkpoint_latest.pth", "w") as archive:
        archive.writestr("checkpoint/data.pkl", b"")
    assert crossval(*arguments) == 0
    assert "-device cuda --c\n" in capsys.readouterr().out


def test_failures_end_with_exit_code_one_and_the_way_to_go_on(tmp_path):
    fake = FakeNnunet(tmp_path)
    code, output = fake.run("-f", "0", FAKE_FAILURE="nnUNetv2_plan_experiment")
    assert code == 1
    assert "RuntimeError: made to fail" in output
    assert "1 step(s) failed, 1 done" in output
    assert "continue with: nnunet-attention crossval -d 901" in output


def test_listing_loads_neither_torch_nor_the_networks(nnunet):
    script = (
        "import sys; from nnunet_attention.cli import main;"
        "main(['crossval', '-d', '901', '-tr', 'A', '--dry-run']);"
        "assert 'torch' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", script], check=True, stdout=subprocess.DEVNULL)


def test_the_documentation_has_every_option_and_no_other():
    parser = argparse.ArgumentParser()
    add_arguments(parser)
    options = {name for action in parser._actions for name in action.option_strings}
    documented = set(re.findall(r"`(--?[a-z][\w-]*)", DOCUMENTATION.read_text(encoding="utf-8")))
    # Those of nnUNetv2_train that a restart gives.
    assert documented - {"--c", "--val"} == options - {"-h", "--help"}


@pytest.mark.filterwarnings("ignore")  # nnU-Net's search for a trainer imports all of its own
@pytest.mark.parametrize("options", [("--dry-run",), ("-device", "cpu")])
def test_a_misspelt_trainer_is_refused_before_the_first_step(nnunet, capsys, options):
    message = failure(capsys, "-d", 901, "-tr", "TrainerA", "AttentionUnetTrainer", *options)
    assert "no trainer AttentionUnetTrainer; did you mean AttentionUNetTrainer" in message
    assert not list(nnunet.folders.preprocessed.iterdir())


def test_a_misspelt_network_in_the_plans_is_refused_before_the_first_step(nnunet, capsys):
    nnunet.prepare()
    path = nnunet.folders.plans(DATASET, "nnUNetPlans")
    content = json.loads(path.read_text())
    content["configurations"]["3d_fullres"]["architecture"] = {
        "network_class_name": "nnunet_attention.networks.AttentionUnet"
    }
    path.write_text(json.dumps(content))
    message = failure(capsys, "-d", 901, "-tr", "TrainerA", "--dry-run")
    assert "did you mean nnunet_attention.networks.AttentionUNet" in message


def test_quotation_marks_in_a_variable_are_named(nnunet, capsys, monkeypatch):
    results = nnunet.folders.results
    monkeypatch.setenv("nnUNet_results", f'"{results}"')
    message = failure(capsys, "-d", 901, "-tr", "TrainerA", "--dry-run")
    assert "nnUNet_results: the value " in message
    assert (
        "contains quotation marks, which count as part of the path; set it to "
        f"{nnunet.folders.results}"
    ) in message
