"""Runs the missing steps of the study: data, trainings, shifted images, maps, ablations."""

from __future__ import annotations

import os
import shutil
import sys
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from benchmarks.hippocampus.schedules import STOCK, Variant
from benchmarks.preparation import add_half_configuration, bring_data, run_shown
from benchmarks.where_gates_help.design import (
    ATTENTION,
    INFORMATIVE,
    MAPPED_CASES,
    PHANTOM_2D,
    PILOT,
    SEEDS,
    SHIFTED_CASES,
    SHIFTED_CONTRAST,
    SHIFTED_NOISE,
    SUPERVISED,
    TRAINED_CASES,
    VALIDATED_CASES,
    WARM_SEEDS,
    Data,
    Part,
)
from benchmarks.where_gates_help.phantom import write_distractors_task
from nnunet_attention.errors import CommandError
from nnunet_attention.files import NNUNET_LAYOUT, read_json, remove, write_json
from nnunet_attention.jobs.process import run_command
from nnunet_attention.nnunet.checkpoints import FINAL
from nnunet_attention.nnunet.dataset_json import DATASET_JSON
from nnunet_attention.nnunet.folders import RAW_REFERENCES, Folders
from nnunet_attention.nnunet.model_folders import (
    SUMMARY,
    ModelName,
    fold_folder,
    validation_summary,
)
from nnunet_attention.nnunet.planners import STOCK_PLANS
from nnunet_attention.nnunet.workers import planning_environment

# What `nnunet-attention ablate` writes when it has finished.
RECORD = "ablation.json"
# Those that keep how much a gate passes, on which verdicts rest.
_REPLACEMENTS = ("mean", "shuffled", "other_case", "uniform")
_IN_PROCESS = ("-device", "cpu", "-npp", "1", "-nps", "1")


class _CommandFailedError(Exception):
    """A command failed; its exit code is the argument."""


def run(parts: Sequence[Part], work: Path, real_data: Path | None, processes: int) -> int:
    """Run all missing steps of some parts.

    Args:
        parts: the parts, in their order.
        work: the folder for all output.
        real_data: folder with the real data sets; None if none is needed.
        processes: number of processes of conversion and preprocessing.

    Returns:
        The exit code of the command that failed, or 0.
    """
    try:
        for part in parts:
            for number, data in enumerate(part.data, 1):
                print(f"{part.name}, {number} of {len(part.data)}: {data.title}", flush=True)
                prepare(part, data, work, real_data, processes)
                if part.warm:
                    _train_on(part, data, work, processes)
                else:
                    _train(part, data, work, processes)
                    _after_training(part, data, work)
    except CommandError as error:
        print(error, file=sys.stderr)
        return 1
    except _CommandFailedError as failure:
        return int(failure.args[0])
    return 0


def pilot(work: Path, processes: int) -> int:
    """Train stock nnU-Net with the first seed, and tell whether contrast and noise leave room.

    These are trainings of the study, which `run` does not repeat.

    Returns:
        The exit code: 1 if one of them has a ceiling or a floor, or a command failed.
    """
    part, codes = PHANTOM_2D, []
    try:
        for data in PILOT:
            prepare(part, data, work, None, processes)
            arguments = part.crossval_arguments(data, [STOCK.trainer], processes, repeats=1)
            _run(
                ["nnunet-attention", *arguments],
                {**os.environ, **folders(work).variables, **part.variables()},
            )
            model = model_folder(folders(work).results, part, data, STOCK)
            summary = read_json(validation_summary(fold_folder(model, part.folds[0])))
            dice = summary["foreground_mean"]["Dice"]
            leaves_room = INFORMATIVE[0] <= dice <= INFORMATIVE[1]
            codes.append(0 if leaves_room else 1)
            print(
                f"{data.title}: nnU-Net has a mean Dice of {dice:.4f}, "
                + ("within" if leaves_room else "outside of")
                + f" {INFORMATIVE[0]:g} to {INFORMATIVE[1]:g}",
                flush=True,
            )
    except CommandError as error:
        print(error, file=sys.stderr)
        return 1
    except _CommandFailedError as failure:
        return int(failure.args[0])
    return max(codes)


def folders(work: Path) -> Folders:
    """Return nnU-Net's folders of the study."""
    return Folders(
        *(work / name for name in ("nnUNet_raw", "nnUNet_preprocessed", "nnUNet_results"))
    )


def warm_folders(work: Path, seed: int) -> Folders:
    """Return the folders of the trainings that started from the stock network of a seed."""
    cold = folders(work)
    return Folders(cold.raw, cold.preprocessed, work / "warm" / f"seed_{seed}")


def model_folder(results: Path, part: Part, data: Data, network: Variant) -> Path:
    """Return nnU-Net's folder of a trained model."""
    name = ModelName(network.trainer, network.plans, part.configuration)
    return results / data.dataset / name.folder


def shifted_folder(work: Path, part: Part, data: Data, network: Variant, seed: int) -> Path:
    """Return the folder of the predictions of the out-of-domain images, with their summary."""
    place = work / "shifted" / part.configuration / data.dataset
    return place / network.folder / f"seed_{seed}"


def mapped_folder(work: Path, part: Part, data: Data, network: Variant) -> Path:
    """Return where the maps of some validation cases are."""
    return work / "maps" / part.configuration / data.dataset / network.folder


def ablated_folder(work: Path, part: Part, data: Data, network: Variant) -> Path:
    """Return where the ablation of a network's gates is, of the cases that have maps."""
    return work / "ablations" / part.configuration / data.dataset / network.folder


