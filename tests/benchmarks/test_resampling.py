"""Resampling in torch is timed and compared with nnU-Net's functions."""

import sys

import pytest

from benchmarks import resampling
from benchmarks.gpu.reporting import resampling_table
from benchmarks.gpu.stages import all_stages as stages_of
from benchmarks.gpu.stages import on_gpu, reduced
from benchmarks.gpu.work import Work
from nnunet_attention.files import read_json

SMALL = (
    resampling.Kind("image", (4, 6, 8), (5, 9, 7), (5, 1, 1)),
    resampling.Kind("logits", (4, 6, 8), (5, 9, 7), (1, 1, 1), 3),
)


@pytest.fixture
def result(tmp_path, monkeypatch, one_thread, capsys) -> dict:
    monkeypatch.setattr(resampling, "KINDS", SMALL)
    command_line = ["resampling", "--device", "cpu", "--rounds", "2", "-o", str(tmp_path)]
    monkeypatch.setattr(sys, "argv", command_line)
    resampling.main()
    assert (tmp_path / "cpu.md").read_text() in capsys.readouterr().out
    return read_json(tmp_path / "cpu.json")


def test_images_and_labels_are_compared(result):
    of_image, of_logits = result["rows"]
    assert of_image["largest_difference"] < 1e-5
    assert of_logits["differing_labels"] == 0
    assert {len(seconds) for row in result["rows"] for seconds in row["seconds"].values()} == {2}


def test_the_report_of_a_gpu_holds_the_table(result):
    record = {"ok": True, "found": result, "machine": result["machine"], "seconds": 1.0}
    text = resampling_table({"resampling": record})
    assert text.startswith(result["machine"]["kind"])
    assert resampling.table(result["rows"]) in text


@pytest.mark.parametrize(("settings", "device"), [(on_gpu(2), "cuda"), (reduced(2), "cpu")])
def test_it_is_measured_on_the_device_of_the_run(settings, device, tmp_path):
    work = Work(tmp_path)
    (stage,) = [
        stage for stage in stages_of(work, settings, {}, 3600.0) if stage.name == "resampling"
    ]
    assert stage.command[1:5] == ("-m", "benchmarks.resampling", "--device", device)
    assert str(work.scratch("resampling")) in stage.command
