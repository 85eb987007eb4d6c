"""MSD Task04 Hippocampus: stock, wide and attention U-Net under equal schedules."""
