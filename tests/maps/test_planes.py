from dataclasses import replace

import numpy as np
import pytest
from case_views import SHAPE, SPACING_MM, anisotropic_case, flat_case

from nnunet_attention.maps.planes import (
    AXIAL,
    CORONAL,
    SAGITTAL,
    planes_of,
    shown_foreground,
)


def test_axial_rows_go_from_the_front_to_the_back():
    image = anisotropic_case().image
    # z 1: 20 to 39; y 0 is the front.
    np.testing.assert_array_equal(AXIAL.cut(image, 1)[0], [20, 21, 22, 23, 24])
    np.testing.assert_array_equal(AXIAL.cut(image, 1)[3], [35, 36, 37, 38, 39])


def test_coronal_rows_begin_at_the_head():
    np.testing.assert_array_equal(
        CORONAL.cut(anisotropic_case().image, 2),
        [[50, 51, 52, 53, 54], [30, 31, 32, 33, 34], [10, 11, 12, 13, 14]],
    )


def test_sagittal_columns_go_from_the_front_to_the_back():
    np.testing.assert_array_equal(
        SAGITTAL.cut(anisotropic_case().image, 3),
        [[43, 48, 53, 58], [23, 28, 33, 38], [3, 8, 13, 18]],
    )


@pytest.mark.parametrize(
    ("plane", "spacing", "index"),
    [(AXIAL, (2.0, 1.0), 1), (SAGITTAL, (3.0, 2.0), 3), (CORONAL, (3.0, 1.0), 2)],
)
def test_planes_know_their_spacing_and_their_fullest_slice(plane, spacing, index):
    assert plane.of_rows_and_columns(SPACING_MM) == spacing
    assert plane.fullest_index(anisotropic_case().prediction) == index


def test_one_slice_has_one_plane():
    assert planes_of(flat_case()) == (AXIAL,)
    assert planes_of(anisotropic_case()) == (AXIAL, SAGITTAL, CORONAL)


def test_the_reference_chooses_the_slices_unless_it_is_empty():
    view = anisotropic_case(reference=np.zeros(SHAPE, dtype=np.uint8))
    assert shown_foreground(view).sum() == view.prediction.sum()
    view.reference[2, 0, 0] = 2
    assert shown_foreground(view).sum() == 2


def test_ignored_voxels_choose_no_slice():
    view = anisotropic_case()
    view = replace(view, labels={**view.labels, "ignore": 3}, reference=view.prediction * 3)
    view.prediction[:] = 0
    assert not shown_foreground(view).any()
