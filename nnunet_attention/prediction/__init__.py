"""Prediction as nnU-Net does it, checked beforehand, with a network that any engine runs."""
