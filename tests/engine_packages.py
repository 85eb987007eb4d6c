"""Skips tests where a package of the extra `engines` is missing; OpenVINO reports imports."""

from importlib.util import find_spec

import pytest


def skip_without(*names: str) -> None:
    for name in names:
        if find_spec(name) is None:
            pytest.skip(f"{name} is not installed", allow_module_level=True)
