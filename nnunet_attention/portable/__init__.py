"""Portable models: networks in ONNX with everything that another program needs to use them."""

from nnunet_attention.portable.exporting import ExportOptions, export_model

__all__ = ["ExportOptions", "export_model"]