def task_folder(work: Path, data: Data) -> Path:
    """Return the task folder of a phantom."""
    return work / "tasks" / f"Task{data.number:02d}_Distractors"


def prepare(part: Part, data: Data, work: Path, real_data: Path | None, processes: int) -> None:
    """Prepare a data set for trainings, except for preprocessing, which the cross-validation does.

    Raises:
        CommandError: if a command of nnU-Net fails, or real data are wanted and not given.
    """
    places = folders(work)
    for place in (places.raw, places.preprocessed, places.results):
        place.mkdir(parents=True, exist_ok=True)
    variables = planning_environment({**os.environ, **places.variables})
    log = work / "logs" / f"{data.dataset}.log"
    if not places.raw_dataset_json(data.dataset).is_file():
        source = _source(data, work, real_data)
        bring_data(source, places.raw, variables, log, processes)
    plans = places.plans(data.dataset, STOCK_PLANS)
    if not plans.is_file():
        number, several = str(data.number), str(processes)
        run_command(["nnUNetv2_extract_fingerprint", "-d", number, "-np", several], variables, log)
        run_command(["nnUNetv2_plan_experiment", "-d", number], variables, log)
    add_half_configuration(plans, part.configuration, part.planned, part.batch_size)
    splits = places.splits(data.dataset)
    if data.recipe is not None and not splits.is_file():
        write_json(splits, [phantom_split()], **NNUNET_LAYOUT)


def phantom_split() -> dict[str, list[str]]:
    """Return which cases of a phantom are trained on, and which are validated."""
    names = [f"distractors_{n:03d}" for n in range(1, TRAINED_CASES + VALIDATED_CASES + 1)]
    return {"train": names[:TRAINED_CASES], "val": names[TRAINED_CASES:]}


def _source(data: Data, work: Path, real_data: Path | None) -> Path:
    if data.recipe is None:
        if real_data is None or data.source is None:
            raise CommandError(f"{data.title}: give the folder with {data.source} with --data")
        source = real_data / data.source
        if not (source / DATASET_JSON).is_file():
            raise CommandError(f"--data {real_data}: it has no {data.source}/{DATASET_JSON}")
        return source
    task = task_folder(work, data)
    if not (task / DATASET_JSON).is_file():
        remove(task)
        write_distractors_task(
            task.parent,
            data.recipe,
            TRAINED_CASES + VALIDATED_CASES,
            # Different images in each data set.
            data.number,
            number=data.number,
            test_cases=SHIFTED_CASES,
            test_contrast=SHIFTED_CONTRAST,
            test_noise=SHIFTED_NOISE,
        )
    return task


def _train(part: Part, data: Data, work: Path, processes: int) -> None:
    trainers = [network.trainer for network in part.networks]
    _run(
        ["nnunet-attention", *part.crossval_arguments(data, trainers, processes)],
        {**os.environ, **folders(work).variables, **part.variables()},
    )


def _train_on(part: Part, data: Data, work: Path, processes: int) -> None:
    """Continue training the stock network of each seed, without gates and with them."""
    for repeat, seed in enumerate(SEEDS, 1):
        cold = model_folder(folders(work).of_repeat(repeat).results, part, data, STOCK)
        plain = fold_folder(cold, part.folds[0]) / FINAL
        if not plain.is_file():
            raise CommandError(
                f"{plain} is missing, and the part {part.name} continues from it; run --only "
                f"{PHANTOM_2D.name} first"
            )
        places = warm_folders(work, seed)
        places.results.mkdir(parents=True, exist_ok=True)
        variables = {**os.environ, **places.variables, **part.variables()}
        upgraded = places.results / "upgraded.pth"
        if not upgraded.is_file():
            _run(["nnunet-attention", "upgrade", str(plain), "-o", str(upgraded)], variables)
        for weights, networks in ((plain, (STOCK,)), (upgraded, (ATTENTION, SUPERVISED))):
            arguments = part.crossval_arguments(
                data,
                [network.trainer for network in networks],
                processes,
                repeats=1,
                seed=WARM_SEEDS + seed,
            )
            weights_option = ["-pretrained_weights", str(weights)]
            _run(["nnunet-attention", *arguments, *weights_option], variables)


def _after_training(part: Part, data: Data, work: Path) -> None:
    """Predict the out-of-domain images, write maps, and ablate the gates."""
    if data.recipe is None:
        return
    places = folders(work)
    variables = {**os.environ, **places.variables, **part.variables()}
    for network in part.networks:
        for repeat, seed in enumerate(SEEDS, 1):
            model = model_folder(places.of_repeat(repeat).results, part, data, network)
            output = shifted_folder(work, part, data, network, seed)
            if not (output / SUMMARY).is_file():
                _predict_shifted(model, part, places.raw_dataset(data.dataset), output, variables,
                                 task_folder(work, data) / "labelsTs")  # fmt: skip
    if part is PHANTOM_2D:
        for network in (ATTENTION, SUPERVISED):
            model = model_folder(places.results, part, data, network)
            write_maps(
                model, part, data, places, mapped_folder(work, part, data, network), variables
            )
            ablate(model, part, data, places, ablated_folder(work, part, data, network), variables)


def _predict_shifted(
    model: Path,
    part: Part,
    raw: Path,
    output: Path,
    variables: Mapping[str, str],
    references: Path,
) -> None:
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
