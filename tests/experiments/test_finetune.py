"""Fine-tuning divides a data set, pretrains with merged labels, and learns from few other cases."""

import json
from dataclasses import replace
from pathlib import Path

import pytest
import SimpleITK
import torch
from experiments_folders import CONFIGURATION, plan
from fake_experiments import TARGET, FakeExperiments

from nnunet_attention.cli import main
from nnunet_attention.errors import CommandError
from nnunet_attention.experiments import DEFAULT_TRAINERS, run_list
from nnunet_attention.experiments.divided import Divide, divide
from nnunet_attention.experiments.finetune import finetune
from nnunet_attention.experiments.stages import Trainings

CASES = 80
PRETRAINING, FINETUNING = "Dataset900_TargetPretraining", "Dataset903_TargetFinetuning"
MODELS = tuple((trainer, "nnUNetPlans") for trainer in DEFAULT_TRAINERS["finetune"])


@pytest.fixture
def fake(tmp_path, monkeypatch) -> FakeExperiments:
    made = FakeExperiments(tmp_path, CASES)
    for name, value in made.environment(FAKE_SECONDS=0).items():
        monkeypatch.setenv(name, value)
    # upgrade CHECKPOINT -o OUT ...
    script = made.bin / "nnunet-attention"
    script.write_text('#!/bin/sh\ncp "$2" "$4"\n')
    script.chmod(0o755)
    return made


def laid_out(fake, root: Path, **changes):
    return finetune(plan(TARGET, models=MODELS, **{"folds": None, **changes}), fake.folders, root)


def test_cases_are_divided_and_the_smaller_trainings_are_in_the_larger(fake):
    division = divide(fake.folders, TARGET)
    assert (division.pretraining, division.target) == (PRETRAINING, FINETUNING)
    parts = [division.merged, division.learnt, division.tested]
    assert [len(part) for part in parts] == [32, 40, 8]
    assert sorted(case for part in parts for case in part) == fake.cases
    splits = division.splits
    assert [len(split["train"]) for split in splits] == [10, 20, 40]
    assert set(splits[0]["train"]) < set(splits[1]["train"]) < set(splits[2]["train"])
    assert {tuple(split["val"]) for split in splits} == {division.tested}
    assert divide(fake.folders, TARGET) == division


def test_the_data_sets_link_to_the_originals_images_and_one_has_merged_labels(fake, tmp_path):
    raw = fake.folders.raw_dataset(TARGET)
    described = json.loads((raw / "dataset.json").read_text())
    described["labels"] = {"background": 0, "anterior": 1, "posterior": 3}
    (raw / "dataset.json").write_text(json.dumps(described))
    division = divide(fake.folders, TARGET)
    case = division.merged[0]
    labels = SimpleITK.ReadImage(str(raw / "labelsTr" / f"{case}.nii.gz"))
    labels[0, 0, 0] = 3
    SimpleITK.WriteImage(labels, str(raw / "labelsTr" / f"{case}.nii.gz"))
    stage = Divide(fake.folders, division)
    assert not stage.is_done()
    stage.do(tmp_path / "log")
    assert stage.is_done()
    merged = fake.folders.raw_dataset(PRETRAINING)
    found = SimpleITK.ReadImage(str(merged / "labelsTr" / f"{case}.nii.gz"))
    assert found[0, 0, 0] == 1
    assert found.GetSpacing() == labels.GetSpacing()
    described = json.loads((merged / "dataset.json").read_text())
    assert described["labels"] == {"background": 0, "foreground": 1}
    assert described["numTraining"] == 32
    image = merged / "imagesTr" / f"{case}_0000.nii.gz"
    assert image.resolve() == raw / "imagesTr" / image.name
    target = fake.folders.raw_dataset(FINETUNING)
    labels = target / "labelsTr" / f"{division.tested[0]}.nii.gz"
    assert labels.resolve() == raw / "labelsTr" / labels.name
    assert len(list((target / "labelsTr").iterdir())) == 48
    assert json.loads(fake.folders.splits(FINETUNING).read_text()) == division.splits
    # A case that has gone changes all parts.
    (raw / "labelsTr" / f"{division.tested[0]}.nii.gz").unlink()
    with pytest.raises(CommandError, match="no longer has the cases"):
        Divide(fake.folders, divide(fake.folders, TARGET)).is_done()


