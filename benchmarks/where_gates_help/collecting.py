"""Copies from the study's working folder what its report needs, without weights."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from statistics import median

import numpy as np
import pandas as pd

from benchmarks.hippocampus.collecting import seconds_of_epochs
from benchmarks.hippocampus.schedules import Variant
from benchmarks.where_gates_help.coefficients import (
    contrast_of_gates,
    contrast_to_distractors,
    read_coefficients,
)
from benchmarks.where_gates_help.collected import (
    KEY,
    add_rows,
    keep_design,
    key_of,
    read_trainings,
)
from benchmarks.where_gates_help.design import (
    ATTENTION,
    IN_DOMAIN,
    OUT_OF_DOMAIN,
    PHANTOM_2D,
    PILOT,
    SEEDS,
    SUPERVISED,
    SUPERVISION,
    WARM,
    Data,
    Part,
)
from benchmarks.where_gates_help.phantom import draw_case
from benchmarks.where_gates_help.pictures import draw_side_by_side
from benchmarks.where_gates_help.pilot import pilot_key, read_pilot, write_pilot
from benchmarks.where_gates_help.places import (
    ablated_folder,
    folders,
    mapped_folder,
    model_folder,
    seed_folders,
    shifted_folder,
    warm_folders,
)
from benchmarks.where_gates_help.preparing import MACHINE_JSON, check_design, note_machines
from benchmarks.where_gates_help.running import RECORD
from nnunet_attention.evaluation import read_summary
from nnunet_attention.evaluation.metrics.labels import label_names
from nnunet_attention.files import read_json, write_json
from nnunet_attention.nnunet.checkpoints import FINAL
from nnunet_attention.nnunet.dataset_json import DATASET_JSON
from nnunet_attention.nnunet.folders import RAW_REFERENCES
from nnunet_attention.nnunet.model_folders import SUMMARY, fold_folder, validation_summary
from nnunet_attention.nnunet.supervision import (
    SupervisionRecord,
    read_supervision,
    supervision_file,
)
from nnunet_attention.weights.checkpoint import load_checkpoint

COEFFICIENTS, ABLATIONS = "coefficients.json", "ablations.json"
SIDE_BY_SIDE = Path("maps", "side_by_side.png")
# The data set whose pictures the page shows.
PICTURED = WARM.data[0]
_DIGITS = 5
# Of nnU-Net's log, a value each epoch; they tell a network that cannot learn from one that has not.
_CURVES = ("train_losses", "val_losses", "mean_fg_dice")
# Keys of an ablation's record.
_EFFECT = ("gates", "label", "replacement")
_NUMBERS = ("mean_difference", "low", "high", "adjusted_p_value")


def collect(parts: Sequence[Part], work: Path, results: Path) -> None:
    """Add the finished trainings to results/PART/; results of other trainings stay.

    Raises:
        CommandError: if the working folder, or the results, are of another design.
    """
    outcomes = read_pilot(work)
    for part, data in PILOT:
        if pilot_key(part, data) in outcomes:
            check_design(part, data, work)
    if outcomes:
        results.mkdir(parents=True, exist_ok=True)
        # Those of other folders stay.
        write_pilot(results, {**read_pilot(results), **outcomes})
    for part in parts:
        _collect_part(part, work, results)


def _collect_part(part: Part, work: Path, results: Path) -> None:
    note_machines(work)
    frames, trainings = [], []
    for data in part.data:
        for network in part.networks:
            for seed in SEEDS:
                model = trained_model(work, part, data, network, seed)
                for number in part.folds:
                    fold = fold_folder(model, number)
                    if not validation_summary(fold).is_file():
                        continue
                    check_design(part, data, work)
                    key = dict(zip(KEY, key_of(data, network, seed, number), strict=True))
                    frames += [
                        frame.assign(**key, domain=domain)
                        for domain, frame in _frames(work, part, data, network, seed, fold)
                    ]
                    trainings.append({**key, **_training(part, network, fold)})
    place = results / part.name
    if frames:
        keep_design(part, place)
        add_rows(frames, trainings, place)
    if part is PHANTOM_2D:
        _collect_maps(part, work, place)
        _collect_ablations(part, work, place)
    collected = len(read_trainings(place))
    print(
        f"{part.name}: {len(trainings)} of {part.trainings} trainings in {work}; "
        f"collected: {collected}"
    )


def trained_model(work: Path, part: Part, data: Data, network: Variant, seed: int) -> Path:
    """Return nnU-Net's folder of a training of the study."""
    places = warm_folders(work, seed) if part.warm else seed_folders(work, seed)
    return model_folder(places.results, part, data, network)


def _frames(
    work: Path, part: Part, data: Data, network: Variant, seed: int, fold: Path
) -> Iterator[tuple[str, pd.DataFrame]]:
    yield IN_DOMAIN, _dice(validation_summary(fold), work, data)
    shifted = shifted_folder(work, part, data, network, seed) / SUMMARY
    if part.has_shifted_images and shifted.is_file():
        yield OUT_OF_DOMAIN, _dice(shifted, work, data)


