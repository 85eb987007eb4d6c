"""Submits nnunetv2-cam's maps of the gates' levels to the test that the gates' maps undergo.

    pip install nnunetv2-cam==0.1.6.1
    python -m benchmarks.cams MODEL_FOLDER IMAGES LABELS [-f 0] [--gates 0 1] [--steps 5]
        [--method gradcam] [--disable_tta] [-device cpu] [-o FOLDER]

For each gate, nnunetv2-cam makes its map of the encoder's stage whose output is the gate's skip
connection, once for each label; the mean over labels is tested. Each skip is shut, and let through,
in the order of the gate's coefficients, of that map, and at random, as in `nnunet-attention ablate
--curves`. Printed are, for each gate, direction and map, the area between its curve and the random
one (above 0 where the map marks what the segmentation needs) with its interval over cases, the
median seconds that a case's maps of all gates take, and the share of the network's grid that the
map covers. The gates' maps come with the segmentation, whose time is in theirs; nnunetv2-cam's do
not. With -o, numbers and table are written to cams.json and cams.md in FOLDER. The package is no
dependency of nnunet-attention; none of its code is here.
"""

from __future__ import annotations

import argparse
import os
import platform
import statistics
import sys
import time
from contextlib import redirect_stdout
from importlib.metadata import version
from pathlib import Path

import numpy as np
import pandas as pd
import torch

from nnunet_attention.cli.exit_codes import exit_code_of
from nnunet_attention.evaluation.ablation.curves import Area, curves_of
from nnunet_attention.evaluation.leaderboard.building import MEAN_OF_LABELS
from nnunet_attention.files import json_text, write_all
from nnunet_attention.maps.ablation import AblationCase, AblationPredictor, AblationSettings
from nnunet_attention.maps.ablation.block_maps import block_means, block_sizes
from nnunet_attention.maps.ablation.curves import deletion_curves
from nnunet_attention.maps.ablation.effects import label_scheme
from nnunet_attention.maps.ablation.predictor import GateMap

PACKAGE = "nnunetv2-cam"
MAPS = {"attention": "the gates' coefficients", "cam": PACKAGE}


class PredictorWithTheirMaps(AblationPredictor):
    """Takes nnunetv2-cam's maps for the order `cam`, and notes times and what maps cover."""

    method = "gradcam"

    def __init__(self, *arguments, **named_arguments):
        super().__init__(*arguments, **named_arguments)
        self.seconds: dict[str, list[float]] = {name: [] for name in MAPS}
        self.covered: dict[str, list[float]] = {name: [] for name in MAPS}

    def predict_ordinary(self, data):
        began = time.perf_counter()
        found = super().predict_ordinary(data)
        self.seconds["attention"].append(time.perf_counter() - began)
        self.covered["attention"] += [
            float(np.isfinite(one.blocks).mean()) for of_fold in found[1] for one in of_fold
        ]
        return found

    def predict_cams(self, data) -> list[list[GateMap]]:
        began = time.perf_counter()
        maps = [
            [self._their_map(data, weights, gate) for gate in range(self.gate_count)]
            for weights in self.list_of_parameters
        ]
        self.seconds["cam"].append(time.perf_counter() - began)
        return maps

    def _their_map(self, data, weights: dict, gate: int) -> GateMap:
        of_labels = [self._of_label(data, weights, gate, label) for label in self._labels()]
        whole = np.mean(of_labels, axis=0)
        self.covered["cam"].append(float(np.isfinite(whole).mean()))
        # What the map does not cover comes last.
        whole = np.nan_to_num(whole, nan=min(0.0, float(np.nanmin(whole, initial=0.0))))
        grid = self._grids[f"gate_{gate}"]
        sizes = block_sizes(self.configuration_manager.patch_size, grid)
        return GateMap(block_means(whole, sizes), sizes, float(whole.mean()))

    def _of_label(self, data, weights: dict, gate: int, label: int) -> np.ndarray:
        from nnunetv2_cam.cam_core import compute_cam_with_sliding_window

        found = compute_cam_with_sliding_window(
            model=self.network,
            data=data,
            target_layer_name=self._layer(gate),
            target_class=label,
            method=self.method,
            device=self.device,
            configuration_manager=self.configuration_manager,
            label_manager=self.label_manager,
            list_of_parameters=[weights],
            tile_step_size=self.tile_step_size,
            use_mirroring=self.use_mirroring,
            allowed_mirroring_axes=self.allowed_mirroring_axes,
            cam_type="3d" if len(self.configuration_manager.patch_size) == 3 else "2d",
        )
        return found[0].float().cpu().numpy()

    def _layer(self, gate: int) -> str:
        """Name the encoder's stage whose output is the gate's skip connection."""
        stages = len(self.network.encoder.stages)
        return f"encoder.stages.{stages - 2 - gate}"

    def _labels(self) -> list[int]:
        labels = list(label_scheme(self).names)
        if not all(isinstance(label, int) for label in labels):
            sys.exit(f"{PACKAGE} makes maps of labels; this model has regions {labels}")
        return labels


