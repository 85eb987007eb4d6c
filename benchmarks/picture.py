"""Makes the picture at the top of the README: a case, its segmentation and its gates' maps.

    python -m benchmarks.picture MODEL_FOLDER IMAGES LABELS [-o docs/pictures/case.png]

IMAGES is a folder with one case. What `nnunet-attention maps` draws of it is made narrow enough for
300 kB.
"""

import argparse
import subprocess
import sys
import tempfile
from pathlib import Path

from benchmarks.hippocampus.collecting import small_copy
from nnunet_attention.cli.exit_codes import exit_code_of

_WIDTH = 900
_TARGET = Path(__file__).resolve().parents[1] / "docs" / "pictures" / "case.png"


def main() -> int:
    """Predict the case on the CPU, and write its picture."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("model_folder", type=Path)
    parser.add_argument("images", type=Path)
    parser.add_argument("labels", type=Path)
    parser.add_argument("-f", default="0", metavar="FOLD")
    parser.add_argument("-o", type=Path, default=_TARGET, metavar="FILE.png")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as scratch:
        command = [
            *(Path(sys.executable).with_name("nnunet-attention"), "maps", "-device", "cpu"),
            *("-i", arguments.images, "-gt", arguments.labels, "-o", scratch),
            *("-m", arguments.model_folder, "-f", arguments.f, "-npp", "1", "-nps", "1"),
        ]
        subprocess.run([str(word) for word in command], check=True)
        (picture,) = Path(scratch, "maps").glob("*/*.png")
        small_copy(picture, arguments.o, _WIDTH)
    return 0


if __name__ == "__main__":
    sys.exit(exit_code_of("python -m benchmarks.picture", main))
