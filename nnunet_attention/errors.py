"""The error that a command shows as one line."""


class CommandError(Exception):
    """Bad input or a failed step: the message names it, what was wanted, and the remedy."""
