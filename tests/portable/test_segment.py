"""The program without torch and nnU-Net computes what nnU-Net computes."""

import copy
import json
from pathlib import Path

import numpy as np
import pytest
import SimpleITK
import torch
from nnunet_commands import voxels
from nnunetv2.imageio.natural_image_reader_writer import NaturalImage2DIO
from nnunetv2.imageio.simpleitk_reader_writer import SimpleITKIO, SimpleITKIOWithReorient
from nnunetv2.inference.sliding_window_prediction import (
    compute_gaussian,
    compute_steps_for_sliding_window,
)
from nnunetv2.preprocessing.resampling.default_resampling import resample_data_or_seg_to_shape
from pointwise_network import write_oblique
from portable_models import (
    LABELS,
    REGIONS,
    TorchSession,
    dataset_with,
    model_of,
    plans_with,
    predictor_of,
)

from nnunet_attention.portable import segment
from nnunet_attention.portable.description import describe_model

pytestmark = pytest.mark.usefixtures("one_thread")


@pytest.fixture
def generator():
    return np.random.default_rng(2)


@pytest.fixture
def in_32_bits(monkeypatch):
    """nnU-Net adds logits up in 16 bits, which would hide what is wrong here."""
    monkeypatch.setattr(torch, "half", torch.float32)


def image_of(generator, shape=(2, 9, 14, 17)) -> np.ndarray:
    """With a border of zeros, a hole inside, and structures larger than a voxel."""
    coarse = generator.normal(size=(2, 3, 4, 5))
    image = np.stack(
        [resample_data_or_seg_to_shape(c[None], shape[1:], (1, 1, 1), (1, 1, 1))[0] for c in coarse]
    )
    image += 0.1 * generator.normal(size=shape) + 1
    image[:, :1] = image[:, :, -2:] = image[..., :3] = 0
    image[:, 4:6, 5:7, 8:10] = 0
    return image.astype(np.float32)


@pytest.mark.parametrize(
    ("plans", "dataset", "spacing", "folds"),
    [
        ({}, {}, (3.0, 2.0, 1.0), 1),
        ({}, {}, (2.5, 1.4, 0.8), 2),
        # Transposed, and an axis resampled on its own.
        ({"transpose": (2, 0, 1)}, {}, (2.5, 1.4, 0.8), 1),
        ({"spacing": (6.0, 1.0, 1.0)}, {}, (9.0, 1.4, 0.8), 1),
        ({"order": 1}, {"labels": REGIONS, "order": [1, 2, 3]}, (2.5, 1.4, 0.8), 1),
        ({}, {"labels": REGIONS, "order": [3, 1, 2]}, (2.5, 1.4, 0.8), 1),
        ({"masks": (True, False)}, {}, (2.5, 1.4, 0.8), 1),
        ({"schemes": ("RescaleTo01Normalization", "NoNormalization")}, {}, (3.0, 2.0, 1.0), 1),
        ({"variant": "residual 3d anisotropic"}, {}, (3.0, 2.0, 1.0), 1),
    ],
)
def test_segmentations_are_nnunets(plans, dataset, spacing, folds, generator, in_32_bits):
    model = model_of(plans_with(**plans), dataset_with(**dataset), folds)
    _assert_segments_as_nnunet(model, image_of(generator), spacing)


@pytest.mark.parametrize("variant", ["plain 2d", "residual 2d"])
def test_slices_are_segmented_as_nnunet_does(variant, generator, in_32_bits):
    model = model_of(plans_with(variant=variant), dataset_with())
    _assert_segments_as_nnunet(model, image_of(generator), (5.0, 1.4, 0.8))


def _assert_segments_as_nnunet(model, image, spacing):
    content = _content(model)
    networks = []
    for weights in model.weights:
        network = copy.deepcopy(model.network)
        network.load_state_dict(weights)
        networks.append(TorchSession(network))
    axes = content["mirroring_axes"]
    found = segment.segment(image, list(spacing), content, networks, axes)
    expected = predictor_of(model).predict_single_npy_array(image, {"spacing": list(spacing)})
    assert found.shape == expected.shape == image.shape[1:]
    assert len(np.unique(expected)) > 1
    # Of thousands, one may lie between two labels.
    assert (found != expected).sum() <= 1


def _content(model) -> dict:
    classes = model.plans_manager.get_label_manager(model.dataset_json).num_segmentation_heads
    outputs = [{"name": "logits", "channels": classes}]
    return json.loads(json.dumps({**describe_model(model), "outputs": outputs}))


