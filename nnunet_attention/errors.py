"""Defines the error that a command shows as one line."""


class CommandError(Exception):
    """Reports bad input or a failed step: names it, what was wanted, and the remedy."""


def last_line(error: BaseException) -> str:
    """Return the last line of a third-party error's message, or its class if that is empty.

    ITK and torch spend many lines on where the error arose, and the last one on what is wrong.
    """
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return lines[-1] if lines else type(error).__name__
