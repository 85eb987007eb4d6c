"""Finds the cases of an ablation that the model was trained on."""

from __future__ import annotations

from collections.abc import Collection, Sequence

from nnunet_attention.errors import CommandError
from nnunet_attention.nnunet.datasets import dataset_folder
from nnunet_attention.nnunet.known_splits import find_splits
from nnunet_attention.nnunet.model_folders import ALL
from nnunet_attention.nnunet.splits import trained_on


def training_cases_note(dataset: str, folds: Sequence[str], cases: Collection[str]) -> str | None:
    """Return a note on cases that one of the folds was trained on; None if none is known.

    Cases are known by their names, from the splits_final.json in nnUNet_preprocessed.

    Args:
        dataset: the name of the model's data set.
        folds: the folds that predict.
        cases: the names of the cases.
    """
    try:
        found = find_splits([dataset_folder(dataset)])
    except CommandError:
        # The variable is not set, or the file damaged; the ablation itself needs neither.
        return None
    if found is None:
        return None
    everything = {case for split in found.folds for part in split.values() for case in part}
    trained = {
        fold: set(cases) & (everything if fold == ALL else trained_on(found.folds, fold))
        for fold in folds
    }
    together = sorted(set().union(*trained.values()))
    if not together:
        return None
    fold = next(fold for fold, of_fold in trained.items() if together[0] in of_fold)
    return (
        f"{len(together)} of {len(cases)} cases were used in training, such as {together[0]} by "
        f"fold {fold} (train, in {found.path}); what gates do there need not hold for new images: "
        "give images that no fold of -f was trained on"
    )
