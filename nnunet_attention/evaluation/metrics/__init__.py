"""Measures how well a segmentation agrees with its reference."""
