"""The demo: nnU-Net's own commands from raw data to a table and a picture, with both U-Nets."""
