"""What transfer between two data sets needs besides trainings: common plans, and predictions."""

from __future__ import annotations

import glob
import os
from collections.abc import Sequence
from pathlib import Path

from nnunet_attention.demo.folder import remove
from nnunet_attention.errors import CommandError
from nnunet_attention.files import NNUNET_LAYOUT, read_json, write_json
from nnunet_attention.jobs.local import command_environment
from nnunet_attention.jobs.process import run_command
from nnunet_attention.nnunet.dataset_json import read_dataset_json
from nnunet_attention.nnunet.dataset_names import number_of_dataset
from nnunet_attention.nnunet.folders import Folders
from nnunet_attention.nnunet.planned import differences, relevant
from nnunet_attention.nnunet.splits import default_folds, read_splits
from nnunet_attention.nnunet.summary_json import summarised_cases

# One set of named results holds all cases: which fold validated a case is of no account.
ONLY_FOLD = "0"
# As many as nnUNetv2_predict has by itself, before and after the network.
_MOST_WORKERS = 3


def check_alike(folders: Folders, source: str, target: str) -> None:
    """Refuses two data sets that one network cannot serve.

    Raises:
        CommandError: naming what differs.
    """
    described = []
    for dataset in (source, target):
        path = folders.raw_dataset(dataset) / "dataset.json"
        if not path.is_file():
            path = folders.dataset_json(dataset)
        described.append(read_dataset_json(path, channels=True))
    first, second = described
    found = []
    if first.get("labels") != second.get("labels"):
        found.append(f"labels are {first.get('labels')} and {second.get('labels')}")
    channels = [len(one.get("channel_names", {})) for one in described]
    if channels[0] != channels[1]:
        found.append(f"there are {channels[0]} and {channels[1]} channels")
    if first.get("file_ending") != second.get("file_ending"):
        found.append(f"files end in {first.get('file_ending')} and {second.get('file_ending')}")
    if found:
        raise CommandError(
            f"{source} and {target} differ: {'; '.join(found)}. Transfer needs the same labels, "
            "channels and kind of files; convert one of them"
        )


def moved_name(plans: str, target: str) -> str:
    """Of the target's plans where the source is trained with them."""
    return f"{plans}For{number_of_dataset(target)}"


def tuned_name(plans: str, source: str) -> str:
    """Of the target's plans for trainings that start from the source's weights."""
    return f"{plans}From{number_of_dataset(source)}"


def moving_command(source: str, target: str, plans: str) -> list[str]:
    """nnU-Net's tool: the target's plans are given to the source."""
    return [
        *("nnUNetv2_move_plans_between_datasets", "-s", target, "-t", source),
        *("-sp", plans, "-tp", moved_name(plans, target)),
    ]


def are_moved(folders: Folders, source: str, target: str, plans: str, configuration: str) -> bool:
    """Whether the source has the target's plans.

    Raises:
        CommandError: if it has them as they were before a change.
    """
    return _is_copy(folders, target, plans, source, moved_name(plans, target), configuration)


def move_plans(folders: Folders, source: str, target: str, plans: str, log: Path) -> None:
    """Runs `moving_command`.

    Raises:
        CommandError: if it fails.
    """
    # The tool writes into the source's folder, which only planning would make.
    folders.dataset(source).mkdir(parents=True, exist_ok=True)
    run_command(moving_command(source, target, plans), command_environment(), log)


def are_copied(folders: Folders, source: str, target: str, plans: str, configuration: str) -> bool:
    """Whether the target has plans of another name for what starts from the source's weights.

    Raises:
        CommandError: if it has them as they were before a change.
    """
    return _is_copy(folders, target, plans, target, tuned_name(plans, source), configuration)


def copy_plans(folders: Folders, source: str, target: str, plans: str) -> None:
    """Gives the target its own plans under another name.

    nnU-Net names a model's folder by trainer and plans: fine-tuned and scratch would be one. The
    preprocessed data are shared.
    """
    name = tuned_name(plans, source)
    content = {**read_json(folders.plans(target, plans)), "plans_name": name}
    write_json(folders.plans(target, name), content, **NNUNET_LAYOUT)


def weights_of(folders: Folders, source: str, target: str, model: tuple[str, str], c: str) -> Path:
    """The checkpoint that the source's training ends with.

    Args:
        folders: nnU-Net's.
        source: full name of the data set.
        target: whose plans it was trained with.
        model: trainer and plans.
        c: configuration.
    """
    trainer, plans = model
    fold = folders.fold(source, trainer, moved_name(plans, target), c, "all")
    return fold / "checkpoint_final.pth"


def validation_cases_of(folders: Folders, dataset: str, folds: Sequence[str] | None) -> list[str]:
    """All cases that the folds validate; None: all folds.

    Raises:
        CommandError: if there are no splits yet, or fewer.
    """
    splits = read_splits(folders.splits(dataset))
    if folds is None:
        folds = default_folds(splits)
    if splits is None or max(map(int, folds)) >= len(splits):
        raise CommandError(
            f"-f {' '.join(folds)}: {folders.splits(dataset)} has {len(splits or ())} folds; "
            "choose among these"
        )
    return sorted({case for fold in folds for case in splits[int(fold)]["val"]})


