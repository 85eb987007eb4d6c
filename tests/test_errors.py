"""What other people's errors say in one line."""

import pytest

from nnunet_attention.errors import last_line


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ("one line", "one line"),
        ("ImageIO.cxx:935:\n  [nrrd] hit invalid character\n\n", "[nrrd] hit invalid character"),
        ("", "ValueError"),
        ("\n ", "ValueError"),
    ],
)
def test_the_last_line_is_what_is_wrong(text, line):
    assert last_line(ValueError(text)) == line
