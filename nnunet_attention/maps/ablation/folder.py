"""Ablates the gates of a trained model over a folder of images, and writes the results."""

from __future__ import annotations

import glob
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

from nnunet_attention.engines import TORCH, EngineChoice
from nnunet_attention.errors import CommandError
from nnunet_attention.evaluation.ablation.building import Ablation, build_ablation
from nnunet_attention.evaluation.ablation.outputs import write_ablation
from nnunet_attention.evaluation.ablation.verdicts import default_margin
from nnunet_attention.evaluation.statistics.groups import looks_grouped
from nnunet_attention.files import disk_error, require_writable
from nnunet_attention.maps.ablation.cases import AblationCase
from nnunet_attention.maps.ablation.curves import check_curve_metric, deletion_curves
from nnunet_attention.maps.ablation.effects import (
    Progress,
    ablate,
    check_cases_and_settings,
    label_scheme,
    tolerances_of,
)
from nnunet_attention.maps.ablation.predictor import AblationPredictor
from nnunet_attention.maps.ablation.settings import AblationSettings
from nnunet_attention.maps.ablation.training_cases import training_cases_note
from nnunet_attention.nnunet.checkpoints import FINAL
from nnunet_attention.prediction.folder_prediction import prepared_device
from nnunet_attention.prediction.image_names import check_label_images, named_cases
from nnunet_attention.prediction.inputs import CaseFiles, check_cases
from nnunet_attention.prediction.trained_model import Folds

_STORE = "cases"


@dataclass(frozen=True, kw_only=True)
class FolderAblation:
    """Describes what is ablated, with which images, and how.

    Attributes:
        images: the folder of CASE_0000 and so on.
        references: the folder of their labels.
        output: the folder for tables and page; finished cases are kept in `cases` below it.
        model_folder: the folder `TRAINER__PLANS__CONFIGURATION`.
        folds: the folds to average; None for all that have the checkpoint.
        checkpoint: the checkpoint's name in each fold's folder.
        settings: what is replaced and measured.
        groups: given the names of all cases, returns the group of each; None for no groups.
        sanity: whether to repeat everything with random gates.
        curve_steps: in how many steps the skips are shut and opened; 0 for no curves.
        margin: differences smaller than this do not matter; None: see `default_margin`.
        previous_stage: the folder of the previous stage's segmentations, for a cascade.
        device: one of cuda, cpu and mps.
        engine: what runs the network on a CPU; torch always computes the Grad-CAMs of the curves.
        step_size: the step from one patch to the next, as a share of the patch.
        mirroring: whether to average over mirrored images.
        on_progress: called with the number of passes over cases that are done, and of all passes.
        tell: called with a line that says what runs the network, and with notes on the cases.
    """

    images: Path
    references: Path
    output: Path
    model_folder: Path
    folds: Folds = None
    checkpoint: str = FINAL
    settings: AblationSettings = field(default_factory=AblationSettings)
    groups: Callable[[Collection[str]], Mapping[str, str]] | None = None
    sanity: bool = False
    curve_steps: int = 0
    margin: float | None = None
    previous_stage: Path | None = None
    device: str = "cuda"
    engine: EngineChoice = field(default_factory=lambda: EngineChoice(TORCH))
    step_size: float = 0.5
    mirroring: bool = True
    on_progress: Progress = lambda done, total: None
    tell: Callable[[str], None] = lambda line: None


