"""Looks up by name the trainers and networks that nnU-Net will look up, before it is started."""

import ast
import difflib
import os
from collections.abc import Iterable
from contextlib import redirect_stdout
from functools import lru_cache
from importlib.util import find_spec
from io import StringIO
from pathlib import Path
from typing import TYPE_CHECKING

from nnunet_attention.doorway import SEARCH_PATH_VARIABLE
from nnunet_attention.doorway import directory as doorway_directory
from nnunet_attention.errors import CommandError

if TYPE_CHECKING:
    from nnunetv2.training.nnUNetTrainer.nnUNetTrainer import nnUNetTrainer

_SHOWN = 3
_SEARCHES = 3


def find_trainer(name: str) -> "type[nnUNetTrainer]":
    """Return the class of a trainer; import what nnU-Net imports in search of it.

    Raises:
        CommandError: if nnU-Net does not find it, cannot import it, or it is no trainer.
    """
    from nnunetv2.training.nnUNetTrainer.nnUNetTrainer import nnUNetTrainer

    # The name may come from a checkpoint, and the search also finds `os` in nnU-Net's modules.
    trainer, reason = None, None
    if isinstance(name, str) and name.isidentifier():
        try:
            with redirect_stdout(StringIO()):
                trainer = _search(name)
        except Exception as error:  # the search imports whatever lies in nnU-Net's search path
            is_absent = str(error).startswith("Could not find requested")
            is_another = isinstance(error, (AssertionError, TypeError))
            if not (is_absent or is_another):
                reason = f"{type(error).__name__}: {str(error).strip().partition(os.linesep)[0]}"
    if isinstance(trainer, type) and issubclass(trainer, nnUNetTrainer):
        return trainer
    if reason is not None:
        raise CommandError(
            f"nnU-Net cannot load the trainer {name} ({reason}); run `nnunet-attention doctor`, "
            f"and for trainers of your own check {SEARCH_PATH_VARIABLE}"
        )
    raise CommandError(_not_found(str(name)))


def _search(name: str) -> object:
    """Let nnU-Net search, again if a look at one module imports another.

    nnU-Net asks all of sys.modules for their files meanwhile, and lazy modules (such as those of
    six.moves) are imported by being asked; the next time they are there.
    """
    from nnunetv2.utilities.find_objects import recursive_find_trainer_class_by_name

    for _ in range(_SEARCHES - 1):
        try:
            return recursive_find_trainer_class_by_name(name)
        except RuntimeError as error:
            if "changed size during iteration" not in str(error):
                raise
    return recursive_find_trainer_class_by_name(name)


def check_trainers(names: Iterable[str]) -> None:
    """Refuse names of trainers that nnU-Net would not find.

    The sources are mostly enough, which saves the seconds that importing them takes.

    Raises:
        CommandError: see `find_trainer`.
    """
    for name in dict.fromkeys(names):
        if name not in trainer_names():
            find_trainer(name)


def check_network(path: str, where: str) -> None:
    """Refuse a network's import path that leads nowhere; nothing is imported.

    Args:
        path: the plans' `network_class_name`.
        where: the plans.

    Raises:
        CommandError: if nnU-Net will not find it, with similar names.
    """
    path = str(path)  # a damaged file may have anything there
    package, last_name = path.partition(".")[0], path.rpartition(".")[2]
    known = network_paths()
    by_last_name = {known_path.rpartition(".")[2]: known_path for known_path in known}
    # A class that nnU-Net does not find by its path it looks for by name in its own package.
    if path in known or last_name in by_last_name or _is_there(package, path):
        return
    close = _close(last_name, by_last_name)
    meant = f"; did you mean {' or '.join(by_last_name[last] for last in close)}?" if close else "."
    raise CommandError(
        f"{where} names the network {path}, which nnU-Net will not find{meant} Correct the plans, "
        "or install the package that contains it"
    )


