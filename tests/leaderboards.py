"""Small leaderboards for tests."""

import numpy as np
import pandas as pd

from nnunet_attention.evaluation.leaderboard.building import (
    Leaderboard,
    Settings,
    build_leaderboard,
)

TRICKY = "a_b & <i>50%</i> #1 | $x^2$ ~{\\}*"


def frame_of(
    dice: dict[tuple[str, str], dict[str, list[float]]], configuration: str = "3d_fullres"
) -> pd.DataFrame:
    """A row for each case.

    Args:
        dice: values of the cases by (data set, label) and model; NaN: both masks empty. Cases go
            to two folds in turn.
        configuration: of all rows.
    """
    rows = [
        {
            "dataset": dataset,
            "configuration": configuration,
            "model": model,
            "fold": number % 2,
            "case": f"{dataset[-3:]}_{number:03}",
            "label": label,
            "metric": "dice",
            "value": value,
            "reference_voxels": 0 if np.isnan(value) else 1000,
            "prediction_voxels": 0 if np.isnan(value) else 1000,
        }
        for (dataset, label), of_model in dice.items()
        for model, values in of_model.items()
        for number, value in enumerate(values)
    ]
    return pd.DataFrame(rows)


def small_settings(**changes) -> Settings:
    return Settings(
        **{"metrics": ("dice",), "interval_resamples": 99, "rank_resamples": 50, **changes}
    )


def small_leaderboard(models=("A", "B", "C"), **changes) -> Leaderboard:
    """Three models apart by 0.1 on two data sets, one of them with two labels."""
    generator = np.random.default_rng(0)
    base = {
        ("Dataset001_One", "liver"): generator.uniform(0.5, 0.7, 12),
        ("Dataset001_One", "tumour"): generator.uniform(0.3, 0.7, 12),
        ("Dataset002_Two", "spleen"): generator.uniform(0.5, 0.7, 9),
    }
    dice = {
        key: {
            model: values + 0.1 * (len(models) - place) + generator.normal(0, 0.01, len(values))
            for place, model in enumerate(models)
        }
        for key, values in base.items()
    }
    return build_leaderboard(frame_of(dice), small_settings(**changes))
