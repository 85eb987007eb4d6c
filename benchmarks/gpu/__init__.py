"""Runs tests, tables and trainings on a GPU by one command, offline and resumable."""
