"""Writes the leaderboard as one HTML file that needs nothing else, not even a network."""

from nnunet_attention.evaluation.leaderboard.report.page import report_page

__all__ = ["report_page"]
