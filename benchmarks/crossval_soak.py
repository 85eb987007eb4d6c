"""Kills `nnunet-attention crossval` and its folds at random moments, many times over.

nnU-Net's commands are replaced by fast stand-ins that write in place and slowly. After each round
all results must be there; no fold may have been trained twice, and no half-written file read.

    python benchmarks/crossval_soak.py --rounds 25
"""

import argparse
import sys
import tempfile
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "tests"))

from crossval_kills import assert_nothing_lost, run_with_kills
from fake_nnunet import FakeNnunet

from nnunet_attention.cli.exit_codes import exit_code_of


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=25)
    parser.add_argument("--kills", type=int, default=3, help="in each round")
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    begin = time.monotonic()
    kills = 0
    for number in range(arguments.seed, arguments.seed + arguments.rounds):
        with tempfile.TemporaryDirectory() as root:
            fake = FakeNnunet(Path(root, "nnunet"))
            done = run_with_kills(fake, number, arguments.kills)
            assert_nothing_lost(fake)
        kills += len(done)
        print(f"round {number}: {', '.join(done) or 'nothing was killed'}: complete", flush=True)
    print(f"{arguments.rounds} rounds, {kills} kills, {time.monotonic() - begin:.0f} s")


if __name__ == "__main__":
    sys.exit(exit_code_of("python -m benchmarks.crossval_soak", main))
