"""Predicts as nnU-Net does, with checks before the first case and with any engine."""

import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from hashlib import sha256
from pathlib import Path
from typing import Any
from zlib import crc32

import numpy as np
import torch
from nnunetv2.configuration import default_num_processes
from nnunetv2.inference.data_iterators import PreprocessAdapter
from nnunetv2.inference.export_prediction import (
    convert_predicted_logits_to_segmentation_with_correct_shape,
)
from nnunetv2.inference.predict_from_raw_data import nnUNetPredictor
from nnunetv2.inference.sliding_window_prediction import compute_gaussian
from nnunetv2.utilities.helpers import empty_cache
from torch import Tensor, nn
from torch._dynamo import OptimizedModule

from nnunet_attention.engines import (
    CACHE_FOLDER,
    DEVICE,
    NNUNET,
    RESAMPLINGS,
    TORCH,
    DeviceConfiguration,
    EngineChoice,
    EngineNetwork,
    EngineRequest,
    chosen_engine,
    put_on_engine,
    segmentation_in_image_space,
)
from nnunet_attention.errors import CommandError, last_line
from nnunet_attention.files import require_writable
from nnunet_attention.nnunet.checkpoints import FINAL
from nnunet_attention.nnunet.dataset_json import channel_names
from nnunet_attention.prediction.exporters import Exporters
from nnunet_attention.prediction.inputs import CaseFiles, check_cases
from nnunet_attention.prediction.mirroring import mirrorings
from nnunet_attention.prediction.preprocessed import named_by_case, one_ahead
from nnunet_attention.prediction.segmentation_export import SegmentationExport, is_predicted
from nnunet_attention.prediction.trained_model import Folds, TrainedModel, load_trained_model

# Of a digest, enough to tell the models of one cache apart.
_DIGITS = 8


class PredictionError(CommandError):
    """A network cannot segment an image, or its logits are NaN."""


