"""Knows what nnU-Net's files and folders are called and hold; needs no torch."""
