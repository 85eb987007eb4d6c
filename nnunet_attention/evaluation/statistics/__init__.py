"""Compares models by their results on the same cases."""
