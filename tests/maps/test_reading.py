"""How to read a coefficient depends on where its gate started."""

import pytest

from nnunet_attention.maps.reading import how_to_read
from nnunet_attention.networks.gate_start import GATE_STARTS


@pytest.mark.parametrize("start", GATE_STARTS)
def test_every_start_has_a_sentence_of_its_own(start):
    others = {how_to_read(other) for other in GATE_STARTS if other != start}
    assert how_to_read(start) not in others
    assert how_to_read(start).startswith("These gates started")


@pytest.mark.parametrize("start", [None, "a start of tomorrow"])
def test_an_unknown_start_is_read_as_the_default_and_says_so(start):
    reading = how_to_read(start)
    assert reading.startswith("Gates with the default start began at 0.5")
    assert reading.endswith("Models older than this default began anywhere between 0.2 and 0.8.")


@pytest.mark.parametrize("start", [None, *GATE_STARTS])
def test_behind_a_norm_no_start_is_a_mark(start):
    assert "normalised afterwards" in how_to_read(start, output_transform=True)
