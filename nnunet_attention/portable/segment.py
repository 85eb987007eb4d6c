"""Segments a case with the networks in this folder, as nnU-Net would.

It needs numpy, SimpleITK and onnxruntime, and reads everything else from model.json:

    python segment.py SEGMENTATION IMAGE [IMAGE ...]

Arrays have the axes (channels, z, y, x), in Python and in model.json.
"""

import argparse
import itertools
import json
import os
import sys
from collections.abc import Iterator
from functools import lru_cache
from pathlib import Path

import numpy as np
import onnxruntime
import SimpleITK


def main(arguments: list[str] | None = None) -> int:
    """Segment one case; return the exit code."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0] if __doc__ else None)
    parser.add_argument("segmentation", type=Path, help="the file to write")
    parser.add_argument("images", type=Path, nargs="+", help="a file for each channel, in order")
    parser.add_argument(
        "--model", type=Path, default=Path(__file__).parent, help="the folder with model.json"
    )
    parser.add_argument("--folds", nargs="+", help="folds to average (default: all)")
    parser.add_argument(
        "--no-mirroring", action="store_true", help="faster but a little less accurate"
    )
    given = parser.parse_args(arguments)
    try:
        check_target(given.segmentation, given.images)
        model = json.loads((given.model / "model.json").read_text(encoding="utf-8"))
        check(model)
        networks = load_networks(given.model, model, given.folds)
        image, spacing, geometry = read(given.images, model)
        axes = [] if given.no_mirroring else model["mirroring_axes"]
        labels = segment(image, spacing, model, networks, axes)
        write(given.segmentation, labels, geometry)
    except (OSError, RuntimeError, ValueError) as error:
        print(f"segment.py: {last_line(error)}", file=sys.stderr)
        return 1
    except (AttributeError, LookupError, TypeError) as error:
        reason = f"{type(error).__name__}: {last_line(error)}"
        print(f"segment.py: model.json is not as it was exported ({reason})", file=sys.stderr)
        return 1
    return 0


def last_line(error: Exception) -> str:
    """Return the line in which SimpleITK or onnxruntime says what is wrong."""
    return (str(error).strip().splitlines() or [type(error).__name__])[-1]


def check_target(path: Path, images: list[Path]) -> None:
    """Check, before minutes are spent, that the segmentation can be written there."""
    if not path.resolve().parent.is_dir():
        raise ValueError(f"{path} cannot be written: there is no folder {path.parent}")
    # It is written under another name first, which takes a place in the folder.
    if not os.access(path.resolve().parent, os.W_OK):
        raise ValueError(f"{path} cannot be written: no file can be created in {path.parent}")
    if path.resolve() in [image.resolve() for image in images]:
        raise ValueError(f"{path} is an image, which the segmentation would replace")


def check(model: dict) -> None:
    """Refuse a model with which this program would not segment as nnU-Net does."""
    if model["format_version"] != 1:
        raise ValueError(f"model.json has the format {model['format_version']}, not 1")
    if model["previous_stage"]:
        raise ValueError("the model is the second stage of a cascade; give it to nnU-Net")
    for name in ("images", "logits"):
        function = model["resampling"][name]["function"]
        if function != "resample_data_or_seg_to_shape":
            raise ValueError(f"{name} are resampled by {function}, which is not supported here")
    schemes = {channel["normalization"]["scheme"] for channel in model["channels"]}
    if unknown := schemes - set(NORMALIZATIONS):
        raise ValueError(f"unsupported normalization: {', '.join(sorted(unknown))}")
    if model["reader"] not in READERS:
        raise ValueError(f"images are read by {model['reader']}, which is not supported here")


def load_networks(folder: Path, model: dict, folds: list[str] | None) -> list:
    """Load the network of each fold."""
    networks = {network["fold"]: network["file"] for network in model["networks"]}
    if missing := [fold for fold in folds or () if fold not in networks]:
        raise ValueError(f"no fold {', '.join(missing)}; the model has {', '.join(networks)}")
    return [load_network(folder / networks[fold]) for fold in folds or networks]


def load_network(path: Path) -> onnxruntime.InferenceSession:
    """Load the network in a file."""
    # On Windows onnxruntime would otherwise send telemetry.
    onnxruntime.disable_telemetry_events()
    try:
        return onnxruntime.InferenceSession(
            str(path), providers=onnxruntime.get_available_providers()
        )
    except Exception as error:  # onnxruntime has its own types of errors
        raise ValueError(f"{path} cannot be run: {last_line(error)}") from error


def segment(
    image: np.ndarray, spacing: list[float], model: dict, networks: list, axes: list[int]
) -> np.ndarray:
    """Turn an image (C, Z, Y, X) with a spacing in mm into labels (Z, Y, X)."""
    forward = model["transpose_forward"]
    image = image.transpose(0, *(1 + axis for axis in forward))
    spacing = [spacing[axis] for axis in forward]
    labels = np.zeros(image.shape[1:], np.uint16)

    present = (image != 0).any(0)
    box = bounding_box(present)
    image = normalize(image[channels_in(box)], present, box, model)
    # A 2d configuration has no spacing between slices, and leaves it as it is.
    wanted = [*spacing[: 3 - len(model["spacing_mm"])], *model["spacing_mm"]]
    shape = image.shape[1:]
    network_shape = [
        round(old / new * size) for old, new, size in zip(spacing, wanted, shape, strict=True)
    ]
    rules = model["resampling"]["images"]
    image = np.stack([resample(one, network_shape, spacing, wanted, rules) for one in image])

    logits = predict(image, model, networks, axes)
    rules = model["resampling"]["logits"]
    resampled = (resample(one, shape, wanted, spacing, rules) for one in logits)
    labels[box] = labels_of(resampled, model)
    return labels.transpose(model["transpose_backward"])


# Reading and writing


READERS = {
    "SimpleITKIO": "",
    "NibabelIO": "",
    # These reorient images so that their axes point to the right, to the front and up.
    "SimpleITKIOWithReorient": "RAS",
    "NibabelIOWithReorient": "RAS",
    "NaturalImage2DIO": "",
}


def read(paths: list[Path], model: dict) -> tuple[np.ndarray, list[float], tuple]:
    """Return the image (C, Z, Y, X), its spacing of z, y, x, and the geometry for `write`."""
    images = [SimpleITK.ReadImage(str(path)) for path in paths]
    turned_back = ""
    if orientation := READERS[model["reader"]]:
        direction = images[0].GetDirection()
        turned_back = SimpleITK.DICOMOrientImageFilter.GetOrientationFromDirectionCosines(direction)
        images = [SimpleITK.DICOMOrient(image, orientation) for image in images]
    spacing = [abs(size) for size in images[0].GetSpacing()[::-1]]
    channels: list[np.ndarray] = []
    for image in images:
        array = SimpleITK.GetArrayFromImage(image).astype(np.float32)
        if image.GetNumberOfComponentsPerPixel() > 1:  # colours
            array = np.moveaxis(array, -1, 0)
        elif image.GetDimension() < 4:
            array = array[None]
        channels.extend(array[:, None] if image.GetDimension() == 2 else array)
    if model["reader"] == "NaturalImage2DIO":
        spacing = [999.0, 1.0, 1.0]
    elif len(spacing) == 2:
        spacing = [999 * max(spacing), *spacing]
    names = [channel["name"] for channel in model["channels"]]
    if len(channels) != len(names):
        raise ValueError(
            f"{len(channels)} channels given; expected {len(names)}: {', '.join(names)}"
        )
    if len({channel.shape for channel in channels}) > 1:
        raise ValueError("the channels are of different sizes")
    sizes = [image.GetSpacing() for image in images]
    if not all(len(size) == len(sizes[0]) and np.allclose(size, sizes[0]) for size in sizes):
        raise ValueError("the channels have different spacings; resample them to one grid")
    if not all(np.isfinite(channel).all() for channel in channels):
        raise ValueError("the image contains NaN or infinity, which give no label; replace them")
    return np.stack(channels), spacing[-3:], (images[0], turned_back)


def write(path: Path, labels: np.ndarray, geometry: tuple[SimpleITK.Image, str]) -> None:
    """Write labels (Z, Y, X) with the geometry of the image that was read."""
    reference, turned_back = geometry
    flat = reference.GetDimension() == 2
    if reference.GetDimension() == 4:
        reference = reference[..., 0]
    image = SimpleITK.GetImageFromArray(labels[0] if flat else labels)
    if labels.max() < 255:
        image = SimpleITK.Cast(image, SimpleITK.sitkUInt8)
    image.CopyInformation(reference)
    if turned_back:
        image = SimpleITK.DICOMOrient(image, turned_back)
    # Under another name first, so that an interruption leaves no partial image.
    beside = path.with_name(f"unfinished_{os.getpid()}_{path.name}")
    try:
        SimpleITK.WriteImage(image, str(beside), useCompression=True)
        beside.replace(path)
    finally:
        beside.unlink(missing_ok=True)


# Cropping and normalization


def channels_in(box: tuple[slice, ...]) -> tuple[slice, ...]:
    """Return the index that cuts a box out of all channels."""
    return (slice(None), *box)


def bounding_box(mask: np.ndarray) -> tuple[slice, ...]:
    """Return slices around all true voxels; the whole image if there are none."""
    if not mask.any():
        return (slice(None),) * mask.ndim
    extents = []
    for axis in range(mask.ndim):
        places = np.flatnonzero(mask.any(tuple(a for a in range(mask.ndim) if a != axis)))
        extents.append(slice(int(places[0]), int(places[-1]) + 1))
    return tuple(extents)


def normalize(image: np.ndarray, present: np.ndarray, box: tuple, model: dict) -> np.ndarray:
    """Normalize each channel of a cropped image (C, Z, Y, X)."""
    rules = [channel["normalization"] for channel in model["channels"]]
    inside = np.ones(present[box].shape, bool)
    if any(rule["use_mask"] for rule in rules):
        filled = SimpleITK.BinaryFillhole(SimpleITK.GetImageFromArray(present.astype(np.uint8)))
        inside = SimpleITK.GetArrayFromImage(filled)[box] > 0
    channels = image.astype(np.float32)
    for channel, rule in zip(channels, rules, strict=True):
        mask = inside if rule["use_mask"] else np.ones_like(inside)
        channel[...] = NORMALIZATIONS[rule["scheme"]](channel, mask, rule.get("intensities", {}))
    return channels


def z_score(channel: np.ndarray, mask: np.ndarray, _: dict) -> np.ndarray:
    """Bring the voxels of the mask to mean 0 and standard deviation 1."""
    values = channel[mask]
    return np.where(mask, (channel - values.mean()) / max(values.std(), 1e-8), channel)


def computed_tomography(channel: np.ndarray, _: np.ndarray, intensities: dict) -> np.ndarray:
    """Clip to the training data's foreground intensities, and normalize with them."""
    limits = intensities["percentile_00_5"], intensities["percentile_99_5"]
    return (channel.clip(*limits) - intensities["mean"]) / max(intensities["std"], 1e-8)


