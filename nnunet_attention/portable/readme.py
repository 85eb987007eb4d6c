"""Writes the README of an exported model, with its own numbers."""

import shlex
from collections.abc import Iterator, Mapping

PACKAGES = "numpy SimpleITK onnxruntime"
_NORMALIZATIONS = {
    "ZScoreNormalization": "(x - mean) / std, of {where}",
    "CTNormalization": "x clipped to {percentile_00_5:g} to {percentile_99_5:g}, "
    "then (x - {mean:g}) / {std:g}",
    "RescaleTo01Normalization": "from this image's minimum and maximum to 0 and 1",
    "RGBTo01Normalization": "x / 255",
    "NoNormalization": "as it is",
}
_SPLINES = {0: "to the nearest voxel", 1: "linearly", 3: "with cubic splines"}


def readme_of(content: Mapping, program: str) -> str:
    """Return Markdown that says what the model is, and how to segment with it.

    Args:
        content: the content of model.json.
        program: the text of segment.py.
    """
    return "\n".join(
        [
            *_head(content),
            *_use(content),
            *_files(content),
            *_steps(content),
            *_accuracy(content),
            *_program(program),
        ]
    )


def _head(content: Mapping) -> Iterator[str]:
    yield f"# {content['dataset']}, {content['configuration']}"
    yield ""
    folds = _folds(content)
    yield (
        f"A segmentation model trained by nnU-Net ({content['trainer']}, {content['plans']}, "
        f"{folds}), in ONNX. Using it needs neither torch nor nnU-Net."
    )
    yield ""
    yield "| channel | image | normalisation |"
    yield "|---:|---|---|"
    for number, channel in enumerate(content["channels"]):
        normalization = _normalization(channel["normalization"])
        yield f"| {number} | {_cell(channel['name'])} | {normalization} |"
    yield ""
    yield from _labels(content)


def _cell(name: str) -> str:
    """Return a name in a form that fits into a Markdown table."""
    return " ".join(name.split()).replace("|", "\\|")


def _folds(content: Mapping) -> str:
    folds = [network["fold"] for network in content["networks"]]
    return f"fold {folds[0]}" if len(folds) == 1 else f"folds {', '.join(folds)}"


def _labels(content: Mapping) -> Iterator[str]:
    if content["regions"]:
        yield "| output | region | labels | drawn as |"
        yield "|---:|---|---|---:|"
        for number, region in enumerate(content["regions"]):
            labels = ", ".join(map(str, region["labels"]))
            yield f"| {number} | {_cell(region['name'])} | {labels} | {region['drawn_as']} |"
    else:
        yield "| label | |"
        yield "|---:|---|"
        for name, label in content["labels"].items():
            if name != "ignore":
                yield f"| {label} | {_cell(name)} |"
    yield ""


def _use(content: Mapping) -> Iterator[str]:
    ending = content["file_ending"]
    files = [f"case_{number:04d}{ending}" for number in range(len(content["channels"]))]
    command = shlex.join(["python", "segment.py", f"segmentation{ending}", *files])
    yield "## Segment a case"
    yield ""
    if content["previous_stage"]:
        yield (
            "This is the second stage of a cascade: it needs the segmentation of "
            f"{content['previous_stage']} as additional channels, which `segment.py` does not make."
        )
    else:
        yield "```bash"
        yield f"pip install {PACKAGES}"
        yield command
        yield "```"
        yield ""
        yield (
            "The segmentation has the geometry of the first image. `--no-mirroring` is "
            f"{2 ** len(content['mirroring_axes'])} times as fast but a little less accurate; "
            "`--folds` selects folds."
            if content["mirroring_axes"]
            else "The segmentation has the geometry of the first image. `--folds` selects folds."
        )
    yield ""


def _files(content: Mapping) -> Iterator[str]:
    yield "## Files"
    yield ""
    yield "| | |"
    yield "|---|---|"
    yield "| `model.json` | all that a program in any language must know |"
    yield "| `model.schema.json` | what `model.json` may hold, and what it means |"
    yield "| `segment.py` | the program below |"
    shape = ", ".join(["batch", str(content["input"]["channels"]), *_patch(content)])
    outputs = ", ".join(f"`{output['name']}`" for output in content["outputs"])
    for network in content["networks"]:
        yield (
            f"| `{network['file']}` | fold {network['fold']}: `{content['input']['name']}` "
            f"({shape}), float32, to {outputs} |"
        )
        if network["program"]:
            patch = " x ".join(map(str, content["patch_size"]))
            yield (
                f"| `{network['program']}` | the same for `torch.export.load`: logits only, of "
                f"patches of {patch} |"
            )
    yield ""
    if content["patch_multiple_of"] is not None:
        yield (
            "n may be another number along each axis, and is at least 2, so that two voxels are "
            "left where the network is coarsest. The program below uses patches of the plans' size."
        )
        yield ""


