"""`nnunet-attention describe` shows what the networks cost, or fails in one line."""

import json
import subprocess
import sys
from pathlib import Path

import pytest
from shared_data import PLANS, needs

from nnunet_attention.cli import main

DATASET = {
    "channel_names": {"0": "CT"},
    "labels": {"background": 0, "organ": 1},
    "file_ending": ".nii.gz",
}


@pytest.fixture
def plans_file(tmp_path, minimal_plans, monkeypatch) -> Path:
    """In a data set's folder in nnUNet_preprocessed."""
    folder = tmp_path / "preprocessed" / "Dataset900_Minimal"
    folder.mkdir(parents=True)
    monkeypatch.setenv("nnUNet_preprocessed", str(folder.parent))
    monkeypatch.delenv("nnUNet_raw", raising=False)
    monkeypatch.delenv("nnUNet_results", raising=False)
    (folder / "nnUNetPlans.json").write_text(json.dumps(minimal_plans))
    (folder / "dataset.json").write_text(json.dumps(DATASET))
    return folder / "nnUNetPlans.json"


def test_networks_and_gates_are_printed(plans_file, capsys):
    assert main(["describe", str(plans_file)]) == 0
    output = capsys.readouterr().out
    assert "3d_fullres: patch 4x8x16, batch 2" in output
    for row in ("plain", "attention", "wide"):
        assert f"│ {row} " in output
    gate = output[output.index("3d_fullres: gates") :]
    numbers = next(line for line in gate.splitlines() if "│     1 │" in line).split("│")
    assert [number.strip() for number in numbers[1:7]] == [
        "1",
        "6",
        "8",
        "3",
        "2x2x2",
        "0.2 (3.51%)",
    ]


@pytest.mark.parametrize(
    ("start", "coefficients"), [(None, "0.5"), ("open", "0.95"), ("he", "between 0.2 and 0.8")]
)
def test_the_start_of_the_gates_is_printed(start, coefficients, plans_file, minimal_plans, capsys):
    architecture = minimal_plans["configurations"]["3d_fullres"]["architecture"]
    architecture["network_class_name"] = "nnunet_attention.networks.AttentionUNet"
    if start is not None:
        architecture["arch_kwargs"]["gate_start"] = start
    plans_file.write_text(json.dumps(minimal_plans))
    assert main(["describe", str(plans_file)]) == 0
    output = " ".join(capsys.readouterr().out.split())
    assert f"start of a new training: {start or 'identity'} (" in output
    assert coefficients in output.partition("start of a new training")[2]


@pytest.mark.parametrize("dataset", ["900", "Dataset900_Minimal"])
def test_a_data_set_and_a_plans_name_find_the_same_file(dataset, plans_file, capsys):
    assert main(["describe", str(plans_file)]) == 0
    expected = capsys.readouterr().out
    arguments = ["-d", dataset, "-p", "nnUNetPlans", "-c", "3d_fullres"]
    assert main(["describe", *arguments]) == 0
    assert capsys.readouterr().out == expected


def test_the_numbers_are_written_as_json(plans_file, tmp_path):
    target = tmp_path / "new" / "cost.json"
    assert main(["describe", str(plans_file), "-o", str(target)]) == 0
    cost = json.loads(target.read_text())["3d_fullres"]
    assert cost["networks"]["attention"]["parameters"] == 4985
    assert cost["gates"][0]["stride"] == [2, 2, 2]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((), "give either a plans file or a data set with -d"),
        (("PLANS", "-d", "900"), "give either a plans file or a data set with -d"),
        (("absent.json",), "absent.json: there is no such file"),
        (("PLANS", "-c", "2d"), "no such configuration; it has 3d_fullres"),
        (("-d", "900", "-p", "OtherPlans"), "OtherPlans.json: there is no such file"),
        (("PLANS", "-p", "OtherPlans"), "-p would be ignored with the plans file"),
        (("-d", "901"), "-d 901: no data set has this number or name"),
    ],
)
def test_bad_input_gives_one_line_and_exit_code_1(arguments, message, plans_file, capsys):
    given = [str(plans_file) if word == "PLANS" else word for word in arguments]
    assert main(["describe", *given]) == 1
    output = capsys.readouterr()
    assert output.out == ""
    assert message in output.err
    assert output.err.count("\n") == 1


