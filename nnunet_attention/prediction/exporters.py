"""Exports predicted cases in processes or in a thread, while the network predicts the next."""

from concurrent.futures import (
    FIRST_COMPLETED,
    Executor,
    Future,
    ProcessPoolExecutor,
    ThreadPoolExecutor,
    wait,
)
from concurrent.futures.process import BrokenProcessPool
from multiprocessing import get_context

import numpy as np

from nnunet_attention.errors import CommandError
from nnunet_attention.prediction.segmentation_export import SegmentationExport

# As in nnU-Net: more would fill the memory where the network is faster than the export.
_MOST_WAITING = 2


class Exporters:
    """Runs exports in a `with` block, waits for all at its end, and raises the first error.

    Cases submitted before an error are still exported; after an interruption they are not.

    Args:
        processes: the number of processes; 0 exports in this process.
        beside: whether this process exports in a thread, while the next case is predicted.
    """

    def __init__(self, processes: int, beside: bool = False):
        self._most_under_way = processes + _MOST_WAITING
        self._pool: Executor | None = None
        if processes > 0:
            # A forked process must not touch CUDA.
            self._pool = ProcessPoolExecutor(processes, mp_context=get_context("spawn"))
        elif beside:
            # One is running, and one waits.
            self._pool, self._most_under_way = ThreadPoolExecutor(1), 2
        self._under_way: dict[Future, str] = {}

    def __enter__(self) -> "Exporters":
        return self

    def __exit__(self, error_type, error, traceback) -> None:
        if self._pool is None:
            return
        interrupted = error is not None and not isinstance(error, Exception)
        try:
            if error is None:
                while self._under_way:
                    self._collect()
        except KeyboardInterrupt:
            interrupted = True
            raise
        finally:
            self._pool.shutdown(cancel_futures=interrupted)

    def submit(self, export: SegmentationExport, logits: np.ndarray) -> None:
        """Export a case, after waiting for room.

        Raises:
            CommandError: if an earlier export failed.
        """
        if self._pool is None:
            export.run(logits)
            return
        while len(self._under_way) >= self._most_under_way:
            self._collect()
        try:
            future = self._pool.submit(export.run, logits)
        except BrokenProcessPool as error:
            raise _died(next(iter(self._under_way.values()), export.case)) from error
        self._under_way[future] = export.case

    def _collect(self) -> None:
        done, _ = wait(self._under_way, return_when=FIRST_COMPLETED)
        for future in done:
            case = self._under_way.pop(future)
            try:
                future.result()
            except BrokenProcessPool as error:
                raise _died(case) from error


def _died(case: str) -> CommandError:
    return CommandError(
        f"{case}: the process that exported it died, most likely for lack of memory; run again "
        "with --continue_prediction and fewer processes (-nps 1)"
    )
