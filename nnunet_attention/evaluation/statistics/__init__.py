"""Compares models by what was measured on the same cases."""
