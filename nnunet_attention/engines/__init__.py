"""Networks run without torch: written as ONNX, and run by OpenVINO or onnxruntime."""

from nnunet_attention.engines.choice import (
    ENGINES,
    ONNXRUNTIME,
    OPENVINO,
    PRECISIONS,
    TORCH,
    EngineChoice,
    chosen_engine,
)
from nnunet_attention.engines.graph import (
    NotExportableError,
    export_network,
    output_names,
)
from nnunet_attention.engines.graph_cache import CACHE_FOLDER
from nnunet_attention.engines.network import (
    BFloat16Network,
    EngineNetwork,
    EngineRequest,
    put_on_engine,
)
from nnunet_attention.engines.parts import Replaced, Replacements
from nnunet_attention.engines.resampling import (
    DEVICE,
    NNUNET,
    RESAMPLINGS,
    DeviceConfiguration,
    segmentation_in_image_space,
)

__all__ = [
    "CACHE_FOLDER",
    "DEVICE",
    "ENGINES",
    "NNUNET",
    "ONNXRUNTIME",
    "OPENVINO",
    "PRECISIONS",
    "RESAMPLINGS",
    "TORCH",
    "BFloat16Network",
    "DeviceConfiguration",
    "EngineChoice",
    "EngineNetwork",
    "EngineRequest",
    "NotExportableError",
    "Replaced",
    "Replacements",
    "chosen_engine",
    "export_network",
    "output_names",
    "put_on_engine",
    "segmentation_in_image_space",
]
