"""Speed and memory of attention gates beside stock nnU-Net and other attention U-Nets."""