def _dice(summary: Path, work: Path, data: Data) -> pd.DataFrame:
    names = label_names(data.dataset, [folders(work).raw])
    frame = read_summary(summary, names, data.dataset, "", "", 0)
    frame = frame[frame["metric"] == "dice"].rename(columns={"value": "dice"})
    kept = ["case", "label", "reference_voxels", "prediction_voxels", "dice"]
    return frame[kept].round({"dice": _DIGITS})


def _training(part: Part, network: Variant, fold: Path) -> dict:
    """Describe a training.

    The program ends if the training was of another length, or its gates were supervised otherwise.
    """
    logging = load_checkpoint(fold / FINAL)["logging"]
    seconds = seconds_of_epochs(logging)
    if len(seconds) != part.epochs:
        sys.exit(f"{fold} was trained for {len(seconds)} epochs; wanted {part.epochs}")
    if network == SUPERVISED:
        _check_supervision(fold)
    return {
        "minutes": round(sum(seconds) / 60, 2),
        "median_epoch_seconds": round(median(seconds), 2),
        "machine": read_json(fold / MACHINE_JSON),
        "curves": {name: _rounded(logging.get(name, ())) for name in _CURVES},
        **({"supervision": str(SUPERVISION)} if network == SUPERVISED else {}),
    }


def _rounded(values: Sequence[float]) -> list[float]:
    return [round(float(value), 4) for value in values]


def _check_supervision(fold: Path) -> None:
    record, wanted = read_supervision(fold), SupervisionRecord(SUPERVISION)
    if record is None:
        sys.exit(f"{supervision_file(fold)} is missing, which tells how the gates were supervised")
    if record != wanted:
        sys.exit(
            f"{fold} was trained with the supervision {record.supervision} since epoch "
            f"{record.first_epoch}; wanted {SUPERVISION} since epoch 0"
        )


def _collect_maps(part: Part, work: Path, place: Path) -> None:
    """Collect each gate's contrast and, for one data set, a picture of both networks' maps.

    The picture is of the first case that has maps, which was chosen by its name alone.
    """
    path = place / COEFFICIENTS
    contrasts: dict[str, dict[str, dict]] = read_json(path) if path.is_file() else {}
    for data in part.data:
        raw = folders(work).raw_dataset(data.dataset)
        mapped = {}
        for network in (ATTENTION, SUPERVISED):
            output = mapped_folder(work, part, data, network)
            if not output.is_dir():
                continue
            mapped[network.name] = output
            ending = read_json(raw / DATASET_JSON)["file_ending"]
            found = read_coefficients(output, raw / RAW_REFERENCES, ending, _distractors_of(data))
            contrasts.setdefault(data.dataset, {})[network.folder] = {
                name: {gate: round(value, _DIGITS) for gate, value in of_gates.items()}
                for name, of_gates in (
                    ("outside", contrast_of_gates(found)),
                    ("distractors", contrast_to_distractors(found)),
                )
            }
        if data == PICTURED and len(mapped) == 2:
            draw_side_by_side(raw, mapped, place / SIDE_BY_SIDE)
    if contrasts:
        place.mkdir(parents=True, exist_ok=True)
        write_json(path, contrasts)


def _distractors_of(data: Data) -> Callable[[str], np.ndarray] | None:
    recipe = data.recipe
    if recipe is None or not recipe.distractors:
        return None
    return lambda case: draw_case(recipe, data.number, case).distractors


def _collect_ablations(part: Part, work: Path, place: Path) -> None:
    """Collect the verdicts of `nnunet-attention ablate`, with the numbers that each rests on."""
    path = place / ABLATIONS
    ablations: dict[str, dict[str, dict]] = read_json(path) if path.is_file() else {}
    for data in part.data:
        for network in (ATTENTION, SUPERVISED):
            output = ablated_folder(work, part, data, network)
            if (output / RECORD).is_file():
                of_data = ablations.setdefault(data.dataset, {})
                of_data[network.folder] = _verdicts(read_json(output / RECORD))
    if ablations:
        place.mkdir(parents=True, exist_ok=True)
        write_json(path, ablations)


def _verdicts(record: Mapping) -> dict:
    effects = {
        tuple(effect[name] for name in _EFFECT): effect
        for effect in record["effects"]
        if effect["metric"] == "dice"
    }
    verdicts = []
    for found in record["verdicts"]:
        effect = effects[tuple(found[name] for name in _EFFECT)]
        numbers = {
            name: None if effect[name] is None else round(effect[name], _DIGITS)
            for name in _NUMBERS
        }
        numbers["idle_p_value"] = round(found["idle_p_value"], _DIGITS)
        verdicts.append({"gates": found["gates"], "verdict": found["verdict"],
                         "replacement": found["replacement"], **numbers})  # fmt: skip
    return {"cases": record["settings"]["cases"], "verdicts": verdicts}
