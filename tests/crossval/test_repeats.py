"""Each fold is trained several times, each time in results of its own, with seeds of its own."""

import json
import os
import shutil

import pytest
from fake_nnunet import DATASET, TRAINERS, nnunet, plan

from nnunet_attention.cli import main
from nnunet_attention.crossval import FoldState, all_runs, missing_steps, run, state_of
from nnunet_attention.crossval.plan import fold_variables
from nnunet_attention.errors import CommandError
from nnunet_attention.nnunet.seeds import VARIABLE, SeedRecord, read_seed, write_seed

__all__ = ["nnunet"]  # the fixture

pytestmark = pytest.mark.skipif(os.name == "nt", reason="the stand-ins are POSIX scripts")

MODEL = "TrainerA__nnUNetPlans__3d_fullres"
ONE_FOLD = {"folds": ("0",), "models": (("TrainerA", "nnUNetPlans"),)}


def test_every_repeat_is_a_whole_crossvalidation_in_results_of_its_own(nnunet, monkeypatch):
    monkeypatch.setenv("FAKE_SECONDS", "0")
    wanted = plan(repeats=3, seed=7)
    outcome = run(wanted, at_once=2)
    assert outcome.ok
    results = nnunet.folders.results
    places = [results, results / "repeats" / "repeat_2", results / "repeats" / "repeat_3"]
    for place in places:
        assert [path.name for path in place.iterdir() if path.name.startswith("Dataset")] == [
            DATASET
        ]
        for trainer in TRAINERS:
            model = place / DATASET / f"{trainer}__nnUNetPlans__3d_fullres"
            summary = json.loads((model / "crossval_results_folds_0_1/summary.json").read_text())
            assert len(summary["metric_per_case"]) == 4
            for fold in (0, 1):
                journal = (model / f"fold_{fold}" / "journal.txt").read_text().splitlines()
                begun = [line for line in journal if " begin " in line]
                assert len(begun) == 1, "trained once"
    # Prepared once.
    kinds = [name for name in outcome.done if "preprocessing" in name or "plans" in name]
    assert len(kinds) == 2
    assert missing_steps(wanted, nnunet.folders) == []
    assert run(wanted).done == []
    manifest = json.loads((results / "crossval" / DATASET / "manifest.json").read_text())
    assert manifest["seeds"]["training by this package's trainers"] == (
        "7 in repeat 1, 8 in repeat 2, 9 in repeat 3"
    )
    names = {record["step"] for record in manifest["attempts"] if record["kind"] == "fold"}
    assert len(names) == 12
    assert f"{DATASET} {MODEL} fold 1" in names
    assert f"{DATASET} {MODEL} fold 1, repeat 3" in names


def test_repeats_are_added_to_what_is_there_and_one_that_was_lost_is_made_again(
    nnunet, monkeypatch
):
    monkeypatch.setenv("FAKE_SECONDS", "0")
    nnunet.prepare()
    assert run(plan(**ONE_FOLD)).ok
    wanted = plan(**ONE_FOLD, repeats=2)
    added = [f"{DATASET} {MODEL} fold 0, repeat 2", f"{DATASET} {MODEL} accumulation, repeat 2"]
    assert run(wanted).done == added
    shutil.rmtree(nnunet.folders.of_repeat(2).results / DATASET / MODEL / "fold_0")
    assert run(wanted).done == added


def test_a_repeat_goes_on_where_it_was_interrupted(nnunet, monkeypatch):
    monkeypatch.setenv("FAKE_SECONDS", "0")
    nnunet.prepare()
    wanted = plan(**ONE_FOLD, repeats=2)
    assert run(wanted).ok
    first, second = all_runs(wanted, nnunet.folders)
    assert (first.repeat, second.repeat) == (1, 2)
    fold = second.folder(nnunet.folders.of_repeat(2))
    (fold / "checkpoint_final.pth").rename(fold / "checkpoint_latest.pth")
    assert state_of(second, nnunet.folders.of_repeat(2)) is FoldState.INTERRUPTED
    assert state_of(first, nnunet.folders) is FoldState.FINISHED
    step = missing_steps(wanted, nnunet.folders)[0]
    assert step.command[-1] == "--c"
    assert step.cells == ("901 Tiny", "TrainerA 3d_fullres", "0, repeat 2")