def ablate_folder(
    asked: FolderAblation, on_ablation: Callable[[Ablation], None] = lambda ablation: None
) -> list[Path]:
    """Ablate the gates over all images of a folder, and write tables, record and page.

    Finished cases are kept in `OUT/cases`, from which an interrupted run resumes.

    Args:
        asked: what is ablated, and how.
        on_ablation: called with the result before it is written, to show it in the terminal.

    Returns:
        The files that were written.

    Raises:
        CommandError: if anything is missing or does not fit, mostly before the first case.
    """
    _check_folders(asked)
    predictor = AblationPredictor(
        tile_step_size=asked.step_size,
        use_mirroring=asked.mirroring,
        device=prepared_device(asked.device),
        allow_tqdm=False,
        engine=asked.engine,
        tell=asked.tell,
    )
    predictor.initialize_from_trained_model_folder(
        asked.model_folder, asked.folds, asked.checkpoint
    )
    cases = _cases(asked, predictor)
    settings = asked.settings
    if asked.groups is not None:
        settings = replace(settings, groups=asked.groups([case.name for case in cases]))
    check_cases_and_settings(predictor, cases, settings)
    margin = default_margin(settings.metrics[0]) if asked.margin is None else asked.margin
    if asked.curve_steps:
        check_curve_metric(settings)
    _tell_notes(asked, predictor, [case.name for case in cases])
    names, tolerances = label_scheme(predictor).names, tolerances_of(predictor, settings)
    store = asked.output / _STORE
    curve_rows = None
    passes = (4 if asked.sanity else 2) * len(cases)
    total = passes + (len(cases) if asked.curve_steps else 0)
    try:
        rows = ablate(
            *(predictor, cases, settings),
            sanity=asked.sanity,
            store=store,
            on_progress=lambda done, _: asked.on_progress(done, total),
        )
        if asked.curve_steps:
            curve_rows = deletion_curves(
                *(predictor, cases, settings),
                steps=asked.curve_steps,
                store=store,
                on_progress=lambda done, _: asked.on_progress(passes + done, total),
            )
    except OSError as error:
        raise CommandError(
            f"-o {asked.output}: {error.filename or ''} {disk_error(error)}"
        ) from error
    ablation = build_ablation(
        rows,
        settings.metrics,
        {**predictor.description, "weights": predictor.checksums},
        curve_rows,
        settings.groups,
        margin,
        settings.seed,
        {names[label]: mm for label, mm in tolerances.items()},
    )
    on_ablation(ablation)
    return write_ablation(ablation, asked.output)


def _check_folders(asked: FolderAblation) -> None:
    for flag, folder in (
        ("-i", asked.images),
        ("-gt", asked.references),
        ("-prev_stage_predictions", asked.previous_stage),
    ):
        if folder is not None and not folder.is_dir():
            raise CommandError(f"{flag} {folder}: there is no such folder")
    require_writable(asked.output, "-o")


def _tell_notes(asked: FolderAblation, predictor: AblationPredictor, cases: list[str]) -> None:
    """Tell which cases may not be as independent as the statistics take them to be."""
    likely = looks_grouped(cases) if asked.groups is None else None
    if likely is not None:
        asked.tell(likely.note)
    dataset, folds = predictor.description["dataset"], predictor.description["folds"]
    trained = training_cases_note(str(dataset), folds, cases)
    if trained is not None:
        asked.tell(trained)


def _cases(asked: FolderAblation, predictor: AblationPredictor) -> list[AblationCase]:
    ending = predictor.dataset_json["file_ending"]
    names = named_cases(asked.images, ending, predictor.image_channels, predictor.reader)
    predictor.check_previous_stage(asked.previous_stage)
    check_label_images("-gt", asked.references, names, ending)
    if asked.previous_stage is not None:
        check_label_images("-prev_stage_predictions", asked.previous_stage, names, ending)
    cases = []
    for name in names:
        # A name such as scan[1] would be a pattern, which matches another case's images.
        pattern = f"{glob.escape(name)}_[0-9][0-9][0-9][0-9]{glob.escape(ending)}"
        images = tuple(sorted(asked.images.glob(pattern)))
        previous = None
        if asked.previous_stage is not None:
            previous = asked.previous_stage / f"{name}{ending}"
        cases.append(AblationCase(name, images, asked.references / f"{name}{ending}", previous))
    files = [
        CaseFiles(
            case.name,
            case.images,
            tuple(path for path in (case.previous, case.reference) if path is not None),
        )
        for case in cases
    ]
    check_cases(files, predictor.image_channels, predictor.reader)
    return cases
