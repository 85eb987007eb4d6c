"""Folders of results as nnU-Net writes them, from Dice by case."""

import json
from pathlib import Path


def write_summary(folder: Path, dice_of_case: dict[str, dict[str, float | None]]) -> Path:
    """Writes folder/validation/summary.json.

    Args:
        folder: of a fold.
        dice_of_case: by case and label; None: neither reference nor prediction.
    """
    entries = [
        {
            "reference_file": f"/labels/{case}.nii.gz",
            "prediction_file": f"/predictions/{case}.nii.gz",
            "metrics": {label: metrics(dice) for label, dice in labels.items()},
        }
        for case, labels in dice_of_case.items()
    ]
    path = folder / "validation" / "summary.json"
    path.parent.mkdir(parents=True)
    path.write_text(json.dumps({"metric_per_case": entries, "mean": {}, "foreground_mean": {}}))
    return path


def metrics(dice: float | None) -> dict:
    """Masks of 1000 voxels each that overlap accordingly."""
    if dice is None:
        counts = {"TP": 0, "FP": 0, "FN": 0, "TN": 5000, "n_pred": 0, "n_ref": 0}
        return {"Dice": float("nan"), "IoU": float("nan"), **counts}
    both = round(1000 * dice)
    counts = {"TP": both, "FP": 1000 - both, "FN": 1000 - both, "TN": 3000 + both}
    return {
        "Dice": both / 1000,
        "IoU": both / (2000 - both),
        **counts,
        "n_pred": 1000,
        "n_ref": 1000,
    }


def write_folds(model_folder: Path, dice_of_case: dict, folds: int = 2) -> None:
    """Deals the cases out to folds in turn."""
    for fold in range(folds):
        dealt = dict(list(dice_of_case.items())[fold::folds])
        write_summary(model_folder / f"fold_{fold}", dealt)
