r"""Notes what other packages with attention or maps for nnU-Net do, each run once on a CPU.

    pip install --no-deps --target OTHERS segforge==0.1.0a2 nnunetv2-cam==0.1.6.1 \
        grad-cam ttach einops opencv-python-headless
    git clone https://github.com/QuantitativePhysiologyImagingLab/multichannel_attention_nnUNet FORK
    python -m benchmarks.others --packages OTHERS --fork FORK

Each is asked in a process of its own that alone has its folder on Python's path: whether nnU-Net
finds its trainer with nothing set, what network it builds from two plans, where its gates compute,
whether it has deep supervision, and whether a training step succeeds. nnunetv2-cam explains a case.
How often words of statistics occur in each is counted. What fails is noted with its message. The
networks are small and the numbers no measure of speed: `python -m benchmarks.performance` times
MONAI's gates.
"""

from __future__ import annotations

import argparse
import copy
import json
import os
import re
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from datetime import datetime, timezone
from functools import partial
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import torch
from torch import nn

from nnunet_attention.cli.exit_codes import exit_code_of
from nnunet_attention.files import write_json

ROOT = Path(__file__).resolve().parents[1]
RESULTS = ROOT / "benchmarks" / "results" / "others.json"
# What each calls its trainer, if it has one.
TRAINERS = {
    "nnU-Net": "nnUNetTrainer",
    "nnunet-attention": "AttentionUNetTrainer",
    "segforge": "AttentionUnetTrainer",
    "fork": "nnUNetTrainerWithAttention",
}
NAMES = (*TRAINERS, "MONAI", "nnunetv2-cam")
_MODULES = {
    "nnU-Net": "nnunetv2",
    "nnunet-attention": "nnunet_attention",
    "fork": "nnunetv2",
    "MONAI": "monai",
}
# The fork asks for a second channel, of prior knowledge.
_CHANNELS = {"fork": 2}
_GATES = ("AttentionGate", "AttentionBlock")
_STATISTICS = re.compile(r"wilcoxon|bootstrap|scipy\.stats|confidence interval", re.IGNORECASE)
# Four halvings, which every one of them can have; and the anisotropic beginning that nnU-Net plans
# for thick slices, with other numbers of channels.
_PLANS = {
    "isotropic": {
        "patch": [32, 32, 32],
        "features": [4, 8, 8, 8, 8],
        "strides": [[1, 1, 1], *[[2, 2, 2]] * 4],
        "kernels": [[3, 3, 3]] * 5,
    },
    "anisotropic": {
        "patch": [8, 32, 32],
        "features": [8, 16, 32],
        "strides": [[1, 1, 1], [1, 2, 2], [2, 2, 2]],
        "kernels": [[1, 3, 3], [3, 3, 3], [3, 3, 3]],
    },
}


