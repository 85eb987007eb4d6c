"""Finds the source files that determine what a network computes."""

import ast
import inspect
import sys
import uuid
from collections.abc import Iterable, Iterator
from importlib.util import resolve_name
from pathlib import Path
from types import ModuleType

from torch import nn

# The packages whose versions are told elsewhere, or that do not compute.
_OF_OTHERS = {"torch", *sys.stdlib_module_names}
# Folders of what was installed by pip or by the system.
_INSTALLED = {"site-packages", "dist-packages"}


def sources_of(network: nn.Module, others: Iterable[ModuleType] = ()) -> set[bytes]:
    """Return the content of the files that define a network's layers, and of those they import.

    These are the files of the classes of all layers and of their base classes, except for torch's;
    and what these files import at their top level, directly or not, for a layer may call it. The
    imports of other people's installed packages are left out.

    Args:
        network: the network.
        others: further modules.
    """
    classes = {kind for layer in network.modules() for kind in type(layer).__mro__}
    own = {kind for kind in classes if _top_level(kind.__module__) not in _OF_OTHERS}
    modules = [sys.modules[kind.__module__] for kind in own if kind.__module__ in sys.modules]
    contents = {_content_of_class(kind) for kind in own}
    return contents | {
        Path(path).read_bytes() for path in _files_of(_with_imported([*modules, *others]))
    }


def _with_imported(modules: Iterable[ModuleType]) -> set[ModuleType]:
    found = set(modules)
    waiting = list(found)
    while waiting:
        for imported in _imports_of(waiting.pop()):
            if imported not in found and _is_followed(imported):
                found.add(imported)
                waiting.append(imported)
    return found


def _is_followed(module: ModuleType) -> bool:
    package = _top_level(module.__name__)
    if package in _OF_OTHERS:
        return False
    # Environments that share a cache may have other versions of these, which changes nothing.
    is_installed = any(_INSTALLED & set(Path(path).parts) for path in _files_of([module]))
    return not is_installed or package == _top_level(__name__)


def _imports_of(module: ModuleType) -> Iterator[ModuleType]:
    """Yield what a module imports at its top level, which is loaded whenever the module is.

    What is imported elsewhere may be loaded in one process and not in another, so that it would
    make a key that changes.
    """
    for path in _files_of([module]):
        try:
            statements = ast.parse(Path(path).read_bytes()).body
        except (SyntaxError, ValueError):  # an extension written in another language
            continue
        for statement in statements:
            for name in _imported_names(statement, module.__package__):
                if name in sys.modules:
                    yield sys.modules[name]


def _imported_names(statement: ast.stmt, package: str | None) -> Iterator[str]:
    if isinstance(statement, ast.Import):
        yield from (alias.name for alias in statement.names)
    elif isinstance(statement, ast.ImportFrom):
        base = resolve_name("." * statement.level + (statement.module or ""), package)
        yield base
        # Each may be a module or something in one.
        yield from (f"{base}.{alias.name}" for alias in statement.names)


def _files_of(modules: Iterable[ModuleType]) -> Iterator[str]:
    for module in modules:
        path = getattr(module, "__file__", None)  # None of what is built in, or typed in
        if path is not None and Path(path).is_file():
            yield path


def _content_of_class(kind: type) -> bytes:
    """Return the content of a class's file; of unknown code, such as a notebook's, a unique one."""
    try:
        path = inspect.getsourcefile(kind)
        if path is not None:
            return Path(path).read_bytes()
    except (OSError, TypeError):
        pass
    return uuid.uuid4().bytes


def _top_level(name: str) -> str:
    return name.partition(".")[0]
