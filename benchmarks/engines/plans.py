"""Exports the network of every configuration of plans, and compares engines with torch.

    python -m benchmarks.engines plans FOLDER [-o FOLDER]

FOLDER holds plans.json and dataset.json of data sets, at any depth. Networks have few channels, and
patches are cut to the smallest multiple of the strides that leaves two voxels at the bottleneck.
Kernels, strides, depths, input channels and output classes or regions are the plans' own.
"""

from __future__ import annotations

import json
import math
import sys
import tempfile
import time
from collections.abc import Iterator
from copy import deepcopy
from pathlib import Path

import numpy as np
import torch

from nnunet_attention.engines import export_network
from nnunet_attention.engines.graph import INPUT_NAME, outputs_of_torch
from nnunet_attention.engines.sessions import SESSIONS
from nnunet_attention.networks import build_attention_network
from nnunet_attention.networks.trusted_plans import build_from_plans
from nnunet_attention.networks.wide import build_plain_network

_MOST_CHANNELS = 8
_BUILDERS = {"attention": build_attention_network, "plain": build_plain_network}


def configurations(folder: Path) -> Iterator[tuple[Path, str]]:
    """Go through the plans below a folder, and their configurations."""
    for path in sorted(folder.rglob("plans.json")):
        for name in json.loads(path.read_text())["configurations"]:
            yield path, name


def small_plans(plans: dict, configuration: str) -> dict:
    """Return plans with few channels, and the smallest patch that its strides allow."""
    plans = deepcopy(plans)
    # A configuration may inherit from another one.
    for content in plans["configurations"].values():
        if "architecture" not in content:
            continue
        arguments = content["architecture"]["arch_kwargs"]
        arguments["features_per_stage"] = [
            min(_MOST_CHANNELS, 2 + stage) for stage in range(arguments["n_stages"])
        ]
        divisors = [math.prod(steps) for steps in zip(*arguments["strides"], strict=True)]
        content["patch_size"] = [
            min(size, 2 * divisor)
            for size, divisor in zip(content["patch_size"], divisors, strict=True)
        ]
    return plans


def compared(path: Path, configuration: str, kind: str, work: Path) -> dict:
    """Export one network, and return the largest differences as shares of the outputs' scale."""
    from nnunetv2.utilities.plans_handling.plans_handler import PlansManager

    plans = small_plans(json.loads(path.read_text()), configuration)
    dataset = json.loads((path.parent / "dataset.json").read_text())
    torch.manual_seed(0)
    network = build_from_plans(
        plans,
        configuration,
        dataset,
        lambda _, manager, inputs, outputs: _BUILDERS[kind](manager, inputs, outputs, False),
    ).eval()
    patch = [int(size) for size in PlansManager(plans).get_configuration(configuration).patch_size]
    channels = next(network.parameters()).shape[1]
    graph = work / "network.onnx"
    gated = kind == "attention"
    began = time.perf_counter()
    names = export_network(network, graph, channels, patch, coefficients=gated)
    row = {
        "dataset": plans["dataset_name"],
        "configuration": configuration,
        "kind": kind,
        "network": type(network).__name__,
        "patch": patch,
        "channels": channels,
        "gates": len(names) - 1,
        "export_seconds": round(time.perf_counter() - began, 1),
    }
    image = torch.randn(1, channels, *patch)
    expected = outputs_of_torch(network, image, names).values()
    for engine, kind_of_session in SESSIONS.items():
        session = kind_of_session(graph, {INPUT_NAME: image.shape})
        passes = [{INPUT_NAME: image.numpy()}]
        (outputs,) = ([output.copy() for output in each] for each in session.run(passes))
        shares = [
            float(np.abs(output - reference).max()) / float(np.abs(reference).max())
            for output, reference in zip(outputs, expected, strict=True)
        ]
        # Unlike max, np.max propagates NaN.
        row[engine] = float(np.max(shares))
    return row


def all_compared(folder: Path, known: list[dict]) -> Iterator[dict]:
    """Compare every configuration with gates, and then without, but none that is known."""
    done = {_key(row, row["kind"]) for row in known}
    with tempfile.TemporaryDirectory() as work:
        for kind in _BUILDERS:
            for path, configuration in configurations(folder):
                # Plans of several planners may share a name.
                named = {
                    "plans": path.parent.relative_to(folder).as_posix(),
                    "configuration": configuration,
                }
                if _key(named, kind) in done:
                    continue
                row = {**compared(path, configuration, kind, Path(work)), **named}
                print(
                    *(row[name] for name in ("plans", "configuration", "network")),
                    *(f"{row[engine]:.1e}" for engine in SESSIONS),
                    file=sys.stderr,
                    flush=True,
                )
                yield row


def _key(row: dict, kind: str) -> tuple[str, ...]:
    return (row["plans"], row["configuration"], kind)


def table(rows: list[dict]) -> str:
    """Draw the largest differences of each data set and plans as a table in Markdown."""
    lines = [
        "| plans | networks | " + " | ".join(SESSIONS) + " |",
        "|---|---|" + "---|" * len(SESSIONS),
    ]
    groups: dict[str, list[dict]] = {}
    for row in rows:
        groups.setdefault(row["plans"], []).append(row)
    for plans, members in sorted(groups.items()):
        worst = " | ".join(f"{np.max([row[engine] for row in members]):.1e}" for engine in SESSIONS)
        lines.append(f"| {plans} | {len(members)} | {worst} |")
    return "\n".join(lines) + "\n"
