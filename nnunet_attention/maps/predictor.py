"""Predicts as nnU-Net does, and stitches the attention maps in the same pass."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from acvl_utils.cropping_and_padding.padding import pad_nd_image
from nnunetv2.inference.data_iterators import PreprocessAdapterFromNpy
from nnunetv2.inference.export_prediction import (
    convert_predicted_logits_to_segmentation_with_correct_shape,
)
from torch import Tensor

from nnunet_attention.engines import EngineNetwork
from nnunet_attention.maps.export import CaseExport, MapOptions, ModelDescription, is_complete
from nnunet_attention.maps.image_space import to_image_space
from nnunet_attention.maps.stitching import MapStitcher, average_of_mirrored, on_grid_of_patch
from nnunet_attention.nnunet.checkpoints import FINAL
from nnunet_attention.prediction.exporters import Exporters
from nnunet_attention.prediction.predictor import CasePredictor, uncompiled
from nnunet_attention.prediction.trained_model import Folds
from nnunet_attention.recorder import (
    AttentionRecord,
    attention_gates,
    map_names,
    record_attention,
)


class AttentionPrediction(NamedTuple):
    """A segmentation, (Z, Y, X), and maps by name, each (Z, Y, X), in the image's space.

    The names are `gate_0` (the coarsest) and so on, and `mean` for the mean of the gates.
    """

    segmentation: np.ndarray
    maps: dict[str, np.ndarray]


class AttentionPredictor(CasePredictor):
    """Predicts as CasePredictor does, and writes each case's attention maps beside it.

    Every patch's coefficients (those of mirrored passes are flipped back) are interpolated linearly
    to the patch's grid and averaged over patches with the weights of nnU-Net's logits; folds are
    averaged too. nnU-Net's own code computes the segmentation from the same passes.

    `predict_from_files` writes `OUT/CASE.nii.gz` and `OUT/maps/CASE/`; the case's maps appear there
    complete, before its segmentation does.

    Args:
        *arguments: the arguments of CasePredictor.
        options: what is written besides the maps.
        **named_arguments: the named arguments of CasePredictor.

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

    # The code that draws pictures is made for one thread.
    overlaps = False

    def __init__(
        self,
        *arguments,
        options: MapOptions = MapOptions(),  # noqa: B008 it is immutable
        **named_arguments,
    ):
        super().__init__(*arguments, **named_arguments)
        self.options = options
        self.map_names: list[str] = []
        self._gate_count = 0
        self._network_name = ""
        self._model = ModelDescription()
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
        """Load the model as nnU-Net does, but execute no code that the checkpoints hold.

        Args:
            model_training_output_dir: the folder `TRAINER__PLANS__CONFIGURATION`.
            use_folds: the folds to average; None for all that have the checkpoint.
            checkpoint_name: the checkpoint's name in each fold's folder.

        Raises:
            CommandError: if folder, fold or checkpoint is missing or damaged.
            NoAttentionGatesError: if the network has no gates.
        """
        model = super().initialize_from_trained_model_folder(
            model_training_output_dir, use_folds, checkpoint_name
        )
        self._model = ModelDescription(
            str(Path(model_training_output_dir).absolute()),
            checkpoint_name,
            model.folds,
            model.configuration_name,
        )
        return model

    def manual_initialization(self, network, *arguments, **named_arguments):
        """Take a network as nnU-Net does, but uncompiled, so that hooks can record its gates.

        Raises:
            NoAttentionGatesError: if the network has no gates.
        """
        network = uncompiled(network)
        self._gate_count = len(attention_gates(network))
        self._network_name = type(network).__name__
        self.map_names = [*map_names(self._gate_count, self.options.features), "mean"]
        super().manual_initialization(network, *arguments, **named_arguments)
        # nnU-Net compiles it if nnUNet_compile is set.
        self.network = uncompiled(self.network)

    @property
    def _maps_of_gates(self) -> tuple[bool, bool]:
        """Whether coefficients, and the features before and after the gates, are wanted."""
        return True, self.options.features

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

    def _predict_case(self, case: dict, save_probabilities: bool, exporters: Exporters) -> Any:
        """Predict a case; its maps go to disk at once, and from there into the image's space."""
        properties = case["data_properties"]
        logits, maps = self.predict_logits_and_maps(case["data"])
        if case["ofile"] is None:
            return self._in_image_space(logits, maps, properties)
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
        # If kept while the logits wait for room, the maps would raise the peak memory.
        del maps
        exporters.submit(export, logits.numpy())
        return None

    def predict_sliding_window_return_logits(self, input_image: Tensor):
        """Predict as nnU-Net does, and sum up the maps in the same passes."""
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
            # On the CPU the folds are summed in place, so that no second set of maps is held.
            sums=self._sums if device.type == "cpu" else None,
        )
        self._tiles = iter(slicers)
        logits = super()._internal_predict_sliding_window_return_logits(data, slicers, do_on_device)
        # Reached only after a pass without error: nnU-Net repeats on the CPU any pass that runs
        # out of memory on the GPU.
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
        with self._recorded() as record:
            prediction = super()._internal_maybe_mirror_and_predict(x)
        self._note_passes(record.passes)
        axes = self.allowed_mirroring_axes if self.use_mirroring else None
        maps = average_of_mirrored(record.passes, axes or ())
        self._grids = {name: tuple(on_own_grid.shape[2:]) for name, on_own_grid in maps.items()}
        names = self.map_names[:-1]
        on_patch = on_grid_of_patch([maps[name] for name in names], x.shape[2:])
        self._stitcher.add(next(self._tiles), on_patch.to(self._stitcher.sums.device))
        return prediction

    def _note_passes(self, passes: Sequence[Mapping[str, Tensor]]) -> None:
        """Receive the gates' outputs in a patch's passes, each mirrored as its image was."""

    def _recorded(self) -> AbstractContextManager[AttentionRecord]:
        if isinstance(self.network, EngineNetwork):
            return self.network.recorded()
        return record_attention(self.network, self.options.features)

    def _without_padding(self, shape: Sequence[int]) -> tuple[slice, ...]:
        """Return the slices that cut nnU-Net's padding to the patch size off all maps."""
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
        """Return the settings of the prediction, as plain objects."""
        axes = self.allowed_mirroring_axes if self.use_mirroring else None
        return {
            "trainer": self.trainer_name,
            "network": self._network_name,
            "step_size": self.tile_step_size,
            "gaussian": self.use_gaussian,
            "mirroring_axes": list(axes or ()),
            "device": self.device.type,
            "engine": self.runs_on,
            "precision": self.engine.precision,
        }

    @property
    def description(self) -> dict:
        """Describe where the model came from and how it predicts, as plain objects."""
        return {
            "folder": self._model.folder,
            "dataset": self.plans_manager.plans.get("dataset_name"),
            "plans": self.plans_manager.plans.get("plans_name"),
            "configuration": self._model.configuration,
            "checkpoint": self._model.checkpoint,
            "folds": list(self._model.folds),
            "prediction": self.settings(),
        }

    def _is_complete(self, output: Path, ending: str, save_probabilities: bool) -> bool:
        return is_complete(output, ending, save_probabilities)

    @property
    def _shown_labels(self) -> Path | None:
        """The folder of label images to show too."""
        return self.options.reference_folder
