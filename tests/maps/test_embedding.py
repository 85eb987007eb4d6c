import base64
import zlib

import numpy as np
import pytest

from nnunet_attention.errors import CommandError
from nnunet_attention.maps.embedding import (
    block_centres,
    block_means,
    coarsening,
    embed_colours,
    embed_labels,
    embed_values,
)


def unpacked(embedded):
    """The values that the page sees."""
    content = zlib.decompress(base64.b64decode(embedded["bytes"]))
    shape = embedded["shape"] + [3] * (embedded["channels"] == 3)
    return np.array(embedded["levels"])[np.frombuffer(content, dtype=np.uint8)].reshape(shape)


def test_the_finest_axes_become_coarser_first():
    assert coarsening((10, 100, 100), (3.0, 1.0, 1.0), 100_000) == (1, 1, 1)
    assert coarsening((10, 100, 100), (3.0, 1.0, 1.0), 25_000) == (1, 2, 2)
    # 3 mm is finer than 4 mm; 100 columns in blocks of 4 are 25.
    assert coarsening((10, 100, 100), (3.0, 1.0, 2.0), 5 * 25 * 50) == (2, 4, 2)


def test_a_single_slice_stays_one():
    assert coarsening((1, 100, 100), (0.001, 1.0, 1.0), 2500) == (1, 2, 2)
    assert coarsening((1, 1, 100), (1.0, 1.0, 1.0), 1) == (1, 1, 100)


def test_a_large_ct_is_bounded():
    shape, most = (300, 512, 512), 2**22
    factors = coarsening(shape, (1.5, 0.8, 0.8), most)
    blocks = [-(-n // factor) for n, factor in zip(shape, factors, strict=True)]
    assert most / 2 < np.prod(blocks) <= most


def test_blocks_are_means_and_the_last_ones_smaller():
    volume = np.arange(60).reshape(3, 4, 5)
    means = block_means(volume, (2, 4, 3))
    expected = [
        [[volume[:2, :, :3].mean(), volume[:2, :, 3:].mean()]],
        [[volume[2:, :, :3].mean(), volume[2:, :, 3:].mean()]],
    ]
    np.testing.assert_allclose(means, expected)


def test_half_precision_loses_nothing_in_a_mean():
    volume = np.full((64, 64, 64), 0.3, dtype=np.float16)
    np.testing.assert_array_equal(block_means(volume, (64, 64, 64)), np.float32(np.float16(0.3)))


def test_a_block_has_the_label_in_its_middle():
    labels = np.arange(60).reshape(3, 4, 5)
    # The middles of z are 1 and 2, of y 1 and 3, of x 1 and 4.
    expected = labels[np.ix_([1, 2], [1, 3], [1, 4])]
    np.testing.assert_array_equal(block_centres(labels, (2, 2, 3))[:, :, [0, 1]], expected)


def test_few_different_values_are_exact():
    volume = np.arange(60, dtype=np.float32).reshape(3, 4, 5) / 64
    np.testing.assert_array_equal(unpacked(embed_values(volume, (0.1, 0.2))), volume)


def test_many_different_values_are_nearer_than_a_255th_and_nearest_in_the_window():
    volume = np.linspace(0, 1, 6000, dtype=np.float32).reshape(10, 20, 30)
    error = np.abs(unpacked(embed_values(volume, (0.4, 0.5))) - volume)
    assert error.max() < 1 / 255
    assert error[(volume > 0.4) & (volume < 0.5)].max() < 1 / 1500


def test_a_window_beyond_the_values_does_no_harm():
    volume = np.linspace(-1000, -900, 6000).reshape(10, 20, 30)
    error = np.abs(unpacked(embed_values(volume, (-160, 240))) - volume)
    assert error.max() < 100 / 255


def test_labels_keep_their_values():
    labels = np.zeros((3, 4, 5), dtype=np.int16)
    labels[1, 2, 3], labels[2, 3, 4] = 7, 300
    np.testing.assert_array_equal(unpacked(embed_labels(labels)), labels)


def test_too_many_labels_are_an_error():
    with pytest.raises(CommandError, match="257 different labels"):
        embed_labels(np.arange(257).reshape(1, 1, 257))


def test_colours_keep_their_channels():
    image = np.arange(60, dtype=np.float32).reshape(1, 4, 5, 3) * 4 + 100
    np.testing.assert_array_equal(unpacked(embed_colours(image)), np.minimum(image, 255))
    coarse = unpacked(embed_colours(image, (1, 4, 5)))
    np.testing.assert_allclose(coarse[0, 0, 0], image.clip(0, 400).mean(axis=(0, 1, 2)), atol=0.51)
