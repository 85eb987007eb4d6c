"""Lists the stages, the most valuable first: tests, data loading, tables, trainings."""

from __future__ import annotations

import statistics
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from xml.etree import ElementTree

from benchmarks.gpu.data import CONFIGURATION
from benchmarks.gpu.running import Stage
from benchmarks.gpu.work import Work
from nnunet_attention.errors import CommandError
from nnunet_attention.evaluation.leaderboard.costs import epoch_seconds, read_cost
from nnunet_attention.files import read_json
from nnunet_attention.nnunet.checkpoints import FINAL
from nnunet_attention.nnunet.dataset_json import DATASET_JSON
from nnunet_attention.nnunet.model_folders import ModelName, fold_folder, validation_summary
from nnunet_attention.nnunet.planners import STOCK_PLANS
from nnunet_attention.nnunet.summary_json import case_name

ROOT = Path(__file__).resolve().parents[2]
PYTHON = Path(sys.executable).name
# The first is the baseline.
MODELS = {"nnU-Net": "nnUNetTrainer_short", "Attention U-Net": "AttentionUNetTrainer_short"}
# Networks that are compared with the plain one in one stage. Each has to be compiled, and a stage
# must not take long; ratios are to the plain network of the same group.
GROUPS: dict[str, tuple[str, ...]] = {
    "gates": ("plain again (control)", "attention"),
    "baselines": ("attention, full resolution gated", "wide"),
    "upsample first": ("upsample first", "upsample first, norms"),
    "MONAI": ("MONAI AttentionUnet",),
    "norms": ("attention, torch's norms", "plain, our norms"),
    "layouts": ("attention, output transform", "plain, channels last", "attention, channels last"),
}
CASES = ("hippocampus", "pancreas", "resenc")
_FIRST_GROUP = "gates"
_MOST_EPOCHS = 1000
_EPOCHS_MEASURED = 2
# Used if the time that a command takes besides its epochs is not known.
_USUAL_OVERHEAD_SECONDS = 90.0


@dataclass(frozen=True)
class Settings:
    """Defines how much is done.

    Attributes:
        device: cuda or cpu.
        iterations: training iterations in an epoch.
        validation_iterations: iterations for the pseudo Dice in an epoch.
        workers: numbers of processes with which data loading is measured.
        batches: number of batches that are loaded.
        rounds: rounds of each timing.
        tables: cases of the tables, each with its groups of networks.
        seeds: seeds of the trainings of fold 0.
        folds: folds of the trainings with the first seed.
        most_epochs: the most epochs of a training.
    """

    device: str
    iterations: int
    validation_iterations: int
    workers: tuple[int, ...]
    batches: int
    rounds: int
    tables: tuple[tuple[str, tuple[str, ...]], ...]
    seeds: tuple[int, ...]
    folds: tuple[int, ...]
    most_epochs: int


def on_gpu(cpus: int) -> Settings:
    """Return settings with nnU-Net's epochs and batches, and its plans in full."""
    workers = tuple(number for number in (2, 4, 8, 12, 16, 24, 32) if number <= cpus)
    return Settings(
        *("cuda", 250, 50, workers or (cpus,), 100, 15),
        tables=tuple((case, tuple(GROUPS)) for case in CASES),
        seeds=(0, 1, 2),
        folds=(0, 1, 2, 3, 4),
        most_epochs=_MOST_EPOCHS,
    )


def reduced(cpus: int) -> Settings:
    """Return settings that run the same stages in minutes on a CPU; the numbers mean nothing."""
    tables = (("hippocampus", tuple(GROUPS)),)
    return Settings(
        *("cpu", 2, 1, (1, 2)[:cpus], 3, 2), tables, seeds=(0, 1), folds=(0,), most_epochs=2
    )


