"""Builds a leaderboard and writes it in every format."""