def _patch(content: Mapping) -> list[str]:
    if content["patch_multiple_of"] is None:
        return [str(size) for size in content["patch_size"]]
    return [f"{size}n" for size in content["patch_multiple_of"]]


def _steps(content: Mapping) -> Iterator[str]:
    """List the steps from image to segmentation, for a program in another language."""
    patch = " x ".join(map(str, content["patch_size"]))
    spacing = " x ".join(f"{size:g}" for size in content["spacing_mm"])
    of_slices = " within each slice" if len(content["spacing_mm"]) == 2 else ""
    yield "## What is done"
    yield ""
    yield "Arrays have the axes (channels, z, y, x)."
    yield ""
    steps = []
    if content["transpose_forward"] != [0, 1, 2]:
        steps.append(f"The axes z, y, x are put into the order {content['transpose_forward']}.")
    steps += [
        "The image is cropped to the box of all voxels that are not 0 in some channel.",
        "Each channel is normalised as the table says.",
        f"It is resampled to {spacing} mm{of_slices}, {_spline(content, 'images')}.",
        f"Where it is smaller than {patch}, it is padded with zeros.",
        f"Patches of {patch} are moved over it in steps of at most {content['step']:g} of their "
        f"size. Logits are weighted with a Gaussian of sigma {content['gaussian_sigma']:g} of the "
        "patch's size, added up, and divided by the sum of the weights.",
    ]
    if content["mirroring_axes"]:
        ways = 2 ** len(content["mirroring_axes"])
        axes = ", ".join(str(axis) for axis in content["mirroring_axes"])
        steps.append(
            f"Each patch is predicted mirrored in {ways} ways (along none, some or all of its axes "
            f"{axes}), and the logits, mirrored back, are averaged."
        )
    if len(content["networks"]) > 1:
        steps.append("So are those of the folds.")
    steps.append(
        f"The logits are resampled to the cropped image's size, {_spline(content, 'logits')}."
    )
    if content["regions"]:
        steps.append(
            "Regions are where their sigmoid is above 0.5; they are drawn in the order of the "
            "outputs, later ones over earlier ones."
        )
    else:
        steps.append("A voxel's label is that of the highest logit.")
    steps.append(
        "What was cropped away becomes background, and the axes are put back into their original "
        "order."
    )
    for number, step in enumerate(steps, start=1):
        yield f"{number}. {step}"
    yield ""


def _spline(content: Mapping, what: str) -> str:
    rules = content["resampling"][what]
    if "order" not in rules:
        return f"by nnU-Net's function {rules['function']}"
    text = _SPLINES.get(rules["order"], f"with splines of order {rules['order']}")
    if rules["force_separate_z"] is False:
        return text
    when = (
        ""
        if rules["force_separate_z"]
        else f", if its spacing is more than {rules['anisotropy_threshold']:g} times the finest"
    )
    along = _SPLINES.get(rules["order_z"], f"with splines of order {rules['order_z']}")
    return f"{text} (along the axis of coarsest spacing {along}, after the others{when})"


def _normalization(rules: Mapping) -> str:
    where = (
        "the voxels that are not 0 in some channel, holes filled; voxels outside stay as they are"
        if rules["use_mask"]
        else "the cropped image"
    )
    text = _NORMALIZATIONS.get(rules["scheme"], "nnU-Net's {scheme}")
    return text.format(where=where, scheme=rules["scheme"], **rules.get("intensities", {}))


def _accuracy(content: Mapping) -> Iterator[str]:
    yield "## How exact it is"
    yield ""
    worst = max(network["largest_difference"]["logits"] for network in content["networks"])
    largest = max(network["largest_logit"] for network in content["networks"])
    bits = "32" if content["precision"] == "f32" else "16"
    yield (
        f"On {content['checked']['patches']} random patches, onnxruntime's logits (weights in "
        f"{bits} bits) differ from torch's by at most {worst:.1e}; the largest logit was "
        f"{largest:.1f}. `segment.py` resamples as nnU-Net does and adds up patches in 32 bits, "
        "where nnU-Net uses 16, so single voxels at borders may differ. nnU-Net's postprocessing, "
        "if the model has any, is not part of it."
    )
    yield ""


def _program(program: str) -> Iterator[str]:
    yield "## The program"
    yield ""
    yield "```python"
    yield program.rstrip("\n")
    yield "```"
    yield ""