@pytest.mark.parametrize("masks", [(False, False), (True, True)])
@pytest.mark.parametrize(
    "schemes",
    [
        ("ZScoreNormalization", "CTNormalization"),
        ("RescaleTo01Normalization", "NoNormalization"),
        ("RGBTo01Normalization", "ZScoreNormalization"),
    ],
)
def test_images_are_normalised_as_by_nnunet(schemes, masks, generator):
    model = model_of(plans_with(schemes=schemes, masks=masks, spacing=(3, 2, 1)), dataset_with())
    image = np.abs(image_of(generator))
    expected, _, _ = model.configuration_manager.preprocessor_class(verbose=False).run_case_npy(
        image, None, {"spacing": [3, 2, 1]}, model.plans_manager, model.configuration_manager,
        model.dataset_json,
    )  # fmt: skip
    present = (image != 0).any(0)
    box = segment.bounding_box(present)
    found = segment.normalize(image[segment.channels_in(box)], present, box, _content(model))
    np.testing.assert_allclose(found, expected, atol=2e-6)


def test_an_image_of_zeros_is_not_cropped():
    assert segment.bounding_box(np.zeros((2, 3, 4), bool)) == (slice(None),) * 3


@pytest.mark.parametrize("force", [None, False, True])
@pytest.mark.parametrize("order_z", [0, 1])
@pytest.mark.parametrize("order", [0, 1, 3])
@pytest.mark.parametrize(
    ("old", "new", "current", "wanted"),
    [
        ((5, 9, 12), (7, 13, 8), (1, 1, 1), (1, 1, 1)),
        ((5, 9, 12), (11, 9, 30), (5, 1, 1), (2, 0.5, 0.5)),
        ((9, 5, 12), (4, 11, 30), (1, 5, 1), (1, 2, 0.5)),
        ((4, 10, 10), (16, 8, 8), (1, 1, 1), (8, 1, 1)),
        ((6, 7, 8), (9, 5, 11), (5, 5, 1), (5, 5, 1)),
        ((1, 20, 31), (1, 40, 13), (999, 1, 1), (999, 1, 2)),
        ((5, 9, 12), (5, 9, 12), (1, 1, 1), (1, 1, 1)),
    ],
)
def test_volumes_are_resampled_as_by_nnunet(
    old, new, current, wanted, order, order_z, force, generator
):
    volume = generator.normal(size=old).astype(np.float32)
    rules = {
        "order": order, "order_z": order_z, "force_separate_z": force, "anisotropy_threshold": 3,
    }  # fmt: skip
    found = segment.resample(volume, new, list(current), list(wanted), rules)
    (expected,) = resample_data_or_seg_to_shape(
        volume[None], new, current, wanted, False, order, order_z, force
    )
    np.testing.assert_allclose(found, expected, atol=1e-5)


@pytest.mark.parametrize("size", [16, 17, 23, 24, 40, 57])
def test_patches_begin_where_nnunets_do(size):
    (expected,) = compute_steps_for_sliding_window((size,), (16,), 0.5)
    assert segment.steps(size, 16, 0.5) == expected


def test_the_middle_of_a_patch_counts_as_much_as_with_nnunet():
    patch = (4, 13, 16)
    expected = compute_gaussian(patch, value_scaling_factor=10, device=torch.device("cpu"))
    found = segment.importance(list(patch), 1 / 8)
    # To a unit in the last place of 16 bits, of the smallest numbers too.
    np.testing.assert_allclose(found, expected.float(), rtol=2**-10, atol=2**-24)
    assert found.min() > 0


def test_channels_are_read_and_labels_written_as_by_nnunet(tmp_path, generator):
    paths = [tmp_path / f"case_{number:04d}.nii.gz" for number in range(2)]
    images = generator.normal(size=(2, 4, 5, 6)).astype(np.float32)
    for image, path in zip(images, paths, strict=True):
        write_oblique(image, path, (3.0, 2.0, 1.0))
    model = {"reader": "SimpleITKIO", "channels": [{"name": "a"}, {"name": "b"}]}
    found, spacing, geometry = segment.read(paths, model)
    expected, properties = SimpleITKIO().read_images(list(map(str, paths)))
    np.testing.assert_array_equal(found, expected)
    assert spacing == pytest.approx(properties["spacing"])
    labels = generator.integers(0, 3, (4, 5, 6)).astype(np.uint16)
    _assert_written_alike(tmp_path, labels, geometry, SimpleITKIO(), properties)


def test_images_are_turned_and_labels_turned_back_as_by_nnunet(tmp_path, generator):
    path = tmp_path / "case_0000.nii.gz"
    image = SimpleITK.GetImageFromArray(generator.normal(size=(4, 5, 6)).astype(np.float32))
    image.SetSpacing((1.0, 2.0, 3.0))
    # x to the front, y to the left, z down.
    image.SetDirection((0, 1, 0, -1, 0, 0, 0, 0, -1))
    SimpleITK.WriteImage(image, str(path))
    model = {"reader": "SimpleITKIOWithReorient", "channels": [{"name": "a"}]}
    found, spacing, geometry = segment.read([path], model)
    reader = SimpleITKIOWithReorient()
    expected, properties = reader.read_images([str(path)])
    np.testing.assert_array_equal(found, expected)
    assert found.shape != (1, 4, 5, 6)
    assert spacing == pytest.approx(properties["spacing"])
    labels = generator.integers(0, 3, found.shape[1:]).astype(np.uint16)
    _assert_written_alike(tmp_path, labels, geometry, reader, properties)


