"""Iterates over the cases that nnU-Net preprocesses, and names a case that fails."""

from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor

from nnunet_attention.errors import CommandError, last_line


def named_by_case(
    preprocessed: Iterator[dict], image_files: Sequence[Sequence[str]], remedy: str | None = None
) -> Iterator[dict]:
    """Yield preprocessed cases; if reading or preprocessing fails, raise an error that names one.

    Args:
        preprocessed: the cases, in order.
        image_files: the files of each case.
        remedy: the message instead of the error's own text, which is only about memory.
    """
    for images in image_files:
        try:
            case = next(preprocessed)
        except Exception as error:  # preprocessors, which plans name, fail in any way
            raise CommandError(
                f"{images[0]}: cannot be read or preprocessed: {remedy or last_line(error)}"
            ) from error
        yield case
    # Exhausted, so that nnU-Net waits for its processes.
    yield from preprocessed


def one_ahead(cases: Iterator[dict]) -> Iterator[dict]:
    """Iterate over the cases while a separate thread prepares the next one."""
    end: dict = {}
    with ThreadPoolExecutor(1) as pool:
        following = pool.submit(next, cases, end)
        while (case := following.result()) is not end:
            following = pool.submit(next, cases, end)
            yield case
