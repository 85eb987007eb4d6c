"""Writes the leaderboard as one self-contained HTML file that works offline."""

from nnunet_attention.evaluation.leaderboard.report.page import report_page

__all__ = ["report_page"]
