"""Writes one predicted case to disk: segmentation, maps, statistics, picture and page."""

import os
import shutil
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from nnunet_attention.errors import CommandError
from nnunet_attention.evaluation.ablation.proof import Proof
from nnunet_attention.files import write_json
from nnunet_attention.maps.case_view import CaseView
from nnunet_attention.maps.image_space import (
    PNG_SCALE,
    can_be_written,
    map_ending,
    seen_by_network,
    to_image_space,
    write_map,
)
from nnunet_attention.maps.orientation import axis_codes, in_lps, spacing_in_lps
from nnunet_attention.maps.reading import how_to_read
from nnunet_attention.maps.statistics import gate_statistics
from nnunet_attention.prediction.segmentation_export import SegmentationExport, is_predicted
from nnunet_attention.versions import versions_of

SIDECAR = "maps.json"
_RAW = "raw.npy"


@dataclass(frozen=True)
class MapOptions:
    """Selects what is written for a case besides the maps.

    Attributes:
        features: whether the skip's activation before and after each gate is written too.
        picture: whether a PNG is drawn.
        page: whether an HTML page to scroll through is written.
        full_range: whether the picture's colour scales go from 0 to 1.
        reference_folder: folder of label images to show beside the segmentations, whose file names
            they share.
        proof: what an ablation of the model found out about its gates.
    """

    features: bool = False
    picture: bool = True
    page: bool = False
    full_range: bool = False
    reference_folder: Path | None = None
    proof: Proof | None = None


@dataclass(frozen=True)
class ModelDescription:
    """Describes where a model came from; empty for a network passed in memory."""

    folder: str | None = None
    checkpoint: str | None = None
    folds: tuple[str, ...] = ()
    configuration: str | None = None


def maps_folder(output: Path) -> Path:
    """Return the folder for the maps of a case; `output` is its segmentation without ending."""
    return output.parent / "maps" / output.name


def is_complete(output: Path, file_ending: str, save_probabilities: bool = False) -> bool:
    """Tell whether a case has its segmentation and its maps, which are never left half written."""
    sidecar = maps_folder(output) / SIDECAR
    return sidecar.is_file() and is_predicted(output, file_ending, save_probabilities)


