"""Exports run beside each other, their errors come out, and at the end all are waited for."""

import os
from concurrent.futures import wait
from threading import Event, Timer

import numpy as np
import pytest
from fake_export import FakeExport

from nnunet_attention.errors import CommandError
from nnunet_attention.prediction.exporters import Exporters


def test_without_processes_a_case_is_there_when_submit_returns(tmp_path):
    with Exporters(0) as exporters:
        exporters.submit(FakeExport(tmp_path / "a"), np.ones(3))
        assert (tmp_path / "a").read_text() == f"{os.getpid()} 3"


def test_an_error_in_this_process_comes_out_of_submit(tmp_path):
    with pytest.raises(CommandError, match="a: cannot be written"), Exporters(0) as exporters:
        exporters.submit(FakeExport(tmp_path / "a", "error"), np.ones(1))


@pytest.mark.slow
def test_more_cases_than_may_wait_are_all_exported_by_others(tmp_path):
    with Exporters(1) as exporters:
        for case in "abcde":
            exporters.submit(FakeExport(tmp_path / case), np.ones(2))
    texts = [(tmp_path / case).read_text() for case in "abcde"]
    assert all(text.endswith(" 2") for text in texts)
    assert str(os.getpid()) not in {text.split()[0] for text in texts}


@pytest.mark.slow
def test_an_error_elsewhere_comes_out_at_the_end(tmp_path):
    exports = [FakeExport(tmp_path / "a"), FakeExport(tmp_path / "b", "error")]
    with pytest.raises(CommandError, match="b: cannot be written"), Exporters(1) as exporters:
        [exporters.submit(export, np.ones(1)) for export in exports]
    assert (tmp_path / "a").exists()


@pytest.mark.slow
def test_a_process_that_died_is_told_with_its_case_and_the_remedy(tmp_path):
    with (
        pytest.raises(CommandError, match=r"^a: the process that exported it died.*-nps 1"),
        Exporters(1) as exporters,
    ):
        exporters.submit(FakeExport(tmp_path / "a", "killed"), np.ones(1))


@pytest.mark.slow
def test_who_comes_after_a_process_that_died_is_told_the_same(tmp_path):
    exporters = Exporters(1)
    exporters.submit(FakeExport(tmp_path / "a", "killed"), np.ones(1))
    wait(exporters._under_way)
    with pytest.raises(CommandError, match=r"^a: the process that exported it died"), exporters:
        exporters.submit(FakeExport(tmp_path / "b"), np.ones(1))


def test_a_thread_exports_while_submit_returns_and_its_error_comes_out_at_the_end(tmp_path):
    exports = [FakeExport(tmp_path / "a"), FakeExport(tmp_path / "b", "error")]
    with (
        pytest.raises(CommandError, match="b: cannot be written"),
        Exporters(0, beside=True) as exporters,
    ):
        [exporters.submit(export, np.ones(3)) for export in exports]
    assert (tmp_path / "a").read_text() == f"{os.getpid()} 3"


class WaitingExport(FakeExport):
    """Ends when it is let go."""

    def __init__(self, output):
        super().__init__(output)
        self.let_go = Event()

    def run(self, logits):
        self.let_go.wait(60)
        super().run(logits)


@pytest.mark.parametrize(("error", "finished"), [(CommandError, True), (KeyboardInterrupt, False)])
def test_what_waits_is_exported_in_spite_of_an_error_but_not_of_an_interruption(
    tmp_path, error, finished
):
    first = WaitingExport(tmp_path / "a")
    exporters = Exporters(0, beside=True)
    exporters.submit(first, np.ones(1))
    exporters.submit(FakeExport(tmp_path / "b"), np.ones(1))
    Timer(0.2, first.let_go.set).start()
    with pytest.raises(error), exporters:
        raise error("c cannot be read")
    assert (tmp_path / "a").exists()
    assert (tmp_path / "b").exists() == finished
