"""Runs the missing steps of the study: trainings, shifted images, maps, ablations."""

from __future__ import annotations

import os
import shutil
from collections.abc import Collection, Iterable, Mapping, Sequence
from pathlib import Path
from typing import TypeAlias

from benchmarks.hippocampus.schedules import STOCK, Variant
from benchmarks.preparation import run_shown
from benchmarks.where_gates_help.collected import collected_trainings, key_of
from benchmarks.where_gates_help.design import (
    ATTENTION,
    IN_DOMAIN,
    MAPPED_CASES,
    OUT_OF_DOMAIN,
    PHANTOM_2D,
    PILOT,
    PREDICTIONS,
    SEEDS,
    STEPS,
    SUPERVISED,
    TRAININGS,
    WARM_SEEDS,
    Data,
    Part,
)
from benchmarks.where_gates_help.pilot import (
    pilot_key,
    pilot_lines,
    read_pilot,
    require_pilot,
    write_pilot,
)
from benchmarks.where_gates_help.places import (
    ablated_folder,
    folders,
    mapped_folder,
    model_folder,
    seed_folders,
    shifted_folder,
    task_folder,
    warm_folders,
)
from benchmarks.where_gates_help.preparing import (
    check_design,
    phantom_split,
    prepare,
    start_on_this_machine,
)
from nnunet_attention.errors import CommandError
from nnunet_attention.files import read_json, remove
from nnunet_attention.nnunet.checkpoints import FINAL
from nnunet_attention.nnunet.dataset_json import DATASET_JSON
from nnunet_attention.nnunet.folders import RAW_REFERENCES, Folders
from nnunet_attention.nnunet.model_folders import (
    SUMMARY,
    fold_folder,
    validation_summary,
)

# What `nnunet-attention ablate` writes when it has finished.
RECORD = "ablation.json"
# Those that keep how much a gate passes, on which verdicts rest.
_REPLACEMENTS = ("mean", "shuffled", "other_case", "uniform")
# Folds by seed and network.
_Missing: TypeAlias = Mapping[int, Mapping[Variant, Sequence[str]]]
_IN_PROCESS = ("-device", "cpu", "-npp", "1", "-nps", "1")


class _CommandFailedError(Exception):
    """A command failed; its exit code is the argument."""


def run(
    parts: Sequence[Part],
    work: Path,
    real_data: Path | None,
    processes: int,
    steps: Sequence[str] = STEPS,
    results: Path | None = None,
) -> int:
    """Run all missing steps of some parts.

    Args:
        parts: the parts, in their order.
        work: the folder for all output.
        real_data: folder with the real data sets; None if none is needed.
        processes: number of processes of conversion and preprocessing.
        steps: those of `STEPS`; without trainings, what follows those that are finished.
        results: where results were collected, whose trainings are not repeated and whose pilot
            counts; None to look only into the working folder.

    Returns:
        The exit code of the command that failed, or 0.

    Raises:
        CommandError: if the pilot left no room, or the folder or the results are of another design.
    """
    outcomes = {**(read_pilot(results) if results else {}), **read_pilot(work)}
    try:
        for part in parts:
            collected = collected_trainings(results, part) if results else set()
            for number, data in enumerate(part.data, 1):
                print(f"{part.name}, {number} of {len(part.data)}: {data.title}", flush=True)
                require_pilot(part, outcomes)
                check_design(part, data, work)
                missing = _missing(part, data, collected)
                if TRAININGS in steps and missing:
                    prepare(part, data, work, real_data, processes)
                    start_on_this_machine(work)
                    train = _train_on if part.warm else _train
                    train(part, data, work, processes, missing)
                if PREDICTIONS in steps and not part.warm:
                    _after_training(part, data, work, missing)
    except _CommandFailedError as failure:
        return int(failure.args[0])
    return 0


