"""Predicts images as nnU-Net does, with other coefficients in place of the gates' own."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass, replace
from pathlib import Path
from tempfile import TemporaryDirectory
from types import SimpleNamespace
from typing import Any, cast

import numpy as np
import torch
from nnunetv2.inference.predict_from_raw_data import nnUNetPredictor
from torch import Tensor, nn

from nnunet_attention.engines import (
    TORCH,
    EngineNetwork,
    EngineRequest,
    Replaced,
    put_on_engine,
)
from nnunet_attention.maps.ablation.block_maps import Frame, block_means, block_sizes, cut
from nnunet_attention.maps.ablation.cams import gate_cams
from nnunet_attention.maps.ablation.decoding import logits_of_variants
from nnunet_attention.maps.predictor import AttentionPredictor
from nnunet_attention.maps.stitching import average_of_mirrored, on_grid_of_patch
from nnunet_attention.prediction.mirroring import mirrorings

# The most bytes that the logits of all replacements predicted together may take.
_MOST_LOGITS = 2**31


@dataclass(frozen=True)
class GateMap:
    """Holds one gate's map of an image.

    Attributes:
        blocks: means over blocks, three axes; see `block_maps`.
        sizes: voxels of the image in a block, by axis.
        mean: over the voxels of the image.
    """

    blocks: np.ndarray
    sizes: tuple[int, ...]
    mean: float


@dataclass(frozen=True)
class Substitute:
    """Holds the values that replace one gate's coefficients in one image.

    Attributes:
        blocks: a map of the image, or one number for all of it.
        multiplies: whether the gate's own coefficients are multiplied by it instead of replaced.
    """

    blocks: np.ndarray | float
    multiplies: bool = False


Variant = Mapping[int, Substitute]
"""Substitutes by gate number; an empty variant is the ordinary prediction."""


class AblationPredictor(AttentionPredictor):
    """Predicts preprocessed images with some gates' coefficients replaced.

    Patches, mirroring, folds and their joining are nnU-Net's own. The encoder runs once per patch
    for as many variants as fit in memory; the gates are in the decoder, which runs for each.

    `network` and `list_of_parameters` stay torch's even if an engine predicts: Grad-CAM needs
    gradients, and the sanity check draws weights anew.
    """

    replaces = True

    def __init__(self, *arguments, **named_arguments):
        super().__init__(*arguments, **named_arguments)
        self._asked: EngineRequest | None = None
        self._runner: nn.Module | None = None
        self._fold_states: list | None = None
        self._of_folds: list[list[GateMap]] = []
        self._bounds: list[tuple[float, float]] = []
        self._frame = Frame((), ())
        self._variants: Sequence[Sequence[Variant]] | None = None
        self._fold = 0
        self._cams = False

    def manual_initialization(self, network, *arguments, **named_arguments):
        """Take a network as AttentionPredictor does."""
        super().manual_initialization(network, *arguments, **named_arguments)
        self._runner = self._fold_states = None

    @property
    def gate_count(self) -> int:
        """Tell how many gates the network has."""
        return self._gate_count

    @property
    def fold_count(self) -> int:
        """Tell how many folds are averaged."""
        return len(self.list_of_parameters)

    @property
    def runs_on(self) -> str:
        """Tell what runs the network; known once it is ready."""
        return self._runner.engine if isinstance(self._runner, EngineNetwork) else TORCH

    def make_ready(self) -> None:
        """Let an engine, if one was requested, predict from now on, beside torch's own network.

        Raises:
            CommandError: see `put_on_engine`.
        """
        request, self._engine_request = self._engine_request, None
        if request is None:
            return
        self._asked = request
        self._runner, states = put_on_engine(self.network, self.list_of_parameters, request)
        self._fold_states = states if isinstance(self._runner, EngineNetwork) else None

    @contextmanager
    def with_weights(self, weights: list[dict[str, Tensor]], title: str) -> Iterator[None]:
        """Predict with other weights in a `with` block; files that an engine makes are not kept.

        Args:
            weights: the weights of each fold.
            title: what messages call the weights.
        """
        self.make_ready()
        before = (self.list_of_parameters, self._asked, self._runner, self._fold_states)
        self.list_of_parameters = weights
        with TemporaryDirectory(prefix="nnunet-attention-engine-") as folder:
            if isinstance(self._runner, EngineNetwork) and self._asked is not None:
                self._runner.rest()
                self._engine_request = replace(
                    self._asked,
                    folder=Path(folder),
                    tell=lambda line: self.tell(f"{title}: {line}"),
                )
            try:
                yield
            finally:
                # Before the folder is removed, which some systems refuse while a graph is in use.
                self._engine_request = None
                self.list_of_parameters, self._asked, self._runner, self._fold_states = before

    @contextmanager
    def _run_by_runner(self) -> Iterator[None]:
        """Run the prepared network and weights, in a `with` block, in place of torch's."""
        self.make_ready()
        network, weights = self.network, self.list_of_parameters
        self.network = network if self._runner is None else self._runner
        self.list_of_parameters = weights if self._fold_states is None else self._fold_states
        try:
            yield
        finally:
            self.network, self.list_of_parameters = network, weights

    def predict_ordinary(self, data: Tensor) -> tuple[Tensor, list[list[GateMap]]]:
        """Predict an image as it is.

        Shape:
            - data: (C, *S)
            - returns: nnU-Net's logits, (classes, *S), and for each fold the maps of its gates.
        """
        self._of_folds = []
        self._frame = self._frame_of(data)
        logits = self._predicted(data)
        return logits, self._of_folds

    def predict_cams(self, data: Tensor) -> list[list[GateMap]]:
        """Return, for each fold, a Grad-CAM at each gate's skip connection; see `gate_cams`."""
        self.make_ready()
        self._cams = True
        try:
            return self.predict_ordinary(data)[1]
        finally:
            self._cams = False

    def predict_variants(
        self, data: Tensor, variants: Sequence[Sequence[Variant]]
    ) -> Iterator[Tensor]:
        """Predict an image with each of several variants, and give their logits one by one.

        Args:
            data: (C, *S).
            variants: for each variant, what is replaced in each fold's network.
        """
        self._frame = self._frame_of(data)
        heads = self.label_manager.num_segmentation_heads
        together = max(1, int(_MOST_LOGITS // (2 * heads * data[0].numel())))
        for start in range(0, len(variants), together):
            chosen = variants[start : start + together]
            logits = self._predicted_together(data, chosen, heads)
            for number in range(len(chosen)):
                yield logits[number * heads : (number + 1) * heads]

    def _predicted_together(
        self, data: Tensor, variants: Sequence[Sequence[Variant]], heads: int
    ) -> Tensor:
        label_manager: Any = vars(self)["label_manager"]
        self._variants = variants
        # nnU-Net allocates as many logits as this says; it need not know that they are of several
        # variants.
        self.label_manager = SimpleNamespace(num_segmentation_heads=heads * len(variants))
        try:
            return self._predicted(data)
        finally:
            self.label_manager, self._variants = label_manager, None

    def _predicted(self, data: Tensor) -> Tensor:
        self._fold = 0
        self._sums = None
        # If it were moved in inference mode, its weights could not have gradients.
        self.network = self.network.to(self.device)
        with nullcontext() if self._cams else self._run_by_runner(), torch.inference_mode():
            return self.predict_logits_from_preprocessed_data(data).cpu()

    def _frame_of(self, data: Tensor) -> Frame:
        shape = tuple(data.shape[1:])
        inside = self._without_padding(shape)[1:]
        return Frame(shape, tuple(part.start or 0 for part in inside))

    def predict_sliding_window_return_logits(self, input_image: Tensor):
        """Predict with one fold's network; nnU-Net calls this once per fold."""
        self._bounds = [(np.inf, -np.inf)] * self._gate_count
        logits = super().predict_sliding_window_return_logits(input_image)
        if self._variants is None:
            self._of_folds.append(self._fold_maps())
        self._fold += 1
        return logits

    def _fold_maps(self) -> list[GateMap]:
        sums, self._sums = self._sums, None
        assert sums is not None, "the maps of every pass are added up"
        maps = []
        for number, (low, high) in enumerate(self._bounds):
            whole = (sums[number] / sums[-1])[self._without_padding(self._frame.shape)[1:]].numpy()
            # Averaging rounds, but equal coefficients must stay exactly what they are.
            whole = np.clip(whole, low, high)
            grid = self._grids[f"gate_{number}"]
            sizes = block_sizes(self.configuration_manager.patch_size, grid)
            mean = min(max(float(whole.mean(dtype=np.float64)), low), high)
            maps.append(GateMap(block_means(whole, sizes), sizes, mean))
        return maps

    def _internal_predict_sliding_window_return_logits(self, data, slicers, do_on_device=True):
        if self._variants is None:
            return super()._internal_predict_sliding_window_return_logits(
                data, slicers, do_on_device
            )
        self._tiles = iter(slicers)
        # Skips our own superclass, which would sum up maps.
        return nnUNetPredictor._internal_predict_sliding_window_return_logits(
            self, data, slicers, do_on_device
        )

    @torch.inference_mode()
    def _internal_maybe_mirror_and_predict(self, x: Tensor) -> Tensor:
        if self._variants is not None:
            return self._with_network(x, self._several(x))
        if self._cams:
            return self._zeros_and_cams(x)
        return super()._internal_maybe_mirror_and_predict(x)

    def _note_passes(self, passes: Sequence[Mapping[str, Tensor]]) -> None:
        for maps in passes:
            for number, (low, high) in enumerate(self._bounds):
                least, most = maps[f"gate_{number}"].float().aminmax()
                self._bounds[number] = (min(low, least.item()), max(high, most.item()))

    def _zeros_and_cams(self, x: Tensor) -> Tensor:
        passes: list[dict[str, Tensor]] = []
        heads = self.label_manager
        network = self.network

        def listened(patch: Tensor) -> Tensor:
            cams = gate_cams(network, patch, heads.has_regions)
            passes.append({f"gate_{number}": cam for number, cam in enumerate(cams)})
            return patch.new_zeros(len(patch), heads.num_segmentation_heads, *patch.shape[2:])

        prediction = self._with_network(x, listened)
        self._note_passes(passes)
        maps = average_of_mirrored(passes, self._axes)
        self._grids = {name: tuple(cam.shape[2:]) for name, cam in maps.items()}
        assert self._stitcher is not None, "nnU-Net asks for patches of a sliding window"
        # Maps of features, where there are any, stay empty.
        names = [f"gate_{number}" for number in range(self._gate_count)]
        on_patch = on_grid_of_patch([maps[name] for name in names], x.shape[2:])
        self._stitcher.add(next(self._tiles), on_patch.to(self._stitcher.sums.device))
        return prediction

    @property
    def _axes(self) -> Sequence[int]:
        return (self.allowed_mirroring_axes if self.use_mirroring else None) or ()

    def _with_network(self, x: Tensor, function: Callable[[Tensor], Tensor]) -> Tensor:
        """Mirror and average as nnU-Net does, but call a function instead of the network."""
        network = self.network
        # nnU-Net's mirroring only calls the network.
        self.network = cast(nn.Module, function)
        try:
            return nnUNetPredictor._internal_maybe_mirror_and_predict(self, x)
        finally:
            self.network = network

    def _several(self, x: Tensor) -> Callable[[Tensor], Tensor]:
        """Return a function that computes a patch's logits with all variants, one by one."""
        tile, flips = next(self._tiles), iter(mirrorings(self._axes))
        network = self.network
        assert self._variants is not None
        substitutes = [
            {
                number: self._in_patch(substitute, tile, number, x)
                for number, substitute in of_folds[self._fold].items()
            }
            for of_folds in self._variants
        ]

        def run(patch: Tensor) -> Tensor:
            flip = next(flips)
            flipped = [
                {number: _flipped(replaced, flip) for number, replaced in variant.items()}
                for variant in substitutes
            ]
            return torch.cat(list(logits_of_variants(network, patch, flipped)), 1)

        return run

    def _in_patch(self, substitute: Substitute, tile: tuple, number: int, x: Tensor) -> Replaced:
        blocks = substitute.blocks
        if not isinstance(blocks, np.ndarray):
            return Replaced(blocks, substitute.multiplies)
        grid = self._grid_of(number, x)
        seen = cut(blocks, block_sizes(x.shape[2:], grid), self._frame, tile, grid)
        values = torch.from_numpy(seen)[None, None].to(self.device)
        return Replaced(values, substitute.multiplies)

    def _grid_of(self, number: int, x: Tensor) -> tuple[int, ...]:
        if not self._grids:
            # With maps from an earlier run, nothing has been predicted yet.
            with self._recorded() as record:
                self.network(x)
            self._grids = {name: tuple(found.shape[2:]) for name, found in record.items()}
        return self._grids[f"gate_{number}"]


def _flipped(replaced: Replaced, flip: tuple[int, ...]) -> Replaced:
    values = replaced.values
    if isinstance(values, Tensor):
        return replaced._replace(values=torch.flip(values, flip))
    return replaced