def trainer_names() -> frozenset[str]:
    """Return the names that nnU-Net finds in its search for trainers, judged by the sources."""
    return _trainer_names(os.environ.get(SEARCH_PATH_VARIABLE, ""))


def stock_trainer_names() -> frozenset[str]:
    """Return the names of nnU-Net's own trainers, which seed nothing."""
    return _trainer_names("")


@lru_cache(maxsize=8)
def _trainer_names(search_path: str) -> frozenset[str]:
    names: set[str] = set()
    for folder in _trainer_folders(search_path):
        for path in _modules_below(folder):
            names |= _names_in(path)
    return frozenset(names)


@lru_cache(maxsize=1)
def network_paths() -> frozenset[str]:
    """Return the import paths of nnU-Net's networks and ours, judged by the sources."""
    paths = set()
    folder = _folder_of("dynamic_network_architectures")
    for path in _modules_below(folder / "architectures") if folder else ():
        module = f"dynamic_network_architectures.architectures.{path.stem}"
        paths |= {f"{module}.{name}" for name in _names_in(path) if name[0].isupper()}
    ours = Path(__file__).parents[1] / "networks" / "__init__.py"
    paths |= {f"nnunet_attention.networks.{name}" for name in _names_in(ours)}
    return frozenset(paths)


def _trainer_folders(search_path: str) -> list[Path]:
    nnunet = _folder_of("nnunetv2")
    folders: list[Path | None] = [nnunet / "training" / "nnUNetTrainer" if nnunet else None]
    for text in search_path.split(os.pathsep):
        if text == doorway_directory():
            # Its only module re-exports the trainers of this package.
            folders.append(_folder_of("nnunet_attention.trainers"))
        elif text.strip():
            folders.append(Path(text))
    return [folder for folder in folders if folder is not None]


def _folder_of(package: str) -> Path | None:
    """Return the folder of an installed package, which is not imported."""
    try:
        spec = find_spec(package)
    except (ImportError, ValueError):
        return None
    return Path(spec.origin).parent if spec and spec.origin else None


def _modules_below(folder: Path) -> list[Path]:
    """List the modules of a folder and of the packages in it, as nnU-Net searches them."""
    try:
        inside = sorted(folder.iterdir())
    except OSError:
        return []
    modules = [path for path in inside if path.suffix == ".py"]
    for path in inside:
        if (path / "__init__.py").is_file():
            modules += _modules_below(path)
    return modules


def _names_in(path: Path) -> set[str]:
    """Return what a module defines, imports by name or assigns; nothing if it cannot be read."""
    try:
        body = ast.parse(path.read_text(encoding="utf-8")).body
    except (OSError, ValueError, SyntaxError):
        return set()
    names: set[str] = set()
    for statement in body:
        if isinstance(statement, (ast.ClassDef, ast.FunctionDef)):
            names.add(statement.name)
        elif isinstance(statement, ast.Assign):
            names |= {target.id for target in statement.targets if isinstance(target, ast.Name)}
        elif isinstance(statement, ast.ImportFrom):
            names |= {alias.asname or alias.name for alias in statement.names}
    return names


def _is_there(package: str, path: str) -> bool:
    """Tell whether a path into another package can lead somewhere; True in case of doubt."""
    folder = _folder_of(package)
    return folder is not None and not path.startswith(
        ("dynamic_network_architectures.", "nnunet_attention.")
    )


def _close(name: str, names: Iterable[str]) -> list[str]:
    folded = {candidate.casefold(): candidate for candidate in sorted(names)}
    close = difflib.get_close_matches(name.casefold(), folded, n=_SHOWN, cutoff=0.7)
    return [folded[candidate] for candidate in close]


def _not_found(name: str) -> str:
    close = _close(name, (trainer for trainer in trainer_names() if "Trainer" in trainer))
    meant = f"; did you mean {' or '.join(close)}?" if close else "."
    return (
        f"nnU-Net finds no trainer {name}{meant} Run `nnunet-attention doctor`, or for a trainer "
        f"of your own check {SEARCH_PATH_VARIABLE}"
    )
