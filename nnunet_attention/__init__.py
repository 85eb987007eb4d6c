"""Attention U-Net as a self-configuring plugin of nnU-Net v2.

Importing this package loads neither torch nor nnunetv2: the names below are imported on first use.
"""

# In place of `typing.TYPE_CHECKING`: importing typing would slow every start of Python.
TYPE_CHECKING = False
if TYPE_CHECKING:
    from nnunet_attention.gates import AttentionGate
    from nnunet_attention.maps.predictor import AttentionPredictor
    from nnunet_attention.networks import AttentionResidualEncoderUNet, AttentionUNet
    from nnunet_attention.recorder import record_attention

__version__ = "0.1.0"

_HOME_OF = {
    "AttentionGate": "nnunet_attention.gates",
    "AttentionPredictor": "nnunet_attention.maps.predictor",
    "AttentionResidualEncoderUNet": "nnunet_attention.networks",
    "AttentionUNet": "nnunet_attention.networks",
    "record_attention": "nnunet_attention.recorder",
}

__all__ = [
    "AttentionGate",
    "AttentionPredictor",
    "AttentionResidualEncoderUNet",
    "AttentionUNet",
    "__version__",
    "record_attention",
]


def __getattr__(name: str) -> object:
    if name in _HOME_OF:
        # Imported only here, because this package is imported whenever Python starts.
        from importlib import import_module

        return getattr(import_module(_HOME_OF[name]), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted(__all__)
