"""Measures predictions with engines, and whether every plan's network exports."""