def pilot(parts: Sequence[Part], work: Path, real_data: Path | None, processes: int) -> int:
    """Train stock nnU-Net with the first seed, and tell whether the design leaves room.

    These are trainings of the study, which `run` does not repeat.

    Args:
        parts: those of which the pilot's data sets are trained.
        work: the folder for all output.
        real_data: folder with the real data sets; None if none is needed.
        processes: number of processes of conversion and preprocessing.

    Returns:
        The exit code: 1 if one of them has a ceiling or a floor, or there is no room; that of a
        command that failed.

    Raises:
        CommandError: if the folder is of another design.
    """
    outcomes = read_pilot(work)
    try:
        for part, data in PILOT:
            if part in parts:
                outcomes[pilot_key(part, data)] = _pilot_of(part, data, work, real_data, processes)
                write_pilot(work, outcomes)
    except _CommandFailedError as failure:
        return int(failure.args[0])
    lines = {part.name: pilot_lines(part, outcomes) for part in parts}
    for told in lines.values():
        for line, _ in told:
            print(line, flush=True)
    return 0 if all(fine for told in lines.values() for _, fine in told) else 1


def _pilot_of(
    part: Part, data: Data, work: Path, real_data: Path | None, processes: int
) -> dict[str, float]:
    """Train stock nnU-Net once; return its mean Dice by domain."""
    prepare(part, data, work, real_data, processes)
    start_on_this_machine(work)
    places, fold = folders(work), part.folds[0]
    variables = _variables(part, places)
    arguments = part.crossval_arguments(data, [STOCK.trainer], processes, repeats=1, folds=[fold])
    _run(["nnunet-attention", *arguments], variables)
    model = model_folder(places.results, part, data, STOCK)
    found = {IN_DOMAIN: _mean_dice(validation_summary(fold_folder(model, fold)))}
    if data.recipe is not None:
        output = shifted_folder(work, part, data, STOCK, SEEDS[0])
        _predict_shifted(model, part, data, work, output, variables)
        found[OUT_OF_DOMAIN] = _mean_dice(output / SUMMARY)
    return found


def _mean_dice(summary: Path) -> float:
    return read_json(summary)["foreground_mean"]["Dice"]


def _missing(part: Part, data: Data, collected: Collection[tuple]) -> _Missing:
    """Return by seed, for each network that is not collected whole, the folds that are not."""
    missing: dict[int, dict[Variant, list[str]]] = {}
    for seed in SEEDS:
        for network in part.networks:
            folds = [
                fold for fold in part.folds if key_of(data, network, seed, fold) not in collected
            ]
            if folds:
                missing.setdefault(seed, {})[network] = folds
    return missing


def _train(part: Part, data: Data, work: Path, processes: int, missing: _Missing) -> None:
    if missing == _missing(part, data, ()):
        trainers = [network.trainer for network in part.networks]
        arguments = part.crossval_arguments(data, trainers, processes)
        _run(["nnunet-attention", *arguments], _variables(part, folders(work)))
        return
    for seed, networks in missing.items():
        # In the folder, and with the seed, that the whole cross-validation gives this repeat.
        places = seed_folders(work, seed)
        places.results.mkdir(parents=True, exist_ok=True)
        for network, folds in networks.items():
            arguments = part.crossval_arguments(
                data, [network.trainer], processes, repeats=1, seed=seed, folds=folds
            )
            _run(["nnunet-attention", *arguments], _variables(part, places))


def _variables(part: Part, places: Folders) -> dict[str, str]:
    return {**os.environ, **places.variables, **part.variables()}


def _train_on(part: Part, data: Data, work: Path, processes: int, missing: _Missing) -> None:
    """Continue training the stock network of each seed, without gates and with them."""
    for seed, wanted in missing.items():
        cold = model_folder(seed_folders(work, seed).results, part, data, STOCK)
        plain = fold_folder(cold, part.folds[0]) / FINAL
        if not plain.is_file():
            raise CommandError(
                f"{plain} is missing, and the part {part.name} continues from it; run --only "
                f"{PHANTOM_2D.name} first, without --missing"
            )
        places = warm_folders(work, seed)
        places.results.mkdir(parents=True, exist_ok=True)
        variables = _variables(part, places)
        upgraded = places.results / "upgraded.pth"
        if not upgraded.is_file():
            _run(["nnunet-attention", "upgrade", str(plain), "-o", str(upgraded)], variables)
        for weights, networks in ((plain, (STOCK,)), (upgraded, (ATTENTION, SUPERVISED))):
            trainers = [network.trainer for network in networks if network in wanted]
            if not trainers:
                continue
            arguments = part.crossval_arguments(
                data,
                trainers,
                processes,
                repeats=1,
                seed=WARM_SEEDS + seed,
            )
            weights_option = ["-pretrained_weights", str(weights)]
            _run(["nnunet-attention", *arguments, *weights_option], variables)


