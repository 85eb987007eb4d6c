"""Predicts as nnU-Net does, and stitches the attention maps in the same pass."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple
from zlib import crc32

import numpy as np
import torch
from acvl_utils.cropping_and_padding.padding import pad_nd_image
from nnunetv2.configuration import default_num_processes
from nnunetv2.inference.data_iterators import PreprocessAdapter, PreprocessAdapterFromNpy
from nnunetv2.inference.export_prediction import (
    convert_predicted_logits_to_segmentation_with_correct_shape,
)
from nnunetv2.inference.predict_from_raw_data import nnUNetPredictor
from nnunetv2.inference.sliding_window_prediction import compute_gaussian
from nnunetv2.utilities.helpers import empty_cache
from torch import Tensor
from torch._dynamo import OptimizedModule

from nnunet_attention.errors import CommandError
from nnunet_attention.maps.export import CaseExport, MapOptions, ModelDescription, is_complete
from nnunet_attention.maps.exporters import Exporters
from nnunet_attention.maps.image_space import to_image_space
from nnunet_attention.maps.inputs import CaseFiles, check_cases
from nnunet_attention.maps.preprocessed import named_by_case
from nnunet_attention.maps.recorder import attention_gates, map_names, record_attention
from nnunet_attention.maps.stitching import MapStitcher, average_of_mirrored, on_grid_of_patch
from nnunet_attention.maps.trained_model import Folds, load_trained_model
from nnunet_attention.nnunet.checkpoints import FINAL


class AttentionPrediction(NamedTuple):
    """A segmentation, (Z, Y, X), and maps by name, each (Z, Y, X), in the image's space.

    The names are `gate_0` (the coarsest) and so on, and `mean` for the mean of the gates.
    """

    segmentation: np.ndarray
    maps: dict[str, np.ndarray]


class AttentionPredictor(nnUNetPredictor):
    """Predicts as nnUNetPredictor does, and writes each case's attention maps beside it.

    Every patch's coefficients, those of mirrored passes flipped back, are brought linearly onto the
    patch's grid and joined with the weights of nnU-Net's logits; folds are averaged. The
    segmentation is computed by nnU-Net's own code from the same passes.

    `predict_from_files` writes `OUT/CASE.nii.gz` and `OUT/maps/CASE/`; the case's maps appear there
    complete, before its segmentation does.

    Args:
        *arguments: the arguments of nnUNetPredictor.
        options: what is written besides the maps.
        on_progress: a function that is told how many cases of files are done, and of how many.
        **named_arguments: the named arguments of nnUNetPredictor.

    Examples:
        >>> predictor = AttentionPredictor(device=torch.device("cpu"))
        >>> predictor.initialize_from_trained_model_folder(model_folder, use_folds=(0,))
        >>> predictor.predict_from_files(images_folder, output_folder)
        >>> segmentation, maps = predictor.predict_image(image, {"spacing": (3.0, 2.0, 1.0)})
        >>> maps["gate_0"].shape == segmentation.shape
        True

    References:
        Oktay et al., Attention U-Net, MIDL 2018, figures 3 and 4, https://arxiv.org/abs/1804.03999
    """

    def __init__(
        self,
        *arguments,
        options: MapOptions = MapOptions(),  # noqa: B008 it is immutable
        on_progress: Callable[[int, int], None] = lambda done, total: None,
        **named_arguments,
    ):
        super().__init__(*arguments, **named_arguments)
        self.options = options
        self.on_progress = on_progress
        self.map_names: list[str] = []
        self._gate_count = 0
        self._model = ModelDescription()
        self._image_files: dict[str, Sequence[str]] = {}
        self._sums: Tensor | None = None
        self._stitcher: MapStitcher | None = None
        self._tiles: Iterator[tuple] = iter(())
        self._grids: dict[str, tuple[int, ...]] = {}

    def initialize_from_trained_model_folder(
        self,
        model_training_output_dir: str | Path,
        use_folds: Folds,
        checkpoint_name: str = FINAL,
    ):
        """Load the model as nnU-Net does, but execute nothing that the checkpoints hold.

        Args:
            model_training_output_dir: the folder `TRAINER__PLANS__CONFIGURATION`.
            use_folds: the folds to average; None for all that have the checkpoint.
            checkpoint_name: the checkpoint's name in each fold's folder.

        Raises:
            CommandError: if folder, fold or checkpoint is missing or damaged.
            NoAttentionGatesError: if the network has no gates.
        """
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
        self._model = ModelDescription(
            str(folder.absolute()), checkpoint_name, model.folds, model.configuration_name
        )

    def manual_initialization(self, network, *arguments, **named_arguments):
        """Take a network as nnU-Net does; it is not compiled, so that it can be listened to.

        Raises:
            NoAttentionGatesError: if the network has no gates.
        """
        if isinstance(network, OptimizedModule):
            network = network._orig_mod
        self._gate_count = len(attention_gates(network))
        self.map_names = [*map_names(self._gate_count, self.options.features), "mean"]
        super().manual_initialization(network, *arguments, **named_arguments)
        # nnUNet_compile has it compiled.
        if isinstance(self.network, OptimizedModule):
            self.network = self.network._orig_mod

    def predict_image(
        self, image: np.ndarray, properties: dict, previous: np.ndarray | None = None
    ) -> AttentionPrediction:
        """Predict one image in memory.

        Args:
            image: (C, Z, Y, X), not preprocessed, as nnU-Net's reader returns it.
            properties: a dictionary with `spacing`, in mm, of z, y, x.
            previous: the previous stage's segmentation, (1, Z, Y, X), for a cascade.
        """
        case = next(
            PreprocessAdapterFromNpy(
                [image],
                [previous],
                [properties],
                [None],
                self.plans_manager,
                self.dataset_json,
                self.configuration_manager,
                num_threads_in_multithreaded=1,
                verbose=self.verbose_preprocessing,
            )
        )
        logits, maps = self.predict_logits_and_maps(case["data"])
        return self._in_image_space(logits, maps, case["data_properties"])

    @torch.inference_mode()
    def predict_logits_and_maps(self, data: Tensor) -> tuple[Tensor, np.ndarray]:
        """Predict a preprocessed image on the network's grid.

        Shape:
            - data: (C, *S)
            - returns: nnU-Net's logits, (classes, *S), and the maps, float32, (N, *S), in the order
              of `map_names`.
        """
        self._sums = None
        self._grids = {}
        logits = self.predict_logits_from_preprocessed_data(data).cpu()
        sums, self._sums = self._sums, None
        assert sums is not None, "the maps of every pass are added up"
        maps = MapStitcher.average(sums, self._gate_count)
        return logits, maps[self._without_padding(data.shape[1:])].numpy()

    def predict_from_files_sequential(
        self,
        list_of_lists_or_source_folder,
        output_folder_or_list_of_truncated_output_files,
        save_probabilities: bool = False,
        overwrite: bool = True,
        folder_with_segs_from_prev_stage: str | None = None,
    ):
        """Predict as nnU-Net does, everything in this process."""
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

        The maps of a case go to disk as soon as it is predicted, and from there, one at a time,
        into the image's space, in processes of their own.

        Returns:
            For a case without `ofile` an AttentionPrediction, for the others None.

        Raises:
            CommandError: if an image holds NaN; or if a case cannot be exported, when the others
                under way are finished first.
        """
        results: list = []
        with Exporters(num_processes_segmentation_export) as exporters:
            for case in data_iterator:
                properties = case["data_properties"]
                if not torch.isfinite(case["data"]).all():
                    name = "" if case["ofile"] is None else f"case {Path(case['ofile']).name}: "
                    raise CommandError(
                        f"{name}the image holds NaN or infinity, which a network only passes on; "
                        "replace them"
                    )
                logits, maps = self.predict_logits_and_maps(case["data"])
                if case["ofile"] is None:
                    results.append(self._in_image_space(logits, maps, properties))
                    continue
                export = CaseExport(
                    output=Path(case["ofile"]),
                    image_files=tuple(self._image_files.get(case["ofile"], ())),
                    map_names=tuple(self.map_names),
                    grids=dict(self._grids),
                    properties=properties,
                    plans_manager=self.plans_manager,
                    configuration_manager=self.configuration_manager,
                    dataset_json=self.dataset_json,
                    model=self._model,
                    settings=self.settings(),
                    options=self.options,
                    save_probabilities=save_probabilities,
                )
                export.put_aside(maps)
                # Held until the next case is done, they would raise the peak memory.
                del maps
                exporters.submit(export, logits.numpy())
                del logits
                results.append(None)
                self.on_progress(len(results), max(len(results), len(self._image_files)))
        compute_gaussian.cache_clear()
        empty_cache(self.device)
        return results

    def predict_sliding_window_return_logits(self, input_image: Tensor):
        """Predict as nnU-Net does; the maps add up in passing."""
        try:
            return super().predict_sliding_window_return_logits(input_image)
        finally:
            self._stitcher = None

    @torch.inference_mode()
    def _internal_predict_sliding_window_return_logits(self, data, slicers, do_on_device=True):
        device = self.device if do_on_device else torch.device("cpu")
        self._stitcher = MapStitcher(
            data.shape[1:],
            self.configuration_manager.patch_size,
            len(self.map_names) - 1,
            device,
            self.use_gaussian,
            # On the CPU the folds add up in place: no second set of maps is held.
            sums=self._sums if device.type == "cpu" else None,
        )
        self._tiles = iter(slicers)
        logits = super()._internal_predict_sliding_window_return_logits(data, slicers, do_on_device)
        # Reached only by a pass without error: nnU-Net repeats on the CPU one that runs out of
        # memory on the GPU.
        sums = self._stitcher.sums
        if device.type == "cpu" or self._sums is None:
            self._sums = sums.cpu()
        else:
            self._sums += sums.cpu()
        return logits

    @torch.inference_mode()
    def _internal_maybe_mirror_and_predict(self, x: Tensor) -> Tensor:
        if self._stitcher is None:
            return super()._internal_maybe_mirror_and_predict(x)
        with record_attention(self.network, self.options.features) as record:
            prediction = super()._internal_maybe_mirror_and_predict(x)
        axes = self.allowed_mirroring_axes if self.use_mirroring else None
        maps = average_of_mirrored(record.passes, axes or ())
        self._grids = {name: tuple(on_own_grid.shape[2:]) for name, on_own_grid in maps.items()}
        names = self.map_names[:-1]
        on_patch = on_grid_of_patch([maps[name] for name in names], x.shape[2:])
        self._stitcher.add(next(self._tiles), on_patch.to(self._stitcher.sums.device))
        return prediction

    def _without_padding(self, shape: Sequence[int]) -> tuple[slice, ...]:
        """Slice, in all maps, what nnU-Net's padding of a small image to a patch's size left."""
        _, inside = pad_nd_image(
            torch.empty(1).expand(1, *shape),
            self.configuration_manager.patch_size,
            return_slicer=True,
        )
        return (slice(None), *inside[1:])

    def _in_image_space(
        self, logits: Tensor, maps: np.ndarray, properties: dict
    ) -> AttentionPrediction:
        managers = (self.plans_manager, self.configuration_manager)
        segmentation = convert_predicted_logits_to_segmentation_with_correct_shape(
            logits, *managers, self.label_manager, properties
        )
        return AttentionPrediction(
            segmentation,
            {
                name: to_image_space(attention_map, *managers, properties)
                for name, attention_map in zip(self.map_names, maps, strict=True)
            },
        )

    def settings(self) -> dict:
        """Return how it predicts, as plain objects."""
        axes = self.allowed_mirroring_axes if self.use_mirroring else None
        return {
            "trainer": self.trainer_name,
            "network": type(self.network).__name__,
            "step_size": self.tile_step_size,
            "gaussian": self.use_gaussian,
            "mirroring_axes": list(axes or ()),
            "device": self.device.type,
        }

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
        # nnU-Net would take a case for done that has its segmentation and no maps.
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
            if not is_complete(Path(output), ending, save_probabilities)
        ]
        print(f"{len(missing)} of {len(lists[1])} cases have not been predicted yet")
        return tuple([entries[number] for number in missing] for entries in lists)

    def _check_files(
        self,
        image_files: Sequence[Sequence[str]],
        outputs: Sequence[str] | None,
        previous_files: Sequence[str | None],
    ) -> None:
        folder, ending = self.options.reference_folder, self.dataset_json["file_ending"]
        cases = []
        for number, images in enumerate(image_files):
            case = Path(images[0] if outputs is None else outputs[number]).name
            previous = previous_files[number]
            labels = [] if previous is None else [Path(previous)]
            if folder is not None and outputs is not None:
                labels.append(folder / f"{case}{ending}")
            cases.append(CaseFiles(case, tuple(map(Path, images)), tuple(labels)))
        check_cases(cases, self.image_channels, self.reader)

    def check_previous_stage(self, folder: Path | None) -> None:
        """Check that a cascade's second stage has its first one's segmentations, and only it.

        Raises:
            CommandError: if it has not, or if another model is given some.
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
        """Tell the weights of each fold from others by a number."""
        return [_checksum(weights) for weights in self.list_of_parameters]

    @property
    def description(self) -> dict:
        """Tell where the model came from and how it predicts, as plain objects."""
        return {
            "folder": self._model.folder,
            "dataset": self.plans_manager.plans.get("dataset_name"),
            "plans": self.plans_manager.plans.get("plans_name"),
            "configuration": self._model.configuration,
            "checkpoint": self._model.checkpoint,
            "folds": list(self._model.folds),
            "prediction": self.settings(),
        }

    @property
    def image_channels(self) -> int:
        """Tell how many channels an image has."""
        return len(self.dataset_json.get("channel_names") or self.dataset_json["modality"])

    @property
    def reader(self) -> str:
        """Tell the name of nnU-Net's reader of images."""
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
                "nnU-Net's process printed the reason, or was ended by the system if it printed "
                "none; it may be about one of the next cases, which -npp 0 tells"
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
        return named_by_case(preprocessed, image_files)


def _checksum(weights: Mapping[str, Tensor]) -> int:
    total = 0
    for name in sorted(weights):
        total = crc32(weights[name].detach().cpu().contiguous().numpy().tobytes(), total)
    return total
