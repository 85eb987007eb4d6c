"""Maps of patches and of mirrored passes are joined with the weights that nnU-Net has."""

from itertools import product

import numpy as np
import pytest
import torch

from nnunet_attention.maps.stitching import MapStitcher, average_of_mirrored, on_grid_of_patch


def test_where_patches_overlap_their_mean_is_taken_and_the_last_map_is_the_mean_of_the_first():
    stitcher = MapStitcher((1, 2, 5), (1, 2, 3), 2, torch.device("cpu"), use_gaussian=False)
    for begin, value in ((0, 1.0), (2, 5.0)):
        tile = (slice(None), slice(0, 1), slice(0, 2), slice(begin, begin + 3))
        stitcher.add(tile, torch.stack([torch.full((1, 2, 3), value), torch.full((1, 2, 3), 3.0)]))
    maps = MapStitcher.average(stitcher.sums, averaged=2)
    expected = [[1, 1, 3, 5, 5], [3] * 5, [2, 2, 3, 4, 4]]
    np.testing.assert_array_equal(maps[:, 0, 0], expected)
    np.testing.assert_array_equal(maps[:, 0, 1], expected)


def test_sums_of_an_earlier_stitcher_are_added_to_in_place():
    first = MapStitcher((1, 1, 2), (1, 1, 2), 1, torch.device("cpu"), use_gaussian=False)
    second = MapStitcher(
        (1, 1, 2), (1, 1, 2), 1, torch.device("cpu"), use_gaussian=False, sums=first.sums
    )
    tile = (slice(None), slice(0, 1), slice(0, 1), slice(0, 2))
    first.add(tile, torch.full((1, 1, 1, 2), 1.0))
    second.add(tile, torch.full((1, 1, 1, 2), 4.0))
    assert second.sums is first.sums
    np.testing.assert_array_equal(MapStitcher.average(first.sums, 1)[0, 0, 0], [2.5, 2.5])


def test_a_map_on_the_patchs_own_grid_stays_and_a_coarser_one_is_interpolated_linearly():
    fine = torch.arange(4.0).reshape(1, 1, 1, 4)
    coarse = torch.tensor([0.0, 4.0]).reshape(1, 1, 1, 2)
    on_patch = on_grid_of_patch([fine, coarse], (1, 4))
    # The centres of the coarse voxels are at 0.5 and 2.5 of the fine ones.
    np.testing.assert_allclose(on_patch[:, 0], [[0, 1, 2, 3], [0, 1, 3, 4]])


@pytest.mark.parametrize("axes", [(), (1,), (0, 2), (0, 1, 2)], ids=str)
def test_maps_of_mirrored_passes_are_flipped_back_and_averaged(axes):
    generator = torch.Generator().manual_seed(0)
    # nnU-Net mirrors along no axis, then along one, two and three.
    choices = sorted(
        (
            tuple(axis for axis, chosen in zip(axes, choice, strict=True) if chosen)
            for choice in product((False, True), repeat=len(axes))
        ),
        key=lambda flip: (len(flip), flip),
    )
    upright = [torch.randn((1, 1, 3, 4, 5), generator=generator) for _ in choices]
    passes = [
        {"gate_0": torch.from_numpy(np.flip(one.numpy(), [axis + 2 for axis in flip]).copy())}
        for one, flip in zip(upright, choices, strict=True)
    ]
    average = average_of_mirrored(passes, axes)
    np.testing.assert_allclose(
        average["gate_0"], np.mean([one.numpy() for one in upright], 0), atol=1e-6
    )


def test_half_precision_is_averaged_in_32_bits():
    average = average_of_mirrored([{"gate_0": torch.full((1, 1, 2), 0.5).half()}], ())
    assert average["gate_0"].dtype == torch.float32


def test_another_number_of_passes_is_no_version_of_nnunet_that_is_known():
    passes = [{"gate_0": torch.zeros(1, 1, 2, 2)}] * 3
    with pytest.raises(RuntimeError, match="3 times for 2 mirrored patches"):
        average_of_mirrored(passes, (1,))
