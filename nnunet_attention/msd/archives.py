"""Provides the Decathlon's task folders: downloads and unpacks archives, or finds local copies."""

from __future__ import annotations

import os
import tarfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from nnunet_attention.errors import CommandError
from nnunet_attention.files import remove
from nnunet_attention.jobs.lock import Lock
from nnunet_attention.msd.download import OnProgress, download, md5_of
from nnunet_attention.msd.task_folder import is_task_folder, read_msd_task
from nnunet_attention.msd.tasks import Task

# The open-data bucket that MONAI's DecathlonDataset downloads from; the data are CC-BY-SA 4.0.
BASE_URL = "https://msd-for-monai.s3-us-west-2.amazonaws.com"


def fetch(
    task: Task,
    folder: Path,
    base_url: str = BASE_URL,
    keep_archive: bool = False,
    on_progress: OnProgress = lambda done, total: None,
) -> Path:
    """Download, check and unpack a task, as far as that is not done.

    Args:
        task: The task, see `find_task`.
        folder: Folder that gets a folder of the task's name.
        base_url: Address that has the archive.
        keep_archive: Whether to keep the archive once it is unpacked.
        on_progress: Function that is told how far the download is.

    Returns:
        The task folder.

    Raises:
        CommandError: If the download fails or the archive is damaged, see `download` and `unpack`.

    Examples:
        >>> fetch(find_task("4"), Path("msd"))  # doctest: +SKIP
        PosixPath('msd/Task04_Hippocampus')
    """
    target = folder / task.name
    with one_at_a_time(target):
        if is_task_folder(target):
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
    """Find the local copy of a task.

    Args:
        task: The task, see `find_task`.
        source: The task folder, or the folder that has it or its archive.

    Returns:
        The task folder, or the archive.

    Raises:
        CommandError: If the copy is not there.
    """
    if not source.is_dir():
        raise CommandError(f"--from {source}: there is no such folder")
    for folder in (source, source / task.name):
        if folder.resolve().name == task.name and is_task_folder(folder):
            return folder.resolve()
    archive = source / task.archive_name
    if not archive.is_file():
        raise CommandError(
            f"--from {source}: neither {task.name}/dataset.json nor {task.archive_name} is there; "
            "unpack the task there, or leave out --from to download it"
        )
    return archive


def find_local(task: Task, source: Path, unpack_into: Path) -> Path:
    """Return the task folder of a local copy; check and unpack an archive first.

    Args:
        task: The task, see `find_task`.
        source: The folder that has the copy, see `locate`; it is only read.
        unpack_into: Folder that gets the task folder where the copy is an archive.

    Returns:
        The task folder.

    Raises:
        CommandError: If the copy is not there, or is damaged.
    """
    copy = locate(task, source)
    if copy.is_dir():
        return copy
    target = unpack_into / task.name
    with one_at_a_time(target):
        if is_task_folder(target):
            return target
        if task.md5 is not None and (md5 := md5_of(copy)) != task.md5:
            raise CommandError(
                f"{copy}: its MD5 sum is {md5}, wanted {task.md5}; copy it again, or give the "
                "unpacked folder"
            )
        unpack(copy, task, unpack_into)
    return target


def unpack(archive: Path, task: Task, folder: Path) -> Path:
    """Unpack an archive beside the target, and rename when all listed files are there.

    Links and paths that lead out of the archive are refused, and what macOS put beside the files
    is left out.

    Args:
        archive: The archive.
        task: The task whose archive it is.
        folder: Folder that gets the task folder.

    Returns:
        The task folder.

    Raises:
        CommandError: If the archive is damaged, or is not the task's.
    """
    beside = folder / f".{task.name}.part"
    target = folder / task.name
    try:
        remove(beside)
        beside.mkdir(parents=True)
        with tarfile.open(archive) as tar:
            tar.extractall(beside, filter=_without_leftovers)
        # `filter` has read every header; an archive cut at a block boundary merely lacks files.
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


@contextmanager
def one_at_a_time(target: Path) -> Iterator[None]:
    """Keep other processes from making the same folder meanwhile.

    Args:
        target: The folder that is made; the lock lies beside it.

    Raises:
        CommandError: If another process is making it, or the lock cannot be written.
    """
    try:
        with Lock(target.with_name(f".{target.name}.lock"), str(target)).held():
            yield
    except OSError as error:
        raise CommandError(f"{target.parent} cannot be written: {error}") from error


def _without_leftovers(member: tarfile.TarInfo, folder: str) -> tarfile.TarInfo | None:
    """Leave out what macOS puts beside files; refuse what leads out of the folder."""
    name = member.name.rsplit("/", 1)[-1]
    if name.startswith("._") or name == ".DS_Store":
        return None
    return tarfile.data_filter(member, folder)