def named_results(root: Path, model: tuple[str, str]) -> Path:
    """Where a model's predictions before fine-tuning are, in the form of named results."""
    return root / "__".join(model)


def prediction_folder(root: Path, target: str, model: tuple[str, str], configuration: str) -> Path:
    """The validation folder in `named_results`."""
    folder = named_results(root, model) / target / configuration
    return folder / f"fold_{ONLY_FOLD}" / "validation"


def prediction_command(
    source: str, target: str, model: tuple[str, str], configuration: str, device: str,
    processes: int, images: Path, output: Path,
) -> list[str]:  # fmt: skip
    """Of the source's network on the target's images."""
    trainer, plans = model
    workers = str(min(processes, _MOST_WORKERS))
    return [
        *("nnUNetv2_predict", "-i", str(images), "-o", str(output), "-d", source),
        *("-tr", trainer, "-p", moved_name(plans, target), "-c", configuration, "-f", "all"),
        *("-npp", workers, "-nps", workers, "-device", device, "--disable_progress_bar"),
    ]


def is_predicted(folder: Path, cases: Sequence[str], file_ending: str) -> bool:
    """Whether the folder has a summary of all these cases and no other ones."""
    return summarised_cases(folder / "summary.json", file_ending) == set(cases)


def predict_target(
    folders: Folders,
    source: str,
    target: str,
    model: tuple[str, str],
    configuration: str,
    device: str,
    cases: Sequence[str],
    folder: Path,
    log: Path,
    processes: int,
) -> None:
    """Predicts and evaluates the target's cases with the source's network.

    The folder appears when all is there.

    Raises:
        CommandError: if a command fails, or an image is missing.
    """
    from nnunet_attention.evaluation import LabelScheme, evaluate_folder, tolerances_mm
    from nnunet_attention.evaluation.metrics.evaluate import DEFAULT_TOLERANCE_MM

    known = _images(folders.raw_dataset(target), cases)
    absent = [case for case, images in known.items() if not images]
    if absent:
        raise CommandError(
            f"{folders.raw_dataset(target)} lacks {len(absent)} of the cases that are validated, "
            f"such as {absent[0]}; put its images back"
        )
    scheme = LabelScheme.from_file(folders.dataset_json(target))
    beside = folder.with_name(f".{folder.name}.part")
    images, predictions = beside / "images", beside / "predictions"
    try:
        remove(beside)
        images.mkdir(parents=True)
        for case in cases:
            for channel, path in enumerate(known[case]):
                (images / f"{case}_{channel:04d}{scheme.file_ending}").symlink_to(path.absolute())
        command = prediction_command(
            source, target, model, configuration, device, processes, images, predictions
        )
        run_command(command, command_environment(), log)
        evaluate_folder(
            folders.references(target),
            predictions,
            predictions / "summary.json",
            scheme,
            tolerances_mm(scheme, DEFAULT_TOLERANCE_MM, {}),
            processes,
            chill=True,
        )
        if not is_predicted(predictions, cases, scheme.file_ending):
            raise CommandError(f"not all cases were predicted; all the command said: {log}")
        remove(folder)
        os.replace(predictions, folder)
    except OSError as error:
        raise CommandError(f"{folder} cannot be written: {error}") from error
    finally:
        remove(beside)


def _images(raw: Path, cases: Sequence[str]) -> dict[str, list[Path]]:
    """The images of each case, one a channel; none where they are missing."""
    described = read_dataset_json(raw / "dataset.json")
    if "dataset" in described:
        from nnunetv2.utilities.utils import get_filenames_of_train_images_and_targets

        listed = get_filenames_of_train_images_and_targets(str(raw), described)
        return {
            case: [Path(path) for path in listed.get(case, {"images": []})["images"]]
            for case in cases
        }
    # nnU-Net's function forks processes for this, and hangs beside other libraries' threads.
    ending = described["file_ending"]
    found: dict[str, list[Path]] = {case: [] for case in cases}
    for path in sorted((raw / "imagesTr").glob(f"*_[0-9][0-9][0-9][0-9]{glob.escape(ending)}")):
        case = path.name.removesuffix(ending)[:-5]
        if case in found:
            found[case].append(path)
    return found


def _is_copy(
    folders: Folders, dataset: str, plans: str, other: str, name: str, configuration: str
) -> bool:
    path = folders.plans(other, name)
    try:
        before = relevant(read_json(path), configuration)
    except (CommandError, KeyError):
        return False  # Absent, or half written by a kill.
    now = relevant(read_json(folders.plans(dataset, plans)), configuration)
    # The tool chooses what suits the other data set's files and keeps its data apart.
    for content in (before, now):
        content.pop("image_reader_writer", None)
        content.pop("data_identifier", None)
    changed = differences(before, now)
    if changed:
        raise CommandError(
            f"the plans {plans} of {dataset} have changed since {path} was made of them: "
            f"{'; '.join(changed)}. Put the old ones back, or move that file and its models away"
        )
    return True
