"""Runs the paper's experiments and lays their tables out as there."""
