import numpy as np
import pytest

from nnunet_attention.maps.statistics import gate_statistics

# (2, 1, 4), worked out by hand below.
COEFFICIENTS = np.array([[[0.0, 0.5, 1.0, 0.05]], [[0.25, 0.75, 0.5, 0.9]]], dtype=np.float32)
PREDICTION = np.array([[[0, 1, 1, 0]], [[2, 2, 0, 1]]])
LABELS = {"whole": [1, 2], "core": 2, "absent": 3}


def test_means_inside_labels_and_regions_and_outside():
    found = gate_statistics(COEFFICIENTS, PREDICTION, LABELS, np.ones((2, 1, 4), dtype=bool))
    assert found["mean"] == pytest.approx(3.95 / 8)
    assert found["minimum"] == 0
    assert found["maximum"] == 1
    assert found["mean_inside"]["whole"] == pytest.approx((0.5 + 1 + 0.25 + 0.75 + 0.9) / 5)
    assert found["mean_inside"]["core"] == pytest.approx(0.5)
    assert found["mean_inside"]["absent"] is None
    assert found["mean_outside"] == pytest.approx((0 + 0.05 + 0.5) / 3)
    assert found["share_below_0.1"] == pytest.approx(2 / 8)


def test_only_what_the_network_saw_counts():
    seen = np.zeros((2, 1, 4), dtype=bool)
    seen[1, 0, 1:3] = True
    found = gate_statistics(COEFFICIENTS, PREDICTION, LABELS, seen)
    assert found["mean"] == pytest.approx(0.625)
    assert found["mean_inside"] == {"whole": 0.75, "core": 0.75, "absent": None}
    assert found["mean_outside"] == 0.5
    assert found["share_below_0.1"] == 0


@pytest.mark.parametrize(
    ("value", "bits"), [(0.5, 1.0), (0.0, 0.0), (1.0, 0.0), (0.25, 0.811278), (0.75, 0.811278)]
)
def test_entropy_is_one_bit_for_undecided_and_none_for_decided_coefficients(value, bits):
    shape = (2, 1, 3)
    found = gate_statistics(np.full(shape, value), np.zeros(shape), {}, np.ones(shape, dtype=bool))
    assert found["entropy_bits"] == pytest.approx(bits, abs=1e-6)


def test_without_background_there_is_no_mean_outside():
    shape = (2, 1, 3)
    found = gate_statistics(
        np.full(shape, 0.3), np.ones(shape), {"organ": 1}, np.ones(shape, dtype=bool)
    )
    assert found["mean_outside"] is None
