"""Turns what ends a command into one line and an exit code."""

import sys
from collections.abc import Callable
from errno import EACCES, EPERM

from nnunet_attention.errors import CommandError
from nnunet_attention.files import disk_error, is_disk_error


def exit_code_of(name: str, run: Callable[[], int | None]) -> int:
    """Run a command and return its exit code.

    Args:
        name: what its errors begin with, such as `nnunet-attention predict`.
        run: the command; None counts as 0.

    Returns:
        What the command returns; after an error that a user can mend, with one line about it on
        stderr, 1; after Ctrl-C 130.
    """
    try:
        return run() or 0
    except CommandError as error:
        print(f"{name}: {error}", file=sys.stderr)
        return 1
    except OSError as error:
        # Without a file's name it may be a signal or a socket that was refused.
        is_refused = error.errno in (EACCES, EPERM) and error.filename is None
        if is_refused or not is_disk_error(error):
            raise
        place = "" if error.filename is None else f"{error.filename}: "
        print(f"{name}: {place}{disk_error(error)}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print(f"{name}: interrupted", file=sys.stderr)
        return 130
