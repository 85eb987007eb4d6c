import json
import subprocess
import sys

import pytest

from nnunet_attention.demo.settings import DemoSettings


@pytest.mark.parametrize(
    ("data", "device", "memory_gb"),
    [
        (None, "cpu", None),
        ("/data/Task07_Tiny", "cpu", 0.05),
        ("/data/Task07_Tiny", "cuda", None),
    ],
)
def test_patches_are_planned_small_for_real_data_on_a_cpu_only(data, device, memory_gb):
    assert DemoSettings(data=data, device=device).planned_memory_gb == memory_gb


def test_settings_survive_json():
    stored = DemoSettings(folds=("0", "2"), seed=5).as_stored()
    assert json.loads(json.dumps(stored)) == stored
    assert (stored["folds"], stored["seed"]) == (["0", "2"], 5)


def test_settings_load_nothing_that_takes_long():
    program = (
        "import sys; import nnunet_attention.demo.settings; "
        "print(sorted({'torch', 'nnunetv2', 'numpy', 'scipy', 'psutil'} & set(sys.modules)))"
    )
    command = [sys.executable, "-c", program]
    loaded = subprocess.run(command, capture_output=True, text=True, check=True)
    assert loaded.stdout == "[]\n"
