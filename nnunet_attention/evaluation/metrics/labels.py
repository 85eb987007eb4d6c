"""Determines which labels and regions of a data set are evaluated, and their names."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

from nnunet_attention.errors import CommandError
from nnunet_attention.nnunet.dataset_json import DATASET_JSON, read_dataset_json
from nnunet_attention.nnunet.summary_json import Label


@dataclass(frozen=True)
class LabelScheme:
    """Holds the foreground of a data set, as nnU-Net evaluates it.

    Attributes:
        names: names of labels, or of regions if the data set has any, in nnU-Net's order.
        ignore_label: label of unannotated voxels; None if everything is annotated.
        file_ending: of images and segmentations.
    """

    names: dict[Label, str]
    ignore_label: int | None
    file_ending: str

    def label(self, name: str) -> Label:
        """Return the label with the given name or, if none has it, the given key in summary.json.

        Names may be numbers, as those of BraTS are: `{"2": 1, "1": 2}`.

        Raises:
            CommandError: if there is none.
        """
        for known in (self._by_name, self._by_key):
            if name in known:
                return known[name]
        raise CommandError(f"unknown label {name!r}; known are: {', '.join(self.names.values())}")

    def labels(self, names: Collection[str]) -> list[Label]:
        """Return the labels of a summary that gives them all by name, or all by key.

        Raises:
            CommandError: if there is no such label.
        """
        for known in (self._by_name, self._by_key):
            if set(names) <= set(known):
                return [known[name] for name in names]
        return [self.label(name) for name in names]

    @property
    def _by_name(self) -> dict[str, Label]:
        return {name: label for label, name in self.names.items()}

    @property
    def _by_key(self) -> dict[str, Label]:
        return {str(label): label for label in self.names}

    @classmethod
    def from_file(cls, path: Path) -> LabelScheme:
        """Read nnU-Net's dataset.json.

        Raises:
            CommandError: see `read_dataset_json`; or if there is nothing to evaluate.
        """
        return cls.of_content(read_dataset_json(path), str(path))

    @classmethod
    def of_content(cls, content: Mapping, where: str) -> LabelScheme:
        """Take the labels from the content of a dataset.json.

        Args:
            content: as `read_dataset_json` returns it.
            where: where it was found, for messages.

        Raises:
            CommandError: if there is nothing to evaluate.
        """
        members = {str(name): _members(value) for name, value in content["labels"].items()}
        ignore = members.pop("ignore", None)
        if isinstance(ignore, tuple):
            raise CommandError(f"{where}: the ignore label must be one number, got {list(ignore)}")
        foreground = {
            name: label for name, label in members.items() if label != 0 and set(_all(label)) != {0}
        }
        if not foreground:
            raise CommandError(f"{where} has no labels except background")
        if any(len(_all(label)) > 1 for label in members.values()):
            names = {label: name for name, label in foreground.items()}
        else:
            numbers = sorted((_all(label)[0], name) for name, label in foreground.items())
            names = dict(numbers)
        return cls(names, ignore, content["file_ending"])


def find_dataset_json(folders: Iterable[Path]) -> Path:
    """Return the first dataset.json in the folders.

    Raises:
        CommandError: if there is none.
    """
    folders = list(folders)
    for folder in folders:
        if (folder / DATASET_JSON).is_file():
            return folder / DATASET_JSON
    raise CommandError(
        f"no dataset.json in any of: {', '.join(str(folder) for folder in folders)}; name it with "
        "-djfile"
    )


def find_label_scheme(ground_truth_dir: Path, prediction_dir: Path) -> LabelScheme:
    """Read the dataset.json of a folder of predictions, or of their references.

    Args:
        ground_truth_dir: searched second, and the folder above it third.
        prediction_dir: searched first.

    Raises:
        CommandError: if there is none, or it is damaged.
    """
    folders = [prediction_dir, ground_truth_dir, ground_truth_dir.parent]
    return LabelScheme.from_file(find_dataset_json(folders))


def label_names(dataset: str, folders: Iterable[Path]) -> dict[str, str]:
    """Return the names of labels and regions by their key in summary.json.

    The names are those in the first dataset.json found.

    Args:
        dataset: full name.
        folders: each is searched for dataset.json and for DATASET/dataset.json.

    Returns:
        E.g. {"1": "liver", "(1, 2)": "whole tumour"}; empty if there is no dataset.json.
    """
    for folder in folders:
        for path in (Path(folder, DATASET_JSON), Path(folder, dataset, DATASET_JSON)):
            if path.is_file():
                names = LabelScheme.from_file(path).names
                return {str(label): name for label, name in names.items()}
    return {}


def tolerances_mm(
    scheme: LabelScheme, default_mm: float, by_label: Mapping[str, float]
) -> dict[Label, float]:
    """Return the tolerance of normalised surface Dice for each label.

    Args:
        scheme: the labels.
        default_mm: for labels that are not in `by_label`.
        by_label: by name or key.

    Raises:
        CommandError: if `by_label` has an unknown label.
    """
    special = {scheme.label(name): tolerance for name, tolerance in by_label.items()}
    return {label: special.get(label, default_mm) for label in scheme.names}


def _members(value) -> Label:
    if isinstance(value, (list, tuple)):
        return tuple(int(number) for number in value)
    return int(value)


def _all(label: Label) -> tuple[int, ...]:
    return label if isinstance(label, tuple) else (label,)