def main() -> None:
    """Compare on the given cases, and print the table."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("model_folder", type=Path)
    parser.add_argument("images", type=Path)
    parser.add_argument("labels", type=Path)
    parser.add_argument("-f", nargs="+", default=["0"])
    parser.add_argument("--gates", nargs="+", type=int, help="default: all")
    parser.add_argument("--steps", type=int, default=5)
    parser.add_argument("--cases", type=int, help="only the first of them")
    parser.add_argument("--method", default="gradcam", help=f"of {PACKAGE}")
    parser.add_argument("--disable_tta", action="store_true")
    parser.add_argument("-device", default="cpu")
    parser.add_argument("-o", type=Path, metavar="FOLDER")
    arguments = parser.parse_args()
    result = compare(arguments)
    print(markdown(result))
    if arguments.o is not None:
        texts = {"cams.json": json_text(result, indent=1), "cams.md": f"{markdown(result)}\n"}
        write_all(arguments.o, texts)


def compare(arguments: argparse.Namespace) -> dict:
    """Measure the curves of both maps, and put together areas, times and coverage."""
    predictor = PredictorWithTheirMaps(
        device=torch.device(arguments.device),
        allow_tqdm=False,
        use_mirroring=not arguments.disable_tta,
    )
    predictor.method = arguments.method
    predictor.initialize_from_trained_model_folder(arguments.model_folder, arguments.f)
    cases = cases_of(predictor, arguments.images, arguments.labels)[: arguments.cases]
    gates = arguments.gates or range(predictor.gate_count)
    settings = AblationSettings(gates=tuple((gate,) for gate in gates))
    # Only the table goes to stdout.
    with redirect_stdout(sys.stderr):
        rows = deletion_curves(predictor, cases, settings, steps=arguments.steps)
    return {
        "package": f"{PACKAGE} {version(PACKAGE)}, {arguments.method}",
        "cases": len(cases),
        "steps": arguments.steps,
        "mirroring": not arguments.disable_tta,
        "machine": f"{os.cpu_count()} CPU cores, {platform.machine()}, {arguments.device}",
        "seconds": predictor.seconds,
        "covered": {name: min(shares) for name, shares in predictor.covered.items()},
        "areas": areas_against_random(rows),
    }


def cases_of(predictor: AblationPredictor, images: Path, labels: Path) -> list[AblationCase]:
    """Return all cases of a folder that have labels."""
    ending = predictor.dataset_json["file_ending"]
    names = sorted({path.name.rpartition("_")[0] for path in images.glob(f"*_0000{ending}")})
    return [
        AblationCase(
            name, tuple(sorted(images.glob(f"{name}_????{ending}"))), labels / f"{name}{ending}"
        )
        for name in names
        if (labels / f"{name}{ending}").is_file()
    ]


def areas_against_random(rows: pd.DataFrame) -> list[dict]:
    """Return the areas between the curve of each map and the random one.

    `curves_of` compares the order `attention` with the others; exchanged, it compares the CAM's.
    """
    found: list[tuple[str, Area]] = []
    for name in MAPS:
        exchanged = rows.assign(order=rows["order"].replace({"attention": name, name: "attention"}))
        curves = curves_of(exchanged, "dice")
        found += [(name, area) for area in curves.areas if area.other == "random"]
    labels = {area.label for _, area in found}
    overall = MEAN_OF_LABELS if MEAN_OF_LABELS in labels else min(labels, default="")
    return [
        {
            "maps": name,
            "gate": area.gate,
            "direction": area.direction,
            "area": area.comparison.mean_difference,
            "low": area.comparison.low,
            "high": area.comparison.high,
            "p_value": area.comparison.p_value,
        }
        for name, area in found
        if area.label == overall
    ]


def markdown(result: dict) -> str:
    """Return the table of one comparison."""
    lines = [
        f"{result['package']}; {result['cases']} cases, {result['steps']} steps, "
        f"{'with' if result['mirroring'] else 'without'} mirroring; {result['machine']}.",
        "",
        "| gate | direction | maps | area, Dice | 95 % CI | seconds a case | covered |",
        "|---:|---|---|---:|---:|---:|---:|",
    ]
    for area in sorted(result["areas"], key=lambda one: (one["gate"], one["direction"])):
        name = area["maps"]
        seconds = statistics.median(result["seconds"][name])
        lines.append(
            f"| {area['gate']} | {area['direction']} | {MAPS[name]} | {area['area']:+.3f} "
            f"| [{area['low']:+.3f}, {area['high']:+.3f}] | {seconds:.1f} "
            f"| {result['covered'][name]:.0%} |"
        )
    return "\n".join(lines)


if __name__ == "__main__":
    sys.exit(exit_code_of("python -m benchmarks.cams", main))
