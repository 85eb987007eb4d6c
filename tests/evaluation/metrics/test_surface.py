"""Surface metrics against hand-worked values, a slow second implementation, and MONAI."""

import itertools
import math
import os
from importlib import import_module

import numpy as np
import pytest
import SimpleITK
from shared_data import HIPPOCAMPUS, SARCOMA, needs

from nnunet_attention.evaluation.metrics import surface
from nnunet_attention.evaluation.metrics.surface import (
    average_symmetric_surface_distance,
    hausdorff_distance,
    normalised_surface_dice,
    surface_distances,
)

SPACING_MM = (3.0, 2.0, 1.0)
# It warns of an option that only its own functions use.
silence_monai = pytest.mark.filterwarnings(
    "ignore:monai.metrics.utils get_mask_edges:FutureWarning"
)


def metrics(reference, prediction, spacing_mm, tolerance_mm=1.0):
    """ASSD, HD95 and normalised surface Dice."""
    distances = surface_distances(reference, prediction, spacing_mm)
    return (
        average_symmetric_surface_distance(distances),
        hausdorff_distance(distances),
        normalised_surface_dice(distances, tolerance_mm),
    )


def mask(shape, *voxels):
    array = np.zeros(shape, dtype=bool)
    for voxel in voxels:
        array[voxel] = True
    return array


def slow_surface(array):
    """Coordinates of voxels with a face neighbour outside the mask, one after the other."""
    found = []
    for voxel in map(tuple, np.argwhere(array)):
        for axis, step in itertools.product(range(array.ndim), (-1, 1)):
            neighbour = list(voxel)
            neighbour[axis] += step
            inside = 0 <= neighbour[axis] < array.shape[axis]
            if not inside or not array[tuple(neighbour)]:
                found.append(voxel)
                break
    return np.array(found, dtype=float)


def slow_distances(origin, target, spacing_mm):
    """From each voxel of a surface to all of the other, and the least of it."""
    steps = (slow_surface(origin)[:, None] - slow_surface(target)[None]) * np.array(spacing_mm)
    return np.sqrt((steps**2).sum(axis=-1)).min(axis=1)


def test_two_voxels_are_as_far_as_the_spacing_of_their_axes_says():
    # 1 slice of 3 mm, 2 rows of 2 mm, 2 columns of 1 mm: sqrt(9 + 16 + 4).
    one, other = mask((3, 4, 5), (0, 0, 0)), mask((3, 4, 5), (1, 2, 2))
    assd, hd95, _ = metrics(one, other, SPACING_MM)
    assert assd == pytest.approx(math.sqrt(29))
    assert hd95 == pytest.approx(math.sqrt(29))


def test_directions_are_pooled_for_assd_and_the_larger_is_taken_for_hd95():
    # The prediction has one voxel more, 4 mm off; distances: 0 | 0, 4.
    one = mask((4, 5), (0, 0))
    other = mask((4, 5), (0, 0), (2, 0))
    distances = surface_distances(one, other, (2.0, 1.0))
    np.testing.assert_allclose(distances.reference_to_prediction_mm, [0])
    np.testing.assert_allclose(sorted(distances.prediction_to_reference_mm), [0, 4])
    assert average_symmetric_surface_distance(distances) == pytest.approx(4 / 3)
    # 95th percentile of (0, 4), linear: 0.95 * 4.
    assert hausdorff_distance(distances) == pytest.approx(3.8)
    assert hausdorff_distance(distances, percentile=100) == pytest.approx(4)
    assert normalised_surface_dice(distances, 3.9) == pytest.approx(2 / 3)


def test_a_distance_equal_to_the_tolerance_lies_within_it():
    # 3 * 0.1 is 0.30000000000000004.
    one, other = mask((2, 5), (0, 0)), mask((2, 5), (0, 3))
    assert metrics(one, other, (1.0, 0.1), tolerance_mm=0.3)[2] == 1
    assert metrics(one, other, (1.0, 0.1), tolerance_mm=0.2999)[2] == 0


