"""Writes one predicted case to disk as nnU-Net does, whole or not at all."""

import os
import shutil
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from nnunetv2.configuration import default_num_processes
from nnunetv2.inference.export_prediction import export_prediction_from_logits
from nnunetv2.utilities.plans_handling.plans_handler import ConfigurationManager, PlansManager

from nnunet_attention.engines import DeviceConfiguration, segmentation_in_image_space
from nnunet_attention.errors import CommandError, last_line


def is_predicted(output: Path, file_ending: str, save_probabilities: bool = False) -> bool:
    """Tell whether a case has its segmentation, and its probabilities if they are wanted."""
    endings = (file_ending, ".npz", ".pkl") if save_probabilities else (file_ending,)
    return all(Path(f"{output}{ending}").is_file() for ending in endings)


@dataclass(frozen=True, kw_only=True)
class SegmentationExport:
    """Exports one predicted case to disk, possibly in another process.

    Everything is written into a hidden folder beside the target, and then renamed, the segmentation
    last: once it exists, all files do.

    Attributes:
        output: path of the segmentation without ending.
        properties: the image's properties from nnU-Net's preprocessor.
        plans_manager: the model's plans.
        configuration_manager: the model's configuration; with a DeviceConfiguration logits become
            labels class by class where no probabilities are wanted.
        dataset_json: the description of the model's data set.
        save_probabilities: whether nnU-Net's .npz and .pkl are written too.
        of_labels: whether `run` is given labels in the image's space in place of logits.
    """

    output: Path
    properties: dict
    plans_manager: PlansManager
    configuration_manager: ConfigurationManager
    dataset_json: dict
    save_probabilities: bool = False
    of_labels: bool = False

    @property
    def case(self) -> str:
        return self.output.name

    @property
    def _unfinished(self) -> Path:
        return self.output.with_name(f".{self.case}.partial")

    @property
    def _ending(self) -> str:
        return self.dataset_json["file_ending"]

    def run(self, logits: np.ndarray) -> None:
        """Export the case.

        Args:
            logits: (classes, *S), on the network's grid; with `of_labels` (Z, Y, X).

        Raises:
            CommandError: if a file cannot be written; partial files are then removed.
        """
        try:
            # Remove the files of an interrupted run.
            shutil.rmtree(self._unfinished, ignore_errors=True)
            self._unfinished.mkdir(parents=True)
            self._write_segmentation(logits, self._unfinished)
            self._move_segmentation(self._unfinished)
        # ITK raises RuntimeError.
        except (OSError, RuntimeError, ValueError, MemoryError) as error:
            raise CommandError(
                f"{self.case}: cannot write its segmentation: {last_line(error)}"
            ) from error
        finally:
            shutil.rmtree(self._unfinished, ignore_errors=True)

    def _write_segmentation(self, logits: np.ndarray, folder: Path) -> Path:
        path = folder / f"{self.case}{self._ending}"
        configuration = self.configuration_manager
        on_device = isinstance(configuration, DeviceConfiguration) and not self.save_probabilities
        if self.of_labels or on_device:
            segmentation = logits if self.of_labels else self._labels_of(logits)
            writer = self.plans_manager.image_reader_writer_class()
            writer.write_seg(segmentation, str(path), self.properties)
            return path
        export_prediction_from_logits(
            logits,
            self.properties,
            configuration,
            self.plans_manager,
            self.dataset_json,
            str(folder / self.case),
            self.save_probabilities,
            num_threads_torch=default_num_processes,
        )
        return path

    def _labels_of(self, logits: np.ndarray) -> np.ndarray:
        configuration = self.configuration_manager
        assert isinstance(configuration, DeviceConfiguration), "nnU-Net's own exports on its own"
        labels = self.plans_manager.get_label_manager(self.dataset_json)
        return segmentation_in_image_space(
            logits, self.plans_manager, configuration, labels, self.properties
        )

    def _move_segmentation(self, folder: Path) -> None:
        files = sorted(folder.iterdir(), key=lambda path: path.name.endswith(self._ending))
        for path in files:
            os.replace(path, self.output.parent / path.name)
