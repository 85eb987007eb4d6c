"""The ten tasks of the Medical Segmentation Decathlon: archives, local copies, conversion."""

from __future__ import annotations

import os
import re
import tarfile
from collections.abc import Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from nnunet_attention.demo.folder import remove
from nnunet_attention.errors import CommandError
from nnunet_attention.jobs.lock import Lock
from nnunet_attention.jobs.process import run_command
from nnunet_attention.msd.download import OnProgress, download, md5_of
from nnunet_attention.msd.task import MsdTask, read_msd_task
from nnunet_attention.nnunet.dataset_names import full_dataset_name

# The open-data bucket that MONAI's DecathlonDataset downloads from; the data are CC-BY-SA 4.0.
BASE_URL = "https://msd-for-monai.s3-us-west-2.amazonaws.com"
# Of the archives in that bucket, as Project-MONAI/MONAI lists them (monai/apps/datasets.py, class
# DecathlonDataset). Their sizes are published nowhere; the server tells them.
_MD5 = {
    "Task01_BrainTumour": "240a19d752f0d9e9101544901065d872",
    "Task02_Heart": "06ee59366e1e5124267b774dbd654057",
    "Task03_Liver": "a90ec6c4aa7f6a3d087205e23d4e6397",
    "Task04_Hippocampus": "9d24dba78a72977dbd1d2e110310f31b",
    "Task05_Prostate": "35138f08b1efaef89d7424d2bcc928db",
    "Task06_Lung": "8afd997733c7fc0432f71255ba4e52dc",
    "Task07_Pancreas": "4f7080cfca169fa8066d17ce6eb061e4",
    "Task08_HepaticVessel": "641d79e80ec66453921d997fbf12a29c",
    "Task09_Spleen": "410d4a301da4e5b2f6f86ec3ddba524e",
    "Task10_Colon": "bad7a188931dc2f6acf72b08eb6202d0",
}


@dataclass(frozen=True)
class Task:
    """A task of the Decathlon.

    Attributes:
        name: such as Task04_Hippocampus; of the archive and of the folder in it.
        md5: of the archive; None where it is not known.
    """

    name: str
    md5: str | None

    @property
    def number(self) -> int:
        return int(self.name[4:6])

    @property
    def archive_name(self) -> str:
        return f"{self.name}.tar"

    @property
    def dataset_name(self) -> str:
        """As nnU-Net's conversion names it."""
        return full_dataset_name(self.number, self.name.partition("_")[2])


TASKS = tuple(Task(name, md5) for name, md5 in _MD5.items())


def find_task(text: str) -> Task:
    """By number (4, 04), or by name with or without what nnU-Net or the Decathlon put before it.

    Raises:
        CommandError: if there is no such task.
    """
    wanted = re.sub(r"^(task|dataset)\d*_?", "", text, flags=re.IGNORECASE).lower()
    for task in TASKS:
        if text.isdecimal():
            if int(text) == task.number:
                return task
        elif wanted == task.name.partition("_")[2].lower() and _number_in(text) in (
            None,
            task.number,
        ):
            return task
    raise CommandError(
        f"{text} is no task of the Decathlon; choose from {', '.join(t.name for t in TASKS)}"
    )


def fetch(
    task: Task,
    folder: Path,
    base_url: str = BASE_URL,
    keep_archive: bool = False,
    on_progress: OnProgress = lambda done, total: None,
) -> Path:
    """Downloads, checks and unpacks a task, as far as that is not done.

    Args:
        task: which.
        folder: gets a folder of the task's name.
        base_url: has the archive.
        keep_archive: otherwise it is deleted when it is unpacked.
        on_progress: of the download.

    Returns:
        The task folder.

    Raises:
        CommandError: see `download` and `unpack`.
    """
    target = folder / task.name
    with _one_at_a_time(target):
        if (target / "dataset.json").is_file():
            return target
        archive = folder / task.archive_name
        # An archive without .part was complete and right when it was renamed.
        if not archive.is_file():
            url = f"{base_url.rstrip('/')}/{task.archive_name}"
            download(url, archive, task.md5, on_progress)
        unpack(archive, task, folder)
        if not keep_archive:
            archive.unlink()
    return target


def locate(task: Task, source: Path) -> Path:
    """The task folder, or the archive, of a local copy.

    Args:
        task: which.
        source: the task folder, or what has it or its archive in it.

    Raises:
        CommandError: if the copy is not there.
    """
    if not source.is_dir():
        raise CommandError(f"--from {source}: there is no such folder")
    for folder in (source, source / task.name):
        if folder.resolve().name == task.name and (folder / "dataset.json").is_file():
            return folder.resolve()
    archive = source / task.archive_name
    if not archive.is_file():
        raise CommandError(
            f"--from {source}: neither {task.name}/dataset.json nor {task.archive_name} is there; "
            "unpack the task there, or leave out --from to download it"
        )
    return archive


