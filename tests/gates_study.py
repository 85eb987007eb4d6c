"""Made-up results of the study of where gates help."""

import numpy as np
import pandas as pd

from benchmarks.where_gates_help.collected import COLUMNS
from benchmarks.where_gates_help.design import PHANTOMS, SEEDS


def rows_of(data, network, seed, dice, domain="in", voxels=50):
    """Rows of one training, a case for each Dice."""
    return pd.DataFrame(
        [
            {
                **{"dataset": data.dataset, "domain": domain, "network": network, "seed": seed},
                **{"fold": 0, "case": f"c{place:02d}", "label": "target", "dice": value},
                **{"reference_voxels": voxels + place, "prediction_voxels": voxels},
            }
            for place, value in enumerate(dice)
        ]
    )[list(COLUMNS)]


def small_study(gain, data=PHANTOMS[4], spread=0.01, domain="in"):
    """Stock, and a gated network that is better by `gain` on every case, with a little noise."""
    generator = np.random.default_rng(0)
    frames = []
    for seed in SEEDS:
        stock = 0.7 + generator.normal(0, 0.02, 20)
        gated = stock + gain + generator.normal(0, spread, 20)
        frames += [
            rows_of(data, "stock", seed, stock, domain),
            rows_of(data, "attention", seed, gated, domain),
        ]
    return pd.concat(frames, ignore_index=True)


def finished_cases(part, cases=6):
    """Dice of all trainings of a part, at random: the supervised network is a little better."""
    generator = np.random.default_rng(len(part.name))
    frames = []
    for data in part.data:
        for domain in ("in", "out") if data.recipe is not None and not part.warm else ("in",):
            of_cases = 0.7 + generator.normal(0, 0.05, cases)
            for network in part.networks:
                for seed in SEEDS:
                    gain = 0.03 if network.folder == "supervised" else 0.0
                    dice = of_cases + gain + generator.normal(0, 0.02, cases)
                    rows = rows_of(data, network.folder, seed, dice.round(5), domain)
                    # Each patient is in the validation set of one fold.
                    frames.append(rows.assign(fold=rows.index % len(part.folds)))
    return pd.concat(frames, ignore_index=True)


def finished_trainings(part):
    """What is collected of the trainings themselves."""
    machine = {"kind": "Abacus", "threads": 2, "torch": "2", "nnunetv2": "2.8", "python": "3"}
    return [
        {
            **{"dataset": data.dataset, "network": network.folder, "seed": seed},
            **{"fold": int(fold), "minutes": 1.25 + seed, "machine": machine},
        }
        for data in part.data
        for network in part.networks
        for seed in SEEDS
        for fold in part.folds
    ]
