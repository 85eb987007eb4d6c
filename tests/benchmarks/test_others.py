"""What README.md says of other packages is what was seen when they were run."""

import json
import sys

import pytest
from nnunetv2.utilities.plans_handling.plans_handler import PlansManager
from repository import REPOSITORY

from benchmarks.others import _PLANS, RESULTS, main, noted, plans_of
from nnunet_attention.networks import build_attention_network

README = (REPOSITORY / "README.md").read_text(encoding="utf-8")
RECORD = json.loads(RESULTS.read_text(encoding="utf-8"))
ANSWERS = RECORD["answers"]


def networks(name: str) -> dict:
    return ANSWERS[name]["networks"]


def row(title: str) -> list[str]:
    (line,) = (line for line in README.splitlines() if line.startswith(f"| {title} |"))
    return [cell.strip() for cell in line.split("|")[2:-1]]


def test_versions_and_date_are_those_of_the_run():
    assert f"nnunetv2 {RECORD['versions']['nnunetv2']} and torch" in README
    assert f"torch {RECORD['versions']['torch']}" in README
    assert RECORD["date"] == "2026-11-28"
    assert "on 28 November 2026 with" in README
    heads = (
        f"nnunet-attention {ANSWERS['nnunet-attention']['source']['version']} ",
        f"segforge {ANSWERS['segforge']['source']['version']} ",
        f"MONAI {ANSWERS['MONAI']['source']['version']}, ",
        f"nnunetv2-cam {ANSWERS['nnunetv2-cam']['source']['version']} ",
        f"nnU-Net {ANSWERS['fork']['source']['version of nnunetv2']}, "
        f"at {ANSWERS['fork']['source']['commit'][:7]} ",
    )
    assert all(head in README for head in heads)


def test_the_trainers_that_are_found_with_nothing_set():
    found = {
        name: answer["found with nothing set"]
        for name, answer in ANSWERS.items()
        if "found with nothing set" in answer
    }
    assert found == {"nnU-Net": True, "nnunet-attention": True, "segforge": False, "fork": True}
    assert ANSWERS["segforge"]["found with its folder set"]
    cells = row("found by `nnUNetv2_train` with nothing set")
    assert [cell[:2] for cell in cells] == ["ye", "no", "no", "no", "ye"]


def test_the_networks_that_follow_the_plans():
    plain, ours = networks("nnU-Net"), networks("nnunet-attention")
    for plans in _PLANS:
        assert 1.01 < ours[plans]["parameters"] / plain[plans]["parameters"] < 1.03
    theirs = {plans["parameters"] for plans in networks("segforge").values()}
    assert {f"{number / 1e6:.1f} M" for number in theirs} == {"5.9 M"}
    fork = networks("fork")
    assert f"{fork['isotropic']['parameters'] / 1e6:.1f} M" == "75.6 M"
    assert "failed" in fork["anisotropic"]
    cells = row("network follows the plans")
    assert "5.9 M" in cells[1]
    assert "75.6 M" in cells[4]


@pytest.mark.parametrize(
    ("name", "gates", "is_coarser", "norms", "deep"),
    [
        ("nnunet-attention", 3, True, False, True),
        ("segforge", 3, False, True, False),
        ("MONAI", 4, False, True, False),
        ("fork", 3, False, True, True),
    ],
)
def test_the_gates(name, gates, is_coarser, norms, deep):
    network = networks(name)["isotropic"]
    grids = network["grid of the gates' arithmetic"], network["grid of the skips"]
    assert len(grids[0]) == network["gates"] == gates
    assert all((psi != skip) == is_coarser for psi, skip in zip(*grids, strict=True))
    # MONAI's alone, which segforge has too, stand at full resolution.
    assert ("32x32x32" in grids[1]) == (name in ("segforge", "MONAI"))
    assert network["norms in gates"] == norms
    assert network["deep supervision"] == deep
    assert 0 < network["loss of a training step"] < 2


def test_cams_are_a_picture_of_each_slice():
    case = ANSWERS["nnunetv2-cam"]["case"]
    assert case["files written, by ending"] == {".png": case["slices of the image"]}


def test_no_other_has_words_of_statistics():
    counts = {name: answer["source"] for name, answer in ANSWERS.items()}
    words = {name: source["files with words of statistics"] for name, source in counts.items()}
    assert words.pop("nnunet-attention") > 0
    assert set(words.values()) == {0}


@pytest.mark.parametrize("name", _PLANS)
def test_its_plans_are_plans(name):
    configuration = PlansManager(plans_of(_PLANS[name])).get_configuration("3d_fullres")
    network = build_attention_network(configuration, 1, 2, True)
    assert len(network.decoder.gates) == len(_PLANS[name]["features"]) - 2


@pytest.mark.parametrize("ends", [ValueError("bad\nworse"), SystemExit(1)])
def test_what_fails_is_noted(ends):
    def failing():
        raise ends

    message = {"ValueError": "ValueError: bad", "SystemExit": "SystemExit: 1"}
    assert noted(failing) == {"failed": message[type(ends).__name__]}


def test_without_the_folders_it_says_where_they_come_from(capsys, monkeypatch):
    monkeypatch.setattr(sys, "argv", ["benchmarks.others"])
    with pytest.raises(SystemExit):
        main([])
    assert "give --packages and --fork" in capsys.readouterr().err
