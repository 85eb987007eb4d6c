"""Measures what attention maps add to a prediction: time, and memory for 512 x 512 x 300 voxels.

    python benchmarks/maps.py time MODEL_FOLDER IMAGES [--rounds 3] [-f 0] [-o FILE.json]
    python benchmarks/maps.py replacements MODEL_FOLDER IMAGES LABELS [--rounds 5] [-f 0]
        [-o FILE.json]
    python benchmarks/maps.py memory [--shape 300 512 512] [-o FILE.json]

`time` runs nnUNetv2_predict_from_modelfolder and `nnunet-attention maps`, with and without
pictures, in turn on the CPU (A B C A B C), each as a whole command, and prints medians and ratios.
`replacements` predicts the patches of the first image, without mirroring, as `maps` does, and with
six replacements of the gates' coefficients as `ablate` does: a number, and a map in blocks; in each
round in a shuffled order, in one process. It prints the processor seconds of the prediction and of
one of the six replacements, medians, and the ratio. For a single thread, set OMP_NUM_THREADS=1.
`memory` predicts a made-up volume with a network of five gates and few channels in one process,
preprocessing and export included, with nnU-Net's predictor and with ours, and prints the peaks of
resident memory.
"""

import argparse
import json
import os
import platform
import random
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from nnunet_attention.cli.exit_codes import exit_code_of

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "tests"))

BIN = Path(sys.executable).parent
GIB = 2**30
# How many replacements share a pass of the encoder, as with the six of `ablate`.
TOGETHER = 6


def main() -> None:
    """Run one of the three measurements."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    what = parser.add_subparsers(dest="what", required=True)
    timing = what.add_parser("time")
    timing.add_argument("model_folder", type=Path)
    timing.add_argument("images", type=Path)
    timing.add_argument("--rounds", type=int, default=3)
    timing.add_argument("-f", default="0")
    replacing = what.add_parser("replacements")
    replacing.add_argument("model_folder", type=Path)
    replacing.add_argument("images", type=Path)
    replacing.add_argument("labels", type=Path)
    replacing.add_argument("--rounds", type=int, default=5)
    replacing.add_argument("-f", default="0")
    memory = what.add_parser("memory")
    memory.add_argument("--shape", type=int, nargs=3, default=(300, 512, 512), metavar="N")
    for command in (timing, replacing, memory):
        command.add_argument("-o", type=Path, metavar="FILE.json")
    child = what.add_parser("predict")
    child.add_argument("kind", choices=("stock", "maps"))
    child.add_argument("folder", type=Path)
    arguments = parser.parse_args()
    if arguments.what == "predict":
        predict(arguments.kind, arguments.folder)
        return
    measure = {
        "time": measure_time,
        "replacements": measure_replacements,
        "memory": measure_memory,
    }[arguments.what]
    measured = measure(arguments)
    measured["machine"] = f"{os.cpu_count()} CPU cores, {platform.machine()}"
    text = json.dumps(measured, indent=4, sort_keys=True)
    print(text)
    if arguments.o is not None:
        arguments.o.write_text(text + "\n", encoding="utf-8")


def measure_time(arguments: argparse.Namespace) -> dict:
    """Measure the seconds of whole commands: on the clock, and of all processors together."""
    common = ["-i", str(arguments.images), "-m", str(arguments.model_folder), "-f", arguments.f]
    common += ["-device", "cpu", "--disable_progress_bar"]
    commands = {
        "nnUNetv2_predict": [BIN / "nnUNetv2_predict_from_modelfolder", *common],
        "maps_without_pictures": [BIN / "nnunet-attention", "maps", *common, "--no_pictures"],
        "maps": [BIN / "nnunet-attention", "maps", *common],
    }
    seconds = {name: [] for name in commands}
    processor_seconds = {name: [] for name in commands}
    for _ in range(arguments.rounds):
        for name, command in commands.items():
            with tempfile.TemporaryDirectory() as out:
                began, used = time.perf_counter(), processor_seconds_of_children()
                subprocess.run([*command, "-o", out], check=True, stdout=subprocess.DEVNULL)
                seconds[name].append(time.perf_counter() - began)
                processor_seconds[name].append(processor_seconds_of_children() - used)
    return {
        "cases": len(list(arguments.images.glob("*_0000*"))),
        "seconds": seconds,
        "processor_seconds": processor_seconds,
        "ratio": ratios(seconds),
        "processor_ratio": ratios(processor_seconds),
    }


def measure_replacements(arguments: argparse.Namespace) -> dict:
    """Measure the processor seconds of one image's patches: as in maps, and with a replacement."""
    import torch

    from nnunet_attention.maps.ablation import AblationCase, AblationPredictor
    from nnunet_attention.maps.ablation.cases import load_case
    from nnunet_attention.maps.ablation.predictor import Substitute

    predictor = AblationPredictor(device=torch.device("cpu"), allow_tqdm=False, use_mirroring=False)
    predictor.initialize_from_trained_model_folder(arguments.model_folder, (arguments.f,))
    ending = predictor.dataset_json["file_ending"]
    first = min(arguments.images.glob(f"*_0000{ending}"))
    name = first.name.rpartition("_")[0]
    images = tuple(sorted(arguments.images.glob(f"{name}_????{ending}")))
    case = AblationCase(name, images, arguments.labels / f"{name}{ending}")
    data = load_case(predictor, case).data
    (maps,) = predictor.predict_ordinary(data)[1]
    number = [[dict.fromkeys(range(predictor.gate_count), Substitute(0.5))]] * TOGETHER
    blocks = [[{gate: Substitute(one.blocks) for gate, one in enumerate(maps)}]] * TOGETHER
    works = {
        "maps": lambda: predictor.predict_ordinary(data),
        "number": lambda: list(predictor.predict_variants(data, number)),
        "map_in_blocks": lambda: list(predictor.predict_variants(data, blocks)),
    }
    seconds: dict[str, list[float]] = {name: [] for name in works}
    generator = random.Random(0)
    for _ in range(arguments.rounds):
        for name in generator.sample(list(works), len(works)):
            began = time.process_time()
            works[name]()
            used = time.process_time() - began
            seconds[name].append(used if name == "maps" else used / TOGETHER)
    medians = {name: statistics.median(values) for name, values in seconds.items()}
    return {
        "threads": torch.get_num_threads(),
        "processor_seconds": seconds,
        "ratio": {name: value / medians["maps"] for name, value in medians.items()},
    }


