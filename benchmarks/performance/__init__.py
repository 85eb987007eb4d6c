"""Compares attention gates in speed and memory with stock nnU-Net and other attention U-Nets."""
