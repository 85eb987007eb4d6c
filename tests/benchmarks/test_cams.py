"""The comparison with another package's maps gives each map its own area against random order."""

import numpy as np
import pytest
from ablations import curve_table

from benchmarks.cams import areas_against_random, markdown


def test_each_map_is_compared_with_the_random_order():
    found = {
        (area["maps"], area["direction"]): area["area"]
        for area in areas_against_random(curve_table())
    }
    # The curves differ at the share 0.5 alone: half of that difference lies between them.
    attention = np.mean([(0.6 - (0.2 - 0.01 * case)) / 2 for case in range(6)])
    assert found == {
        ("attention", "deletion"): pytest.approx(attention),
        ("cam", "deletion"): pytest.approx((0.6 - 0.1) / 2),
        ("attention", "insertion"): pytest.approx((0.7 - 0.3) / 2),
        ("cam", "insertion"): pytest.approx((0.7 - 0.3) / 2),
    }


def test_the_table_has_a_row_for_each_map_gate_and_direction():
    result = {
        "package": "nnunetv2-cam 1, gradcam",
        "cases": 6,
        "steps": 2,
        "mirroring": False,
        "machine": "a machine",
        "seconds": {"attention": [1.0, 2.0, 9.0], "cam": [4.0]},
        "covered": {"attention": 1.0, "cam": 0.5},
        "areas": areas_against_random(curve_table()),
    }
    rows = [line for line in markdown(result).splitlines() if line.startswith("| 1 |")]
    assert len(rows) == 4
    assert "| 1 | deletion | nnunetv2-cam | +0.250 | [+0.250, +0.250] | 4.0 | 50% |" in rows
    assert all("| 2.0 | 100% |" in row for row in rows if "coefficients" in row)
