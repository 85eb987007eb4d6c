"""Makes the preprocessed data set of the trainings, or finds the one that was installed.

    python -m benchmarks.gpu.data -w WORK [--data Task04_Hippocampus] -o FILE

If no data are given, and only on a CPU, a phantom of a few cases stands in, planned for little
memory.
"""

from __future__ import annotations

import argparse
import os
import shutil
import sys
from pathlib import Path

from benchmarks.gpu.work import Work
from benchmarks.preparation import bring_data, plan_and_preprocess
from nnunet_attention.cli.exit_codes import exit_code_of
from nnunet_attention.errors import CommandError
from nnunet_attention.files import read_json, write_json
from nnunet_attention.nnunet.dataset_json import DATASET_JSON
from nnunet_attention.nnunet.dataset_names import folders_of_datasets
from nnunet_attention.nnunet.folders import REFERENCES, Folders
from nnunet_attention.nnunet.planners import STOCK_PLANS
from nnunet_attention.nnunet.workers import planning_environment

CONFIGURATION = "3d_fullres"
_PHANTOM_CASES = 6
# As the demo plans it: a step takes a fraction of a second on a CPU.
_PHANTOM_MEMORY_GB = 0.05


def main(command_line: list[str] | None = None) -> int:
    """Write the name of the data set and how many cases it has."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.gpu.data")
    parser.add_argument("-w", type=Path, dest="work", required=True, metavar="WORK")
    parser.add_argument("--data", type=Path, metavar="FOLDER")
    parser.add_argument("--phantom", action="store_true")
    parser.add_argument("-o", type=Path, dest="output", required=True, metavar="FILE")
    arguments = parser.parse_args(command_line)
    work, scratch = Work(arguments.work), arguments.output.parent
    dataset = installed(work)
    if dataset is None:
        dataset = _make(work, scratch, arguments.data, arguments.phantom)
    cases = list((work.preprocessed / dataset / REFERENCES).iterdir())
    write_json(arguments.output, {"dataset": dataset, "cases": len(cases)})
    return 0


def installed(work: Work) -> str | None:
    """Return the name of the preprocessed data set, which is put there only once complete."""
    for folder in folders_of_datasets(work.preprocessed):
        if (folder / f"{STOCK_PLANS}.json").is_file():
            return folder.name
    return None


def packed_task(work: Work) -> Path | None:
    """Return the task folder that `install` has put there."""
    return next(iter(sorted(work.source.glob("Task*"))), None)


def _make(work: Work, scratch: Path, data: Path | None, phantom: bool) -> str:
    from nnunet_attention.demo.phantom import write_phantom_task

    source = data or packed_task(work)
    if source is None and not phantom:
        raise CommandError(
            "there are no data: give --data with a folder of the Medical Segmentation Decathlon, "
            "such as Task04_Hippocampus, or install a pack that has them"
        )
    if source is not None and not (source / DATASET_JSON).is_file():
        raise CommandError(f"--data {source}: there is no dataset.json in it")
    for name in ("raw", "preprocessed", "task"):
        shutil.rmtree(scratch / name, ignore_errors=True)
        (scratch / name).mkdir(parents=True)
    options: tuple[str, ...] = ()
    if source is None:
        source = write_phantom_task(scratch / "task", _PHANTOM_CASES, seed=0)
        options = ("-gpu_memory_target", str(_PHANTOM_MEMORY_GB))
    variables = {
        **planning_environment(os.environ),
        **Folders(scratch / "raw", scratch / "preprocessed", scratch / "results").variables,
    }
    processes, log = len(os.sched_getaffinity(0)), scratch / "nnunet.log"
    dataset = bring_data(source, scratch / "raw", variables, log, processes)
    plan_and_preprocess(dataset, CONFIGURATION, variables, log, processes, options)
    made = scratch / "preprocessed" / dataset
    if not read_json(made / f"{STOCK_PLANS}.json")["configurations"].get(CONFIGURATION):
        raise CommandError(f"{dataset}: nnU-Net plans no {CONFIGURATION} for it; use other data")
    work.preprocessed.mkdir(parents=True, exist_ok=True)
    made.rename(work.preprocessed / dataset)
    return dataset


if __name__ == "__main__":
    sys.exit(exit_code_of("python -m benchmarks.gpu.data", main))
