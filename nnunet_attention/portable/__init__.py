"""Models that travel: networks in ONNX with all that another program must know to use them."""

from nnunet_attention.portable.exporting import ExportOptions, export_model

__all__ = ["ExportOptions", "export_model"]
