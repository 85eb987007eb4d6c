"""In the made-up images only the surroundings tell a target from a distractor."""

import json

import numpy as np
import pytest
import SimpleITK
from scipy import ndimage

from benchmarks.where_gates_help.__main__ import main
from benchmarks.where_gates_help.design import PHANTOMS
from benchmarks.where_gates_help.phantom import (
    Recipe,
    draw,
    draw_case,
    place_organs,
    write_distractors_task,
)

QUIET = Recipe(foreground=0.01, distractors=2, contrast=40, noise=0, shape=(16, 48, 48))


def drawn(recipe, number):
    images = [draw(recipe, np.random.default_rng(seed)) for seed in range(number)]
    return [(one.image, one.labels) for one in images]


def organs_of(image, labels):
    """The target, and the other organs: bright in a quiet image."""
    target = labels == 1
    return target, (image > 85) & ~ndimage.binary_dilation(target, iterations=3)


def shell_of(organ):
    """What lies 1.5 times an organ's radius from its middle, in slices twice as thick."""
    distance = ndimage.distance_transform_edt(~organ, sampling=(2, 1, 1))
    radius = (organ.sum() * 2 / (4 / 3 * np.pi)) ** (1 / 3)
    return (distance > 0.5 * radius) & (distance < 0.65 * radius)


def test_target_and_distractors_have_the_same_intensity_and_other_surroundings():
    for image, labels in drawn(QUIET, 5):
        target, others = organs_of(image, labels)
        inside = [np.median(image[ndimage.binary_erosion(organ)]) for organ in (target, others)]
        assert inside == pytest.approx([100, 100], abs=4)
        numbers, count = ndimage.label(others)
        largest = numbers == 1 + np.argmax(ndimage.sum(others, numbers, range(1, count + 1)))
        assert np.median(image[shell_of(target)]) < -5
        assert np.median(image[shell_of(largest)]) > 5


def test_without_distractors_the_target_is_the_only_organ():
    for image, labels in drawn(Recipe(distractors=0, noise=0), 5):
        _, others = organs_of(image, labels)
        assert not others.any()


def share_above(targets, others):
    """The share of pairs in which the target has more: the area under the ROC curve."""
    return np.mean(np.subtract.outer(np.array(targets), np.array(others)) > 0)


@pytest.mark.parametrize(
    "recipe",
    [data.recipe for data in PHANTOMS if data.recipe.distractors],
    ids=lambda recipe: f"{recipe.foreground:g}",
)
def test_neither_place_nor_size_tells_the_target(recipe):
    middle = (np.array(recipe.shape) - 1) / 2
    distances, radii = {True: [], False: []}, {True: [], False: []}
    for seed in range(200):
        organs = place_organs(recipe, np.random.default_rng(seed))
        assert sum(organ.is_target for organ in organs) == 1
        for organ in organs:
            millimetres = (organ.centre - middle) * (2, 1, 1)
            distances[bool(organ.is_target)].append(np.linalg.norm(millimetres))
            radii[bool(organ.is_target)].append(organ.radius)
    # Of 200 targets and 600 others, the share has a standard error of 0.024.
    for values in (distances, radii):
        assert share_above(values[True], values[False]) == pytest.approx(0.5, abs=0.07)


def test_the_image_shows_the_target_that_was_placed():
    for seed in range(3):
        organs = place_organs(QUIET, np.random.default_rng(seed))
        labels = draw(QUIET, np.random.default_rng(seed)).labels
        (target,) = (organ for organ in organs if organ.is_target)
        assert ndimage.center_of_mass(labels) == pytest.approx(target.centre.tolist(), abs=0.6)


@pytest.mark.parametrize("foreground", [0.002, 0.005, 0.01, 0.02])
def test_the_target_takes_its_share_of_the_voxels(foreground):
    shares = [labels.mean() for _, labels in drawn(Recipe(foreground), 12)]
    assert np.mean(shares) == pytest.approx(foreground, rel=0.25)


