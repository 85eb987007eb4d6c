"""Experiment planners and plans conversion."""
