"""Plans files are read with clear errors and never overwritten with another content."""

import copy

import pytest

from nnunet_attention.errors import CommandError
from nnunet_attention.plans import read_plans, save_plans


def test_plans_are_written_whole_in_their_own_order(tmp_path, minimal_plans):
    path = tmp_path / "new" / "Plans.json"
    save_plans(minimal_plans, path)
    assert list(read_plans(path)) == list(minimal_plans)
    assert path.read_text().endswith("}\n")
    assert [found.name for found in path.parent.iterdir()] == ["Plans.json"]


def test_configurations_that_someone_added_are_kept(tmp_path, minimal_plans):
    path = tmp_path / "Plans.json"
    with_addition = copy.deepcopy(minimal_plans)
    with_addition["configurations"]["mine"] = {"inherits_from": "3d_fullres", "batch_size": 7}
    save_plans(with_addition, path)
    save_plans(minimal_plans, path)
    assert read_plans(path) == with_addition


def test_tuples_and_lists_are_the_same_content(tmp_path, minimal_plans):
    path = tmp_path / "Plans.json"
    save_plans(minimal_plans, path)
    save_plans({**minimal_plans, "transpose_forward": (0, 1, 2)}, path)


def test_the_difference_is_named(tmp_path, minimal_plans):
    path = tmp_path / "Plans.json"
    save_plans(minimal_plans, path)
    changed = copy.deepcopy(minimal_plans)
    changed["image_reader_writer"] = "NibabelIO"
    changed["configurations"]["3d_fullres"]["batch_size"] = 3
    with pytest.raises(CommandError, match=r"\(image_reader_writer, configuration 3d_fullres\)"):
        save_plans(changed, path)
    assert read_plans(path) == minimal_plans


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (None, "there is no such file"),
        ("{", "cannot be read as JSON"),
        ("[]", "holds no JSON object"),
        ("{}", "it has no configurations"),
        ('{"configurations": {"2d": {"batch_size": 2}}}', "configuration 2d has no architecture"),
    ],
)
def test_a_bad_file_is_named(content, message, tmp_path):
    path = tmp_path / "Plans.json"
    if content is not None:
        path.write_text(content)
    with pytest.raises(CommandError, match=message) as error:
        read_plans(path)
    assert str(path) in str(error.value)
