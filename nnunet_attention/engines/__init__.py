"""Networks run without torch: written as ONNX, and run by OpenVINO or onnxruntime."""

from nnunet_attention.engines.graph import (
    NotExportableError,
    export_network,
    output_names,
)

__all__ = [
    "NotExportableError",
    "export_network",
    "output_names",
]
