"""Seeds are read from the variable, kept beside a fold's checkpoints and not changed under way."""

import json

import pytest

from nnunet_attention.errors import CommandError
from nnunet_attention.nnunet.seeds import (
    VARIABLE,
    SeedRecord,
    check_same_seed,
    read_seed,
    seed_file,
    seed_from,
    write_seed,
)


def test_no_seed_is_none():
    assert seed_from(None) is seed_from("") is None
    assert seed_from("0") == 0
    assert seed_from("2147483647") == 2147483647


@pytest.mark.parametrize("text", ["a", "-1", "1.5", "2147483648", "\u0663"])
def test_a_bad_seed_is_refused(text):
    with pytest.raises(ValueError, match=f"{VARIABLE}='{text}' must be a whole number"):
        seed_from(text)


def test_what_was_written_is_read(tmp_path):
    assert read_seed(tmp_path) is None
    write_seed(tmp_path, SeedRecord(7, 3))
    assert json.loads((tmp_path / "seed.json").read_text()) == {"seed": 7, "first_epoch": 3}
    assert read_seed(tmp_path) == SeedRecord(7, 3)
    write_seed(tmp_path, None)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    "content", ["{}", '{"seed": 7}', '{"seed": "7", "first_epoch": 0}', '{"seed": true}', "{"]
)
def test_a_damaged_record_is_refused_by_name(tmp_path, content):
    seed_file(tmp_path).write_text(content)
    with pytest.raises(CommandError, match=r"seed\.json"):
        read_seed(tmp_path)


def test_another_seed_is_refused_with_the_remedy(tmp_path):
    for record, seed in ((None, 7), (SeedRecord(7), None), (SeedRecord(7), 7)):
        check_same_seed(tmp_path, record, seed)
    with pytest.raises(
        CommandError, match="was trained with the seed 7, but 8 was requested; give"
    ):
        check_same_seed(tmp_path, SeedRecord(7), 8)
