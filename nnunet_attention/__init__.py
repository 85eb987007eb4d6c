"""Attention U-Net as a self-configuring plugin of nnU-Net v2.

Importing this package loads neither torch nor nnunetv2: the names below are imported on first use.
"""

__version__ = "0.1.0"

_HOME_OF = {
    "AttentionGate": "nnunet_attention.gates",
    "AttentionPredictor": "nnunet_attention.maps.predictor",
    "AttentionResidualEncoderUNet": "nnunet_attention.networks",
    "AttentionUNet": "nnunet_attention.networks",
    "record_attention": "nnunet_attention.maps.recorder",
}

__all__ = [
    "AttentionGate",
    "AttentionPredictor",
    "AttentionResidualEncoderUNet",
    "AttentionUNet",
    "__version__",
    "record_attention",
]


def __getattr__(name: str):
    if name in _HOME_OF:
        # Here, because this package is imported whenever Python starts.
        from importlib import import_module

        return getattr(import_module(_HOME_OF[name]), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted(__all__)
