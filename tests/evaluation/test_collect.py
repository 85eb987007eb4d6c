"""Which results are found, and what is said of those that are not."""

from pathlib import Path

import pytest
from results_folders import write_folds

from nnunet_attention.errors import CommandError
from nnunet_attention.evaluation.collect import Request, collect_results

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


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"trained": ()}, "nothing to compare; name trainers with -tr"),
        ({"trained": (("A", "P"), ("A", "P"))}, "trained: .* given twice"),
        ({"folds": ("0", "0")}, "folds: 0 given twice"),
        ({"datasets": ("7",)}, "data set 7: no such data sets in .*Dataset001_One"),
        ({"trained": (("OtherTrainer", "nnUNetPlans"),)}, "no such model.*nnUNetTrainer__nnUNet"),
        ({"configurations": ("2d",)}, "there is no such model"),
        ({"named": {"nnUNetTrainer": Path("PUBLISHED")}}, "a trained model has this name"),
        ({"named": {"Paper": Path("nowhere")}}, "--results Paper=nowhere: there is no such"),
    ],
)
def test_bad_requests_are_named(changes, message, results):
    with pytest.raises(CommandError, match=message):
        collect_results(request(**changes), results)


def test_without_nnunet_results_trained_models_are_an_error():
    with pytest.raises(CommandError, match="nnUNet_results is not set"):
        collect_results(request(), None)
