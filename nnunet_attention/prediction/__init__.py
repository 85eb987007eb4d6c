"""Prediction as nnU-Net does it, with prior checks and with any engine to run the network."""
