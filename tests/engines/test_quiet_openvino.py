"""OpenVINO is imported without anything that would report it."""

import re
import subprocess
import sys

import pytest
from engine_packages import skip_without
from repository import REPOSITORY

from nnunet_attention.engines.quiet_openvino import import_openvino
from nnunet_attention.errors import CommandError

PROGRAM = """
import socket, sys

def refuse(*arguments, **options):
    raise SystemExit("it looked for the network")

socket.getaddrinfo = socket.socket.connect = refuse
from nnunet_attention.engines.quiet_openvino import import_openvino
openvino = import_openvino()
openvino.Core()
assert import_openvino() is openvino
print(sorted(name for name in sys.modules if name.startswith("openvino_telemetry")))
"""


def test_its_telemetry_is_not_loaded():
    skip_without("openvino")
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip() == "[]"


def test_a_broken_installation_is_one_line(monkeypatch):
    # What stands for "not to be imported".
    monkeypatch.setitem(sys.modules, "openvino", None)
    with pytest.raises(CommandError, match=r"^openvino cannot be imported: .*; install it again"):
        import_openvino()


def test_nobody_imports_it_otherwise():
    found = [
        path.name
        for path in (REPOSITORY / "nnunet_attention").rglob("*.py")
        if re.search(r"^\s*(import|from) openvino\b", path.read_text(), re.MULTILINE)
    ]
    assert found == ["quiet_openvino.py"]
