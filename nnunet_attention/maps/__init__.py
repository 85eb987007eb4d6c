"""Records attention maps in a forward pass, stitches them over the image and draws them."""

from nnunet_attention.maps.export import MapOptions
from nnunet_attention.maps.predictor import AttentionPrediction, AttentionPredictor
from nnunet_attention.recorder import (
    AttentionRecord,
    NoAttentionGatesError,
    record_attention,
)

__all__ = [
    "AttentionPrediction",
    "AttentionPredictor",
    "AttentionRecord",
    "MapOptions",
    "NoAttentionGatesError",
    "record_attention",
]