def test_voxels_with_neighbours_of_the_mask_on_all_faces_are_no_surface():
    # A 3 x 3 x 3 cube without its centre has the same surface as with it.
    cube = mask((5, 5, 5), (slice(1, 4),) * 3)
    hollow = cube.copy()
    hollow[2, 2, 2] = False
    distances = surface_distances(cube, cube, SPACING_MM)
    assert distances.reference_to_prediction_mm.size == 26
    # The hollow cube has its 6 face centres twice inside out, yet once as voxels.
    assert surface_distances(hollow, hollow, SPACING_MM).reference_to_prediction_mm.size == 26


def test_a_mask_at_the_border_has_its_surface_there():
    everything = np.ones((3, 4, 5), dtype=bool)
    distances = surface_distances(everything, everything, SPACING_MM)
    # All but 1 x 2 x 3 inner voxels.
    assert distances.reference_to_prediction_mm.size == 60 - 6


def test_identical_masks_agree_perfectly():
    one = mask((3, 4, 5), (slice(0, 2), slice(1, 3), slice(1, 4)))
    assert metrics(one, one, SPACING_MM, tolerance_mm=0) == (0, 0, 1)


@pytest.mark.parametrize("shape", [(4, 5), (3, 4, 5)])
def test_empty_masks_are_defined_in_every_combination(shape):
    nothing, something = np.zeros(shape, dtype=bool), mask(shape, (1,) * len(shape))
    spacing_mm = SPACING_MM[-len(shape) :]
    assert all(math.isnan(value) for value in metrics(nothing, nothing, spacing_mm))
    assert metrics(something, nothing, spacing_mm) == (math.inf, math.inf, 0)
    assert metrics(nothing, something, spacing_mm) == (math.inf, math.inf, 0)


def test_a_single_slice_is_measured_as_a_plane():
    rng = np.random.default_rng(0)
    one, other = rng.random((2, 6, 7)) < 0.7
    flat = metrics(one, other, (2.0, 1.0))
    assert metrics(one[None], other[None], (5.0, 2.0, 1.0)) == flat
    assert metrics(one[:, None], other[:, None], (2.0, 5.0, 1.0)) == flat


def test_a_single_voxel_image_is_measured():
    one = np.ones((1, 1, 1), dtype=bool)
    assert metrics(one, one, SPACING_MM) == (0, 0, 1)


def test_empty_space_around_does_not_matter():
    rng = np.random.default_rng(1)
    one, other = rng.random((2, 3, 4, 5)) < 0.5
    room = ((4, 1), (0, 3), (2, 2))
    padded = metrics(np.pad(one, room), np.pad(other, room), SPACING_MM)
    # What touched the border of the image is surface there as it is beside background.
    assert padded == metrics(one, other, SPACING_MM)


# Every point by the transform, by the tree, and by the tree if it is near.
@pytest.mark.parametrize("ways", [(math.inf, 16), (0, math.inf), (0, 3)])
@pytest.mark.parametrize("seed", range(20))
def test_random_masks_give_what_the_slow_implementation_gives(seed, ways, monkeypatch):
    monkeypatch.setattr(surface, "_VOXELS_PER_POINT", ways[0])
    monkeypatch.setattr(surface, "_NEAR_VOX", ways[1])
    rng = np.random.default_rng(seed)
    dimensions = rng.integers(1, 4)
    shape = rng.integers(2, 9, dimensions)
    spacing_mm = rng.uniform(0.3, 5, dimensions)
    one, other = (rng.random(shape) < rng.choice([0.2, 0.6, 0.9]) for _ in range(2))
    one.flat[0] = other.flat[-1] = True
    there = slow_distances(one, other, spacing_mm)
    back = slow_distances(other, one, spacing_mm)
    both = np.concatenate([there, back])
    tolerance_mm = 1.7
    assert metrics(one, other, spacing_mm, tolerance_mm) == pytest.approx(
        (
            both.mean(),
            max(np.percentile(there, 95), np.percentile(back, 95)),
            (both <= tolerance_mm).mean(),
        ),
        abs=1e-5,
    )


@pytest.mark.parametrize(
    ("shape", "spacing_mm"), [((2, 2), (1.0, 1.0, 1.0)), ((2, 2), (1.0, 0.0)), ((2,), (math.nan,))]
)
def test_a_spacing_that_does_not_fit_is_refused(shape, spacing_mm):
    with pytest.raises(ValueError, match="spacing_mm must be"):
        surface_distances(np.ones(shape), np.ones(shape), spacing_mm)


