"""Predicts a folder of images as nnU-Net does, after checking all inputs."""

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import torch

from nnunet_attention.engines import NNUNET, TORCH, EngineChoice
from nnunet_attention.errors import CommandError
from nnunet_attention.files import disk_error, json_text, read_json, require_writable
from nnunet_attention.nnunet.checkpoints import FINAL
from nnunet_attention.nnunet.dataset_json import DATASET_JSON
from nnunet_attention.nnunet.model_folders import PLANS_JSON, PREDICTION_JSON, fold_folders
from nnunet_attention.prediction.image_names import check_label_images, named_cases
from nnunet_attention.prediction.predictor import CasePredictor
from nnunet_attention.prediction.trained_model import Folds
from nnunet_attention.processor import processors


@dataclass(frozen=True, kw_only=True)
class FolderPrediction:
    """Says which images are predicted, with which model, and how.

    Attributes:
        images: the folder of the images, CASE_0000 and so on.
        output: the folder for the segmentations.
        model_folder: the folder `TRAINER__PLANS__CONFIGURATION`.
        folds: the folds to average; None for all that have the checkpoint.
        checkpoint: the checkpoint's name in each fold's folder.
        previous_stage: the folder of the previous stage's segmentations, for a cascade.
        device: one of cuda, cpu and mps.
        engine: the engine that runs the network on a CPU.
        resampling: how images and logits are resampled, see CasePredictor.
        step_size: the step from one patch to the next, as a share of the patch.
        mirroring: whether to average over mirrored images.
        stitch_on_device: whether to stitch on the device; False stitches in main memory.
        save_probabilities: whether to write nnU-Net's probabilities too.
        keep_complete: whether to keep complete cases, and predict only the others.
        preprocessing_processes: the number of processes that preprocess; 0 for this process.
        export_processes: the number of processes that export; 0 for this process.
        number_of_parts: the number of parts that the cases are split into.
        part: the part to predict, counted from 0.
        progress_bars: whether to show nnU-Net's progress bars.
        verbose: whether to show more of nnU-Net's messages.
        on_progress: called with the number of cases predicted so far, and their total.
        tell: called with one line on what runs the network.
    """

    images: Path
    output: Path
    model_folder: Path
    folds: Folds = None
    checkpoint: str = FINAL
    previous_stage: Path | None = None
    device: str = "cuda"
    engine: EngineChoice = field(default_factory=lambda: EngineChoice(TORCH))
    resampling: str = NNUNET
    step_size: float = 0.5
    mirroring: bool = True
    stitch_on_device: bool = True
    save_probabilities: bool = False
    keep_complete: bool = False
    preprocessing_processes: int = 3
    export_processes: int = 3
    number_of_parts: int = 1
    part: int = 0
    progress_bars: bool = False
    verbose: bool = False
    on_progress: Callable[[int, int], None] = lambda done, total: None
    tell: Callable[[str], None] = lambda line: None

    def label_folders(self) -> dict[str, Path | None]:
        """Return, by flag, the folders that must hold a label image of every case."""
        return {"-prev_stage_predictions": self.previous_stage}

    def check_options(self, predictor: CasePredictor) -> None:
        """Refuse, with a CommandError, options without effect or for another kind of model."""


def predict_folder(
    prediction: FolderPrediction, kind: type[CasePredictor] = CasePredictor, **options
) -> None:
    """Predict all images of a folder, and write their segmentations.

    Args:
        prediction: the images, the model and the options.
        kind: the predictor's class.
        **options: further arguments for the predictor.

    Raises:
        CommandError: if anything is missing or does not fit; mostly before the first case.
    """
    _check_folders(prediction)
    predictor = kind(
        tile_step_size=prediction.step_size,
        use_mirroring=prediction.mirroring,
        perform_everything_on_device=prediction.stitch_on_device,
        device=prepared_device(prediction.device),
        verbose=prediction.verbose,
        verbose_preprocessing=prediction.verbose,
        allow_tqdm=prediction.progress_bars,
        engine=prediction.engine,
        resampling=prediction.resampling,
        on_progress=prediction.on_progress,
        tell=prediction.tell,
        **options,
    )
    predictor.initialize_from_trained_model_folder(
        prediction.model_folder, prediction.folds, prediction.checkpoint
    )
    _check_output(prediction.output, predictor)
    _check_cases(prediction, predictor)
    prediction.check_options(predictor)
    previous = None if prediction.previous_stage is None else str(prediction.previous_stage)
    try:
        predictor.predict_from_files(
            str(prediction.images),
            str(prediction.output),
            save_probabilities=prediction.save_probabilities,
            overwrite=not prediction.keep_complete,
            num_processes_preprocessing=prediction.preprocessing_processes,
            num_processes_segmentation_export=prediction.export_processes,
            folder_with_segs_from_prev_stage=previous,
            num_parts=prediction.number_of_parts,
            part_id=prediction.part,
        )
    except OSError as error:
        raise CommandError(
            f"-o {prediction.output}: {error.filename or ''} {disk_error(error)}"
        ) from error