def to_unit_range(channel: np.ndarray, _: np.ndarray, __: dict) -> np.ndarray:
    """Scale all values to the range from 0 to 1."""
    shifted = channel - channel.min()
    return shifted / max(shifted.max(), 1e-8)


NORMALIZATIONS = {
    "ZScoreNormalization": z_score,
    "CTNormalization": computed_tomography,
    "NoNormalization": lambda channel, _, __: channel,
    "RescaleTo01Normalization": to_unit_range,
    "RGBTo01Normalization": lambda channel, _, __: channel / 255,
}


# Resampling: a spline's values along an axis are a product with a matrix


def resample(
    volume: np.ndarray, shape: list | tuple, current: list, wanted: list, rules: dict
) -> np.ndarray:
    """Resample (Z, Y, X) from a current to a wanted spacing, as nnU-Net does."""
    axis = axis_apart(current, wanted, rules)
    result = volume.astype(np.float32)
    for number, (old, new) in enumerate(zip(volume.shape, shape, strict=True)):
        if number != axis and old != new:
            result = along(result, number, spline(old, new, rules["order"]))
    if rules["order"] > 1 and result.shape != volume.shape:
        # Splines overshoot, so clip to the limits of the volume, or of each slice.
        of_what = tuple(number for number in range(volume.ndim) if number != axis)
        result = result.clip(volume.min(of_what, keepdims=True), volume.max(of_what, keepdims=True))
    if axis is not None and volume.shape[axis] != shape[axis]:
        result = along(result, axis, spline(volume.shape[axis], shape[axis], rules["order_z"]))
    return result


