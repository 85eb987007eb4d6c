"""Images are named as nnU-Net wants them, or the first file or case that is not is named."""

import numpy as np
import pytest
from skimage.io import imsave

from nnunet_attention.errors import CommandError
from nnunet_attention.prediction.image_names import check_label_images, named_cases


def write_picture(path, *channels):
    imsave(path, np.zeros((4, 5, *channels), np.uint8), check_contrast=False)


def test_colours_of_one_picture_are_all_channels(tmp_path):
    write_picture(tmp_path / "a_0000.png", 3)
    for channel in range(3):
        write_picture(tmp_path / f"b_000{channel}.png")
    assert named_cases(tmp_path, ".png", 3, "NaturalImage2DIO") == ["a", "b"]
    write_picture(tmp_path / "a_0000.png")
    with pytest.raises(CommandError, match=r"case a: a_0001.png, a_0002.png missing"):
        named_cases(tmp_path, ".png", 3, "NaturalImage2DIO")


@pytest.mark.parametrize(
    ("names", "message"),
    [
        (["a.png"], "a.png has no channel in its name"),
        (["_0000.png"], "_0000.png has no channel in its name"),
        (["a_001.png"], "a_001.png has no channel in its name"),
        (["._a_0000.png", "a_0000.png"], "._a_0000.png is not an image, but metadata that macOS"),
        (["a_0000.png", "a_0001.png", "a_0002.png"], r"channel\(s\) 0000, 0001, 0002, but"),
        (["a_0001.png"], r"case a: a_0000.png missing; the model takes 2 channel\(s\)"),
        (["a_0000.nii.gz"], "there are no images"),
    ],
)
def test_what_is_named_otherwise_is_an_error(names, message, tmp_path):
    for name in names:
        (tmp_path / name).touch()
    with pytest.raises(CommandError, match=message):
        named_cases(tmp_path, ".png", 2, "NaturalImage2DIO")


@pytest.mark.parametrize("kind", ["folder", "link"])
def test_what_is_no_file_is_an_error_as_nnunet_would_pass_over_it(kind, tmp_path):
    (tmp_path / "a_0000.png").touch()
    path = tmp_path / "b_0000.png"
    path.mkdir() if kind == "folder" else path.symlink_to(tmp_path / "elsewhere.png")
    with pytest.raises(CommandError, match=r"b_0000.png is a folder, or a link to a missing file"):
        named_cases(tmp_path, ".png", 1, "NaturalImage2DIO")


def test_a_reader_that_is_not_known_may_read_all_channels_from_one_file(tmp_path):
    write_picture(tmp_path / "a_0000.png")
    assert named_cases(tmp_path, ".png", 2, "OddIO") == ["a"]


def test_missing_label_images_are_counted_and_the_first_is_named(tmp_path):
    (tmp_path / "a.png").touch()
    check_label_images("-gt", tmp_path, ["a"], ".png")
    with pytest.raises(CommandError, match=r"-gt .*: 2 of 3 label images are missing.* b\.png"):
        check_label_images("-gt", tmp_path, ["a", "b", "c"], ".png")
