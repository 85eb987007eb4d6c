"""Runs steps here or on SLURM, and keeps watch over them."""
