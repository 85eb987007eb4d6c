"""Numbers in plans with which no network can be built are refused before one is tried."""

import pytest

from nnunet_attention.errors import CommandError
from nnunet_attention.networks.plans_numbers import check_sizes
from nnunet_attention.networks.trusted_plans import check_plans


@pytest.mark.parametrize("axes", [[0, 1], [0, 1, 1], [0, None, 2], ["0", 1, 2], 3, [False, 1, 2]])
@pytest.mark.parametrize("name", ["transpose_forward", "transpose_backward"])
def test_an_order_of_axes_that_is_none_is_refused(name, axes, minimal_plans):
    minimal_plans[name] = axes
    with pytest.raises(CommandError, match=f"for {name}; expected a permutation of the axes"):
        check_plans(minimal_plans, "3d_fullres")


@pytest.mark.parametrize("size", [[8, 16], [4, 8, 16, 2], [4, 0, 16], [4, None, 16], "big"])
def test_a_patch_of_other_axes_than_the_strides_is_refused(size, minimal_plans):
    minimal_plans["configurations"]["3d_fullres"]["patch_size"] = size
    with pytest.raises(CommandError, match=r"for patch_size|for spacing|among strides"):
        check_plans(minimal_plans, "3d_fullres")


@pytest.mark.parametrize("spacing", [[[], 1, 1], [3, 0, 1], [3, float("nan"), 1], None])
def test_a_spacing_that_is_none_is_refused(spacing, minimal_plans):
    minimal_plans["configurations"]["3d_fullres"]["spacing"] = spacing
    with pytest.raises(CommandError, match=r"for spacing; expected a positive number"):
        check_plans(minimal_plans, "3d_fullres")


@pytest.mark.parametrize("row", [[1, 2, None], [1, 2], [1, 0, 2], None])
def test_strides_that_are_no_numbers_are_refused(row, minimal_plans):
    minimal_plans["configurations"]["3d_fullres"]["architecture"]["arch_kwargs"]["strides"][1] = row
    with pytest.raises(CommandError, match="among strides; expected 3 positive"):
        check_plans(minimal_plans, "3d_fullres")


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("n_stages", 129),
        ("n_conv_per_stage", [2, [2, 129]]),
        ("features_per_stage", [32, 2**16 + 1]),
        ("norm_op_kwargs", 1e30),
    ],
)
def test_a_number_larger_than_any_networks_is_named(name, value):
    with pytest.raises(CommandError, match=f"for {name}; no network is that large"):
        check_sizes({"n_stages": 6, name: value})


def test_the_largest_sizes_pass():
    check_sizes({"n_stages": 128, "features_per_stage": [2**16], "conv_bias": True, "text": "9e9"})
