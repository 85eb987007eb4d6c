"""Which results are found, and what is said of those that are not."""

import json
from pathlib import Path

import pytest
from results_folders import write_folds

from nnunet_attention.errors import CommandError
from nnunet_attention.evaluation.leaderboard.collect import Request, collect_results
from nnunet_attention.nnunet.known_splits import KnownSplit

CASES = {f"case_{n}": {"1": 0.5 + n / 10} for n in range(4)}


@pytest.fixture
def results(tmp_path, monkeypatch) -> Path:
    """Two trainers in nnUNet_results, two folds each."""
    for variable in ("nnUNet_preprocessed", "nnUNet_raw"):
        monkeypatch.delenv(variable, raising=False)
    folder = tmp_path / "results"
    for trainer in ("nnUNetTrainer", "AttentionUNetTrainer"):
        write_folds(folder / "Dataset001_One" / f"{trainer}__nnUNetPlans__3d_fullres", CASES)
    return folder


@pytest.fixture
def published(tmp_path) -> Path:
    folder = tmp_path / "published"
    write_folds(folder / "Dataset001_One" / "3d_fullres", CASES)
    return folder


def request(**changes) -> Request:
    return Request(
        **{
            "datasets": ("1",),
            "configurations": ("3d_fullres",),
            "folds": ("0", "1"),
            "trained": (("nnUNetTrainer", "nnUNetPlans"), ("AttentionUNetTrainer", "nnUNetPlans")),
            "named": {},
            **changes,
        }
    )


def test_trained_and_named_models_come_in_the_order_given(results, published):
    collected = collect_results(request(named={"Paper": published}), results)
    assert list(collected.frame["model"].unique()) == [
        "nnUNetTrainer",
        "AttentionUNetTrainer",
        "Paper",
    ]
    assert collected.missing == ()
    model_folder = results / "Dataset001_One" / "nnUNetTrainer__nnUNetPlans__3d_fullres"
    key = ("Dataset001_One", "3d_fullres", "nnUNetTrainer")
    assert collected.validations[(*key, 1)] == model_folder / "fold_1" / "validation"


def test_labels_of_named_results_are_named_as_those_of_the_trained_models(results, published):
    for model_folder in (results / "Dataset001_One").iterdir():
        (model_folder / "dataset.json").write_text(
            '{"channel_names": {"0": "CT"}, "labels": {"background": 0, "liver": 1}, '
            '"file_ending": ".nii.gz"}'
        )
    collected = collect_results(request(named={"Paper": published}), results)
    assert set(collected.frame["label"]) == {"liver"}


def test_missing_folds_are_named_all_at_once(results, published):
    for root in (results / "Dataset001_One" / "nnUNetTrainer__nnUNetPlans__3d_fullres", published):
        next(root.rglob("fold_1/validation/summary.json")).unlink()
    with pytest.raises(CommandError) as caught:
        collect_results(request(named={"Paper": published}), results)
    message = str(caught.value)
    assert message.startswith("2 fold(s) without results: ")
    assert str(published / "Dataset001_One" / "3d_fullres" / "fold_1") in message
    assert "nnUNetTrainer__nnUNetPlans__3d_fullres/fold_1" in message
    assert "--allow-incomplete" in message


def test_what_is_there_is_read_where_incomplete_results_are_allowed(results, published):
    (
        published / "Dataset001_One" / "3d_fullres" / "fold_1" / "validation" / "summary.json"
    ).unlink()
    trained = (("nnUNetTrainer", "nnUNetPlans"), ("OtherTrainer", "nnUNetPlans"))
    collected = collect_results(
        request(trained=trained, named={"Paper": published}, allow_incomplete=True), results
    )
    assert set(collected.frame["model"]) == {"nnUNetTrainer", "Paper"}
    # Both folds of the model that is not there at all.
    assert len(collected.missing) == 3


def test_parameters_are_asked_for_trained_models_only(results, published):
    asked = []

    def count(trainer, plans, dataset_json, configuration):
        asked.append((trainer, plans.name, dataset_json.name, configuration))
        return 5

    collected = collect_results(request(named={"Paper": published}), results, count)
    assert asked == [
        (trainer, "plans.json", "dataset.json", "3d_fullres")
        for trainer in ("nnUNetTrainer", "AttentionUNetTrainer")
    ]
    key = ("Dataset001_One", "3d_fullres")
    assert collected.costs[(*key, "nnUNetTrainer")].parameters == 5
    assert not collected.costs[(*key, "Paper")].is_known


