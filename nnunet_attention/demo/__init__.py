"""The demo: both U-Nets from raw data to a table and a picture, small enough for a CPU."""

from typing import TYPE_CHECKING

from nnunet_attention.demo.settings import DemoSettings

if TYPE_CHECKING:
    from nnunet_attention.demo.running import run

__all__ = ["DemoSettings", "run"]


def __getattr__(name: str) -> object:
    if name == "run":
        # Imported here, because the command's parser needs the settings but no slow imports.
        from nnunet_attention.demo.running import run

        return run
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