def all_stages(
    work: Work,
    settings: Settings,
    finished: Mapping[str, dict],
    training_seconds: float,
    data: Path | None = None,
) -> list[Stage]:
    """List the stages, given the results so far, without those that need missing or failed ones.

    Args:
        work: the folder of the run.
        settings: how much is done.
        finished: results by the names of their stages.
        training_seconds: for the first two trainings together.
        data: folder of the Decathlon, if there are no preprocessed data yet.
    """
    files = test_files(settings.device)
    tables = list(_tables(work, settings))
    first = [table for table in tables if table.name.endswith(f"_{_FIRST_GROUP}")]
    of_data = _of_data(work, settings, finished, training_seconds, data)
    return [
        *(_tests(work, settings, path) for path in files[:1]),
        *of_data["loading"],
        *first,
        *(_tests(work, settings, path) for path in files[1:]),
        *of_data["first trainings"],
        _levers(work, settings),
        _resampling(work, settings),
        *(table for table in tables if table not in first),
        *of_data["more trainings"],
    ]


def test_files(device: str) -> list[Path]:
    """List the files with tests for a device, the networks' first: they matter to all others."""
    # On a CPU, the tests that use stand-ins.
    mark = "from devices import" if device == "cuda" else "@each_device"
    marked = [
        path
        for path in sorted((ROOT / "tests").rglob("test_*.py"))
        if f"\n{mark}" in path.read_text(encoding="utf-8")
    ]
    return sorted(marked, key=lambda path: path.parent.name != "networks")


def _tests(work: Work, settings: Settings, path: Path) -> Stage:
    name = "tests_" + "_".join(path.relative_to(ROOT / "tests").with_suffix("").parts)
    chosen = "gpu" if settings.device == "cuda" else "not gpu and not slow and not exhaustive"
    command = (
        *(PYTHON, "-m", "pytest", str(path.relative_to(ROOT)), "-m", chosen, "-q", "-rs"),
        *("-p", "no:cacheprovider", "--junitxml", str(work.scratch(name) / "tests.xml")),
    )
    return Stage(name, lambda scratch: read_tests(scratch / "tests.xml"), command)


def read_tests(path: Path) -> dict:
    """Read the outcomes of all tests from the report that pytest writes."""
    tests = []
    for case in ElementTree.parse(path).getroot().iter("testcase"):
        outcome, message = "passed", ""
        for part in case:
            if part.tag in ("failure", "error", "skipped"):
                outcome = {"failure": "failed", "error": "failed"}.get(part.tag, part.tag)
                message = part.get("message", "").splitlines()[0] if part.get("message") else ""
        tests.append(
            {
                "name": f"{case.get('classname')}::{case.get('name')}",
                "outcome": outcome,
                "message": message,
                "seconds": float(case.get("time", 0)),
            }
        )
    return {"tests": tests}


def _tables(work: Work, settings: Settings) -> Iterator[Stage]:
    groups = list(GROUPS)
    pairs = [
        (group, case) for case, chosen in settings.tables for group in chosen if group in groups
    ]
    # All cases of a group before the next group.
    for group, case in sorted(pairs, key=lambda pair: groups.index(pair[0])):
        name = f"table_{case}_{group.replace(' ', '_')}"
        command = [
            *(PYTHON, "-m", "benchmarks.performance", "--device", settings.device),
            *("--cases", case, "--rounds", str(settings.rounds), "--networks", *GROUPS[group]),
            *("-o", str(work.scratch(name))),
        ]
        if settings.device == "cpu":
            command.append("--smallest")
        if group != _FIRST_GROUP:
            command.append("--no-gates")
        yield Stage(
            name,
            lambda scratch, case=case: read_json(scratch / f"{case}.json"),
            command,
            expected_seconds=240.0 if settings.device == "cuda" else 20.0,
        )


def _levers(work: Work, settings: Settings) -> Stage:
    command = (
        *(PYTHON, "-m", "benchmarks.performance.levers", "--device", settings.device),
        *("--rounds", str(2 * settings.rounds), "-o", str(work.scratch("levers"))),
    )
    return Stage(
        "levers",
        lambda scratch: read_json(scratch / "levers.json"),
        command,
        expected_seconds=120.0,
    )


def _resampling(work: Work, settings: Settings) -> Stage:
    command = (
        *(PYTHON, "-m", "benchmarks.resampling", "--device", settings.device),
        *("--rounds", str(settings.rounds), "-o", str(work.scratch("resampling"))),
    )
    return Stage(
        "resampling",
        lambda scratch: read_json(scratch / f"{settings.device}.json"),
        command,
        expected_seconds=90.0,
    )


