"""Seconds per case of `nnUNetv2_predict` with a plain and an attention model, in turn.

    python benchmarks/prediction.py PLAIN_FOLDER ATTENTION_FOLDER IMAGES [-f 0] [--rounds 5]
        [-device cpu] [-o FILE.json]

Each folder is that of a trained model, such as nnUNetTrainer__nnUNetPlans__3d_fullres. Commands
are timed whole, with all images and with one of them: the difference is what the other cases
took, without the start. The plain model stands twice in each round, as a control.
"""

import argparse
import shutil
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
# At the end: the installed package comes first.
sys.path.append(str(ROOT))

COMMAND = Path(sys.executable).parent / "nnUNetv2_predict_from_modelfolder"


def main() -> None:
    """Prints seconds per case and ratios."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("plain", type=Path)
    parser.add_argument("attention", type=Path)
    parser.add_argument("images", type=Path)
    parser.add_argument("-f", default="0", dest="fold")
    parser.add_argument("-device", default="cpu", choices=("cpu", "cuda"))
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("-o", type=Path, dest="output")
    arguments = parser.parse_args()
    import torch

    from benchmarks.performance.timing import in_turn, median, ratio
    from nnunet_attention.files import write_json

    images = sorted(arguments.images.glob("*.nii.gz"))
    if len(images) < 2:
        sys.exit(f"{arguments.images} has {len(images)} .nii.gz files; wanted two or more")
    models = {
        "plain": arguments.plain,
        "plain again (control)": arguments.plain,
        "attention": arguments.attention,
    }
    with tempfile.TemporaryDirectory() as scratch:
        one = Path(scratch, "one")
        one.mkdir()
        shutil.copy(images[0], one)
        jobs = {
            (name, number): job(model, folder, Path(scratch, "out"), arguments)
            for name, model in models.items()
            for number, folder in ((len(images), arguments.images), (1, one))
        }
        seconds = in_turn(jobs, arguments.rounds, torch.device("cpu"))
    per_case = {
        name: [
            (many - single) / (len(images) - 1)
            for many, single in zip(seconds[name, len(images)], seconds[name, 1], strict=True)
        ]
        for name in models
    }
    for name, values in per_case.items():
        start = statistics.median(seconds[name, 1])
        against = ratio(values, per_case["plain"])
        print(
            f"{name}: {median(values).value:.3f} s a case, {against.value:.3f} of plain "
            f"({against.low:.3f} to {against.high:.3f}); a command with one case {start:.1f} s"
        )
    if arguments.output:
        record = {name: {"seconds_per_case": values} for name, values in per_case.items()}
        write_json(arguments.output, {"cases": len(images), "models": record})


def job(model: Path, images: Path, output: Path, arguments: argparse.Namespace):
    """Predicts a folder."""
    command = [
        str(COMMAND), "-m", str(model), "-i", str(images), "-o", str(output),
        "-f", arguments.fold, "-device", arguments.device, "-npp", "1", "-nps", "1",
    ]  # fmt: skip
    return lambda: subprocess.run(command, check=True, capture_output=True)


if __name__ == "__main__":
    main()
