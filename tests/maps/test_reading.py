"""How to read a coefficient depends on where its gate started."""

import pytest

from nnunet_attention.maps.reading import how_to_read
from nnunet_attention.networks.gate_start import GATE_STARTS


@pytest.mark.parametrize("start", GATE_STARTS)
def test_every_start_has_a_sentence_of_its_own(start):
    others = {how_to_read({"gate_start": other}) for other in GATE_STARTS if other != start}
    reading = how_to_read({"gate_start": start, "output_transform": False})
    assert reading not in others
    assert reading.startswith("These gates started")


@pytest.mark.parametrize("arguments", [{}, {"gate_start": "a start of tomorrow"}])
def test_an_unknown_start_is_read_as_the_default_and_says_so(arguments):
    first, second = how_to_read(arguments).splitlines()
    assert first.startswith("Gates with the default start began at 0.5")
    assert second == "Models older than this default began anywhere between 0.2 and 0.8."


@pytest.mark.parametrize("start", GATE_STARTS)
def test_behind_a_norm_no_start_is_a_mark(start):
    reading = how_to_read({"gate_start": start, "output_transform": True})
    assert "normalised afterwards" in reading