def find_local(task: Task, source: Path, unpack_into: Path) -> Path:
    """The task folder of a local copy; an archive is checked and unpacked first.

    Args:
        task: which.
        source: see `locate`; only read.
        unpack_into: gets the task folder where the copy is an archive.

    Raises:
        CommandError: if the copy is not there, or is damaged.
    """
    found = locate(task, source)
    if found.is_dir():
        return found
    target = unpack_into / task.name
    with _one_at_a_time(target):
        if (target / "dataset.json").is_file():
            return target
        if task.md5 is not None and (md5 := md5_of(found)) != task.md5:
            raise CommandError(
                f"{found}: its MD5 sum is {md5}, wanted {task.md5}; copy it again, or give the "
                "unpacked folder"
            )
        unpack(found, task, unpack_into)
    return target


def unpack(archive: Path, task: Task, folder: Path) -> Path:
    """Unpacks beside the target and renames when all files that dataset.json lists are there.

    Links and paths that lead out of the archive are refused, and what macOS put beside the files
    is left out.

    Raises:
        CommandError: if the archive is damaged, or is not one of this task.
    """
    beside = folder / f".{task.name}.part"
    target = folder / task.name
    try:
        remove(beside)
        beside.mkdir(parents=True)
        with tarfile.open(archive) as tar:
            tar.extractall(beside, filter=_wanted)
        # `filter` has read every header; an archive cut at a border of blocks lacks files only.
        read_msd_task(beside / task.name)
        os.replace(beside / task.name, target)
    except (tarfile.TarError, EOFError) as error:
        raise CommandError(
            f"{archive} cannot be unpacked: {error}; delete it and fetch it again"
        ) from error
    except CommandError as error:
        raise CommandError(f"{archive} is not complete: {error}") from error
    except OSError as error:
        raise CommandError(f"{target} cannot be written: {error}") from error
    finally:
        remove(beside)
    return target


def convert(
    task_folder: Path,
    raw: Path,
    environment: Mapping[str, str],
    log: Path,
    processes: int = 2,
) -> str:
    """Converts with nnUNetv2_convert_MSD_dataset, as far as that is not done.

    Converted in a folder beside and renamed: `nnUNet_raw` has the whole data set or nothing.

    Args:
        task_folder: of the Decathlon; only read.
        raw: nnUNet_raw.
        environment: of the command.
        log: gets what the command says.
        processes: that work at a time.

    Returns:
        The data set's name.

    Raises:
        CommandError: if the task folder is not complete, its number is taken by another data set,
            or the command fails.
    """
    task = read_msd_task(task_folder)
    name = task.dataset_name
    with _one_at_a_time(raw / name):
        if not (raw / name / "dataset.json").is_file():
            _require_free_number(task, raw, environment)
            _convert(task, raw, environment, log, processes)
    return name


def _convert(
    task: MsdTask, raw: Path, environment: Mapping[str, str], log: Path, processes: int
) -> None:
    target = raw / task.dataset_name
    beside = raw / f".{task.dataset_name}.part"
    remove(beside)
    try:
        with _with_test_folder(task, beside / "task") as source:
            (beside / "raw").mkdir(parents=True)
            # The command refuses a number that any folder knows, and would write beside it.
            folders = {
                "nnUNet_raw": str(beside / "raw"),
                "nnUNet_preprocessed": str(beside / "preprocessed"),
                "nnUNet_results": str(beside / "results"),
            }
            command = ["nnUNetv2_convert_MSD_dataset", "-i", str(source), "-np", str(processes)]
            run_command(command, {**environment, **folders}, log)
        os.replace(beside / "raw" / target.name, target)
    except OSError as error:
        raise CommandError(f"{target} cannot be written: {error}") from error
    finally:
        remove(beside)


@contextmanager
def _one_at_a_time(target: Path):
    try:
        with Lock(target.with_name(f".{target.name}.lock"), str(target)).held():
            yield
    except OSError as error:
        raise CommandError(f"{target.parent} cannot be written: {error}") from error


@contextmanager
def _with_test_folder(task: MsdTask, folder: Path):
    """The task's own folder; where it lacks imagesTs, which the command wants, one of links."""
    if (task.folder / "imagesTs").is_dir() and task.folder.name == task.folder_name:
        yield task.folder
        return
    linked = folder / task.folder_name
    (linked / "imagesTs").mkdir(parents=True)
    for name in ("imagesTr", "labelsTr", "dataset.json"):
        (linked / name).symlink_to(task.folder / name)
    yield linked


def _require_free_number(task: MsdTask, raw: Path, environment: Mapping[str, str]) -> None:
    start = full_dataset_name(task.number, "")
    variables = ("nnUNet_preprocessed", "nnUNet_results")
    known = [Path(environment[name]) for name in variables if environment.get(name)]
    for place in (raw, *known):
        present = place.glob(f"{start}*") if place.is_dir() else ()
        others = [path for path in present if path.name != task.dataset_name or place == raw]
        if others:
            raise CommandError(
                f"data set number {task.number} is taken: {others[0]}, and {task.dataset_name} "
                "would clash with it for nnU-Net; move it away, or set other nnU-Net folders"
            )


def _wanted(member: tarfile.TarInfo, folder: str) -> tarfile.TarInfo | None:
    name = member.name.rsplit("/", 1)[-1]
    if name.startswith("._") or name == ".DS_Store":
        return None
    return tarfile.data_filter(member, folder)


def _number_in(text: str) -> int | None:
    match = re.match(r"(?:task|dataset)(\d+)", text, flags=re.IGNORECASE)
    return int(match[1]) if match else None
