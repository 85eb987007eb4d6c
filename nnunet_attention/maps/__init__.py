"""Attention maps: recorded in a forward pass, stitched over the image, drawn."""
