import argparse

import pytest

from nnunet_attention.cli.numbers import not_negative, positive


def test_numbers_in_range_are_read():
    assert positive("1") == 1
    assert not_negative("0") == 0


@pytest.mark.parametrize(
    ("read", "text", "message"),
    [
        (positive, "0", "0 is less than 1"),
        (not_negative, "-1", "-1 is less than 0"),
        (positive, "two", "two is not a whole number"),
        (not_negative, "0.5", "0.5 is not a whole number"),
    ],
)
def test_what_is_no_such_number_is_named(read, text, message):
    with pytest.raises(argparse.ArgumentTypeError, match=message):
        read(text)
