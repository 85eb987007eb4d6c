"""Finds out where attention gates help, on synthetic data in which context decides."""
