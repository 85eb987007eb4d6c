"""Defines the error that a command shows as one line."""


class CommandError(Exception):
    """Tells of bad input or a failed step: names it, what was wanted, and the remedy."""


def last_line(error: BaseException) -> str:
    """Return what an error of someone else says in the end, or its kind where it says nothing.

    ITK and torch tell in many lines where they were, and in the last what is wrong.
    """
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return lines[-1] if lines else type(error).__name__
