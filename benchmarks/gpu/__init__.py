"""Tests, tables and trainings on a GPU by one command that goes on where it stopped, offline."""
