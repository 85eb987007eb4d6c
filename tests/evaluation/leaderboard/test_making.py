"""One call makes a leaderboard: from results on disk to the written files."""

import json
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest
import SimpleITK
from results_folders import write_folds

from nnunet_attention.errors import CommandError
from nnunet_attention.evaluation import Request, Settings, Surfaces, make_leaderboard
from nnunet_attention.evaluation.leaderboard.making import default_metrics, references_of

CASES = {f"case_{n}": {"1": 0.5 + n / 40} for n in range(6)}
BETTER = {case: {"1": dice["1"] + 0.1} for case, dice in CASES.items()}
NAMES = [f"leaderboard.{ending}" for ending in ("json", "csv", "md", "tex", "html")]
SMALL = Settings(metrics=("dice",), interval_resamples=99, rank_resamples=20)


@pytest.fixture(autouse=True)
def no_variables(monkeypatch):
    for variable in ("nnUNet_results", "nnUNet_preprocessed", "nnUNet_raw"):
        monkeypatch.delenv(variable, raising=False)


@pytest.fixture
def request_(tmp_path) -> Request:
    named = {name: tmp_path / name for name in ("Paper", "Lab")}
    for folder, cases in zip(named.values(), (CASES, BETTER), strict=True):
        write_folds(folder / "Dataset001_One" / "3d_fullres", cases)
    return Request(datasets=("1",), folds=("0", "1"), named=named)


def record(folder: Path) -> dict:
    return json.loads((folder / "leaderboard.json").read_text())


def test_a_request_is_all_that_is_needed(request_, tmp_path):
    paths = make_leaderboard(request_, tmp_path / "out")
    assert paths == [tmp_path / "out" / name for name in NAMES]
    assert all(path.is_file() for path in paths)
    made = record(tmp_path / "out")
    assert made["models"] == ["Paper", "Lab"]
    assert made["settings"]["metrics"] == list(default_metrics(False))


def test_the_board_is_shown_before_it_is_written(request_, tmp_path):
    seen = []

    def look(board):
        seen.append((board.models, (tmp_path / "out").exists()))

    make_leaderboard(request_, tmp_path / "out", SMALL, on_board=look)
    assert seen == [(("Paper", "Lab"), False)]


def test_trained_models_are_found_by_the_variable_and_what_needs_torch_is_asked(
    tmp_path, monkeypatch
):
    model = "nnUNetTrainer__nnUNetPlans__3d_fullres"
    write_folds(tmp_path / "results" / "Dataset001_One" / model, CASES)
    request = Request(
        datasets=("1",), folds=("0", "1"), trained=(("nnUNetTrainer", "nnUNetPlans"),)
    )
    with pytest.raises(CommandError, match="nnUNet_results is not set"):
        make_leaderboard(request, tmp_path / "out", SMALL)
    monkeypatch.setenv("nnUNet_results", str(tmp_path / "results"))
    make_leaderboard(request, tmp_path / "out", SMALL, count_parameters=lambda *what: 31_000_000)
    assert [cost["parameters"] for cost in record(tmp_path / "out")["costs"]] == [31_000_000]
    monkeypatch.delenv("nnUNet_results")
    make_leaderboard(request, tmp_path / "again", SMALL, results_dir=tmp_path / "results")
    assert record(tmp_path / "again")["models"] == ["nnUNetTrainer"]


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        (Settings(metrics=("dize",)), "unknown metric 'dize'"),
        (Settings(metrics=("hd95_mm",)), "no hd95_mm; measure them with --surface"),
        (Settings(policy="strict"), "unknown policy 'strict'"),
    ],
)
def test_bad_settings_leave_no_folder(request_, tmp_path, settings, message):
    with pytest.raises(CommandError, match=message):
        make_leaderboard(request_, tmp_path / "out", settings)
    assert not (tmp_path / "out").exists()


def test_a_folder_that_cannot_be_written_is_named_before_anything_is_read(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(CommandError, match="-o: cannot write in"):
        make_leaderboard(Request(datasets=("1",)), tmp_path / "file" / "out")


def write_mask(path: Path, mask: np.ndarray) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    image = SimpleITK.GetImageFromArray(mask.astype(np.uint8))
    image.SetSpacing((1.0, 2.0, 3.0))
    SimpleITK.WriteImage(image, str(path))


def test_surfaces_are_measured_with_the_tolerances_given(tmp_path):
    """Each prediction lies one slice of 3 mm above its reference."""
    fold = tmp_path / "own" / "Dataset001_One" / "3d_fullres" / "fold_0"
    mask = np.zeros((4, 5, 6))
    mask[1, 1:3, 1:4] = 1
    counts = {"TP": 0, "FP": 6, "FN": 6, "TN": 108, "n_pred": 6, "n_ref": 6}
    entries = []
    for case in ("a", "b"):
        write_mask(tmp_path / "gt" / f"{case}.nii.gz", mask)
        write_mask(fold / "validation" / f"{case}.nii.gz", np.roll(mask, 1, 0))
        entries.append(
            {
                "reference_file": f"{case}.nii.gz",
                "metrics": {"1": {"Dice": 0.0, "IoU": 0.0, **counts}},
            }
        )
    (fold / "validation" / "summary.json").write_text(json.dumps({"metric_per_case": entries}))
    (tmp_path / "own" / "Dataset001_One" / "dataset.json").write_text(
        '{"channel_names": {"0": "CT"}, "labels": {"background": 0, "organ": 1}, '
        '"file_ending": ".nii.gz"}'
    )
    (tmp_path / "gt" / "dataset.json").write_text(
        (tmp_path / "own" / "Dataset001_One" / "dataset.json").read_text()
    )
    told = []

    @contextmanager
    def progress():
        told.append("begun")
        yield lambda done, total: told.append((done, total))
        told.append("ended")

    make_leaderboard(
        Request(datasets=("1",), folds=("0",), named={"Own": tmp_path / "own"}),
        tmp_path / "out",
        surfaces=Surfaces(tmp_path / "gt", 2.0, {"organ": 3.0}),
        progress=progress,
    )
    made = record(tmp_path / "out")
    means = {row["metric"]: row["models"]["Own"]["mean"] for row in made["rows"]}
    assert (means["assd_mm"], means["nsd"]) == (3.0, 1.0)
    assert made["settings"]["tolerance_mm"] == "3 mm"
    assert told == ["begun", (0, 2), (1, 2), (2, 2), "ended"]


def test_references_are_looked_for_where_nnunet_has_them(tmp_path, monkeypatch):
    with pytest.raises(CommandError, match="no folder, as neither variable is set"):
        references_of("Dataset001_One", None, True)
    monkeypatch.setenv("nnUNet_raw", str(tmp_path / "raw"))
    monkeypatch.setenv("nnUNet_preprocessed", str(tmp_path / "preprocessed"))
    raw = tmp_path / "raw" / "Dataset001_One" / "labelsTr"
    raw.mkdir(parents=True)
    assert references_of("Dataset001_One", None, False) == raw
    preprocessed = tmp_path / "preprocessed" / "Dataset001_One" / "gt_segmentations"
    preprocessed.mkdir(parents=True)
    assert references_of("Dataset001_One", None, False) == preprocessed


def test_a_folder_holds_references_itself_only_for_one_data_set(tmp_path):
    assert references_of("Dataset001_One", tmp_path, True) == tmp_path
    with pytest.raises(CommandError, match="no reference segmentations of Dataset001_One"):
        references_of("Dataset001_One", tmp_path, False)
