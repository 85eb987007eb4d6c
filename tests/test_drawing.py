import numpy as np
import pytest

from nnunet_attention.drawing import (
    LABEL_COLOURS,
    draw_labels,
    fullest_slice,
    label_styles,
    new_figure,
    save_png,
)


def test_the_fullest_slice_counts_small_organs_like_large_ones():
    labels = np.zeros((3, 4, 5), dtype=np.uint8)
    labels[:2, :2, :2] = 1
    labels[1:, 3, 4] = 2
    assert fullest_slice(labels) == 1
    labels[0, :, :3] = 1
    # Now slice 0 has most voxels by far: 1.0 against 4/12 + 1.0.
    assert fullest_slice(labels) == 1


def test_without_organs_the_middle_slice_is_shown():
    assert fullest_slice(np.zeros((5, 2, 2))) == 2


def test_background_and_ignored_voxels_have_no_style_and_regions_have_one():
    styles = label_styles({"background": 0, "whole": [1, 2], "core": 2, "ignore": 3})
    assert [(style.name, style.values) for style in styles] == [("whole", (1, 2)), ("core", (2,))]
    np.testing.assert_array_equal(
        styles[0].mask(np.array([[0, 1], [2, 3]])), [[False, True], [True, False]]
    )


def test_labels_beyond_the_colours_differ_by_their_line():
    styles = label_styles({f"organ {number}": number for number in range(1, 15)})
    assert len({(style.colour, style.line) for style in styles}) == 14
    assert styles[len(LABEL_COLOURS)].colour == LABEL_COLOURS[0]


def test_outlines_follow_the_edge_of_the_image():
    panel = new_figure(1, 1).subplots()
    draw_labels(panel, np.ones((3, 5)), label_styles({"all": 1}))
    assert panel.get_xlim() == (-0.5, 4.5)
    assert panel.get_ylim() == (2.5, -0.5)


def test_a_failed_picture_leaves_nothing_behind(tmp_path):
    (tmp_path / "p.png").mkdir()
    with pytest.raises(OSError, match=r"p\.png"):
        save_png(new_figure(1, 1), tmp_path / "p.png")
    assert [path.name for path in tmp_path.iterdir()] == ["p.png"]
