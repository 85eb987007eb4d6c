"""Networks run without torch: written as ONNX, and run by OpenVINO or onnxruntime."""

from nnunet_attention.engines.graph import (
    NotExportableError,
    export_network,
    output_names,
)
from nnunet_attention.engines.resampling import DeviceConfiguration, segmentation_in_image_space

__all__ = [
    "DeviceConfiguration",
    "NotExportableError",
    "export_network",
    "output_names",
    "segmentation_in_image_space",
]