def test_noise_is_as_asked_for():
    noisy, quiet = (draw(Recipe(noise=noise), np.random.default_rng(3)).image for noise in (30, 0))
    assert (noisy - quiet).std() == pytest.approx(30, rel=0.05)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"foreground": 0.5}, "foreground is 0.5"),
        ({"noise": -1}, "must not be negative"),
        ({"shape": (4, 48, 48)}, "three numbers of at least 8"),
    ],
)
def test_a_bad_recipe_is_refused(options, message):
    with pytest.raises(ValueError, match=message):
        Recipe(**options)


@pytest.mark.slow
def test_too_many_organs_for_the_image_are_refused():
    crowded = Recipe(foreground=0.05, distractors=3)
    with pytest.raises(
        ValueError, match=r"4 organs with a mean radius of 9\.6 voxels .* do not fit"
    ):
        draw(crowded, np.random.default_rng(0))


def read(path):
    return SimpleITK.GetArrayFromImage(SimpleITK.ReadImage(str(path)))


def test_a_task_folder_has_unseen_images_that_are_shifted(tmp_path):
    folder = write_distractors_task(
        tmp_path, QUIET, 2, seed=4, test_cases=1, test_contrast=10, test_noise=5
    )
    description = json.loads((folder / "dataset.json").read_text())
    assert description["test"] == ["./imagesTs/shifted_001.nii.gz"]
    assert [entry["label"] for entry in description["training"]] == [
        "./labelsTr/distractors_001.nii.gz",
        "./labelsTr/distractors_002.nii.gz",
    ]
    assert read(folder / "imagesTr" / "distractors_001.nii.gz").shape == QUIET.shape
    assert read(folder / "labelsTs" / "shifted_001.nii.gz").any()
    shifted = read(folder / "imagesTs" / "shifted_001.nii.gz")
    corner = shifted[:3, :6, :6]
    assert 3 < corner.std() < 7


def test_a_written_case_can_be_drawn_again_with_its_distractors(tmp_path):
    folder = write_distractors_task(tmp_path, QUIET, 2, seed=4, test_cases=1)
    for images, labels, case in (
        ("imagesTr", "labelsTr", "distractors_002"),
        ("imagesTs", "labelsTs", "shifted_001"),
    ):
        drawn = draw_case(QUIET, 4, case)
        assert np.array_equal(read(folder / images / f"{case}.nii.gz"), drawn.image)
        assert np.array_equal(read(folder / labels / f"{case}.nii.gz"), drawn.labels)
    # Two, as bright as the target, which is none of them.
    assert ndimage.label(drawn.distractors)[1] == 2
    assert not (drawn.distractors & (drawn.labels > 0)).any()
    assert np.median(drawn.image[ndimage.binary_erosion(drawn.distractors)]) > 90


def test_a_task_without_unseen_images_has_the_folder_that_nnunet_asks_for(tmp_path):
    folder = write_distractors_task(tmp_path, QUIET, 1, seed=4)
    assert list((folder / "imagesTs").iterdir()) == []


def test_a_case_does_not_depend_on_how_many_there_are(tmp_path):
    few = write_distractors_task(tmp_path / "few", QUIET, 1, seed=4)
    more = write_distractors_task(tmp_path / "more", QUIET, 2, seed=4)
    image = "imagesTr/distractors_001.nii.gz"
    assert np.array_equal(read(few / image), read(more / image))


def test_the_command_makes_the_folder(tmp_path, capsys):
    options = ["--cases", "1", "--foreground", "0.005", "--shape", "8", "32", "32"]
    assert main(["make", "-o", str(tmp_path), *options, "--number", "92"]) == 0
    assert capsys.readouterr().out.strip() == str(tmp_path / "Task92_Distractors")
    with pytest.raises(SystemExit, match="2"):
        main(["make", "-o", str(tmp_path), "--foreground", "1"])
