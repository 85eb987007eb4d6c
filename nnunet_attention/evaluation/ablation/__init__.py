"""Reports how replacing the coefficients of attention gates affects the segmentations."""
