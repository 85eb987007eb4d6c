"""The examination of a set-up."""

import os
import re

import pytest

from nnunet_attention import __version__, doctor, doorway
from nnunet_attention.cli import main

VARIABLES = ("nnUNet_raw", "nnUNet_preprocessed", "nnUNet_results")


@pytest.fixture
def folders(tmp_path, monkeypatch):
    for name in VARIABLES:
        (tmp_path / name).mkdir()
        monkeypatch.setenv(name, str(tmp_path / name))
    return tmp_path


def test_a_folder_that_is_not_set_gets_the_export_as_remedy():
    finding = doctor.examine_folder("nnUNet_raw", None, must_be_writable=False)
    assert finding.observation == "not set"
    assert finding.remedy == "export nnUNet_raw=/path/to/nnUNet_raw"


def test_a_missing_folder_gets_mkdir_as_remedy(tmp_path):
    finding = doctor.examine_folder("nnUNet_results", str(tmp_path / "no"), must_be_writable=True)
    assert finding.remedy == f'mkdir -p "{tmp_path / "no"}"'


def test_a_writable_folder_is_well_and_left_empty(tmp_path):
    finding = doctor.examine_folder("nnUNet_results", str(tmp_path), must_be_writable=True)
    assert finding.remedy is None
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(("must_be_writable", "is_wrong"), [(True, True), (False, False)])
def test_a_read_only_folder_is_wrong_only_where_nnunet_writes(
    tmp_path, monkeypatch, must_be_writable, is_wrong
):
    def refuse(dir):  # noqa: A002 tempfile's name
        raise PermissionError(13, "Permission denied")

    # The tests may run as root, who may write everywhere.
    monkeypatch.setattr(doctor.tempfile, "TemporaryFile", refuse)
    finding = doctor.examine_folder("nnUNet_x", str(tmp_path), must_be_writable)
    assert (finding.remedy is not None) == is_wrong


def test_a_missing_package_is_named_with_its_remedy():
    finding = doctor.examine_package("no-such-package")
    assert (finding.observation, finding.remedy) == (
        "not installed",
        "pip install no-such-package",
    )


@pytest.mark.parametrize(("version", "is_wrong"), [("2.7.0", True), ("2.8.0", False)])
def test_an_nnunet_that_is_too_old_is_wrong(monkeypatch, version, is_wrong):
    real = doctor.metadata.version
    monkeypatch.setattr(
        doctor.metadata, "version", lambda name: version if name == "nnunetv2" else real(name)
    )
    finding = doctor.examine_package("nnunetv2")
    assert (finding.remedy is not None) == is_wrong
    if is_wrong:
        # Its parts, as installers put them in an order of their own.
        assert re.fullmatch(r'pip install "nnunetv2(<3,)?>=2\.8(,<3)?"', finding.remedy)


def test_a_healthy_set_up_ends_with_zero(folders, capsys):
    assert main(["doctor"]) == 0
    output = "".join(capsys.readouterr().out.split())
    assert __version__ in output
    assert "atstart-up,nothingtoexport" in output
    assert "wrong" not in output


def test_what_is_wrong_is_printed_with_its_remedy_and_ends_with_one(folders, capsys, monkeypatch):
    monkeypatch.delenv("nnUNet_results")
    monkeypatch.delenv(doorway.SEARCH_PATH_VARIABLE, raising=False)
    monkeypatch.setenv(doorway.OPT_OUT_VARIABLE, "0")
    assert main(["doctor"]) == 1
    lines = capsys.readouterr().out.splitlines()
    assert "nnUNet_results: export nnUNet_results=/path/to/nnUNet_results" in lines
    assert (
        "discovery: unset NNUNET_ATTENTION_AUTOREGISTER, or export "
        'nnUNet_extTrainer="$(nnunet-attention where)"' in lines
    )


@pytest.mark.slow
def test_the_manual_route_counts_where_start_up_is_switched_off(monkeypatch):
    environment = {
        **os.environ,
        doorway.OPT_OUT_VARIABLE: "0",
        doorway.SEARCH_PATH_VARIABLE: doorway.directory(),
    }
    finding, device = doctor.examine_discovery(environment)
    assert finding.remedy is None
    assert "through the exported nnUNet_extTrainer" in finding.observation
    assert device.subject == "device"


def test_a_broken_file_in_a_users_trainer_folder_is_blamed(tmp_path):
    (tmp_path / "broken.py").write_text("raise RuntimeError('I am broken')")
    environment = {**os.environ, doorway.SEARCH_PATH_VARIABLE: str(tmp_path)}
    finding = doctor.examine_discovery(environment)[0]
    assert "I am broken" in finding.observation
    assert str(tmp_path) in finding.remedy


@pytest.mark.parametrize(
    ("written", "what", "meant"),
    [
        ('"/data/raw"', "contains quotation marks", "/data/raw"),
        ("'/data/my raw'", "contains quotation marks", "'/data/my raw'"),
        ("/data/raw ", "begins or ends with a space", "/data/raw"),
        ("~/raw", "begins with ~", "/home/me/raw"),
        ("$HOME/raw", "contains the name of a variable", "/home/me/raw"),
    ],
)
def test_a_value_that_no_shell_has_read_is_named(monkeypatch, written, what, meant):
    monkeypatch.setenv("HOME", "/home/me")
    finding = doctor.examine_folder("nnUNet_raw", written, must_be_writable=False)
    assert finding.observation.startswith(f"the value {written} {what}")
    assert finding.remedy == f"export nnUNet_raw={meant}"


def test_a_folder_whose_name_really_has_quotation_marks_is_in_order(tmp_path):
    folder = tmp_path / '"raw"'
    folder.mkdir()
    finding = doctor.examine_folder("nnUNet_raw", str(folder), must_be_writable=False)
    assert finding.remedy is None