def test_a_repeat_is_a_chain_of_its_own_from_pretraining_to_fine_tuning(fake, tmp_path):
    experiment = laid_out(fake, tmp_path / "out", repeats=2)
    stages = {stage.name: stage for stage in experiment.stages}
    assert list(stages)[9:] == [
        "start plain_repeat_2",
        "fine-tune plain, repeat 2",
        "start gated_repeat_2",
        "fine-tune gated, repeat 2",
    ]
    assert [stages[name].plan.repeats for name in ("pretrain TargetPretraining", "scratch")] == [
        2,
        2,
    ]
    second = stages["fine-tune gated, repeat 2"]
    assert second.plan.pretrained_weights == tmp_path / "out" / "starts" / "gated_repeat_2.pth"
    assert second.folders(fake.folders) == fake.folders.of_repeat(2)
    source = Path(stages["start gated_repeat_2"].command[2])
    assert source.is_relative_to(fake.folders.of_repeat(2).results)
    assert {(arm.method, arm.repeat) for arm in experiment.arms} == {
        (arm.method, repeat) for arm in experiment.arms for repeat in (1, 2)
    }


def test_the_trainings_of_a_repeat_are_paired(fake, tmp_path):
    """They start from one pretraining, with one seed."""
    assert laid_out(fake, tmp_path).paired_repeats


def test_all_fine_tuned_trainings_start_from_one_pretraining(fake, tmp_path):
    experiment = laid_out(fake, tmp_path / "out")
    stages = {stage.name: stage for stage in experiment.stages}
    assert list(stages) == [
        "divide Target",
        "prepare",
        "move nnUNetPlans",
        "pretrain TargetPretraining",
        "scratch",
        "start plain",
        "fine-tune plain",
        "start gated",
        "fine-tune gated",
    ]
    pretraining = stages["pretrain TargetPretraining"]
    assert isinstance(pretraining, Trainings)
    assert (pretraining.plan.datasets, pretraining.plan.folds) == ((PRETRAINING,), ("all",))
    assert pretraining.plan.models == (("nnUNetTrainer", "nnUNetPlansFor903"),)
    gated = stages["fine-tune gated"].plan
    assert [trainer for trainer, _ in gated.models] == [
        "AttentionUNetFinetuneTrainer",
        "AttentionUNetFinetuneTrainer_decoderFirst",
    ]
    # Each with its control.
    plain = stages["fine-tune plain"].plan
    assert [trainer for trainer, _ in plain.models] == [
        "PlainUNetFinetuneTrainer",
        "PlainUNetFinetuneTrainer_decoderFirst",
    ]
    assert gated.folds == ("0", "1", "2")
    assert gated.pretrained_weights == tmp_path / "out" / "starts" / "gated.pth"
    assert stages["scratch"].plan.pretrained_weights is None
    assert stages["start plain"].command[-1] == "--plain"
    checkpoint = Path(stages["start plain"].command[2])
    model = (
        fake.folders.results / PRETRAINING / f"nnUNetTrainer__nnUNetPlansFor903__{CONFIGURATION}"
    )
    assert checkpoint == model / "fold_all" / "checkpoint_final.pth"


def test_a_start_is_made_again_when_the_pretraining_has_been(fake, tmp_path):
    import os

    experiment = laid_out(fake, tmp_path)
    start = next(stage for stage in experiment.stages if stage.name == "start gated")
    start.weights.parent.mkdir(parents=True)
    import zipfile

    with zipfile.ZipFile(start.weights, "w") as archive:
        archive.writestr("archive/data.pkl", b"weights")
    assert not start.is_done()
    start.do(tmp_path / "log")
    assert start.is_done()
    os.utime(start.weights, (2e9, 2e9))
    assert not start.is_done()