def _of_data(
    work: Work,
    settings: Settings,
    finished: Mapping[str, dict],
    training_seconds: float,
    data: Path | None,
) -> dict[str, list[Stage]]:
    stages: dict[str, list[Stage]] = {"loading": [], "first trainings": [], "more trainings": []}
    scratch = work.scratch("data")
    command = [PYTHON, "-m", "benchmarks.gpu.data", "-w", str(work.root)]
    command += ["-o", str(scratch / "data.json")]
    command += ["--data", str(data)] if data else []
    command += ["--phantom"] if settings.device == "cpu" else []
    stages["loading"] = [Stage("data", lambda folder: read_json(folder / "data.json"), command)]
    if not _good(finished, "data"):
        return stages
    dataset = finished["data"]["found"]["dataset"]
    loading = [_loading(work, settings, dataset, number) for number in settings.workers]
    stages["loading"] += loading
    if any(stage.name not in finished for stage in loading):
        return stages
    epochs = [_epoch(work, settings, dataset, finished, model) for model in MODELS]
    stages["first trainings"] = list(epochs)
    if not all(_good(finished, stage.name) for stage in epochs):
        return stages
    stages["first trainings"].append(
        Stage(
            "epochs",
            lambda _: choose_epochs(finished, training_seconds, settings.most_epochs),
        )
    )
    if not _good(finished, "epochs"):
        return stages
    number = finished["epochs"]["found"]["epochs"]
    runs = [(seed, settings.folds[0]) for seed in settings.seeds]
    runs += [(settings.seeds[0], fold) for fold in settings.folds[1:]]
    for place, (seed, fold) in enumerate(runs):
        stages["more trainings" if place else "first trainings"] += [
            _training(work, settings, dataset, finished, model, seed, fold, number)
            for model in MODELS
        ]
    return stages


def _good(finished: Mapping[str, dict], name: str) -> bool:
    return name in finished and finished[name]["ok"]


def _loading(work: Work, settings: Settings, dataset: str, workers: int) -> Stage:
    name = f"loading_{workers}"
    file = work.scratch(name) / "loading.json"
    command = (
        *(PYTHON, "-m", "benchmarks.gpu.loading", dataset, CONFIGURATION),
        *("--workers", str(workers), "--batches", str(settings.batches)),
        *("--device", settings.device, "-o", str(file)),
    )
    return Stage(name, lambda scratch: read_json(scratch / "loading.json"), command, work.folders())


def best_workers(finished: Mapping[str, dict]) -> int | None:
    """Return the fewest workers whose rate is within a twentieth of the best; None if unknown."""
    rates = {
        record["found"]["workers"]: record["found"]["batches_per_second"]
        for name, record in finished.items()
        if name.startswith("loading_") and record["ok"]
    }
    if not rates:
        return None
    return min(number for number, rate in rates.items() if rate >= 0.95 * max(rates.values()))


def _variables(
    settings: Settings, finished: Mapping[str, dict], epochs: int, seed: int
) -> dict[str, str]:
    from nnunet_attention.nnunet.schedules import SCHEDULE_VARIABLE
    from nnunet_attention.nnunet.seeds import VARIABLE as SEED_VARIABLE

    schedule = (epochs, settings.iterations, settings.validation_iterations)
    workers = best_workers(finished)
    return {
        SCHEDULE_VARIABLE: ",".join(map(str, schedule)),
        SEED_VARIABLE: str(seed),
        "PYTHONUNBUFFERED": "1",
        **({} if workers is None else {"nnUNet_n_proc_DA": str(workers)}),
    }


def _slug(model: str) -> str:
    return model.lower().replace(" ", "_").replace("-", "")


def _model_folder(results: Path, dataset: str, trainer: str) -> Path:
    return results / dataset / ModelName(trainer, STOCK_PLANS, CONFIGURATION).folder


