"""Describes a trained model for programs that have neither torch nor nnU-Net: model.json."""

import inspect
import json
from collections.abc import Sequence
from typing import Any

from nnunetv2.configuration import ANISO_THRESHOLD
from nnunetv2.preprocessing.resampling.default_resampling import resample_data_or_seg_to_shape
from nnunetv2.utilities.label_handling.label_handling import LabelManager
from nnunetv2.utilities.plans_handling.plans_handler import ConfigurationManager

from nnunet_attention.errors import CommandError
from nnunet_attention.nnunet.dataset_json import channel_names
from nnunet_attention.prediction.trained_model import TrainedModel
from nnunet_attention.versions import versions_of

FORMAT_VERSION = 1
# nnU-Net's defaults for prediction.
STEP, GAUSSIAN_SIGMA = 0.5, 1 / 8
# The statistics of the training data's intensities that a normalization reads.
_INTENSITIES = {
    "CTNormalization": ("mean", "std", "percentile_00_5", "percentile_99_5"),
}
# The allowed types of resampling's arguments.
_KINDS: dict[str, tuple[type, ...]] = {
    "order": (int,),
    "order_z": (int,),
    "force_separate_z": (bool, type(None)),
}
_DISTRIBUTIONS = ("nnunetv2", "torch", "onnx", "onnxscript", "onnxruntime")


def describe_model(model: TrainedModel) -> dict[str, Any]:
    """Describe everything that a program needs to segment as nnU-Net does, except the networks.

    The schema of the result is model.schema.json, beside this module.

    Args:
        model: the trained model.

    Raises:
        CommandError: if entries of the plans or of dataset.json are missing or malformed.
    """
    try:
        content = _described(model)
        # Names must be encodable, as they are written into texts for people.
        json.dumps(content, ensure_ascii=False, allow_nan=False).encode()
    except CommandError:
        raise
    except KeyError as error:
        raise CommandError(f"the model cannot be described: {error} is missing") from error
    except UnicodeEncodeError as error:
        raise CommandError(
            "the model cannot be described: a name in plans or dataset.json contains characters "
            "that cannot be written; rename it"
        ) from error
    except Exception as error:  # plans from elsewhere can fail in any way
        reason = str(error).partition("\n")[0]
        raise CommandError(
            f"the model cannot be described: {type(error).__name__}: {reason}"
        ) from error
    return content


def _described(model: TrainedModel) -> dict[str, Any]:
    plans, configuration = model.plans_manager, model.configuration_manager
    labels = plans.get_label_manager(model.dataset_json)
    return {
        "format_version": FORMAT_VERSION,
        "dataset": plans.plans["dataset_name"],
        "trainer": model.trainer_name,
        "plans": plans.plans["plans_name"],
        "configuration": model.configuration_name,
        "reader": plans.plans["image_reader_writer"],
        "file_ending": model.dataset_json["file_ending"],
        "channels": _channels(model),
        "previous_stage": configuration.previous_stage_name,
        "transpose_forward": list(plans.transpose_forward),
        "transpose_backward": list(plans.transpose_backward),
        "crop_to_nonzero": True,
        "spacing_mm": [float(size) for size in configuration.spacing],
        "resampling": {
            "images": _resampling(configuration, "resampling_fn_data"),
            "logits": _resampling(configuration, "resampling_fn_probabilities"),
        },
        "patch_size": [int(size) for size in configuration.patch_size],
        "step": STEP,
        "gaussian_sigma": GAUSSIAN_SIGMA,
        "mirroring_axes": [int(axis) for axis in model.mirroring_axes or ()],
        "activation": "sigmoid" if labels.has_regions else "softmax",
        "labels": _labels(model.dataset_json["labels"]),
        "regions": _regions(labels) if labels.has_regions else None,
        "ignore_label": labels.ignore_label,
        "made_with": versions_of(*_DISTRIBUTIONS),
    }


def _channels(model: TrainedModel) -> list[dict[str, Any]]:
    configuration = model.configuration_manager
    names = channel_names(model.dataset_json)
    schemes, masks = configuration.normalization_schemes, configuration.use_mask_for_norm
    if not len(names) == len(schemes) == len(masks):
        raise CommandError(
            f"the data set has {len(names)} channels, but the plans have normalization_schemes for "
            f"{len(schemes)} and use_mask_for_norm for {len(masks)}; plans and data set belong to "
            "different models"
        )
    # The channel numbers are strings in the plans.
    numbers = sorted(names, key=int)
    return [
        {"name": names[number], "normalization": _normalization(model, number, scheme, mask)}
        for number, scheme, mask in zip(numbers, schemes, masks, strict=True)
    ]


def _normalization(model: TrainedModel, channel: str, scheme: str, mask: bool) -> dict[str, Any]:
    content: dict[str, Any] = {"scheme": scheme, "use_mask": bool(mask)}
    if scheme in _INTENSITIES:
        intensities = model.plans_manager.foreground_intensity_properties_per_channel[str(channel)]
        content["intensities"] = {name: float(intensities[name]) for name in _INTENSITIES[scheme]}
    return content


def _resampling(configuration: ConfigurationManager, name: str) -> dict[str, Any]:
    """Describe a resampling, with nnU-Net's defaults for arguments that the plans leave out."""
    function = configuration.configuration[name]
    given = configuration.configuration[f"{name}_kwargs"]
    if not isinstance(given, dict):
        raise CommandError(f"the plans have {given!r} for {name}_kwargs, not names and values")
    if function != resample_data_or_seg_to_shape.__name__:
        return {"function": function, "arguments": given}
    defaults = inspect.signature(resample_data_or_seg_to_shape).parameters
    values = {argument: given.get(argument, defaults[argument].default) for argument in _KINDS}
    for argument, value in values.items():
        if not isinstance(value, _KINDS[argument]):
            raise CommandError(f"the plans have {value!r} for {argument} of {name}_kwargs")
    threshold = given.get("separate_z_anisotropy_threshold", ANISO_THRESHOLD)
    return {"function": function, **values, "anisotropy_threshold": float(threshold)}


def _labels(labels: dict[str, Any]) -> dict[str, int | list[int]]:
    return {
        name: [int(part) for part in value] if isinstance(value, (list, tuple)) else int(value)
        for name, value in labels.items()
    }


def _regions(labels: LabelManager) -> list[dict[str, Any]]:
    """List the regions in the order of the outputs; later ones are drawn over earlier ones."""
    regions: Sequence = labels.foreground_regions
    order = labels.regions_class_order
    assert order is not None, "nnU-Net requires it of regions"
    names = {
        tuple(value) if isinstance(value, (list, tuple)) else (value,): name
        for name, value in labels.label_dict.items()
    }
    contents = [tuple(value) if isinstance(value, tuple) else (value,) for value in regions]
    return [
        {"name": names[content], "labels": [int(part) for part in content], "drawn_as": int(label)}
        for content, label in zip(contents, order, strict=True)
    ]
