"""Reads numbers for argparse."""

import argparse
import math


def positive(text: str) -> int:
    """Read a whole number of 1 or more."""
    return _at_least(1, text)


def not_negative(text: str) -> int:
    """Read a whole number of 0 or more."""
    return _at_least(0, text)


def number_or_nan(text: str) -> float:
    """Read a number; return NaN, which lies in no range, if the text is not a number."""
    try:
        return float(text)
    except ValueError:
        # Otherwise argparse's message would name the function that checks the range.
        return math.nan


def _at_least(lowest: int, text: str) -> int:
    try:
        number = int(text)
    except ValueError:
        # Otherwise argparse's message would name the function.
        raise argparse.ArgumentTypeError(f"{text} is not a whole number") from None
    if number < lowest:
        raise argparse.ArgumentTypeError(f"{text} is less than {lowest}")
    return number