def _epoch(
    work: Work, settings: Settings, dataset: str, finished: Mapping[str, dict], model: str
) -> Stage:
    name = f"epoch_{_slug(model)}"
    results = work.scratch(name) / "nnUNet_results"
    trainer = MODELS[model]
    fold = fold_folder(_model_folder(results, dataset, trainer), 0)

    def read(_: Path) -> dict:
        seconds = epoch_seconds(fold)
        read_json(validation_summary(fold))
        return {
            "model": model,
            "epoch_seconds": [seconds[epoch] for epoch in range(_EPOCHS_MEASURED)],
        }

    return Stage(
        name,
        read,
        (
            *("nnUNetv2_train", dataset, CONFIGURATION, "0", "-tr", trainer),
            *("-device", settings.device),
        ),
        {**work.folders(results), **_variables(settings, finished, _EPOCHS_MEASURED, 0)},
        120.0 if settings.device == "cuda" else 30.0,
    )


def choose_epochs(
    finished: Mapping[str, dict], training_seconds: float, most: int = _MOST_EPOCHS
) -> dict:
    """Choose as many epochs, equal for both models, as fit in the time for their first trainings.

    The first epoch compiles, so the last one shows how long an epoch takes; everything else that a
    command does, including validation, is done once per training.
    """
    seconds, overhead = {}, 0.0
    for model in MODELS:
        record = finished[f"epoch_{_slug(model)}"]
        measured = record["found"]["epoch_seconds"]
        seconds[model] = measured[-1]
        rest = _USUAL_OVERHEAD_SECONDS
        if record["seconds"] is not None:
            rest = max(0.0, record["seconds"] - len(measured) * measured[-1])
        overhead += rest
    fitting = int((training_seconds - overhead) / sum(seconds.values()))
    return {
        "epochs": max(1, min(most, fitting)),
        "epoch_seconds": seconds,
        "overhead_seconds": overhead,
        "training_seconds": training_seconds,
    }


def _training(
    work: Work,
    settings: Settings,
    dataset: str,
    finished: Mapping[str, dict],
    model: str,
    seed: int,
    fold: int,
    epochs: int,
) -> Stage:
    name = f"training_{_slug(model)}_seed{seed}_fold{fold}"
    trainer = MODELS[model]
    results = work.trained(seed)
    folder = _model_folder(results, dataset, trainer)
    trained = fold_folder(folder, fold)
    logs = work.root / "crossval" / name

    def read(_: Path) -> dict:
        of_epochs = epoch_seconds(trained)
        if not (trained / FINAL).is_file():
            raise CommandError(f"{folder}: fold {fold} is not finished")
        summary = read_json(validation_summary(trained))
        labels = read_json(work.preprocessed / dataset / DATASET_JSON)["labels"]
        return {
            **{"dataset": dataset, "model": model, "trainer": trainer, "seed": seed, "fold": fold},
            **{
                "epochs": epochs,
                "iterations": settings.iterations,
                "workers": best_workers(finished),
            },
            "median_epoch_seconds": statistics.median(of_epochs.values()),
            "seconds_per_case": read_cost(folder, [fold]).seconds_per_case,
            "dice": dice_of_cases(summary, labels),
        }

    return Stage(
        name,
        read,
        (
            *("nnunet-attention", "crossval", "-d", dataset, "-c", CONFIGURATION, "-tr", trainer),
            *("-f", str(fold), "-device", settings.device, "--no-leaderboard", "-o", str(logs)),
        ),
        {**work.folders(results), **_variables(settings, finished, epochs, seed)},
        expected_seconds=90.0 if settings.device == "cuda" else 40.0,
        goes_on=True,
    )


def dice_of_cases(
    summary: Mapping, labels: Mapping[str, int]
) -> dict[str, dict[str, float | None]]:
    """Return Dice by case and name of the label; None where both masks are empty."""
    names = {str(value): name for name, value in labels.items() if isinstance(value, int)}
    dice_by_case = {}
    for case in summary["metric_per_case"]:
        values = {
            names.get(label, label): None if (dice := numbers["Dice"]) != dice else dice
            for label, numbers in case["metrics"].items()
        }
        dice_by_case[case_name(case["prediction_file"])] = values
    return dice_by_case