def processor_seconds_of_children() -> float:
    """Sum user and system time of all ended children; other work on a machine affects it little."""
    usage = resource.getrusage(resource.RUSAGE_CHILDREN)
    return usage.ru_utime + usage.ru_stime


def ratios(seconds: dict[str, list[float]]) -> dict[str, float]:
    """Divide medians by that of nnUNetv2_predict."""
    medians = {name: statistics.median(values) for name, values in seconds.items()}
    return {name: value / medians["nnUNetv2_predict"] for name, value in medians.items()}


def measure_memory(arguments: argparse.Namespace) -> dict:
    """Measure peaks of resident memory, in GiB; each in a process of its own."""
    with tempfile.TemporaryDirectory() as folder:
        write_model_and_image(Path(folder), tuple(arguments.shape))
        peaks, seconds = {}, {}
        for kind in ("stock", "maps"):
            command = [sys.executable, __file__, "predict", kind, folder]
            began = time.perf_counter()
            process = subprocess.Popen(command, stdout=subprocess.DEVNULL)
            _, status, usage = os.wait4(process.pid, 0)
            if status:
                sys.exit(f"{kind} ended with {status}")
            peaks[kind] = usage.ru_maxrss * 1024 / GIB
            seconds[kind] = time.perf_counter() - began
    voxels = arguments.shape[0] * arguments.shape[1] * arguments.shape[2]
    maps_gib = 6 * 4 * voxels / GIB
    return {
        "shape": list(arguments.shape),
        "peak_gib": peaks,
        "maps_own_size_gib": maps_gib,
        "growth_over_maps_own_size": (peaks["maps"] - peaks["stock"]) / maps_gib,
        "seconds": seconds,
    }


def write_model_and_image(folder: Path, shape: tuple[int, int, int]) -> None:
    """Build an untrained network of seven stages, so five gates, and noise."""
    import numpy as np
    import SimpleITK
    import torch
    from nnunetv2.utilities.plans_handling.plans_handler import PlansManager
    from pointwise_network import DATASET_JSON, pointwise_plans
    from smallest_plans import smallest_plans

    from nnunet_attention.trainers import AttentionUNetTrainer

    stages = 7
    plans = pointwise_plans(smallest_plans(), patch_size=[64, 192, 192], spacing=[1.0, 1.0, 1.0])
    plans["configurations"]["3d_fullres"]["architecture"]["arch_kwargs"].update(
        n_stages=stages,
        features_per_stage=[2, 4, 8, 8, 8, 8, 8],
        kernel_sizes=[[3, 3, 3]] * stages,
        strides=[[1, 1, 1], *[[2, 2, 2]] * 5, [1, 2, 2]],
        n_conv_per_stage=[1] * stages,
        n_conv_per_stage_decoder=[1] * (stages - 1),
    )
    manager = PlansManager(plans)
    torch.manual_seed(0)
    network = AttentionUNetTrainer.build_network_architecture(
        manager, manager.get_configuration("3d_fullres"), 1, 2, False
    )
    fold = folder / "model" / "fold_0"
    fold.mkdir(parents=True)
    checkpoint = {
        "network_weights": network.state_dict(),
        "trainer_name": "AttentionUNetTrainer",
        "init_args": {"plans": plans, "configuration": "3d_fullres", "dataset_json": DATASET_JSON},
        "inference_allowed_mirroring_axes": (0, 1, 2),
    }
    torch.save(checkpoint, fold / "checkpoint_final.pth")
    (folder / "model" / "plans.json").write_text(json.dumps(plans))
    (folder / "model" / "dataset.json").write_text(json.dumps(DATASET_JSON))
    (folder / "images").mkdir()
    noise = np.random.default_rng(0).normal(0, 300, shape).astype(np.int16)
    image = SimpleITK.GetImageFromArray(noise)
    SimpleITK.WriteImage(image, str(folder / "images" / "case_0000.nii.gz"))


def predict(kind: str, folder: Path) -> None:
    """Predict one case in this process; every other patch position, no mirroring, to be quick."""
    import torch
    from nnunetv2.inference.predict_from_raw_data import nnUNetPredictor

    from nnunet_attention import AttentionPredictor

    predictor_class = nnUNetPredictor if kind == "stock" else AttentionPredictor
    predictor = predictor_class(
        tile_step_size=1.0, use_mirroring=False, device=torch.device("cpu"), allow_tqdm=False
    )
    predictor.initialize_from_trained_model_folder(str(folder / "model"), (0,))
    out = folder / kind
    out.mkdir()
    predictor.predict_from_files_sequential(str(folder / "images"), str(out))


if __name__ == "__main__":
    sys.exit(exit_code_of("python -m benchmarks.maps", main))