def _assert_written_alike(folder, labels, geometry, reader, properties):
    segment.write(folder / "ours.nii.gz", labels, geometry)
    reader.write_seg(labels, str(folder / "theirs.nii.gz"), properties)
    ours, theirs = (
        SimpleITK.ReadImage(str(folder / f"{name}.nii.gz")) for name in ("ours", "theirs")
    )
    np.testing.assert_array_equal(*map(SimpleITK.GetArrayFromImage, (ours, theirs)))
    assert ours.GetPixelID() == theirs.GetPixelID()
    for name in ("GetSpacing", "GetOrigin", "GetDirection"):
        assert getattr(ours, name)() == pytest.approx(getattr(theirs, name)())


@pytest.mark.parametrize("colours", [1, 3])
def test_pictures_are_read_and_written_as_by_nnunet(tmp_path, generator, colours):
    path = tmp_path / "case_0000.png"
    pixels = generator.integers(0, 256, (7, 9, colours)).astype(np.uint8)
    image = SimpleITK.GetImageFromArray(pixels.squeeze(), isVector=colours > 1)
    SimpleITK.WriteImage(image, str(path))
    model = {"reader": "NaturalImage2DIO", "channels": [{"name": str(n)} for n in range(colours)]}
    found, spacing, geometry = segment.read([path], model)
    expected, properties = NaturalImage2DIO().read_images([str(path)])
    np.testing.assert_array_equal(found, expected)
    assert spacing == list(properties["spacing"])
    labels = generator.integers(0, 3, (1, 7, 9)).astype(np.uint16)
    segment.write(tmp_path / "labels.png", labels, geometry)
    np.testing.assert_array_equal(
        NaturalImage2DIO().read_seg(str(tmp_path / "labels.png"))[0][0], labels
    )


def test_channels_in_one_file_and_flat_images_are_read_as_by_nnunet(tmp_path, generator):
    for shape, spacing, channels in (((2, 4, 5, 6), (1, 2, 3, 1), 2), ((5, 6), (0.5, 2), 1)):
        path = tmp_path / f"{len(shape)}.nii.gz"
        array = generator.normal(size=shape).astype(np.float32)
        image = SimpleITK.GetImageFromArray(array, isVector=False)
        image.SetSpacing(tuple(map(float, spacing)))
        SimpleITK.WriteImage(image, str(path))
        model = {"reader": "SimpleITKIO", "channels": [{"name": str(n)} for n in range(channels)]}
        found, found_spacing, geometry = segment.read([path], model)
        expected, properties = SimpleITKIO().read_images([str(path)])
        np.testing.assert_array_equal(found, expected)
        assert found_spacing == pytest.approx(properties["spacing"])
        labels = np.ones(expected.shape[1:], np.uint16)
        segment.write(tmp_path / "labels.nii.gz", labels, geometry)
        assert voxels(tmp_path / "labels.nii.gz").shape == shape[-3:]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"format_version": 2}, "has the format 2, not 1"),
        ({"previous_stage": "3d_lowres"}, "second stage of a cascade"),
        ({"reader": "Tiff3DIO"}, "read by Tiff3DIO"),
    ],
)
def test_what_is_not_written_here_is_refused(change, message):
    content = _content(model_of(plans_with(), dataset_with()))
    segment.check(content)
    with pytest.raises(ValueError, match=message):
        segment.check({**content, **change})


def test_another_normalisation_or_resampling_is_refused():
    content = _content(model_of(plans_with(), dataset_with()))
    other = copy.deepcopy(content)
    other["channels"][1]["normalization"]["scheme"] = "Other"
    with pytest.raises(ValueError, match="unsupported normalization: Other"):
        segment.check(other)
    other = copy.deepcopy(content)
    other["resampling"]["logits"] = {"function": "resample_torch_fornnunet", "arguments": {}}
    with pytest.raises(ValueError, match="logits are resampled by resample_torch_fornnunet"):
        segment.check(other)


