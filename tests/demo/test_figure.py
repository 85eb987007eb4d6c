import numpy as np
import pytest
import SimpleITK
from matplotlib.colors import to_rgb
from matplotlib.image import imread

from nnunet_attention.demo.figure import Slice, cut_slice, draw
from nnunet_attention.drawing import LABEL_COLOURS


def write(path, array, spacing_mm, direction=None):
    """Writes an array (z, y, x), or (t, z, y, x), with spacing (z, y, x)."""
    image = SimpleITK.GetImageFromArray(array, isVector=False)
    image.SetSpacing(spacing_mm[::-1] + (1.0,) * (array.ndim - 3))
    if direction is not None:
        image.SetDirection(direction)
    SimpleITK.WriteImage(image, str(path))
    return path


@pytest.fixture
def labels():
    """Shape (3, 4, 5): organ 1 in slices 0 and 1, organ 2 in slices 1 and 2."""
    array = np.zeros((3, 4, 5), dtype=np.uint8)
    array[0, :2, :2] = 1
    array[1, :2, :2] = 1
    array[1, 3, 4] = 2
    array[2, 3, 4] = 2
    return array


def test_thick_slices_are_cut_along_their_axis(tmp_path, labels):
    image = np.arange(60, dtype=np.float32).reshape(3, 4, 5)
    one = cut_slice(
        write(tmp_path / "i.nii.gz", image, (3.0, 2.0, 1.0)),
        [write(tmp_path / "l.nii.gz", labels, (3.0, 2.0, 1.0))],
    )
    np.testing.assert_array_equal(one.image, image[1])
    np.testing.assert_array_equal(one.labels[0], labels[1])
    assert one.spacing_mm == (2.0, 1.0)
    assert (one.number, one.slices) == (2, 3)


def test_other_orientations_show_the_same_picture(tmp_path, labels):
    image = np.arange(60, dtype=np.float32).reshape(3, 4, 5)
    # x to the right and y to the front: the same voxels, stored from the other corner.
    turned = (-1.0, 0.0, 0.0, 0.0, -1.0, 0.0, 0.0, 0.0, 1.0)
    spacing_mm = (3.0, 2.0, 1.0)
    one = cut_slice(
        write(tmp_path / "i.nii.gz", image[:, ::-1, ::-1].copy(), spacing_mm, turned),
        [write(tmp_path / "l.nii.gz", labels[:, ::-1, ::-1].copy(), spacing_mm, turned)],
    )
    np.testing.assert_array_equal(one.image, image[1])
    np.testing.assert_array_equal(one.labels[0], labels[1])


def test_thick_coronal_slices_stand_head_up(tmp_path):
    image = np.arange(60, dtype=np.float32).reshape(3, 4, 5)
    labels = np.zeros((3, 4, 5), dtype=np.uint8)
    labels[2, 1, 3] = 1
    one = cut_slice(
        write(tmp_path / "i.nii.gz", image, (1.0, 4.0, 2.0)),
        [write(tmp_path / "l.nii.gz", labels, (1.0, 4.0, 2.0))],
    )
    np.testing.assert_array_equal(one.image, image[::-1, 1])
    assert one.labels[0][0, 3] == 1
    assert one.spacing_mm == (1.0, 2.0)


def test_of_several_channels_the_first_is_shown(tmp_path, labels):
    channels = np.stack([np.arange(60).reshape(3, 4, 5), np.zeros((3, 4, 5))]).astype(np.float32)
    one = cut_slice(
        write(tmp_path / "i.nii.gz", channels, (3.0, 2.0, 1.0)),
        [write(tmp_path / "l.nii.gz", labels, (3.0, 2.0, 1.0))],
    )
    np.testing.assert_array_equal(one.image, channels[0, 1])


def test_the_picture_has_the_aspect_of_the_body_and_the_organs_colour(tmp_path):
    labels = np.zeros((20, 30), dtype=np.uint8)
    labels[5:15, 5:25] = 1
    row = Slice(np.zeros((20, 30)), (labels,), spacing_mm=(3.0, 1.0), number=1, slices=1)
    draw(tmp_path / "p.png", [row], [["image", "reference"]], {1: "liver"}, (0.0, 1.0))
    pixels = imread(tmp_path / "p.png")[..., :3]
    outline = np.abs(pixels - to_rgb(LABEL_COLOURS[0])).max(axis=-1) < 0.02
    # Below the legend, which shows the colour too.
    outline[: len(outline) // 4] = False
    rows, columns = np.nonzero(outline)
    height, width = np.ptp(rows), np.ptp(columns)
    # 10 rows of 3 mm over 20 columns of 1 mm.
    assert height / width == pytest.approx(1.5, rel=0.05)
    assert [path.name for path in tmp_path.iterdir()] == ["p.png"]


def test_a_label_map_without_organs_is_drawn_without_warning(tmp_path):
    row = Slice(np.zeros((4, 5)), (np.zeros((4, 5)),), (1.0, 1.0), 1, 1)
    draw(tmp_path / "p.png", [row], [["image", "reference"]], {1: "liver"}, None)
    assert (tmp_path / "p.png").stat().st_size > 0
