"""dataset.json: what nnU-Net cannot read is named in one line."""

import json

import pytest
from nnunetv2.utilities.label_handling.label_handling import determine_num_input_channels
from nnunetv2.utilities.plans_handling.plans_handler import PlansManager

from nnunet_attention.cli import main
from nnunet_attention.errors import CommandError
from nnunet_attention.nnunet.dataset_json import channel_names, number_of_cases, read_dataset_json

GOOD = {
    "channel_names": {"0": "T1", "1": "T2"},
    "labels": {"background": 0, "organ": 1, "both": [1, 2]},
    "regions_class_order": [1, 2],
    "numTraining": 5,
    "file_ending": ".nii.gz",
}
FIRST_VERSION = {
    "modality": {"0": "MRI"},
    "labels": {"0": "background", "1": "organ"},
    "numTraining": 1,
    "training": [{"image": "./imagesTr/a.nii.gz", "label": "./labelsTr/a.nii.gz"}],
}
BAD = {
    "first version": (FIRST_VERSION, "has the format of nnU-Net v1 .*nnUNetv2_convert_MSD_dataset"),
    "no ending": (
        {**GOOD, "file_ending": None},
        r'file_ending is None.*"file_ending": "\.nii\.gz"',
    ),
    "no dot": (
        {**GOOD, "file_ending": "nii.gz"},
        "file_ending is 'nii.gz' but must begin with a dot",
    ),
    "inverted labels": (
        {**GOOD, "labels": {"0": "background", "1": "organ"}},
        'labels must be NAME: NUMBER, but is the wrong.*"labels": {"background": 0, "organ": 1}',
    ),
    "listed labels": (
        {**GOOD, "labels": ["background", "organ"]},
        "not a mapping from names to values",
    ),
    "no background": ({**GOOD, "labels": {"organ": 1}}, "labels lacks the background"),
    "label in words": ({**GOOD, "labels": {"background": 0, "organ": "one"}}, "not a whole number"),
    "label of 1.5": ({**GOOD, "labels": {"background": 0, "organ": 1.5}}, "not a whole number"),
    "inverted channels": (
        {**GOOD, "channel_names": {"T1": 0, "T2": 1}},
        "names and numbers the wrong way round",
    ),
    "listed channels": (
        {**GOOD, "channel_names": ["T1"]},
        "not a mapping from channel numbers to names",
    ),
    "channels from 1": ({**GOOD, "channel_names": {"1": "T1"}}, "has the channels 1, not 0 to N-1"),
    "channel without text": ({**GOOD, "channel_names": {"0": None}}, "has the name None"),
    "cases in words": ({**GOOD, "numTraining": "five"}, "numTraining is 'five'"),
    "listed cases": ({**GOOD, "dataset": ["a"]}, "dataset does not name cases"),
}


def written(folder, content):
    path = folder / "dataset.json"
    path.write_text(content if isinstance(content, str) else json.dumps(content))
    return path


def test_a_good_one_is_returned_as_it_is(tmp_path):
    assert read_dataset_json(written(tmp_path, GOOD), channels=True) == GOOD


@pytest.mark.parametrize("name", ["modality", "channel_names"])
def test_both_of_nnunets_names_of_the_channels_are_read(tmp_path, name):
    content = {key: value for key, value in GOOD.items() if key != "channel_names"}
    content[name] = {"0": "CT"}
    assert read_dataset_json(written(tmp_path, content), channels=True)[name] == {"0": "CT"}


@pytest.mark.parametrize("old", [{"0": "T1"}, {"0": "T1", "1": "T2", "2": "FLAIR"}])
def test_channels_are_counted_as_nnunet_counts_them(old, minimal_plans):
    content = {**GOOD, "modality": old}
    manager = PlansManager(minimal_plans)
    configuration = manager.get_configuration("3d_fullres")
    wanted = determine_num_input_channels(manager, configuration, content)
    assert len(channel_names(content)) == wanted == len(old)
    assert channel_names(GOOD) == GOOD["channel_names"]


def test_evaluation_needs_no_channels(tmp_path):
    content = {key: GOOD[key] for key in ("labels", "file_ending")}
    path = written(tmp_path, content)
    assert read_dataset_json(path) == content
    with pytest.raises(
        CommandError, match=r'channel_names is missing.*"channel_names": {"0": "CT"}'
    ):
        read_dataset_json(path, channels=True)


def test_digits_for_a_label_are_read_as_nnunet_reads_them(tmp_path):
    content = {**GOOD, "labels": {"background": "0", "organ": "1"}}
    assert read_dataset_json(written(tmp_path, content), channels=True) == content


@pytest.mark.parametrize("what", BAD)
def test_a_bad_one_is_named_with_how_it_should_look(tmp_path, what):
    content, message = BAD[what]
    path = written(tmp_path, content)
    with pytest.raises(CommandError, match=message) as error:
        read_dataset_json(path, channels=True)
    assert str(error.value).startswith(str(path))
    assert "\n" not in str(error.value)


def test_a_trailing_comma_is_found(tmp_path):
    path = written(tmp_path, '{"labels": {"background": 0},}')
    with pytest.raises(CommandError, match=r"cannot be read as JSON.* line 1 column \d+"):
        read_dataset_json(path)


def test_a_missing_number_of_cases_is_named():
    assert number_of_cases(GOOD, "x") == 5
    with pytest.raises(CommandError, match=r'x: numTraining is missing.*"numTraining": 20'):
        number_of_cases({}, "x")


@pytest.mark.parametrize(
    "what", ["first version", "no dot", "inverted labels", "inverted channels"]
)
@pytest.mark.parametrize(
    "command",
    [
        ("crossval", "-tr", "nnUNetTrainer", "-d", "901", "--dry-run"),
        ("experiment", "capacity", "-d", "901", "--dry-run"),
        ("plan", "-d", "901"),
    ],
)
def test_commands_end_in_one_line(tmp_path, monkeypatch, capsys, command, what):
    for name in ("raw", "preprocessed", "results"):
        (tmp_path / name).mkdir()
        monkeypatch.setenv(f"nnUNet_{name}", str(tmp_path / name))
    (tmp_path / "raw" / "Dataset901_Bad").mkdir()
    path = written(tmp_path / "raw" / "Dataset901_Bad", BAD[what][0])
    assert main(list(command)) == 1
    message = capsys.readouterr().err.strip().splitlines()
    assert len(message) == 1
    assert str(path) in message[0]
