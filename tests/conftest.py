"""Fixtures for all tests."""

import os
import sys
from collections.abc import Iterator

import pytest
from browser import Browser, started_browser

from nnunet_attention import process

# Before nnU-Net is imported: torch.compile workers and figures that ask for a display do harm here.
os.environ.setdefault("MPLBACKEND", "Agg")


# Not for the whole session: other tests fork, and its driver runs beside a thread of ours.
@pytest.fixture(scope="module")
def chromium() -> Iterator[Browser]:
    """One browser for a module's tests; use `browser`."""
    with started_browser() as running:
        yield running


@pytest.fixture
def browser(chromium) -> Iterator[Browser]:
    """`browser.open(path)` opens a page; the test fails on errors in it and on any request."""
    yield chromium
    assert chromium.close_pages() == []


@pytest.fixture
def minimal_plans() -> dict:
    """The smallest plans that nnU-Net builds a network from: three stages, patch (4, 8, 16)."""
    return {
        "dataset_name": "Dataset900_Minimal",
        "plans_name": "nnUNetPlans",
        "experiment_planner_used": "ExperimentPlanner",
        "label_manager": "LabelManager",
        "image_reader_writer": "SimpleITKIO",
        "transpose_forward": [0, 1, 2],
        "transpose_backward": [0, 1, 2],
        "configurations": {
            "3d_fullres": {
                "data_identifier": "nnUNetPlans_3d_fullres",
                "preprocessor_name": "DefaultPreprocessor",
                "batch_size": 2,
                "batch_dice": True,
                "patch_size": [4, 8, 16],
                "spacing": [3.0, 2.0, 1.0],
                "architecture": {
                    "network_class_name": (
                        "dynamic_network_architectures.architectures.unet.PlainConvUNet"
                    ),
                    "arch_kwargs": {
                        "n_stages": 3,
                        "features_per_stage": [4, 6, 8],
                        "conv_op": "torch.nn.modules.conv.Conv3d",
                        "kernel_sizes": [[1, 3, 3], [3, 3, 3], [3, 3, 3]],
                        "strides": [[1, 1, 1], [1, 2, 2], [2, 2, 2]],
                        "n_conv_per_stage": [1, 1, 1],
                        "n_conv_per_stage_decoder": [1, 1],
                        "conv_bias": True,
                        "norm_op": "torch.nn.modules.instancenorm.InstanceNorm3d",
                        "norm_op_kwargs": {"eps": 1e-5, "affine": True},
                        "dropout_op": None,
                        "dropout_op_kwargs": None,
                        "nonlin": "torch.nn.LeakyReLU",
                        "nonlin_kwargs": {"inplace": True},
                    },
                    "_kw_requires_import": ["conv_op", "norm_op", "dropout_op", "nonlin"],
                },
            }
        },
    }


@pytest.fixture
def one_thread() -> Iterator[None]:
    """Networks this small take several times longer on several threads, waiting for each other."""
    # Here, because most tests need no torch.
    import torch

    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.fixture
def install_command(tmp_path, monkeypatch):
    """Returns a function that installs a Python script as a command found first."""
    folder = tmp_path / "bin"
    folder.mkdir()
    monkeypatch.setattr(process, "script_folders", lambda: [folder])

    def install(name: str, source: str) -> None:
        script = folder / name
        script.write_text(f"#!{sys.executable}\n{source}\n")
        script.chmod(0o755)

    return install