def plans_of(shape: dict) -> dict:
    """Return nnU-Net's plans for a network of the given shape."""
    stages = len(shape["features"])
    return {
        "dataset_name": "Dataset900_Others",
        "plans_name": "nnUNetPlans",
        "experiment_planner_used": "ExperimentPlanner",
        "label_manager": "LabelManager",
        "image_reader_writer": "SimpleITKIO",
        "transpose_forward": [0, 1, 2],
        "transpose_backward": [0, 1, 2],
        "foreground_intensity_properties_per_channel": {"0": {"mean": 0.5, "std": 0.3}},
        "configurations": {
            "3d_fullres": {
                "data_identifier": "nnUNetPlans_3d_fullres",
                "preprocessor_name": "DefaultPreprocessor",
                "batch_size": 2,
                "batch_dice": False,
                "patch_size": shape["patch"],
                "spacing": [1.0, 1.0, 1.0],
                "normalization_schemes": ["ZScoreNormalization"],
                "use_mask_for_norm": [False],
                **{
                    f"resampling_fn_{what}": "resample_data_or_seg_to_shape"
                    for what in ("data", "seg", "probabilities")
                },
                **{
                    f"resampling_fn_{what}_kwargs": {"is_seg": False, "order": 1}
                    for what in ("data", "seg", "probabilities")
                },
                "architecture": {
                    "network_class_name": (
                        "dynamic_network_architectures.architectures.unet.PlainConvUNet"
                    ),
                    "arch_kwargs": {
                        "n_stages": stages,
                        "features_per_stage": shape["features"],
                        "conv_op": "torch.nn.modules.conv.Conv3d",
                        "kernel_sizes": shape["kernels"],
                        "strides": shape["strides"],
                        "n_conv_per_stage": [2] * stages,
                        "n_conv_per_stage_decoder": [2] * (stages - 1),
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


def dataset_json(channels: int) -> dict:
    """Return the description of a data set with one label."""
    return {
        "channel_names": {str(channel): "MRI" for channel in range(channels)},
        "labels": {"background": 0, "organ": 1},
        "file_ending": ".nii.gz",
        "numTraining": 1,
    }


def noted(fact: Callable[[], object]) -> object:
    """Return a fact, or the message of what failed."""
    try:
        return fact()
    # Whatever another's code raises, or ends with, is what is to be noted.
    except (Exception, SystemExit) as error:
        lines = str(error).strip().splitlines()
        return {"failed": f"{type(error).__name__}: {lines[0] if lines else ''}"[:300]}


def ask(name: str) -> dict:
    """Return what a package does, in a process that has its folder on Python's path."""
    torch.manual_seed(0)
    facts = {"source": _source(name)}
    if name == "nnunetv2-cam":
        facts["case"] = noted(_explain_a_case)
    elif name == "MONAI":
        facts["networks"] = {name: noted(partial(_monai, shape)) for name, shape in _PLANS.items()}
    else:
        facts["found with nothing set"] = _is_found(TRAINERS[name])
        if not facts["found with nothing set"]:
            folder = Path(find_spec(f"{name}.training.nnUNetTrainer").origin).parent
            os.environ["nnUNet_extTrainer"] = str(folder)  # noqa: SIM112
            facts["found with its folder set"] = _is_found(TRAINERS[name])
        facts["networks"] = {
            plans: noted(partial(_trained, name, shape)) for plans, shape in _PLANS.items()
        }
    return facts


def _source(name: str) -> dict:
    folder = Path(find_spec(_MODULES.get(name, name.replace("-", "_"))).origin).parent
    files = [path.read_text(encoding="utf-8") for path in folder.rglob("*.py")]
    with_words = sum(bool(_STATISTICS.search(text)) for text in files)
    facts: dict = {"files with words of statistics": with_words}
    if name == "fork":
        project = (folder.parent / "pyproject.toml").read_text(encoding="utf-8")
        facts["version of nnunetv2"] = re.findall(r'^version = "(.+)"', project, re.MULTILINE)[0]
    else:
        facts["version"] = version("nnunetv2" if name == "nnU-Net" else name)
    return facts


def _find(trainer: str) -> type | None:
    """Look a trainer up as the commands of this process's nnU-Net do."""
    if find_spec("nnunetv2.utilities.find_objects"):
        from nnunetv2.utilities.find_objects import recursive_find_trainer_class_by_name

        try:
            return recursive_find_trainer_class_by_name(trainer)
        except RuntimeError:
            return None
    # Before nnU-Net 2.7, as that of the fork.
    import nnunetv2
    from nnunetv2.utilities.find_class_by_name import recursive_find_python_class

    folder = Path(nnunetv2.__path__[0], "training", "nnUNetTrainer")
    return recursive_find_python_class(str(folder), trainer, "nnunetv2.training.nnUNetTrainer")


def _is_found(trainer: str) -> bool:
    return _find(trainer) is not None


def _built(trainer: str, channels: int, plans: dict):
    found = _find(trainer)
    assert found is not None, trainer
    plans = {**copy.deepcopy(plans), "continue_training": False}
    built = found(plans, "3d_fullres", 0, dataset_json(channels), torch.device("cpu"))
    folder = Path(built.preprocessed_dataset_folder)
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "case.b2nd").touch()  # by which nnU-Net tells the kind of a data set
    built.initialize()
    return built


def _trained(name: str, shape: dict) -> dict:
    channels = _CHANNELS.get(name, 1)
    trainer = _built(TRAINERS[name], channels, plans_of(shape))
    network = trainer.network
    images = torch.randn(2, channels, *shape["patch"])
    facts = _network_facts(network, images)
    facts["deep supervision"] = bool(trainer.enable_deep_supervision)
    scales = trainer._get_deep_supervision_scales() or [[1, 1, 1]]
    targets = [
        torch.randint(
            0, 2, (2, 1, *(round(n * s) for n, s in zip(shape["patch"], scale, strict=True)))
        ).float()
        for scale in scales
    ]
    network.train()
    target = targets if trainer.enable_deep_supervision else targets[0]
    facts["loss of a training step"] = noted(
        lambda: float(trainer.train_step({"data": images, "target": target})["loss"])
    )
    return facts


def _monai(shape: dict) -> dict:
    from monai.networks.nets import AttentionUnet

    network = AttentionUnet(3, 1, 2, shape["features"], [tuple(s) for s in shape["strides"][1:]])
    images = torch.randn(2, 1, *shape["patch"])
    facts = _network_facts(network, images)
    facts["deep supervision"] = isinstance(network.train()(images), (list, tuple))

    def step() -> float:
        optimizer = torch.optim.SGD(network.parameters(), lr=0.01)
        target = torch.randint(0, 2, (2, *shape["patch"]))
        loss = nn.functional.cross_entropy(network(images), target)
        loss.backward()
        optimizer.step()
        return float(loss)

    facts["loss of a training step"] = noted(step)
    return facts


def _network_facts(network: nn.Module, images: torch.Tensor) -> dict:
    """Count parameters, and see where the gates compute and whether they have norms."""
    gates = [module for module in network.modules() if type(module).__name__ in _GATES]
    grids: list[tuple[str, str]] = []
    handles = []
    for gate in gates:
        seen: dict[str, list[int]] = {}

        def see_psi(_, __, output, seen=seen):
            seen["psi"] = list(output.shape[2:])

        def see_gate(gate, arguments, keywords, __, seen=seen):
            tensors = filter(torch.is_tensor, (*arguments, *keywords.values()))
            skip = max(list(tensor.shape[2:]) for tensor in tensors)
            # On a CPU our gates compute with psi's weights, without calling it.
            psi = seen.get("psi") or [
                size // stride for size, stride in zip(skip, gate.theta.stride, strict=True)
            ]
            grids.append((_by(psi), _by(skip)))

        handles.append(gate.psi.register_forward_hook(see_psi))
        handles.append(gate.register_forward_hook(see_gate, with_kwargs=True))
    network.eval()
    with torch.no_grad():
        network(images)
    for handle in handles:
        handle.remove()
    norms = (nn.modules.batchnorm._BatchNorm, nn.modules.instancenorm._InstanceNorm)
    return {
        "parameters": sum(parameter.numel() for parameter in network.parameters()),
        "gates": len(gates),
        "grid of the gates' arithmetic": [psi for psi, _ in grids],
        "grid of the skips": [skip for _, skip in grids],
        "norms in gates": any(isinstance(m, norms) for gate in gates for m in gate.modules()),
    }


def _by(size: list[int]) -> str:
    return "x".join(map(str, size))


def _explain_a_case() -> dict:
    """Let nnunetv2-cam explain a case of random numbers by a stock nnU-Net that was not trained."""
    import SimpleITK
    from nnunetv2_cam import cli

    trainer = _built("nnUNetTrainer", 1, plans_of(_PLANS["isotropic"]))
    model = Path(trainer.output_folder_base)
    write_json(model / "plans.json", plans_of(_PLANS["isotropic"]), sort_keys=False)
    write_json(model / "dataset.json", dataset_json(1), sort_keys=False)
    trainer.save_checkpoint(str(Path(trainer.output_folder) / "checkpoint_final.pth"))
    images, out = model / "images", model / "out"
    images.mkdir()
    image = SimpleITK.GetImageFromArray(np.random.default_rng(0).random((40, 36, 34), np.float32))
    SimpleITK.WriteImage(image, str(images / "case_0000.nii.gz"))
    sys.argv = ["nnunetv2_cam", "-i", str(images), "-o", str(out), "-m", str(model), "-f", "0"]
    sys.argv += ["--target-layer", "encoder.stages.1.0.convs.1", "-device", "cpu", "--disable-tta"]
    began = time.perf_counter()
    cli.main()
    written = [path for path in out.rglob("*") if path.is_file()]
    return {
        "slices of the image": 40,
        "files written, by ending": {
            ending: sum(path.suffix == ending for path in written)
            for ending in sorted({path.suffix for path in written})
        },
        "seconds": round(time.perf_counter() - began, 1),
    }


def _answers(packages: Path, fork: Path) -> Iterator[tuple[str, dict]]:
    command = [sys.executable, "-W", "ignore", "-m", "benchmarks.others"]
    folders = {"segforge": packages, "nnunetv2-cam": packages, "fork": fork}
    for name in NAMES:
        print(name, file=sys.stderr)
        with tempfile.TemporaryDirectory() as empty:
            variables = {
                key: value for key, value in os.environ.items() if key != "nnUNet_extTrainer"
            }
            for place in ("nnUNet_raw", "nnUNet_preprocessed", "nnUNet_results"):
                variables[place] = str(Path(empty, place))
                Path(variables[place]).mkdir()
            if name in folders:
                # Ours must not show nnU-Net anything there.
                variables["NNUNET_ATTENTION_AUTOREGISTER"] = "0"
                path = [str(folders[name].resolve()), os.environ.get("PYTHONPATH", "")]
                variables["PYTHONPATH"] = os.pathsep.join(filter(None, path))
            answer = Path(empty, "answer.json")
            done = subprocess.run(
                [*command, "--ask", name, "-o", str(answer)],
                env=variables,
                cwd=ROOT,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                text=True,
                check=False,
            )
            if not answer.is_file():
                sys.exit(f"{name} gave no answer:\n{done.stdout[-3000:]}")
            yield name, json.loads(answer.read_text(encoding="utf-8"))


def main(command_line: Sequence[str] | None = None) -> int:
    """Ask all, and write their answers."""
    description = __doc__.partition("\n")[0] if __doc__ else None
    parser = argparse.ArgumentParser(prog="python -m benchmarks.others", description=description)
    parser.add_argument("--packages", type=Path, help="folder of segforge and nnunetv2-cam")
    parser.add_argument("--fork", type=Path, help="folder of the fork of nnU-Net")
    parser.add_argument("--commit", help="the fork's commit (default: as git says)")
    parser.add_argument("--ask", choices=NAMES, help=argparse.SUPPRESS)
    parser.add_argument("-o", type=Path, default=RESULTS, dest="output", help="file to write")
    arguments = parser.parse_args(command_line)
    if arguments.ask:
        write_json(arguments.output, ask(arguments.ask))
        return 0
    if arguments.packages is None or arguments.fork is None:
        parser.error("give --packages and --fork; the head of benchmarks/others.py says how")
    answers = dict(_answers(arguments.packages, arguments.fork))
    answers["fork"]["source"]["commit"] = (
        arguments.commit
        or subprocess.check_output(
            ["git", "-C", str(arguments.fork), "rev-parse", "HEAD"], text=True
        ).strip()
    )
    versions = {name: version(name) for name in ("nnunetv2", "torch")}
    record = {
        "date": datetime.now(timezone.utc).date().isoformat(),
        "versions": {**versions, "python": sys.version.split()[0]},
        "plans": _PLANS,
        "answers": answers,
    }
    write_json(arguments.output, record)
    return 0


if __name__ == "__main__":
    sys.exit(exit_code_of("python -m benchmarks.others", main))