def write_splits(folder: Path, *validated: list[str]) -> Path:
    """Of the four cases; each fold trains on all that it does not validate."""
    path = folder / "Dataset001_One" / "splits_final.json"
    path.parent.mkdir(parents=True, exist_ok=True)
    splits = [{"train": sorted(set(CASES) - set(val)), "val": val} for val in validated]
    path.write_text(json.dumps(splits))
    return path


AS_DEALT = (["case_0", "case_2"], ["case_1", "case_3"])


def test_a_case_that_its_fold_was_trained_on_is_refused_and_named(results, tmp_path, monkeypatch):
    monkeypatch.setenv("nnUNet_preprocessed", str(tmp_path / "preprocessed"))
    path = write_splits(tmp_path / "preprocessed", ["case_0"], AS_DEALT[1])
    with pytest.raises(CommandError) as caught:
        collect_results(request(), results)
    message = str(caught.value)
    assert "fold_0/validation/summary.json holds 1 case(s) that fold 0 was trained on" in message
    assert "such as case_2" in message
    assert str(path) in message


def test_fold_all_may_hold_what_it_was_trained_on(tmp_path, monkeypatch):
    monkeypatch.setenv("nnUNet_preprocessed", str(tmp_path / "preprocessed"))
    write_splits(tmp_path / "preprocessed", *AS_DEALT)
    model = tmp_path / "results" / "Dataset001_One" / "nnUNetTrainer__nnUNetPlans__3d_fullres"
    write_folds(model, CASES, folds=1)
    (model / "fold_0").rename(model / "fold_all")
    asked = request(folds=("all",), trained=(("nnUNetTrainer", "nnUNetPlans"),))
    collected = collect_results(asked, tmp_path / "results", None, lambda folds: True)
    assert set(collected.frame["case"]) == set(CASES)
    assert collected.splits == {}


def test_other_results_are_judged_by_splits_beside_them_alone(published, tmp_path, monkeypatch):
    """Those of nnUNet_preprocessed need not be the splits of somebody else's results."""
    monkeypatch.setenv("nnUNet_preprocessed", str(tmp_path / "preprocessed"))
    write_splits(tmp_path / "preprocessed", AS_DEALT[1], AS_DEALT[0])
    asked = request(trained=(), named={"Paper": published})
    collected = collect_results(asked, None, None, lambda folds: True)
    # Not what was used, so it is not named as such.
    assert collected.splits == {}
    write_splits(published, *AS_DEALT)
    assert collect_results(asked, None, None, lambda folds: True).splits == {
        "Dataset001_One": KnownSplit(2, True)
    }
    write_splits(published, AS_DEALT[1], AS_DEALT[0])
    with pytest.raises(CommandError, match=r"2 case.s. that fold 0 was trained on, such as case_0"):
        collect_results(asked, None)


@pytest.mark.parametrize("answer", [True, False])
def test_a_split_that_all_results_follow_is_known(results, tmp_path, monkeypatch, answer):
    monkeypatch.setenv("nnUNet_preprocessed", str(tmp_path / "preprocessed"))
    write_splits(tmp_path / "preprocessed", *AS_DEALT)
    asked = []

    def is_nnunet_split(folds):
        asked.append([fold["val"] for fold in folds])
        return answer

    collected = collect_results(request(), results, None, is_nnunet_split)
    assert asked == [list(AS_DEALT)]
    assert collected.splits == {"Dataset001_One": KnownSplit(2, answer)}


def test_without_splits_none_is_known(results):
    assert collect_results(request(), results, None, lambda folds: True).splits == {}


def test_by_default_the_folds_are_those_of_the_splits(results, tmp_path, monkeypatch):
    monkeypatch.setenv("nnUNet_preprocessed", str(tmp_path / "preprocessed"))
    write_splits(tmp_path / "preprocessed", *AS_DEALT)
    collected = collect_results(request(folds=None), results)
    assert set(collected.frame["fold"]) == {0, 1}
    assert collected.missing == ()


def test_splits_of_this_machine_do_not_choose_the_folds_of_other_results_alone(
    published, tmp_path, monkeypatch
):
    monkeypatch.setenv("nnUNet_preprocessed", str(tmp_path / "preprocessed"))
    write_splits(tmp_path / "preprocessed", AS_DEALT[0])
    asked = request(folds=None, trained=(), named={"Paper": published})
    with pytest.raises(CommandError, match=r"^3 fold.s. without results"):
        collect_results(asked, None)
    write_splits(published, *AS_DEALT)
    assert set(collect_results(asked, None).frame["fold"]) == {0, 1}


def test_without_splits_five_folds_are_wanted_by_default(results):
    with pytest.raises(CommandError, match=r"^6 fold.s. without results"):
        collect_results(request(folds=None), results)


