"""Predicts a folder of images with their attention maps, after checking everything given."""

from dataclasses import dataclass, field
from pathlib import Path

from nnunet_attention.errors import CommandError
from nnunet_attention.evaluation.ablation.proof import Proof
from nnunet_attention.maps.export import MapOptions
from nnunet_attention.maps.predictor import AttentionPredictor
from nnunet_attention.prediction import folder_prediction
from nnunet_attention.prediction.predictor import CasePredictor


@dataclass(frozen=True, kw_only=True)
class FolderPrediction(folder_prediction.FolderPrediction):
    """Describes what is predicted, with which model, and how.

    Maps go to `maps/CASE` in the output folder.

    Attributes:
        options: what is written besides the maps.
    """

    options: MapOptions = field(default_factory=MapOptions)

    def label_folders(self) -> dict[str, Path | None]:
        """Return by flag the folders that must hold a label image of every case."""
        return {**super().label_folders(), "-gt": self.options.reference_folder}

    def check_options(self, predictor: CasePredictor) -> None:
        """Refuse, with a CommandError, options that would change nothing or fit another model."""
        options = self.options
        if options.proof is not None:
            _check_proof(options.proof, predictor.checksums)
        if options.picture:
            return
        if options.full_range:
            raise CommandError("--full_range would be ignored with --no_pictures; leave one out")
        if options.reference_folder is not None and not options.page:
            raise CommandError(
                "-gt would be ignored with --no_pictures; leave one out, or add --html"
            )


def predict_folder(prediction: FolderPrediction) -> None:
    """Predict all images of a folder, and write their segmentations and maps.

    Raises:
        CommandError: if anything is missing or does not fit, mostly before the first case.
    """
    folder_prediction.predict_folder(prediction, AttentionPredictor, options=prediction.options)


def _check_proof(proof: Proof, weights: list[int]) -> None:
    """Refuse the results of an ablation of another model, or of other folds."""
    if list(proof.weights) != weights:
        raise CommandError(
            f"--proof {proof.path}: it is about different weights ({len(proof.weights)} fold(s), "
            f"here {len(weights)}); give the ablation.json of this model and these folds (-f)"
        )
