"""Makes data sets in which only the surroundings tell what is to be segmented.

    python -m benchmarks.where_gates_help make -o FOLDER [--foreground .01] [--distractors 3] ...

The task folder is in the Decathlon's format: `nnUNetv2_convert_MSD_dataset -i FOLDER/Task91_...`.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from benchmarks.where_gates_help.phantom import Recipe, write_distractors_task


def main(command_line: list[str] | None = None) -> int:
    """Make a data set."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.where_gates_help", description=__doc__.split("\n", 1)[0]
    )
    actions = parser.add_subparsers(dest="action", required=True)
    make = actions.add_parser("make", formatter_class=argparse.ArgumentDefaultsHelpFormatter)
    usual = Recipe()
    make.add_argument("-o", type=Path, required=True, dest="output", metavar="FOLDER")
    make.add_argument("--number", type=int, default=91, help="of the task")
    make.add_argument("--cases", type=int, default=20, help="for training and validation")
    make.add_argument("--seed", type=int, default=0)
    make.add_argument(
        "--foreground", type=float, default=usual.foreground, help="share of the voxels"
    )
    make.add_argument("--distractors", type=int, default=usual.distractors, help="in every image")
    make.add_argument(
        "--contrast", type=float, default=usual.contrast, help="of the shells; organs have 100"
    )
    make.add_argument("--noise", type=float, default=usual.noise, help="standard deviation")
    make.add_argument(
        "--shape", type=int, nargs=3, default=usual.shape, metavar=("Z", "Y", "X"), help="in voxels"
    )
    make.add_argument("--test_cases", type=int, default=0, help="with labels, in labelsTs")
    make.add_argument("--test_contrast", type=float, help="of these, if it is another")
    make.add_argument("--test_noise", type=float, help="likewise")
    arguments = parser.parse_args(command_line)
    try:
        recipe = Recipe(
            arguments.foreground,
            arguments.distractors,
            arguments.contrast,
            arguments.noise,
            tuple(arguments.shape),
        )
        folder = write_distractors_task(
            arguments.output,
            recipe,
            arguments.cases,
            arguments.seed,
            number=arguments.number,
            test_cases=arguments.test_cases,
            test_contrast=arguments.test_contrast,
            test_noise=arguments.test_noise,
        )
    except ValueError as error:
        parser.error(str(error))
    print(folder)
    return 0


if __name__ == "__main__":
    sys.exit(main())