def test_an_island_far_off_is_as_far_as_it_is():
    # Large enough for the tree, which does not look as far as the island.
    one = mask((40, 40, 60), (slice(5, 15), slice(5, 15), slice(5, 15)))
    other = one.copy()
    other[30, 30, 50] = True
    distances = surface_distances(one, other, SPACING_MM)
    # From the corner (14, 14, 14): 16 of 3 mm, 16 of 2 mm, 36 of 1 mm.
    farthest = math.hypot(48, 32, 36)
    assert hausdorff_distance(distances, percentile=100) == pytest.approx(farthest)
    assert np.count_nonzero(distances.prediction_to_reference_mm) == 1
    assert not distances.reference_to_prediction_mm.any()


def test_masks_of_different_shape_are_refused():
    with pytest.raises(ValueError, match="the same shape"):
        surface_distances(np.ones((2, 3)), np.ones((3, 2)), (1.0, 1.0))


def test_a_negative_tolerance_is_refused():
    distances = surface_distances(np.ones((2, 2)), np.ones((2, 2)), (1.0, 1.0))
    with pytest.raises(ValueError, match="tolerance_mm"):
        normalised_surface_dice(distances, -1.0)


def of_monai(reference, prediction, spacing_mm, tolerance_mm):
    import torch

    # In continuous integration it must be there.
    monai = (
        import_module("monai.metrics")
        if os.environ.get("CI")
        else pytest.importorskip("monai.metrics")
    )

    both = [torch.from_numpy(one)[None, None] for one in (prediction, reference)]
    options = {"include_background": True, "spacing": tuple(spacing_mm)}
    return (
        monai.compute_average_surface_distance(*both, symmetric=True, **options).item(),
        monai.compute_hausdorff_distance(*both, percentile=95, **options).item(),
        monai.compute_surface_dice(*both, [tolerance_mm], **options).item(),
    )


@silence_monai
@pytest.mark.parametrize("seed", range(12))
def test_random_masks_give_what_monai_gives(seed):
    rng = np.random.default_rng(100 + seed)
    shape = rng.integers(6, 30, 2 + seed % 2)
    spacing_mm = rng.uniform(0.3, 5, len(shape))
    one, other = (rng.random(shape) < rng.choice([0.01, 0.3, 0.95]) for _ in range(2))
    one.flat[3] = other.flat[-3] = True
    for tolerance_mm in (0.0, 1.0, float(spacing_mm[0])):
        expected = of_monai(one, other, spacing_mm, tolerance_mm)
        assert metrics(one, other, spacing_mm, tolerance_mm) == pytest.approx(expected, abs=1e-4)


@silence_monai
def test_empty_masks_give_what_monai_gives_where_monai_gives_a_number():
    nothing, something = np.zeros((3, 4, 5), dtype=bool), mask((3, 4, 5), (1, 1, 1))
    with pytest.warns(UserWarning, match="all 0"):
        expected = of_monai(something, nothing, SPACING_MM, 1.0)
    ours = metrics(something, nothing, SPACING_MM)
    assert ours[0] == expected[0] == math.inf
    assert ours[2] == expected[2] == 0


def real_pairs():
    """Real masks, and what another annotator might have drawn: moved, and without some slices."""
    files = sorted((SARCOMA / "labelsTr").glob("*.nii.gz"))[:2]
    files += sorted((HIPPOCAMPUS / "labelsTr").glob("*.nii.gz"))[:2]
    for path in files:
        image = SimpleITK.ReadImage(str(path))
        reference = SimpleITK.GetArrayFromImage(image) > 0
        prediction = np.roll(reference, (1, -2, 3), (0, 1, 2))
        prediction[: len(prediction) // 2 : 3] = False
        yield reference, prediction, image.GetSpacing()[::-1]


@silence_monai
@needs(SARCOMA)
@needs(HIPPOCAMPUS)
def test_real_masks_give_what_monai_gives():
    pairs = list(real_pairs())
    assert max(spacing_mm[0] / spacing_mm[1] for *_, spacing_mm in pairs) > 3
    for reference, prediction, spacing_mm in pairs:
        expected = of_monai(reference, prediction, spacing_mm, 2.0)
        assert metrics(reference, prediction, spacing_mm, 2.0) == pytest.approx(expected, abs=1e-4)