class CasePredictor(nnUNetPredictor):
    """Predicts as nnUNetPredictor does.

    No content of a checkpoint is executed, all files are checked before the first case is
    predicted, and files are written whole or not at all. On a CPU an engine may run the network.

    Args:
        *arguments: the arguments of nnUNetPredictor.
        engine: the engine that runs the network of a model folder on a CPU; torch by default.
        resampling: how images and logits are resampled for a model folder: NNUNET for nnU-Net's
            functions, or DEVICE for the same results in torch on the predictor's device.
        on_progress: called with the number of cases predicted from files so far, and their total.
        tell: called with one line on what runs the network.
        **named_arguments: the named arguments of nnUNetPredictor.

    Examples:
        >>> predictor = CasePredictor(device=torch.device("cpu"), engine=EngineChoice())
        >>> predictor.initialize_from_trained_model_folder(model_folder, use_folds=(0,))
        >>> predictor.predict_from_files(images_folder, output_folder)
    """

    # Whether, without worker processes, threads preprocess and export while the network runs.
    overlaps = True
    # Whether coefficients of gates are replaced, for which an engine runs parts of the network.
    replaces = False
    network: nn.Module
    list_of_parameters: list

    def __init__(
        self,
        *arguments,
        engine: EngineChoice = EngineChoice(TORCH),  # noqa: B008 it is immutable
        resampling: str = NNUNET,
        on_progress: Callable[[int, int], None] = lambda done, total: None,
        tell: Callable[[str], None] = lambda line: None,
        **named_arguments,
    ):
        if resampling not in RESAMPLINGS:
            raise ValueError(f"resampling {resampling!r}: choose {' or '.join(RESAMPLINGS)}")
        super().__init__(*arguments, **named_arguments)
        self.engine = engine
        self.resampling = resampling
        self.on_progress = on_progress
        self.tell = tell
        self._image_files: dict[str, Sequence[str]] = {}
        self._engine_request: EngineRequest | None = None
        # The lists of files, between their check and nnU-Net's question for them.
        self._checked_lists: tuple | None = None

    def initialize_from_trained_model_folder(
        self,
        model_training_output_dir: str | Path,
        use_folds: Folds,
        checkpoint_name: str = FINAL,
    ):
        """Load the model as nnU-Net does, without executing any content of the checkpoints.

        Args:
            model_training_output_dir: the folder `TRAINER__PLANS__CONFIGURATION`.
            use_folds: the folds to average; None for all that have the checkpoint.
            checkpoint_name: the checkpoint's name in each fold's folder.

        Raises:
            CommandError: if folder, fold or checkpoint is missing or damaged, or the engine cannot
                be used.
        """
        if self.device.type == "cpu":
            chosen_engine(self.engine)
        folder = Path(model_training_output_dir)
        model = load_trained_model(folder, use_folds, checkpoint_name)
        self.manual_initialization(
            model.network,
            model.plans_manager,
            model.configuration_manager,
            model.weights,
            model.dataset_json,
            model.trainer_name,
            model.mirroring_axes,
        )
        if self.resampling == DEVICE:
            self.configuration_manager = DeviceConfiguration(
                model.configuration_manager, self.device
            )
        self._engine_request = None
        if self.device.type == "cpu":
            coefficients, features = self._maps_of_gates
            self._engine_request = EngineRequest(
                choice=self.engine,
                shape=(
                    model.input_channels,
                    *(int(size) for size in model.configuration_manager.patch_size),
                ),
                folder=_cache_folder(self.engine, folder, model),
                names=tuple(f"fold_{fold}-{Path(checkpoint_name).stem}" for fold in model.folds),
                coefficients=coefficients,
                features=features,
                replaces=self.replaces,
                at_a_time=len(mirrorings(model.mirroring_axes or ())) if self.use_mirroring else 1,
                tell=self.tell,
            )
        return model

    def predict_logits_from_preprocessed_data(self, data: Tensor) -> Tensor:
        """Predict as nnU-Net does, after preparing the engine at the first call.

        Raises:
            PredictionError: if the logits cannot be computed, or are NaN.
        """
        return self._checked_logits(super().predict_logits_from_preprocessed_data, data)

    def _checked_logits(self, predict: Callable[[Tensor], Tensor], data: Tensor) -> Tensor:
        self.make_ready()
        try:
            logits = predict(data)
        # torch's for lack of memory, nnU-Net's for infinite logits; NumPy's; those of engines
        except (RuntimeError, MemoryError, CommandError) as error:
            raise PredictionError(f"cannot be predicted: {last_line(error)}") from error
        # A maximum propagates NaN.
        if torch.isnan(logits.amax()):
            # nnU-Net would write background.
            raise PredictionError(
                "the network outputs NaN: its training diverged, or its checkpoint is damaged; "
                "use another checkpoint (-chk), or train again"
            )
        return logits

    def make_ready(self) -> None:
        """Make the engine, if one was requested, run the network from now on.

        Raises:
            CommandError: see `put_on_engine`.
        """
        request, self._engine_request = self._engine_request, None
        if request is not None:
            network = self.network
            # A compiled network can be run by torch only.
            if request.choice != EngineChoice(TORCH):
                network = uncompiled(network)
            self.network, self.list_of_parameters = put_on_engine(
                network, self.list_of_parameters, request
            )

    @property
    def runs_on(self) -> str:
        """The name of the engine that runs the network."""
        return self.network.engine if isinstance(self.network, EngineNetwork) else TORCH

    @property
    def _maps_of_gates(self) -> tuple[bool, bool]:
        """Whether the gates' coefficients and the features before and after them are wanted."""
        return False, False

    def predict_from_files(
        self,
        list_of_lists_or_source_folder,
        output_folder_or_list_of_truncated_output_files,
        save_probabilities: bool = False,
        overwrite: bool = True,
        num_processes_preprocessing: int = default_num_processes,
        num_processes_segmentation_export: int = default_num_processes,
        folder_with_segs_from_prev_stage: str | None = None,
        num_parts: int = 1,
        part_id: int = 0,
    ):
        """Predict as nnU-Net does, but write nothing before all files were checked.

        Raises:
            CommandError: for the first case that cannot be read or does not fit the model.
        """
        self._checked_lists = self._manage_input_and_output_lists(
            list_of_lists_or_source_folder,
            output_folder_or_list_of_truncated_output_files,
            folder_with_segs_from_prev_stage,
            overwrite,
            part_id,
            num_parts,
            save_probabilities,
        )
        try:
            return super().predict_from_files(
                list_of_lists_or_source_folder,
                output_folder_or_list_of_truncated_output_files,
                save_probabilities,
                overwrite,
                num_processes_preprocessing,
                num_processes_segmentation_export,
                folder_with_segs_from_prev_stage,
                num_parts,
                part_id,
            )
        finally:
            self._checked_lists = None

    def predict_from_files_sequential(
        self,
        list_of_lists_or_source_folder,
        output_folder_or_list_of_truncated_output_files,
        save_probabilities: bool = False,
        overwrite: bool = True,
        folder_with_segs_from_prev_stage: str | None = None,
    ):
        """Predict as nnU-Net does, with everything in this process."""
        return self.predict_from_files(
            list_of_lists_or_source_folder,
            output_folder_or_list_of_truncated_output_files,
            save_probabilities,
            overwrite,
            num_processes_preprocessing=0,
            num_processes_segmentation_export=0,
            folder_with_segs_from_prev_stage=folder_with_segs_from_prev_stage,
        )

    def predict_from_data_iterator(
        self,
        data_iterator,
        save_probabilities: bool = False,
        num_processes_segmentation_export: int = default_num_processes,
    ) -> list:
        """Predict preprocessed cases: dictionaries with `data`, `ofile` and `data_properties`.

        Predictions are exported in separate processes, or in this one if their number is 0.

        Returns:
            The prediction for each case without `ofile`, None for the others.

        Raises:
            CommandError: if an image holds NaN or infinity, its logits are NaN, or a case cannot be
                predicted or exported; cases already submitted are exported first.
        """
        results: list = []
        with Exporters(num_processes_segmentation_export, self.overlaps) as exporters:
            for case in data_iterator:
                name = "" if case["ofile"] is None else f"case {Path(case['ofile']).name}: "
                if not torch.isfinite(case["data"]).all():
                    raise CommandError(
                        f"{name}the image contains NaN or infinity, which the network would only "
                        "pass on; replace them"
                    )
                try:
                    results.append(self._predict_case(case, save_probabilities, exporters))
                except PredictionError as error:
                    raise CommandError(f"{name}{error}") from error
                if case["ofile"] is not None:
                    self.on_progress(len(results), max(len(results), len(self._image_files)))
        compute_gaussian.cache_clear()
        empty_cache(self.device)
        return results

    def _predict_case(self, case: dict, save_probabilities: bool, exporters: Exporters) -> Any:
        """Predict a case, and submit or return its prediction.

        This is a function so that its arrays are freed after each case, which keeps the peak memory
        low.
        """
        properties = case["data_properties"]
        at_once = self._reduces_on_device and case["ofile"] is not None and not save_probabilities
        if at_once:
            predicted = self._labels_on_device(case["data"], properties)
        else:
            predicted = self.predict_logits_from_preprocessed_data(case["data"]).cpu().numpy()
        if case["ofile"] is None:
            return convert_predicted_logits_to_segmentation_with_correct_shape(
                predicted,
                self.plans_manager,
                self.configuration_manager,
                self.label_manager,
                properties,
                save_probabilities,
            )
        export = SegmentationExport(
            output=Path(case["ofile"]),
            properties=properties,
            plans_manager=self.plans_manager,
            configuration_manager=self.configuration_manager,
            dataset_json=self.dataset_json,
            save_probabilities=save_probabilities,
            of_labels=at_once,
        )
        exporters.submit(export, predicted)
        return None

    @property
    def _reduces_on_device(self) -> bool:
        """Whether logits become labels before they leave the device."""
        configuration = self.configuration_manager
        return (
            self.device.type != "cpu"
            and isinstance(configuration, DeviceConfiguration)
            and configuration.resamples_logits
        )

    def _labels_on_device(self, data: Tensor, properties: dict) -> np.ndarray:
        """Predict a preprocessed image; what does not fit on the device is done on the CPU.

        Returns:
            The labels, (Z, Y, X), in the image's space.
        """
        configuration = self.configuration_manager
        logits = self._checked_logits(self._logits_on_device, data)
        managers = (self.label_manager, properties)
        try:
            return segmentation_in_image_space(logits, self.plans_manager, configuration, *managers)
        except RuntimeError:  # for lack of memory, of which each device has an error of its own
            logits = logits.cpu()
            empty_cache(self.device)
            configuration = DeviceConfiguration(configuration, torch.device("cpu"))
            return segmentation_in_image_space(logits, self.plans_manager, configuration, *managers)

    def _logits_on_device(self, data: Tensor) -> Tensor:
        """Average the folds as nnU-Net does, but on the device, where it has room for that."""
        folds = self.list_of_parameters
        try:
            total: Tensor | None = None
            for weights in folds:
                uncompiled(self.network).load_state_dict(weights)
                # nnU-Net returns them on the CPU if they did not fit on the device.
                logits = self.predict_sliding_window_return_logits(data)
                with torch.inference_mode():
                    total = logits if total is None else total.add_(logits.to(total.device))
                del logits
            assert total is not None, "a model has folds"
            with torch.inference_mode():
                return total if len(folds) == 1 else total.div_(len(folds))
        except RuntimeError:  # as above
            total = None
            empty_cache(self.device)
        return super().predict_logits_from_preprocessed_data(data)

    @torch.inference_mode()
    def _internal_maybe_mirror_and_predict(self, x: Tensor) -> Tensor:
        axes = self.allowed_mirroring_axes if self.use_mirroring else None
        if not isinstance(self.network, EngineNetwork) or not axes:
            return super()._internal_maybe_mirror_and_predict(x)
        # All passes at once, as the engine runs several at a time. They are summed in nnU-Net's
        # order.
        flips = mirrorings(axes)
        passes = self.network.run([torch.flip(x, flip) for flip in flips])
        prediction = next(passes)
        for logits, flip in zip(passes, flips[1:], strict=True):
            prediction += torch.flip(logits, flip)
        prediction /= len(flips)
        return prediction

    def _manage_input_and_output_lists(
        self,
        list_of_lists_or_source_folder,
        output_folder_or_list_of_truncated_output_files,
        folder_with_segs_from_prev_stage=None,
        overwrite: bool = True,
        part_id: int = 0,
        num_parts: int = 1,
        save_probabilities: bool = False,
    ):
        checked, self._checked_lists = self._checked_lists, None
        if checked is not None:
            return checked
        # nnU-Net's own search for complete cases does not know of maps, so overwrite is True.
        lists = super()._manage_input_and_output_lists(
            list_of_lists_or_source_folder,
            output_folder_or_list_of_truncated_output_files,
            folder_with_segs_from_prev_stage,
            True,
            part_id,
            num_parts,
            save_probabilities,
        )
        if not overwrite and lists[1] is not None:
            lists = self._without_complete_ones(lists, save_probabilities)
        self._check_files(*lists)
        return lists

    def _without_complete_ones(self, lists: tuple, save_probabilities: bool) -> tuple:
        ending = self.dataset_json["file_ending"]
        missing = [
            number
            for number, output in enumerate(lists[1])
            if not self._is_complete(Path(output), ending, save_probabilities)
        ]
        print(f"{len(missing)} of {len(lists[1])} cases have not been predicted yet")
        return tuple([entries[number] for number in missing] for entries in lists)

    def _is_complete(self, output: Path, ending: str, save_probabilities: bool) -> bool:
        return is_predicted(output, ending, save_probabilities)

    def _check_files(
        self,
        image_files: Sequence[Sequence[str]],
        outputs: Sequence[str] | None,
        previous_files: Sequence[str | None],
    ) -> None:
        folder, ending = self._shown_labels, self.dataset_json["file_ending"]
        cases = []
        for number, images in enumerate(image_files):
            case = Path(images[0] if outputs is None else outputs[number]).name
            previous = previous_files[number]
            labels = [] if previous is None else [Path(previous)]
            if folder is not None and outputs is not None:
                labels.append(folder / f"{case}{ending}")
            cases.append(CaseFiles(case, tuple(map(Path, images)), tuple(labels)))
        check_cases(cases, self.image_channels, self.reader)

    @property
    def _shown_labels(self) -> Path | None:
        """A folder of label images that are checked too."""
        return None

    def check_previous_stage(self, folder: Path | None) -> None:
        """Check that a cascade's second stage, and no other model, gets the first's segmentations.

        Raises:
            CommandError: if the second stage lacks them, or another model is given some.
        """
        stage = self.configuration_manager.previous_stage_name
        if stage is not None and folder is None:
            raise CommandError(
                f"the model is the second stage of a cascade; predict {stage} first, and name the "
                "folder of its segmentations with -prev_stage_predictions"
            )
        if stage is None and folder is not None:
            raise CommandError(
                "-prev_stage_predictions would be ignored as the model is not the second stage of "
                "a cascade; leave it out"
            )

    @property
    def checksums(self) -> list[int]:
        """A checksum of each fold's weights."""
        return [_checksum(weights) for weights in self.list_of_parameters]

    @property
    def image_channels(self) -> int:
        """The number of channels of an image."""
        return len(channel_names(self.dataset_json))

    @property
    def reader(self) -> str:
        """The name of nnU-Net's image reader."""
        return self.plans_manager.plans["image_reader_writer"]

    def _internal_get_data_iterator_from_lists_of_filenames(
        self, image_files, previous_files, outputs, num_processes: int
    ) -> Iterator[dict]:
        if outputs is not None:
            self._image_files = dict(zip(outputs, image_files, strict=True))
        if num_processes > 0:
            preprocessed = super()._internal_get_data_iterator_from_lists_of_filenames(
                image_files, previous_files, outputs, num_processes
            )
            remedy = (
                "nnU-Net's process printed the reason, or the system ended it if it printed none; "
                "the fault may be in one of the next cases, and -npp 0 tells which"
            )
            return named_by_case(preprocessed, image_files, remedy)
        preprocessed = PreprocessAdapter(
            image_files,
            previous_files,
            self.configuration_manager.preprocessor_class(verbose=self.verbose_preprocessing),
            outputs,
            self.plans_manager,
            self.dataset_json,
            self.configuration_manager,
        )
        cases = named_by_case(preprocessed, image_files)
        return one_ahead(cases) if self.overlaps else cases