def _after_training(part: Part, data: Data, work: Path, missing: _Missing) -> None:
    """Predict the out-of-domain images, write maps, and ablate the gates of finished trainings."""
    if data.recipe is None:
        return
    places = folders(work)
    variables = _variables(part, places)
    for seed, networks in missing.items():
        for network in networks:
            model = model_folder(seed_folders(work, seed).results, part, data, network)
            output = shifted_folder(work, part, data, network, seed)
            if not _is_finished(model, part):
                print(f"{model}: not trained yet", flush=True)
            elif not (output / SUMMARY).is_file():
                _predict_shifted(model, part, data, work, output, variables)
    if part is PHANTOM_2D:
        for network in (ATTENTION, SUPERVISED):
            model = model_folder(places.results, part, data, network)
            if not _is_finished(model, part):
                continue
            write_maps(
                model, part, data, places, mapped_folder(work, part, data, network), variables
            )
            ablate(model, part, data, places, ablated_folder(work, part, data, network), variables)


def _is_finished(model: Path, part: Part) -> bool:
    return all(validation_summary(fold_folder(model, fold)).is_file() for fold in part.folds)


def _predict_shifted(
    model: Path, part: Part, data: Data, work: Path, output: Path, variables: Mapping[str, str]
) -> None:
    raw, references = folders(work).raw_dataset(data.dataset), task_folder(work, data) / "labelsTs"
    _run(
        [
            *("nnunet-attention", "predict", "-i", str(raw / "imagesTs"), "-o", str(output)),
            *("-m", str(model), "-f", *part.folds, "--engine", "torch", *_IN_PROCESS),
            "--continue_prediction",
        ],
        variables,
    )
    _run(
        [
            *("nnunet-attention", "evaluate", "-gt", str(references), "-pred", str(output)),
            *("-djfile", str(raw / DATASET_JSON), "-np", "1"),
        ],
        variables,
    )


def write_maps(
    model: Path, part: Part, data: Data, places: Folders, output: Path, variables: Mapping[str, str]
) -> None:
    """Write the maps of some validation cases, all or none."""
    if output.is_dir():
        return
    raw, beside = places.raw_dataset(data.dataset), output.with_name(f".{output.name}.part")
    remove(beside)
    _copy_mapped_images(raw, beside / "images")
    _run(
        [
            *("nnunet-attention", "maps", "-i", str(beside / "images"), "-o", str(beside / "out")),
            *("-m", str(model), "-f", *part.folds, "--no_pictures", *_IN_PROCESS),
        ],
        variables,
    )
    (beside / "out").rename(output)
    remove(beside)


def ablate(
    model: Path, part: Part, data: Data, places: Folders, output: Path, variables: Mapping[str, str]
) -> None:
    """Replace the coefficients of the cases that have maps; goes on where it stopped."""
    if (output / RECORD).is_file():
        return
    raw, images = places.raw_dataset(data.dataset), output.with_name(f"{output.name}_images")
    remove(images)
    _copy_mapped_images(raw, images)
    _run(
        [
            *("nnunet-attention", "ablate", "-i", str(images), "-gt", str(raw / RAW_REFERENCES)),
            *("-o", str(output), "-m", str(model), "-f", *part.folds),
            *("--replace", *_REPLACEMENTS, "--seed", str(SEEDS[0])),
            *("--disable_tta", "-device", "cpu"),
        ],
        variables,
    )
    remove(images)


def _copy_mapped_images(raw: Path, folder: Path) -> None:
    folder.mkdir(parents=True)
    for case in phantom_split()["val"][:MAPPED_CASES]:
        for image in _images(raw / "imagesTr", case):
            shutil.copy(image, folder)


def _images(folder: Path, case: str) -> Iterable[Path]:
    return folder.glob(f"{case}_[0-9][0-9][0-9][0-9].nii.gz")


def _run(command: Sequence[str], variables: Mapping[str, str]) -> None:
    code = run_shown(command, variables)
    if code:
        raise _CommandFailedError(code)