def axis_apart(current: list, wanted: list, rules: dict) -> int | None:
    """Return the axis of much coarser spacing, which is resampled after the others."""
    if rules["force_separate_z"] is False:
        return None
    for spacing in (current, wanted):
        coarse = max(spacing) / min(spacing) > rules["anisotropy_threshold"]
        if coarse or (rules["force_separate_z"] and spacing is current):
            axes = [axis for axis, size in enumerate(spacing) if size == max(spacing)]
            return axes[0] if len(axes) == 1 else None
    return None


def along(volume: np.ndarray, axis: int, matrix: np.ndarray) -> np.ndarray:
    """Multiply each line of voxels along an axis by a matrix."""
    return np.moveaxis(np.tensordot(matrix, volume, (1, axis)), 0, axis)


@lru_cache(maxsize=32)
def spline(old: int, new: int, order: int) -> np.ndarray:
    """Return the matrix (new, old) that resamples a line with a spline of order 0, 1 or 3."""
    margin = 12  # beyond its ends a line is extended with its last voxel
    places = (np.arange(new) + 0.5) * (old / new) - 0.5
    knots = np.arange(-margin, old + margin)
    extended = np.eye(old)[knots.clip(0, old - 1)]
    if order == 0:
        return np.eye(old, dtype=np.float32)[np.floor(places + 0.5).astype(int).clip(0, old - 1)]
    distance = np.abs(places[:, None] - knots)
    if order == 1:
        weights = (1 - distance).clip(0)
    elif order == 3:
        # Solve for the coefficients whose spline goes through the voxels.
        count = len(knots)
        through = (4 * np.eye(count) + np.eye(count, k=1) + np.eye(count, k=-1)) / 6
        through[0, 1] = through[-1, -2] = 2 / 6
        extended = np.linalg.solve(through, extended)
        near = 2 / 3 - distance**2 + distance**3 / 2
        weights = np.where(distance < 1, near, (2 - distance).clip(0) ** 3 / 6)
    else:
        raise ValueError(f"splines of order {order} are not supported here")
    return (weights @ extended).astype(np.float32)


