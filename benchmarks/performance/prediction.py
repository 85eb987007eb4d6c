"""Times `nnUNetv2_predict` per case with a plain and an attention model, in turn.

    python -m benchmarks.performance.prediction PLAIN_FOLDER ATTENTION_FOLDER IMAGES [-f 0]
        [--rounds 5] [-device cpu] [-o DIR]

Each folder is that of a trained model, such as nnUNetTrainer__nnUNetPlans__3d_fullres. Commands
are timed whole, with all images and with one of them: the difference is the time of the other
cases without the start. The plain model runs twice in each round, as a control.
"""

import argparse
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

import torch

from benchmarks.performance.timing import in_turn, median, ratio
from nnunet_attention.cli.exit_codes import exit_code_of
from nnunet_attention.files import write_json, write_text

COMMAND = Path(sys.executable).parent / "nnUNetv2_predict_from_modelfolder"


def main() -> None:
    """Print seconds per case and ratios."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("plain", type=Path)
    parser.add_argument("attention", type=Path)
    parser.add_argument("images", type=Path)
    parser.add_argument("-f", default="0", dest="fold")
    parser.add_argument("-device", default="cpu", choices=("cpu", "cuda"))
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("-o", type=Path, dest="output")
    arguments = parser.parse_args()
    images = sorted(arguments.images.glob("*.nii.gz"))
    if len(images) < 2:
        sys.exit(f"{arguments.images} has {len(images)} .nii.gz files; wanted two or more")
    models = {
        "plain": arguments.plain,
        "plain again (control)": arguments.plain,
        "attention": arguments.attention,
    }
    with tempfile.TemporaryDirectory() as scratch:
        folder_of_one = Path(scratch, "one")
        folder_of_one.mkdir()
        shutil.copy(images[0], folder_of_one)
        jobs = {
            (name, number): job(model, folder, Path(scratch, "out"), arguments)
            for name, model in models.items()
            for number, folder in ((len(images), arguments.images), (1, folder_of_one))
        }
        seconds = in_turn(jobs, arguments.rounds, torch.device("cpu"))
    per_case = {
        name: [
            (many - single) / (len(images) - 1)
            for many, single in zip(seconds[name, len(images)], seconds[name, 1], strict=True)
        ]
        for name in models
    }
    record = {
        name: {"seconds_per_case": values, "seconds_with_one_case": seconds[name, 1]}
        for name, values in per_case.items()
    }
    lines = table(record, len(images))
    if arguments.output:
        write_json(arguments.output / "cases.json", {"cases": len(images), "models": record})
        write_text(arguments.output / "cases.md", lines)
    print(lines)


def table(record: dict, cases: int) -> str:
    """Show medians, and ratios to the plain model, as Markdown."""
    lines = [
        f"| model ({cases} cases) | seconds a case | of plain | a command with one case |",
        "|---|---:|---:|---:|",
    ]
    for name, times in record.items():
        values = times["seconds_per_case"]
        against = ratio(values, record["plain"]["seconds_per_case"])
        lines.append(
            f"| {name} | {median(values).value:.2f} | {against.value:.3f} ({against.low:.3f} to "
            f"{against.high:.3f}) | {median(times['seconds_with_one_case']).value:.1f} s |"
        )
    return "\n".join(lines) + "\n"


def job(model: Path, images: Path, output: Path, arguments: argparse.Namespace):
    """Predict a folder."""
    command = [
        str(COMMAND), "-m", str(model), "-i", str(images), "-o", str(output),
        "-f", arguments.fold, "-device", arguments.device, "-npp", "1", "-nps", "1",
    ]  # fmt: skip
    return lambda: subprocess.run(command, check=True, capture_output=True)


if __name__ == "__main__":
    sys.exit(exit_code_of("python -m benchmarks.performance.prediction", main))
