"""Says what replacing the coefficients of attention gates did to the segmentations."""
