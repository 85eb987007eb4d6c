"""Model folders of small networks, with preprocessing of every kind."""

import json
from pathlib import Path

import numpy as np
import torch
from nnunetv2.inference.predict_from_raw_data import nnUNetPredictor
from nnunetv2.training.nnUNetTrainer.nnUNetTrainer import nnUNetTrainer
from nnunetv2.utilities.plans_handling.plans_handler import PlansManager
from plain_checkpoints import plans_of
from smallest_plans import smallest_plans

from nnunet_attention.prediction.trained_model import TrainedModel
from nnunet_attention.weights import save_checkpoint

INTENSITIES = {"mean": 1.2, "std": 0.8, "percentile_00_5": -0.5, "percentile_99_5": 3.0}
LABELS = {"background": 0, "organ": 1, "tumour": 2}
REGIONS = {"background": 0, "whole": [1, 2, 3], "core": [2, 3], "enhancing": 3}


def plans_with(
    variant: str = "plain 3d anisotropic",
    schemes=("ZScoreNormalization", "CTNormalization"),
    masks=(False, False),
    transpose=(0, 1, 2),
    spacing=(3.0, 2.0, 1.0),
    order: int = 3,
    reader: str = "SimpleITKIO",
    patch=None,
) -> dict:
    """Plans of a small network that normalise and resample as is said."""
    plans = plans_of(smallest_plans(), variant)
    configuration = plans["configurations"]["3d_fullres"]
    dimensions = len(configuration["patch_size"])
    configuration["patch_size"] = list(patch or configuration["patch_size"])
    plans["image_reader_writer"] = reader
    plans["transpose_forward"] = list(transpose)
    plans["transpose_backward"] = np.argsort(transpose).tolist()
    plans["foreground_intensity_properties_per_channel"] = {
        str(number): dict(INTENSITIES) for number in range(len(schemes))
    }
    configuration["spacing"] = list(spacing)[-dimensions:]
    configuration["normalization_schemes"] = list(schemes)
    configuration["use_mask_for_norm"] = list(masks)
    for name, is_seg, spline in (("data", False, order), ("seg", True, 1)):
        configuration[f"resampling_fn_{name}"] = "resample_data_or_seg_to_shape"
        configuration[f"resampling_fn_{name}_kwargs"] = {
            "is_seg": is_seg, "order": spline, "order_z": 0, "force_separate_z": None,
        }  # fmt: skip
    configuration["resampling_fn_probabilities"] = "resample_data_or_seg_to_shape"
    configuration["resampling_fn_probabilities_kwargs"] = {
        "is_seg": False, "order": 1, "order_z": 0, "force_separate_z": None,
    }  # fmt: skip
    return plans


def dataset_with(channels=("T1", "CT"), labels=LABELS, order=None, ending=".nii.gz") -> dict:
    content = {
        "channel_names": {str(number): name for number, name in enumerate(channels)},
        "labels": labels,
        "numTraining": 5,
        "file_ending": ending,
    }
    return content if order is None else {**content, "regions_class_order": order}


def model_of(plans: dict, dataset: dict, folds: int = 1, trainer=nnUNetTrainer) -> TrainedModel:
    """A model as it is loaded, of random weights."""
    manager = PlansManager(plans)
    configuration = manager.get_configuration("3d_fullres")
    labels = manager.get_label_manager(dataset)
    torch.manual_seed(0)
    networks = [
        trainer.build_network_architecture(
            manager,
            configuration,
            len(dataset["channel_names"]),
            labels.num_segmentation_heads,
            enable_deep_supervision=False,
        ).eval()
        for _ in range(folds)
    ]
    with torch.no_grad():
        for network in networks:
            for parameter in network.parameters():
                parameter += 0.1 * torch.randn(parameter.shape)
            # All classes are to be found.
            patch = configuration.patch_size
            logits = network(torch.randn(4, len(dataset["channel_names"]), *patch))
            last = network.decoder.seg_layers[-1]
            last.bias -= logits.mean([0, *range(2, logits.ndim)])
    axes = range(len(configuration.patch_size))
    return TrainedModel(
        network=networks[0],
        plans_manager=manager,
        configuration_manager=configuration,
        weights=[network.state_dict() for network in networks],
        dataset_json=dataset,
        trainer_name=trainer.__name__,
        mirroring_axes=tuple(axes),
        folds=tuple(str(number) for number in range(folds)),
        configuration_name="3d_fullres",
        input_channels=len(dataset["channel_names"]),
    )


def write_model(folder: Path, model: TrainedModel) -> Path:
    """The folder that nnU-Net's training leaves of a model."""
    for fold, weights in zip(model.folds, model.weights, strict=True):
        (folder / f"fold_{fold}").mkdir(parents=True)
        checkpoint = {
            "network_weights": weights,
            "init_args": {
                "plans": model.plans_manager.plans,
                "configuration": model.configuration_name,
                "fold": fold,
                "dataset_json": model.dataset_json,
            },
            "trainer_name": model.trainer_name,
            "inference_allowed_mirroring_axes": model.mirroring_axes,
        }
        save_checkpoint(checkpoint, folder / f"fold_{fold}" / "checkpoint_final.pth")
    (folder / "plans.json").write_text(json.dumps(model.plans_manager.plans))
    (folder / "dataset.json").write_text(json.dumps(model.dataset_json))
    return folder


def predictor_of(model: TrainedModel) -> nnUNetPredictor:
    """nnU-Net's own predictor of a model."""
    predictor = nnUNetPredictor(device=torch.device("cpu"), allow_tqdm=False)
    predictor.manual_initialization(
        model.network,
        model.plans_manager,
        model.configuration_manager,
        model.weights,
        model.dataset_json,
        model.trainer_name,
        model.mirroring_axes,
    )
    return predictor


class TorchSession:
    """Runs a network of torch's in the place of onnxruntime's session."""

    def __init__(self, network: torch.nn.Module):
        self.network = network

    @torch.no_grad()
    def run(self, names, inputs):
        assert names == ["logits"]
        image = inputs["image"]
        assert image.dtype == np.float32
        return [self.network(torch.from_numpy(image)).numpy()]