def test_an_unsupported_network_is_named(plans_file, minimal_plans, capsys):
    architecture = minimal_plans["configurations"]["3d_fullres"]["architecture"]
    architecture["network_class_name"] = "dynamic_network_architectures.architectures.primus.Primus"
    plans_file.write_text(json.dumps(minimal_plans))
    assert main(["describe", str(plans_file)]) == 1
    output = capsys.readouterr()
    assert "Primus" in output.err
    assert output.err.count("\n") == 1


def test_a_missing_dataset_json_is_named(plans_file, capsys):
    plans_file.with_name("dataset.json").unlink()
    assert main(["describe", str(plans_file)]) == 1
    assert "dataset.json: there is no such file" in capsys.readouterr().err


@pytest.mark.slow
def test_the_installed_script_knows_the_command(plans_file):
    script = Path(sys.executable).with_name("nnunet-attention")
    done = subprocess.run([script, "describe", plans_file], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert "attention" in done.stdout


@pytest.mark.slow
@needs(PLANS)
def test_all_real_plans_grow_as_expected_and_the_wide_network_is_as_large(tmp_path):
    """In one process, since many plans share their architectures and so what is measured."""
    paths = sorted(PLANS.glob("*/*/plans.json"))
    assert len(paths) == 30
    for path in paths:
        target = tmp_path / f"{path.parts[-3]}-{path.parts[-2]}.json"
        assert main(["describe", str(path), "-o", str(target)]) == 0
        costs = json.loads(target.read_text())
        assert costs.keys() == json.loads(path.read_text())["configurations"].keys()
        for name, cost in costs.items():
            networks = cost["networks"]
            plain, attention, wide = (
                networks[network]["parameters"] for network in ("plain", "attention", "wide")
            )
            assert plain < attention
            assert abs(wide / attention - 1) < 0.004, (path, name)
            if "PlainConvUNet" in path.parts and name.startswith("3d"):
                assert 1.018 < attention / plain < 1.028, (path, name)
            assert sum(gate["parameters"] for gate in cost["gates"]) == attention - plain
            assert networks["attention"]["flops"] > networks["plain"]["flops"]


def test_an_output_that_cannot_be_written_is_named_before_measuring(
    plans_file, tmp_path, capsys, monkeypatch
):
    monkeypatch.setattr("nnunet_attention.cost.configuration_cost", None)
    (tmp_path / "file").write_text("")
    for output, words in (
        (tmp_path / "file" / "costs.json", "there is a file of this name"),
        (tmp_path / "file" / "deep" / "costs.json", "part of the path is a file"),
        (tmp_path, "there is a folder of this name"),
    ):
        assert main(["describe", str(plans_file), "-o", str(output)]) == 1
        assert words in (said := capsys.readouterr().err)
        assert said.count("\n") == 1


def test_a_wide_network_that_misses_the_size_is_named(plans_file, minimal_plans, capsys):
    assert main(["describe", str(plans_file)]) == 0
    assert "no size within" not in capsys.readouterr().out  # 0.8 % off
    architecture = minimal_plans["configurations"]["3d_fullres"]["architecture"]
    architecture["arch_kwargs"]["features_per_stage"] = [2, 4, 6]
    plans_file.write_text(json.dumps(minimal_plans))
    assert main(["describe", str(plans_file)]) == 0
    output = capsys.readouterr().out
    assert "3d_fullres: the wide U-Net has 2.8% more parameters than the attention U-Net" in output
    assert "no size within 1% is possible\n" in output