def test_repeats_have_locks_marks_and_folders_of_their_own(nnunet):
    nnunet.prepare()
    steps = [
        step
        for step in missing_steps(plan(**ONE_FOLD, repeats=2), nnunet.folders)
        if step.kind in ("fold", "accumulation")
    ]
    assert [step.name.rpartition("fullres ")[2] for step in steps] == [
        "fold 0",
        "accumulation",
        "fold 0, repeat 2",
        "accumulation, repeat 2",
    ]
    assert len({step.mark for step in steps}) == 4
    assert steps[3].needs == (steps[2].name,)
    repeated = nnunet.folders.results / "repeats" / "repeat_2"
    assert steps[2].place() == repeated / DATASET / MODEL / "fold_0"
    assert steps[2].environment()["nnUNet_results"] == str(repeated)
    assert steps[2].environment()["nnUNet_preprocessed"] == str(nnunet.folders.preprocessed)
    with steps[0].lock().held():
        steps[2].lock().check_free()


def test_a_cascades_second_stage_needs_the_first_of_its_own_repeat(nnunet):
    nnunet.prepare()
    wanted = plan(**ONE_FOLD, configurations=("3d_cascade_fullres",), repeats=2)
    steps = {step.name: step for step in missing_steps(wanted, nnunet.folders)}
    second = f"{DATASET} TrainerA__nnUNetPlans__3d_cascade_fullres fold 0, repeat 2"
    first = [name for name in steps[second].needs if "3d_lowres fold" in name]
    assert len(first) == 5
    assert all(name.endswith(", repeat 2") for name in first)


def test_the_seed_rises_by_one_with_each_repeat(monkeypatch):
    monkeypatch.delenv(VARIABLE, raising=False)
    assert VARIABLE not in fold_variables(plan(), 2)
    assert [fold_variables(plan(seed=7), repeat)[VARIABLE] for repeat in (1, 2, 3)] == list("789")
    # Inherited as it is, it would train the same network in each repeat.
    monkeypatch.setenv(VARIABLE, "3")
    assert [fold_variables(plan(), repeat)[VARIABLE] for repeat in (1, 2)] == ["3", "4"]
    assert fold_variables(plan(seed=0), 1)[VARIABLE] == "0"


@pytest.mark.parametrize(("text", "repeat"), [("x", 1), ("2147483647", 2)])
def test_a_bad_seed_is_one_error(monkeypatch, text, repeat):
    monkeypatch.setenv(VARIABLE, text)
    with pytest.raises(CommandError, match="must be a whole number from 0 to 2147483647"):
        fold_variables(plan(), repeat)


def test_a_fold_of_another_seed_is_refused_before_anything_begins(nnunet, monkeypatch):
    monkeypatch.setenv("FAKE_SECONDS", "0")
    nnunet.prepare()
    wanted = plan(**ONE_FOLD, repeats=2, seed=7)
    assert run(wanted).ok
    fold = all_runs(wanted, nnunet.folders)[1].folder(nnunet.folders.of_repeat(2))
    write_seed(fold, SeedRecord(8))
    assert missing_steps(wanted, nnunet.folders) == []
    with pytest.raises(
        CommandError, match=r"repeat_2.* was trained with the seed 8, but 9 was req"
    ):
        missing_steps(plan(**ONE_FOLD, repeats=2, seed=8), nnunet.folders)
    # Not asked for, it is kept.
    assert missing_steps(plan(**ONE_FOLD, repeats=2), nnunet.folders) == []
    assert read_seed(fold) == SeedRecord(8)


def test_the_list_names_folder_and_seed_of_a_repeat(nnunet, capsys):
    arguments = ("crossval", "-d", "901", "-tr", "TrainerA", "-f", "0", "--dry-run")
    assert main([*arguments, "--repeats", "2", "--seed", "7"]) == 0
    listed = capsys.readouterr().out
    assert f"fold 0 [absent, seed 7]\n     nnUNetv2_train {DATASET}" in listed
    repeated = nnunet.folders.of_repeat(2).results
    assert (
        f"fold 0, repeat 2 [absent, seed 8]\n     nnUNet_results={repeated} nnUNetv2_train"
        in listed
    )


def test_a_seed_for_stock_trainers_alone_is_refused(nnunet, capsys):
    arguments = ("crossval", "-d", "901", "-tr", "nnUNetTrainer", "--seed", "0", "--dry-run")
    assert main(arguments) == 1
    assert "--seed would be ignored as nnU-Net's own trainers" in capsys.readouterr().err
    assert main([*arguments, "-tr", "nnUNetTrainer", "AttentionUNetTrainer"]) == 0


def test_no_repeat_at_all_is_refused():
    with pytest.raises(ValueError, match="repeats is 0"):
        plan(repeats=0)