# The network


def predict(image: np.ndarray, model: dict, networks: list, axes: list[int]) -> np.ndarray:
    """Return the networks' mean logits (classes, Z, Y, X) for an image (C, Z, Y, X)."""
    if len(model["patch_size"]) == 2:
        slices = [slide(image[:, z], model, networks, axes) for z in range(image.shape[1])]
        return np.stack(slices, 1)
    return slide(image, model, networks, axes)


def slide(image: np.ndarray, model: dict, networks: list, axes: list[int]) -> np.ndarray:
    """Predict an image (C, *S) patch by patch, weighting the middle of each patch most."""
    patch = model["patch_size"]
    lacking = [max(0, size - have) for size, have in zip(patch, image.shape[1:], strict=True)]
    inside = tuple(
        slice(lack // 2, lack // 2 + have)
        for lack, have in zip(lacking, image.shape[1:], strict=True)
    )
    image = np.pad(image, [(0, 0), *((lack // 2, lack - lack // 2) for lack in lacking)])
    weights = importance(patch, model["gaussian_sigma"])
    classes = next(out["channels"] for out in model["outputs"] if out["name"] == "logits")
    logits = np.zeros((classes, *image.shape[1:]), np.float32)
    total = np.zeros(image.shape[1:], np.float32)
    starts = [
        steps(size, width, model["step"])
        for size, width in zip(image.shape[1:], patch, strict=True)
    ]
    for corner in itertools.product(*starts):
        tile = tuple(slice(at, at + size) for at, size in zip(corner, patch, strict=True))
        logits[channels_in(tile)] += weights * run(image[channels_in(tile)], networks, axes)
        total[tile] += weights
    return (logits / total)[channels_in(inside)]


def run(patch: np.ndarray, networks: list, axes: list[int]) -> np.ndarray:
    """Average logits over networks and all ways to mirror a patch (C, *S) along some axes."""
    ways = [
        tuple(2 + axis for axis in some)
        for count in range(len(axes) + 1)
        for some in itertools.combinations(axes, count)
    ]
    logits: list[np.ndarray] = []
    for way, network in itertools.product(ways, networks):
        flipped = np.ascontiguousarray(np.flip(patch[None], way))
        logits.append(np.flip(network.run(["logits"], {"image": flipped})[0], way)[0])
    return np.mean(logits, 0)


def steps(size: int, width: int, step: float) -> list[int]:
    """Return the starts of patches of a given width along an axis of a given size."""
    count = int(np.ceil((size - width) / (width * step))) + 1
    return [int(np.round(at)) for at in np.linspace(0, size - width, count)]


def importance(patch: list[int], sigma: float) -> np.ndarray:
    """Return a Gaussian around the middle of a patch, nowhere 0."""
    gaussian = np.ones((1,) * len(patch))
    for axis, size in enumerate(patch):
        line = np.exp(-(((np.arange(size) - size // 2) / (sigma * size)) ** 2) / 2)
        gaussian = gaussian * np.expand_dims(line, [a for a in range(len(patch)) if a != axis])
    # In 16 bits, as in nnU-Net: values that underflow are set to the smallest that does not.
    weights = (10 * gaussian).astype(np.float16)
    weights[weights == 0] = weights[weights > 0].min()
    return weights.astype(np.float32)


def labels_of(logits: Iterator[np.ndarray], model: dict) -> np.ndarray:
    """Turn logits into labels, one class after the other, so that not all are held at once."""
    if model["regions"]:
        # Regions lie within each other: later ones are drawn over earlier ones.
        labels = np.zeros(1, np.uint16)
        for region, logit in zip(model["regions"], logits, strict=True):
            labels = np.where(logit > 0, np.uint16(region["drawn_as"]), labels)
        return labels
    highest = next(logits)
    labels = np.zeros(highest.shape, np.uint16)
    for label, logit in enumerate(logits, start=1):
        labels[logit > highest] = label
        highest = np.maximum(highest, logit)
    return labels


if __name__ == "__main__":
    sys.exit(main())
