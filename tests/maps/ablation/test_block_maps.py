"""Maps in blocks against numpy, one voxel at a time."""

import itertools

import numpy as np
import pytest

from nnunet_attention.maps.ablation.block_maps import (
    Frame,
    block_means,
    block_sizes,
    cut,
    resized,
)


@pytest.fixture
def image_map() -> np.ndarray:
    return np.random.default_rng(0).random((3, 7, 10)).astype(np.float32)


def test_a_block_is_as_large_as_a_voxel_of_the_gates_grid():
    assert block_sizes((4, 8, 16), (4, 4, 4)) == (1, 2, 4)
    assert block_sizes((5, 8), (3, 4)) == (1, 2, 2)


def test_means_are_over_each_block_and_its_rest_at_the_end(image_map):
    means = block_means(image_map, (2, 3, 4))
    assert means.shape == (2, 3, 3)
    for z, y, x in np.ndindex(2, 3, 3):
        block = image_map[2 * z : 2 * z + 2, 3 * y : 3 * y + 3, 4 * x : 4 * x + 4]
        assert means[z, y, x] == pytest.approx(block.mean(), rel=1e-6)


@pytest.mark.parametrize("start", [(0, 0, 0), (1, 3, 2), (-1, -2, 5)], ids=str)
def test_a_patch_sees_the_mean_of_what_lies_there(image_map, start):
    sizes, grid, patch = (1, 2, 4), (2, 4, 3), (4, 8, 9)
    blocks = block_means(image_map, sizes)
    before = (2, 2, 0)
    # The padded image begins where nnU-Net's slicers count from.
    tile = (
        slice(None),
        *(slice(a + b, a + b + n) for a, b, n in zip(start, before, patch, strict=True)),
    )
    seen = cut(blocks, sizes, Frame(image_map.shape, before), tile, grid)
    assert seen.dtype == np.float32
    fine = np.empty(patch)
    for place in np.ndindex(patch):
        voxel = [
            min(max(a + p, 0), n - 1) for a, p, n in zip(start, place, image_map.shape, strict=True)
        ]
        fine[place] = blocks[tuple(v // s for v, s in zip(voxel, sizes, strict=True))]
    steps = [p // g for p, g in zip(patch, grid, strict=True)]
    for cell in itertools.product(*map(range, grid)):
        inside = tuple(slice(c * s, (c + 1) * s) for c, s in zip(cell, steps, strict=True))
        assert seen[cell] == pytest.approx(fine[inside].mean(), rel=1e-6)


def test_a_cell_may_cover_parts_of_voxels():
    blocks = np.array([[[0.0, 3.0, 9.0]]], dtype=np.float32)
    tile = (slice(None), slice(0, 1), slice(0, 1), slice(0, 3))
    # Each of two cells covers one voxel and a half.
    seen = cut(blocks, (1, 1, 1), Frame((1, 1, 3), (0, 0, 0)), tile, (1, 1, 2))
    np.testing.assert_allclose(seen, [[[1.0, 7.0]]], rtol=1e-6)


def test_in_2d_the_slice_is_chosen(image_map):
    tile = (slice(None), 2, slice(1, 5), slice(2, 8))
    seen = cut(image_map, (1, 1, 1), Frame(image_map.shape, (0, 0, 0)), tile, (4, 6))
    np.testing.assert_array_equal(seen, image_map[2, 1:5, 2:8])


def test_another_images_map_is_brought_onto_the_own_blocks():
    row = np.array([[[0.0, 1.0, 2.0, 3.0]]], dtype=np.float32)
    np.testing.assert_allclose(resized(row, (1, 2, 2)), [[[0.5, 2.5], [0.5, 2.5]]])


def test_equal_numbers_stay_what_they_are():
    constant = np.full((3, 7, 10), np.float32(0.1))
    blocks = block_means(constant, (2, 3, 4))
    tile = (slice(None), slice(0, 3), slice(1, 6), slice(0, 9))
    frame = Frame(constant.shape, (0, 0, 0))
    for found in (
        blocks,
        resized(blocks, (5, 2, 7)),
        cut(blocks, (2, 3, 4), frame, tile, (2, 3, 5)),
    ):
        assert (found == np.float32(0.1)).all()
