"""Loads the cases to ablate, and keeps their ordinary predictions on disk."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import torch
from nnunetv2.inference.export_prediction import (
    convert_predicted_logits_to_segmentation_with_correct_shape,
)
from torch import Tensor

from nnunet_attention.errors import CommandError, last_line
from nnunet_attention.evaluation.metrics.images import Segmentation, whole_numbers
from nnunet_attention.files import written_beside
from nnunet_attention.maps.ablation.predictor import AblationPredictor, GateMap


@dataclass(frozen=True)
class AblationCase:
    """Names the files of a case.

    Attributes:
        name: the case's name.
        images: one file per channel, or one file with several channels.
        reference: the annotation.
        previous: the previous stage's segmentation, for a cascade.
    """

    name: str
    images: tuple[Path, ...]
    reference: Path
    previous: Path | None = None


@dataclass(frozen=True)
class LoadedCase:
    """Holds a case on the network's grid, and its reference as nnU-Net read it.

    Attributes:
        case: the case.
        data: (C, *S), preprocessed.
        properties: what nnU-Net's preprocessor noted.
        reference: labels in the image's space.
    """

    case: AblationCase
    data: Tensor
    properties: dict
    reference: Segmentation


@dataclass(frozen=True)
class Ordinary:
    """Holds the parts of a case's ordinary prediction that its ablation needs.

    Attributes:
        segmentation: labels in the image's space.
        maps: for each fold, the maps of its gates.
    """

    segmentation: np.ndarray
    maps: tuple[tuple[GateMap, ...], ...]


def load_case(predictor: AblationPredictor, case: AblationCase) -> LoadedCase:
    """Read and preprocess a case as nnU-Net does.

    Raises:
        CommandError: if the case cannot be read, or its reference differs from it in shape.
    """
    iterator = predictor._internal_get_data_iterator_from_lists_of_filenames(
        [[str(path) for path in case.images]],
        [None if case.previous is None else str(case.previous)],
        None,
        0,
    )
    preprocessed = next(iterator)
    data, properties = preprocessed["data"], preprocessed["data_properties"]
    if not torch.isfinite(data).all():
        raise CommandError(
            f"case {case.name}: the image contains NaN or infinity, which the network would only "
            "pass on; replace them"
        )
    labels = _read_labels(predictor, case.reference)
    shape = tuple(properties["shape_before_cropping"])
    wanted = tuple(shape[axis] for axis in predictor.plans_manager.transpose_backward)
    if labels.shape != wanted:
        raise CommandError(
            f"case {case.name}: the label image {case.reference} has shape {labels.shape}, but "
            f"the image has {wanted} (z, y, x); give the labels of this image"
        )
    spacing_mm = tuple(float(step) for step in properties["spacing"])
    return LoadedCase(case, data, properties, Segmentation(labels, spacing_mm))


def _read_labels(predictor: AblationPredictor, path: Path) -> np.ndarray:
    """Read labels in the orientation in which nnU-Net reads their image."""
    try:
        labels, _ = predictor.plans_manager.image_reader_writer_class().read_seg(str(path))
    except (AssertionError, OSError, RuntimeError, ValueError) as error:
        raise CommandError(f"{path}: cannot be read as labels: {last_line(error)}") from error
    # nnU-Net's readers return labels as floats.
    return whole_numbers(labels[0], path)


def to_segmentation(predictor: AblationPredictor, loaded: LoadedCase, logits: Tensor) -> np.ndarray:
    """Bring logits into the image's space as labels."""
    return convert_predicted_logits_to_segmentation_with_correct_shape(
        logits,
        predictor.plans_manager,
        predictor.configuration_manager,
        predictor.label_manager,
        loaded.properties,
    )


class OrdinaryPredictions(Mapping[str, Ordinary]):
    """The ordinary predictions of cases, kept in a folder.

    Args:
        folder: a folder with one file per case.
    """

    def __init__(self, folder: Path):
        self._folder = folder
        folder.mkdir(parents=True, exist_ok=True)

    def __contains__(self, name: object) -> bool:
        return self._path(str(name)).is_file()

    def __iter__(self) -> Iterator[str]:
        return iter(sorted(path.name[: -len(".npz")] for path in self._folder.glob("*.npz")))

    def __len__(self) -> int:
        return sum(1 for _ in self)

    def __getitem__(self, name: str) -> Ordinary:
        with np.load(self._path(name)) as kept:
            folds, gates = (int(number) for number in kept["counts"])
            maps = tuple(
                tuple(
                    GateMap(
                        kept[f"map_{fold}_{gate}"],
                        tuple(int(size) for size in kept[f"sizes_{gate}"]),
                        float(kept["means"][fold, gate]),
                    )
                    for gate in range(gates)
                )
                for fold in range(folds)
            )
            return Ordinary(kept["segmentation"], maps)

    def put(self, name: str, segmentation: np.ndarray, maps: Sequence[Sequence[GateMap]]) -> None:
        """Store a case's prediction."""
        arrays: dict[str, Any] = {
            f"map_{fold}_{gate}": found.blocks
            for fold, of_fold in enumerate(maps)
            for gate, found in enumerate(of_fold)
        }
        arrays.update({f"sizes_{gate}": np.array(m.sizes) for gate, m in enumerate(maps[0])})
        arrays["segmentation"] = segmentation
        arrays["means"] = np.array([[found.mean for found in of_fold] for of_fold in maps])
        arrays["counts"] = np.array([len(maps), len(maps[0])])
        with written_beside(self._path(name)) as beside, beside.open("wb") as file:
            np.savez_compressed(file, allow_pickle=False, **arrays)

    def _path(self, name: str) -> Path:
        return self._folder / f"{name}.npz"


def predict_ordinary(
    predictor: AblationPredictor, case: AblationCase, kept: OrdinaryPredictions
) -> None:
    """Predict a case, unless its prediction is already stored."""
    if case.name in kept:
        return
    loaded = load_case(predictor, case)
    logits, maps = predictor.predict_ordinary(loaded.data)
    kept.put(case.name, to_segmentation(predictor, loaded, logits), maps)


@contextmanager
def folder_or_temporary(folder: Path | None) -> Iterator[Path]:
    """Give the folder, or a temporary one if it is None."""
    if folder is not None:
        folder.mkdir(parents=True, exist_ok=True)
        yield folder
        return
    with TemporaryDirectory(prefix="nnunet-attention-ablate-") as name:
        yield Path(name)
