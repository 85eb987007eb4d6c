"""Reads numbers for argparse."""

import argparse


def positive(text: str) -> int:
    """Read a whole number of 1 or more."""
    return _at_least(1, text)


def not_negative(text: str) -> int:
    """Read a whole number of 0 or more."""
    return _at_least(0, text)


def _at_least(lowest: int, text: str) -> int:
    try:
        number = int(text)
    except ValueError:
        # argparse would tell of the function.
        raise argparse.ArgumentTypeError(f"{text} is not a whole number") from None
    if number < lowest:
        raise argparse.ArgumentTypeError(f"{text} is not {lowest} or more")
    return number
