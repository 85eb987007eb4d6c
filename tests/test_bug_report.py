"""The report to paste says what matters and nothing that tells whose machine it is."""

import getpass
import os
import platform
import socket
from pathlib import Path

import pytest

from nnunet_attention import __version__, bug_report, doctor
from nnunet_attention.cli import main

HEALTHY = {
    "trainer": "nnunet_attention.trainers.attention.AttentionUNetTrainer",
    "error": None,
    "devices": [],
    "threads": 2,
    "memories_byte": [],
    "cuda": None,
}


@pytest.fixture
def probed(monkeypatch):
    """Returns a function that sets what the process that asks nnU-Net and torch has told."""

    def probed(**different):
        monkeypatch.setattr(doctor, "_probe", lambda variables: {**HEALTHY, **different})

    probed()
    return probed


def rows(report: str) -> list[list[str]]:
    lines = report.splitlines()
    assert (lines[0], lines[-1]) == ("```text", "```")
    return [line.split(maxsplit=1) for line in lines[1:-1]]


def values(report: str) -> dict[str, str]:
    return dict(rows(report))


def test_it_names_versions_system_device_and_discovery(probed):
    found = values(bug_report.bug_report({}))
    assert found["nnunet-attention"].split()[0] == __version__
    assert found["python"] == platform.python_version()
    assert {"nnunetv2", "torch", "numpy", "SimpleITK"} <= found.keys()
    assert found["system"].startswith(platform.system())
    assert found["discovery"] == "works, at start-up, nothing to export"
    assert (found["device"], found["threads"]) == ("CPU only", "2")
    assert found["nnUNet_raw"] == "not set"


def test_a_package_that_is_not_installed_is_left_out(probed, monkeypatch):
    monkeypatch.setattr(bug_report, "_PACKAGES", ("numpy", "no-such-package"))
    report = bug_report.bug_report({})
    assert "numpy" in report
    assert "no-such-package" not in report


def test_every_gpu_is_named_with_its_memory(probed):
    probed(devices=["NVIDIA H100", "NVIDIA T4"], memories_byte=[80 * 2**30, 15 * 2**30], cuda="13")
    found = [value for name, value in rows(bug_report.bug_report({})) if name == "device"]
    assert found == ["NVIDIA H100, 80 GiB", "NVIDIA T4, 15 GiB"]
    assert values(bug_report.bug_report({}))["cuda"] == "13"


@pytest.mark.parametrize(
    ("value", "shown"),
    [
        ("0", "0"),
        ("10,25,5", "10,25,5"),
        ("true", "true"),
        ("/home/alice/trainers", "(set)"),
        ("alice", "(set)"),
        ("", "(set)"),
        ("1\n/home/alice", "(set)"),
    ],
)
def test_values_are_shown_only_if_they_are_numbers_or_yes_or_no(probed, value, shown):
    assert values(bug_report.bug_report({"nnUNet_compile": value}))["nnUNet_compile"] == shown


def test_variables_with_names_of_their_own_are_left_out(probed):
    report = bug_report.bug_report({"nnUNet_alice": "1", "NNUNET_ATTENTION_ALICE": "1"})
    assert "alice" not in report.lower()


@pytest.mark.parametrize(
    ("error", "kind"),
    [
        ("ImportError: cannot import /home/alice/trainers/alice.py", "ImportError"),
        ("AliceError: no", "an error"),
        ("alice: command not found", "an error"),
        ("/home/alice/venv/bin/python: No module named torch", "an error"),
        ("", "an error"),
        (None, "an error"),
    ],
)
@pytest.mark.parametrize("devices", [[], None])
def test_of_an_error_its_kind_is_told_and_not_its_message(probed, error, kind, devices):
    probed(trainer=None, error=error, devices=devices)
    report = bug_report.bug_report({})
    assert values(report)["discovery"] == f"fails ({kind}); see `nnunet-attention doctor`"
    assert "alice" not in report.lower()


def test_where_torch_cannot_be_asked_the_device_is_unknown(monkeypatch):
    # As `_probe` returns it where the process failed.
    failed = {"devices": None, "threads": 2, "trainer": None, "error": "ImportError: torch"}
    monkeypatch.setattr(doctor, "_probe", lambda variables: failed)
    found = values(bug_report.bug_report({}))
    assert found["device"] == "unknown, as torch could not be asked"


def test_a_kernels_own_name_is_cut_off(probed, monkeypatch):
    monkeypatch.setattr(platform, "release", lambda: "6.1.0-alices-kernel")
    report = bug_report.bug_report({})
    assert " 6.1.0 " in values(report)["system"]
    assert "alice" not in report


def test_neither_paths_nor_users_nor_machines_can_be_recognised(tmp_path, monkeypatch, capsys):
    """Nothing is a stand-in here: the command asks nnU-Net, torch and the system."""
    user, host = "alice-liddell", "wonderland-7"
    home = tmp_path / user
    (home / "raw").mkdir(parents=True)
    for name in ("USER", "LOGNAME", "USERNAME"):
        monkeypatch.setenv(name, user)
    for name in ("HOSTNAME", "HOST", "COMPUTERNAME"):
        monkeypatch.setenv(name, host)
    monkeypatch.setattr(socket, "gethostname", lambda: host)
    monkeypatch.setattr(platform, "node", lambda: host)
    monkeypatch.setenv("HOME", str(home))
    monkeypatch.setenv("nnUNet_raw", str(home / "raw"))
    monkeypatch.setenv("nnUNet_preprocessed", f"{home}/no folder")
    monkeypatch.setenv("nnUNet_results", "~/results")
    (home / "broken.py").write_text(f"raise RuntimeError({str(home)!r})")
    monkeypatch.setenv("nnUNet_extTrainer", str(home))
    monkeypatch.setenv("nnUNet_compile", user)
    monkeypatch.chdir(home)

    assert main(["doctor", "--report"]) == 0
    report = capsys.readouterr().out
    found = values(report)
    assert found["nnUNet_raw"] == "in order"
    assert found["nnUNet_preprocessed"] == "wrong; see `nnunet-attention doctor`"
    assert found["discovery"].startswith("fails (RuntimeError)")
    lowered = report.lower()
    for secret in (user, host, str(home), str(Path.home()), os.getcwd(), "wonderland", "alice"):
        assert secret.lower() not in lowered
    # Users called root exist; a word of the report is not a secret.
    if len(getpass.getuser()) > 5:
        assert getpass.getuser().lower() not in lowered
    assert "/" not in report
    assert "\\" not in report
