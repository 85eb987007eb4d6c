"""Reads nnU-Net's summary.json: the metrics of each case and label, as they stand there."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path, PureWindowsPath

from nnunet_attention.errors import CommandError
from nnunet_attention.files import read_json

Label = int | tuple[int, ...]
"""A label's number, or a region's numbers."""

SUMMARY_REMEDY = (
    "repeat nnU-Net's validation of this fold (nnUNetv2_train ... --val), or write the file again "
    "with nnunet-attention evaluate"
)
# Longest first, so that .nii.gz is not taken for .gz.
_FILE_ENDINGS = (".nii.gz", ".nii", ".nrrd", ".mha", ".gipl", ".png", ".bmp", ".tiff", ".tif")


@dataclass(frozen=True)
class CaseMetrics:
    """Holds what a summary says about one case.

    Attributes:
        case: its name.
        reference_file: the path as the summary has it, from whatever machine.
        prediction_file: likewise; None where the summary does not name it.
        metrics: values by label or region and by nnU-Net's name of the metric; NaN where
            undefined. A key that is neither a label's nor a region's stays text.
    """

    case: str
    reference_file: str
    prediction_file: str | None
    metrics: dict[Label | str, dict[str, float]]


@dataclass(frozen=True)
class Summary:
    """Holds what is read of a summary.json.

    Attributes:
        cases: in the file's order.
        tolerance_mm: of normalised surface Dice, by label, where `evaluate` has written it.
    """

    cases: tuple[CaseMetrics, ...]
    tolerance_mm: dict[Label | str, float]


def read_summary_json(path: Path) -> Summary:
    """Read a summary.json.

    Raises:
        CommandError: if it is absent, half written, or no summary.
    """
    try:
        content = read_json(path)
    except CommandError as error:
        raise CommandError(f"{error}; {SUMMARY_REMEDY}") from error
    return parse_summary(content, str(path))


def parse_summary(content: Mapping, where: str) -> Summary:
    """Read the content of a summary.json.

    Args:
        content: the JSON object.
        where: its path, for messages.

    Raises:
        CommandError: if it is no summary.
    """
    entries = content.get("metric_per_case")
    if not isinstance(entries, list) or not entries:
        raise CommandError(
            f"{where} is not an nnU-Net summary: it has no metric_per_case; {SUMMARY_REMEDY}"
        )
    cases = tuple(_case(entry, number, where) for number, entry in enumerate(entries))
    written = content.get("tolerance_mm")
    tolerances = written if isinstance(written, dict) else {}
    return Summary(
        cases,
        {label_of_key(key): value for key, value in tolerances.items() if _is_number(value)},
    )


def summarised_cases(path: Path, file_ending: str) -> set[str]:
    """Return the cases whose predictions a summary names; none where it is absent or damaged.

    Args:
        path: the summary's.
        file_ending: that of the predictions.
    """
    try:
        files = [entry.prediction_file for entry in read_summary_json(path).cases]
    except CommandError:
        return set()
    return {
        PureWindowsPath(file).name.removesuffix(file_ending) for file in files if file is not None
    }


def case_name(file: str) -> str:
    """Return the case of a file of either system: its name without folder and ending."""
    name = PureWindowsPath(file).name
    for ending in _FILE_ENDINGS:
        if name.lower().endswith(ending) and len(name) > len(ending):
            return name[: -len(ending)]
    return name


def label_of_key(key: str) -> Label | str:
    """Return the label or region that a key names, whatever its spaces and brackets.

    A key that names neither is returned without the spaces around it.
    """
    text = key.strip()
    try:
        if "," not in text:
            return int(text) if re.fullmatch(r"-?\d+", text) else text
        return tuple(int(number) for number in re.findall(r"-?\d+", text)) or text
    except ValueError:  # Python refuses numbers of thousands of digits.
        return text


def _case(entry: object, number: int, where: str) -> CaseMetrics:
    if not isinstance(entry, dict):
        raise CommandError(
            f"{where}: entry {number} of metric_per_case is not an object; {SUMMARY_REMEDY}"
        )
    reference, prediction = entry.get("reference_file"), entry.get("prediction_file")
    if not isinstance(reference, str) or not reference:
        raise CommandError(
            f"{where}: entry {number} of metric_per_case has no reference_file; {SUMMARY_REMEDY}"
        )
    metrics = entry.get("metrics")
    if not isinstance(metrics, dict) or not metrics:
        raise CommandError(f"{where}: {reference} has no metrics; {SUMMARY_REMEDY}")
    case = case_name(reference)
    of_label: dict[Label | str, dict[str, float]] = {}
    for key, values in metrics.items():
        label = label_of_key(key)
        if label in of_label:
            raise CommandError(f"{where}: case {case} has label {label} twice; {SUMMARY_REMEDY}")
        of_label[label] = _numbers(values, f"{where}: case {case}, label {label}")
    return CaseMetrics(
        case, reference, prediction if isinstance(prediction, str) else None, of_label
    )


def _numbers(values: object, where: str) -> dict[str, float]:
    """Return the metrics of a case and label; null, which some exports write, is NaN."""
    if not isinstance(values, dict):
        raise CommandError(f"{where} has no metrics; {SUMMARY_REMEDY}")
    numbers = {key: math.nan if value is None else value for key, value in values.items()}
    for key, value in numbers.items():
        if not _is_number(value):
            raise CommandError(
                f"{where}: {key} is {json.dumps(value)}, not a number; {SUMMARY_REMEDY}"
            )
    return numbers


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)