def test_a_start_of_another_pretraining_is_not_replaced(fake, tmp_path, monkeypatch):
    """Trainings may have started from it, with which those of the new one would not compare."""
    (start,) = (stage for stage in laid_out(fake, tmp_path).stages if stage.name == "start gated")
    weights = {"value": torch.ones(2)}

    def upgrade(command, environment, log):
        torch.save({"network_weights": weights}, start.path)

    monkeypatch.setattr("nnunet_attention.experiments.finetune.run_command", upgrade)
    start.do(tmp_path / "log")
    # Made anew from the same weights, it is the same.
    start.do(tmp_path / "log")
    weights["value"] = torch.zeros(2)
    with pytest.raises(CommandError, match=r"gated\.pth was made from another pretraining"):
        start.do(tmp_path / "log")
    assert torch.equal(torch.load(start.path)["network_weights"]["value"], torch.ones(2))
    assert list(start.path.parent.iterdir()) == [start.path]
    # Killed while the new one was made.
    start.path.rename(start.path.with_name("gated.before.pth"))
    with pytest.raises(CommandError, match="another pretraining"):
        start.do(tmp_path / "log")


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"datasets": (TARGET, "Dataset901_Tiny")}, "finetune divides one data set"),
        ({"folds": ("0",)}, "finetune has its own folds, of 10, 20 and 40 cases"),
        ({"groups": {TARGET: {}}}, "finetune divides case by case"),
        ({"models": MODELS[:1]}, "one that fine-tunes"),
        ({"models": (MODELS[0], ("A", "Other"))}, "the same plans"),
        (
            {"models": tuple((tr, "nnUNetPlans") for tr in DEFAULT_TRAINERS["finetune"][1:])},
            "-tr PlainUNetFinetuneTrainer: the first trainer trains from scratch",
        ),
        (
            {"models": (MODELS[0], ("WideUNetTrainer", "nnUNetPlans"))},
            "-tr WideUNetTrainer: weights",
        ),
        ({"configurations": ("3d_cascade_fullres",)}, "a cascade needs all folds"),
    ],
)
def test_plans_that_cannot_be_run_are_refused(fake, tmp_path, changes, said):
    wanted = replace(plan(TARGET, models=MODELS, folds=None), **changes)
    with pytest.raises(CommandError, match=said):
        finetune(wanted, fake.folders, tmp_path)


def test_too_few_cases_and_other_labels_are_refused(fake):
    raw = fake.folders.raw_dataset("Dataset901_Tiny")
    for path in sorted((raw / "labelsTr").iterdir())[60:]:
        path.unlink()
    with pytest.raises(CommandError, match="has 60 cases"):
        divide(fake.folders, "Dataset901_Tiny")
    described = json.loads((raw / "dataset.json").read_text())
    described["labels"] = {"background": 0, "whole": [1, 2], "core": 2}
    (raw / "dataset.json").write_text(json.dumps(described))
    with pytest.raises(CommandError, match="regions, an ignore label"):
        divide(fake.folders, "Dataset901_Tiny")


def test_numbers_that_are_taken_are_refused(fake):
    with pytest.raises(CommandError, match="--derived-id 902: taken by"):
        divide(fake.folders, TARGET, 902)
    division = divide(fake.folders, TARGET, 950)
    assert division.target == "Dataset951_TargetFinetuning"


def test_the_experiment_ends_in_a_table_and_is_not_done_twice(fake, tmp_path, capsys):
    trainers = ("TrainerA", *DEFAULT_TRAINERS["finetune"][1:])
    for missed, trainer in zip((3, 2, 2, 2, 1), trainers, strict=True):
        fake.lay_ready(trainer, [missed] * CASES)
    out = tmp_path / "out"
    command = [
        *("experiment", "finetune", "-d", "902", "-tr", *trainers),
        *("-device", "cpu", "-np", "1", "-o", str(out)),
    ]
    assert main(command) == 0
    record = json.loads((out / "table.json").read_text())
    assert [len({one[key] for one in record["results"]}) for key in ("setting", "method")] == [3, 5]
    tested = divide(fake.folders, TARGET).tested
    for result in record["results"]:
        assert result["labels"]["organ"]["dice"]["n"] == len(tested)
    table = (out / "table.md").read_text()
    for text in (
        *("10/8", "20/8", "40/8", "Attention U-Net, fine-tuned, decoder first"),
        "Differences from TrainerA: mean and 95 % interval",
        "Differences from U-Net, fine-tuned: mean and 95 % interval",
        "Differences from U-Net, fine-tuned, decoder first: mean and 95 % interval",
    ):
        assert text in table
    begun = fake.journals()
    assert main(command) == 0
    assert fake.journals() == begun
    capsys.readouterr()
    assert main([*command, "--dry-run"]) == 0
    assert capsys.readouterr().out.startswith("table")


def test_a_run_list_names_what_will_be_made(fake, tmp_path):
    missing = dict(run_list(laid_out(fake, tmp_path / "out"), fake.folders))
    assert missing["divide Target"][0].startswith(f"make {PRETRAINING} of 32 cases of {TARGET}")
    assert missing["start gated"][0].startswith("nnunet-attention upgrade ")
    assert f"nnUNetv2_train {FINETUNING} 3d_fullres 0" in missing["fine-tune plain"][0]
