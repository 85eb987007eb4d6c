"""Looks up versions of what is installed, for the records of what was run."""

import platform
from importlib.metadata import PackageNotFoundError, version

from nnunet_attention import __version__


def versions_of(*distributions: str) -> dict[str, str | None]:
    """Look up the versions of Python, this package and others; None for what is not installed."""
    return {
        "python": platform.python_version(),
        "nnunet-attention": __version__,
        **{name: _version(name) for name in distributions},
    }


def _version(distribution: str) -> str | None:
    try:
        return version(distribution)
    except PackageNotFoundError:
        return None
