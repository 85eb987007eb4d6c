"""Shows a command's progress on stderr: a bar in a terminal, occasional lines elsewhere."""

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial


@contextmanager
def progress_bar(title: str, what: str = "case") -> Iterator[Callable[[int, int], None]]:
    """Give a function to call with the number of cases (or other things) done, and of all."""
    if not sys.stderr.isatty():
        yield case_lines(title, what)
        return
    from rich.console import Console
    from rich.progress import (
        BarColumn,
        MofNCompleteColumn,
        Progress,
        TextColumn,
        TimeRemainingColumn,
    )

    columns = (TextColumn(title), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=Console(stderr=True)) as progress:
        task = progress.add_task(title, total=None)
        yield lambda done, total: progress.update(task, completed=done, total=total)


def case_lines(title: str, what: str = "case") -> Callable[[int, int], None]:
    """Return a function to call with the number of cases done, and of all; it prints lines."""
    from nnunet_attention.pace import ProgressLines, counted

    return ProgressLines(title, partial(counted, what=what))


@contextmanager
def download_bar(name: str) -> Iterator[Callable[[int, int | None], None]]:
    """Give a function to call with the number of bytes downloaded, and of all."""
    if not sys.stderr.isatty():
        from nnunet_attention.pace import ProgressLines, megabytes

        yield ProgressLines(name, megabytes)
        return
    from tqdm import tqdm

    # The bar appears with the first bytes.
    options = {"unit": "B", "unit_scale": True, "unit_divisor": 1024}
    bar = None

    def on_progress(done: int, total: int | None) -> None:
        nonlocal bar
        if bar is None:
            bar = tqdm(desc=name, total=total, initial=done, **options)
        bar.total = total
        bar.update(done - bar.n)

    try:
        yield on_progress
    finally:
        if bar is not None:
            bar.close()
