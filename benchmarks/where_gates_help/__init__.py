"""Finds out where attention gates help: made-up data in which context decides."""