def prepared_device(name: str) -> torch.device:
    """Return a device, and set torch's number of threads as nnUNetv2_predict does for it.

    On a CPU that is the number of processors, but here only of those that the process may use.

    Raises:
        CommandError: if the device is not available.
    """
    if name == "cuda":
        if not torch.cuda.is_available():
            raise CommandError("-device cuda: torch finds no GPU; use -device cpu")
        torch.set_num_threads(1)
    elif name == "mps" and not torch.backends.mps.is_available():
        raise CommandError("-device mps: torch finds no Apple GPU; use -device cpu")
    elif name == "cpu":
        torch.set_num_threads(processors())
    return torch.device(name)


def _check_folders(prediction: FolderPrediction) -> None:
    for flag, folder in {"-i": prediction.images, **prediction.label_folders()}.items():
        if folder is not None and not folder.is_dir():
            raise CommandError(f"{flag} {folder}: there is no such folder")
    output = prediction.output
    for flag, folder in prediction.label_folders().items():
        if folder is not None and output.exists() and output.samefile(folder):
            raise CommandError(
                f"-o {output}: it is also the folder of {flag}, and the segmentations would "
                "replace its files; choose another folder"
            )
    if output.exists() and output.samefile(prediction.images):
        raise CommandError(
            f"-o {output}: it is also the folder of -i, and segmentations would be taken for "
            "images; choose another folder"
        )
    parts = prediction.number_of_parts
    if prediction.part >= parts:
        raise CommandError(
            f"-part_id {prediction.part}: with -num_parts {parts} the parts are 0 to {parts - 1}"
        )
    require_writable(output, "-o")


def _check_output(output: Path, predictor: CasePredictor) -> None:
    """Refuse a folder in which nnU-Net's copies of plans and dataset.json would replace others."""
    if not output.is_dir():
        return
    if any(path.is_dir() for _, path in fold_folders(output)):
        raise CommandError(
            f"-o {output}: it holds folds of a trained model, whose {PLANS_JSON} and "
            f"{DATASET_JSON} nnU-Net would replace; choose another folder"
        )
    if (output / PREDICTION_JSON).exists():
        # Those that an earlier prediction left.
        return
    copies = {PLANS_JSON: predictor.plans_manager.plans, DATASET_JSON: predictor.dataset_json}
    for name, content in copies.items():
        path = output / name
        if path.exists() and not _holds(path, content):
            raise CommandError(
                f"-o {output}: its {name} is not of the model, and nnU-Net would replace it; "
                "choose another folder"
            )


def _holds(path: Path, content: dict) -> bool:
    """Tell whether a JSON file holds a content; compared as texts, in which NaN equals NaN."""
    try:
        found = read_json(path)
    except CommandError:
        return False
    return json_text(found, allow_nan=True) == json_text(content, allow_nan=True)


def _check_cases(prediction: FolderPrediction, predictor: CasePredictor) -> None:
    """Check before the first prediction for errors that would end a later one."""
    ending = predictor.dataset_json["file_ending"]
    cases = named_cases(prediction.images, ending, predictor.image_channels, predictor.reader)
    predictor.check_previous_stage(prediction.previous_stage)
    for flag, folder in prediction.label_folders().items():
        if folder is not None:
            check_label_images(flag, folder, cases, ending)