def seven_folds(folder: Path) -> Path:
    """Results of seven cases, each in a fold of its own."""
    model = folder / "Dataset001_One" / "3d_fullres"
    write_folds(model, {f"case_{n}": {"1": 0.5 + n / 10} for n in range(5)}, folds=5)
    for number in (5, 6):
        write_folds(model / f"of_{number}", {f"case_{number}": {"1": 0.5}}, folds=1)
        (model / f"of_{number}" / "fold_0").rename(model / f"fold_{number}")
    return folder


def of_others(**named: Path) -> Request:
    return request(folds=None, trained=(), named=named)


def test_without_splits_no_fold_that_a_model_has_is_left_out(tmp_path):
    folder = seven_folds(tmp_path / "seven")
    model = folder / "Dataset001_One" / "3d_fullres"
    (model / "fold_all").mkdir()
    (model / "fold_9_old").mkdir()
    assert set(collect_results(of_others(A=folder), None).frame["fold"]) == set(range(7))
    five = tmp_path / "five"
    write_folds(five / "Dataset001_One" / "3d_fullres", {f"case_{n}": {"1": 0.5} for n in range(5)},
                folds=5)  # fmt: skip
    for named in ({"A": folder, "B": five}, {"B": five, "A": folder}):
        with pytest.raises(CommandError, match=r"^2 fold.s. without.*fold_5.*fold_6"):
            collect_results(of_others(**named), None)


def test_of_trained_models_too(results, tmp_path):
    model = results / "Dataset001_One" / "AttentionUNetTrainer__nnUNetPlans__3d_fullres"
    (model / "fold_5").mkdir()
    # Folds 2 to 5 of both.
    with pytest.raises(CommandError, match=r"^8 fold.s. without.*nnUNetTrainer__.*fold_5"):
        collect_results(request(folds=None), results)


def test_splits_may_lie_beside_a_configurations_folds(tmp_path):
    folder = seven_folds(tmp_path / "seven")
    model = folder / "Dataset001_One" / "3d_fullres"
    cases = [f"case_{n}" for n in range(7)]
    splits = [{"train": [one for one in cases if one != case], "val": [case]} for case in cases]
    (model / "splits_final.json").write_text(json.dumps(splits))
    collected = collect_results(of_others(A=folder), None, None, lambda folds: False)
    assert set(collected.frame["case"]) == set(cases)
    assert collected.splits == {"Dataset001_One": KnownSplit(7, False)}
    # It is taken before one for all configurations, as it is for the cases of each fold.
    (folder / "Dataset001_One" / "splits_final.json").write_text(json.dumps(splits[:2]))
    collected = collect_results(of_others(A=folder), None, None, lambda folds: False)
    assert set(collected.frame["case"]) == set(cases)
    assert collected.splits == {"Dataset001_One": KnownSplit(7, False)}


def test_of_several_splits_the_one_with_most_folds_counts(published, tmp_path):
    write_splits(published, *AS_DEALT)
    folder = seven_folds(tmp_path / "seven")
    write_splits(folder, *([f"case_{n}"] for n in range(7)))
    for named in ({"A": published, "B": folder}, {"B": folder, "A": published}):
        with pytest.raises(CommandError, match=r"^5 fold.s. without.*published.*fold_6"):
            collect_results(of_others(**named), None)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"trained": ()}, "nothing to compare; name trainers with -tr"),
        ({"trained": (("A", "P"), ("A", "P"))}, "trained: .* given twice"),
        ({"folds": ("0", "0")}, "folds: 0 given twice"),
        ({"datasets": ("1", "001")}, "Dataset001_One is given twice, as 1 and 001; name it once"),
        ({"datasets": ("1", "Dataset001_One")}, "is given twice, as 1 and Dataset001_One"),
        ({"datasets": ("7",)}, "data set 7: no such data sets in .*Dataset001_One"),
        ({"trained": (("OtherTrainer", "nnUNetPlans"),)}, "no such model.*nnUNetTrainer__nnUNet"),
        ({"configurations": ("2d",)}, "there is no such model"),
        ({"named": {"nnUNetTrainer": Path("PUBLISHED")}}, "a trained model already has this name"),
        ({"named": {"Paper": Path("nowhere")}}, "--results Paper=nowhere: there is no such"),
    ],
)
def test_bad_requests_are_named(changes, message, results):
    with pytest.raises(CommandError, match=message):
        collect_results(request(**changes), results)


def test_without_nnunet_results_trained_models_are_an_error():
    with pytest.raises(CommandError, match="nnUNet_results is not set"):
        collect_results(request(), None)