@dataclass(frozen=True, kw_only=True)
class CaseExport(SegmentationExport):
    """Writes one case to disk; it may be sent to another process, without its maps.

    At the end the maps' folder is moved into place, and then the segmentation.

    Attributes:
        image_files: the case's files, one per channel; empty if there are none to show.
        map_names: the names of the maps put aside, the gates' first, `mean` last.
        grids: size of each map's own grid in a patch, by name.
        model: where the model came from, for the sidecar.
        settings: how the case was predicted, for the sidecar.
        options: what is written besides the maps.
    """

    image_files: tuple[str, ...]
    map_names: tuple[str, ...]
    grids: dict[str, tuple[int, ...]]
    model: ModelDescription = field(default_factory=ModelDescription)
    settings: dict = field(default_factory=dict)
    options: MapOptions = field(default_factory=MapOptions)

    @property
    def _unfinished(self) -> Path:
        return maps_folder(self.output).with_name(f".{self.case}.partial")

    @property
    def _gates(self) -> list[str]:
        return [name for name in self.map_names if name.startswith("gate_")]

    def put_aside(self, maps: np.ndarray) -> None:
        """Write the stitched maps, (N, *S) on the network's grid, for `run` to find.

        Raises:
            CommandError: if they cannot be written, or the image's reader is not known.
        """
        if not can_be_written(self.properties, self._ending):
            raise CommandError(
                f"{self.case}: maps cannot be written with the geometry as its reader "
                f"{self.plans_manager.plans['image_reader_writer']} keeps it; use one of nnU-Net's "
                "own readers"
            )
        try:
            # Left behind by an interrupted run.
            shutil.rmtree(self._unfinished, ignore_errors=True)
            self._unfinished.mkdir(parents=True)
            np.save(self._unfinished / _RAW, maps)
        except OSError as error:
            raise CommandError(f"{self.case}: cannot write {self._unfinished}: {error}") from error

    def run(self, logits: np.ndarray) -> None:
        """Export the case.

        Raises:
            CommandError: if a file cannot be read or written; then nothing of the case is left.
        """
        try:
            self._run(logits)
        except (OSError, RuntimeError, ValueError) as error:  # ITK raises RuntimeError
            raise CommandError(f"{self.case}: cannot write its maps: {error}") from error
        finally:
            shutil.rmtree(self._unfinished, ignore_errors=True)

    def _run(self, logits: np.ndarray) -> None:
        segmentation_folder = self._unfinished / "segmentation"
        segmentation_folder.mkdir()
        segmentation_path = self._write_segmentation(logits, segmentation_folder)
        del logits
        prediction = self._read_labels(segmentation_path)
        folder = self._unfinished / "maps"
        folder.mkdir()
        maps = self._write_maps(folder)
        self._write_sidecar(folder, maps, prediction)
        if self.options.picture or self.options.page:
            self._draw(folder, maps, prediction)
        # Closed before the folder is moved: Windows moves no folder that holds an open file.
        del maps
        self._move_into_place(folder, segmentation_folder)

    def _write_maps(self, folder: Path) -> dict[str, np.ndarray]:
        """Write the maps one at a time, and return memory maps of them."""
        raw = np.load(self._unfinished / _RAW, mmap_mode="r")
        maps = {}
        for number, name in enumerate(self.map_names):
            attention_map = to_image_space(
                np.array(raw[number]),
                self.plans_manager,
                self.configuration_manager,
                self.properties,
            )
            write_map(attention_map, folder / self._file_of(name), self.properties)
            aside = self._unfinished / f"{name}.npy"
            np.save(aside, attention_map)
            maps[name] = np.load(aside, mmap_mode="r")
        return maps

    def _file_of(self, name: str) -> str:
        return name + map_ending(self._ending, features=not _is_coefficients(name))

    def _write_sidecar(self, folder: Path, maps: dict, prediction: np.ndarray) -> None:
        import torch

        seen = seen_by_network(self.plans_manager, self.properties)
        entries = {}
        for name, attention_map in maps.items():
            entry: dict[str, Any] = {"file": self._file_of(name)}
            if name in self.grids:
                patch_size = self.configuration_manager.patch_size
                entry["downsampling"] = [
                    size / grid for size, grid in zip(patch_size, self.grids[name], strict=True)
                ]
                entry["module"] = f"decoder.gates.{name.rpartition('_')[2]}"
            if verdicts := self._verdicts.get(name):
                entry["verdicts"] = list(verdicts)
            if _is_coefficients(name):
                entry.update(gate_statistics(attention_map, prediction, self._labels, seen))
                if entry["file"].endswith(".png"):
                    entry["stored_as"] = f"coefficient times {PNG_SCALE}"
            entries[name] = entry
        sidecar: dict[str, Any] = {
            "case": self.case,
            "images": [str(Path(path).absolute()) for path in self.image_files],
            "model": {
                "folder": self.model.folder,
                "dataset": self.plans_manager.plans.get("dataset_name"),
                "plans": self.plans_manager.plans.get("plans_name"),
                "configuration": self.model.configuration,
                "checkpoint": self.model.checkpoint,
                "folds": list(self.model.folds),
                "gate_start": self._gate_start,
            },
            "prediction": self.settings,
            "maps": entries,
            "outside_of_nnunets_cropping": {"value": 0, "share": float(1 - seen.mean())},
            # torch itself says which GPUs it was built for; its distribution does not.
            "versions": {**versions_of("nnunetv2", "numpy"), "torch": torch.__version__},
        }
        if self.options.proof is not None:
            sidecar["proof"] = str(self.options.proof.path.absolute())
        write_json(folder / SIDECAR, sidecar, indent=4, allow_nan=True)

    @property
    def _labels(self) -> dict[str, int | list[int]]:
        """Values in the segmentation by name, without the background and the ignore label."""
        return {
            name: value
            for name, value in self.dataset_json["labels"].items()
            if name != "ignore" and value not in (0, [0])
        }

    @property
    def _verdicts(self) -> dict[str, tuple[str, ...]]:
        """Sentences by map name."""
        return {} if self.options.proof is None else self.options.proof.sentences

    @property
    def _gate_start(self) -> str | None:
        """How the gates started, if the plans say so."""
        return self.configuration_manager.network_arch_init_kwargs.get("gate_start")

    def _draw(self, folder: Path, maps: dict, prediction: np.ndarray) -> None:
        codes = axis_codes(self.properties)
        reference = self._read_reference()
        z_mm, y_mm, x_mm = map(float, self.properties["spacing"])
        view = CaseView(
            name=self.case,
            image=in_lps(self._read_image(), codes),
            spacing_mm=spacing_in_lps((z_mm, y_mm, x_mm), codes),
            labels=self._labels,
            prediction=in_lps(prediction, codes),
            maps={
                name: in_lps(attention_map, codes)
                for name, attention_map in maps.items()
                # The mean of a single gate is that gate.
                if _is_coefficients(name) and (name != "mean" or len(self._gates) > 1)
            },
            reference=None if reference is None else in_lps(reference, codes),
            reading=how_to_read(self.configuration_manager.network_arch_init_kwargs),
            verdicts=self._verdicts,
        )
        if self.options.picture:
            from nnunet_attention.maps.figure import write_case_figure

            write_case_figure(view, folder / f"{self.case}.png", self.options.full_range)
        if self.options.page:
            from nnunet_attention.maps.page import write_case_page

            write_case_page(view, folder / f"{self.case}.html")

    def _read_image(self) -> np.ndarray:
        """Read the first channel, or the colours."""
        image, _ = self.plans_manager.image_reader_writer_class().read_images(self.image_files)
        is_colour = len(self.image_files) == 1 and image.shape[0] in (3, 4) and image.shape[1] == 1
        return np.moveaxis(image[:3], 0, -1) if is_colour else image[0]

    def _read_reference(self) -> np.ndarray | None:
        folder = self.options.reference_folder
        if folder is None:
            return None
        path = folder / f"{self.case}{self._ending}"
        if not path.is_file():
            raise CommandError(f"-gt: there is no {path}; every case needs a label image")
        return self._read_labels(path)

    def _read_labels(self, path: Path) -> np.ndarray:
        labels, _ = self.plans_manager.image_reader_writer_class().read_seg(str(path))
        # nnU-Net's readers return labels as floats.
        return labels[0].astype(np.int16)

    def _move_into_place(self, folder: Path, segmentation_folder: Path) -> None:
        target = maps_folder(self.output)
        if target.exists():
            os.rename(target, self._unfinished / "replaced")
        os.rename(folder, target)
        self._move_segmentation(segmentation_folder)


def _is_coefficients(name: str) -> bool:
    return name == "mean" or name.startswith("gate_")