def _checksum(weights: Mapping[str, Tensor]) -> int:
    total = 0
    for name in sorted(weights):
        total = crc32(weights[name].detach().cpu().contiguous().numpy().tobytes(), total)
    return total


def uncompiled(network: nn.Module) -> nn.Module:
    """Return a network as it was before torch.compile."""
    return network._orig_mod if isinstance(network, OptimizedModule) else network


def _cache_folder(choice: EngineChoice, model_folder: Path, model: TrainedModel) -> Path:
    """Return the folder for a model's graphs; in a cache of several models each has its own."""
    cache = choice.cache
    if cache is None:
        beside = model_folder / CACHE_FOLDER
        try:
            require_writable(beside)
        except CommandError:
            cache = _cache_of_user()
        else:
            return beside
    # Resolved, so that `-m .` has a name too, and one that is the same from everywhere.
    path = model_folder.resolve()
    digest = sha256(os.fsencode(path)).hexdigest()[:_DIGITS]
    return cache / model.plans_manager.dataset_name / f"{path.name}-{digest}"


def _cache_of_user() -> Path:
    cache = os.environ.get("XDG_CACHE_HOME")
    try:
        return Path(cache or Path.home() / ".cache") / "nnunet-attention"
    except RuntimeError as error:
        raise CommandError(
            "no network can be kept for an engine: the model's folder cannot be written, and the "
            "user has no home; name a folder with --cache"
        ) from error