@pytest.mark.parametrize(
    ("values", "spacing_mm", "message"),
    [
        ((1.0, np.nan), (3.0, 2.0, 1.0), "contains NaN or infinity"),
        ((-np.inf, 1.0), (3.0, 2.0, 1.0), "contains NaN or infinity"),
        ((1.0, 1.0), (3.0, 2.0, 1.1), "have different spacings; resample them to one grid"),
    ],
)
def test_channels_of_which_labels_would_be_wrong_are_refused(values, spacing_mm, message, tmp_path):
    # Of a NIfTI file, ITK reads NaN as 0.
    paths = [tmp_path / f"{number}.nrrd" for number in range(2)]
    for path, value, spacing in zip(paths, values, ((3.0, 2.0, 1.0), spacing_mm), strict=True):
        image = np.ones((3, 4, 5), np.float32)
        image[1, 2, 3] = value
        write_oblique(image, path, spacing)
    model = {"reader": "SimpleITKIO", "channels": [{"name": "a"}, {"name": "b"}]}
    with pytest.raises(ValueError, match=message):
        segment.read(paths, model)


def test_what_is_damaged_is_one_line(tmp_path, capsys):
    content = _content(model_of(plans_with(), dataset_with(labels=LABELS)))
    networks = [{"fold": "0", "file": "fold_0.onnx"}]
    (tmp_path / "fold_0.onnx").write_bytes(b"half of a network")
    (tmp_path / "image.nii.gz").write_bytes(b"half of an image")
    arguments = ["out.nii.gz", str(tmp_path / "image.nii.gz"), "--model", str(tmp_path)]
    for text, message in (
        (json.dumps({**content, "networks": networks}), "fold_0.onnx cannot be run: "),
        (json.dumps({**content, "networks": []}), "image.nii.gz"),
        ("{}", "model.json is not as it was exported (KeyError: 'format_version')"),
        ("[]", "model.json is not as it was exported (TypeError: "),
    ):
        (tmp_path / "model.json").write_text(text)
        assert segment.main(arguments) == 1
        error = capsys.readouterr().err
        assert error.startswith("segment.py: ")
        assert message in error
        assert error.count("\n") == 1


def test_a_target_that_cannot_be_or_is_an_image_is_refused_first(tmp_path, capsys):
    image = tmp_path / "image.nii.gz"
    image.touch()
    for target, message in (
        (tmp_path / "absent" / "out.nii.gz", f"there is no folder {tmp_path / 'absent'}"),
        (image, "is an image, which the segmentation would replace"),
    ):
        assert segment.main([str(target), str(image), "--model", str(tmp_path)]) == 1
        assert message in capsys.readouterr().err


def test_what_onnxruntime_would_report_is_switched_off_first(tmp_path, monkeypatch):
    done = []
    module = segment.onnxruntime
    monkeypatch.setattr(module, "disable_telemetry_events", lambda: done.append("switched off"))
    monkeypatch.setattr(module, "InferenceSession", lambda *_, **__: done.append("loaded"))
    segment.load_network(tmp_path / "fold_0.onnx")
    assert done == ["switched off", "loaded"]


def test_errors_are_one_line(tmp_path, capsys):
    assert segment.main(["out.nii.gz", "image.nii.gz", "--model", str(tmp_path)]) == 1
    assert capsys.readouterr().err.startswith("segment.py: ")
    content = _content(model_of(plans_with(), dataset_with(labels=LABELS)))
    (tmp_path / "model.json").write_text(json.dumps({**content, "networks": []}))
    path = tmp_path / "image.nii.gz"
    write_oblique(np.zeros((3, 4, 5), np.float32), path, (1, 1, 1))
    assert segment.main(["out.nii.gz", str(path), "--model", str(tmp_path)]) == 1
    error = capsys.readouterr().err
    assert error == "segment.py: 1 channels given; expected 2: T1, CT\n"
    arguments = ["out.nii.gz", str(path), "--model", str(tmp_path), "--folds", "3"]
    assert segment.main(arguments) == 1
    assert "no fold 3; the model has" in capsys.readouterr().err


def test_a_folder_without_permission_is_refused_before_images_are_read(
    tmp_path, monkeypatch, capsys
):
    # Permissions do not bind root.
    monkeypatch.setattr(segment.os, "access", lambda path, mode: path != tmp_path)
    assert segment.main([str(tmp_path / "out.nii.gz"), "absent.nii.gz"]) == 1
    assert f"no file can be created in {tmp_path}" in capsys.readouterr().err


def test_what_is_interrupted_while_it_is_written_leaves_the_segmentation_of_before(
    tmp_path, monkeypatch
):
    def write_half(image, name, **options):
        Path(name).write_text("half")
        raise KeyboardInterrupt

    target = tmp_path / "case.nii.gz"
    target.write_text("of before")
    image = SimpleITK.Image(4, 3, 2, SimpleITK.sitkUInt8)
    monkeypatch.setattr(SimpleITK, "WriteImage", write_half)
    with pytest.raises(KeyboardInterrupt):
        segment.write(target, np.zeros((2, 3, 4), np.uint8), (image, ""))
    assert [path.name for path in tmp_path.iterdir()] == ["case.nii.gz"]
    assert target.read_text() == "of before"
