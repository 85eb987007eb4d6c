"""An ablation's verdicts are read back for maps, or refused in one line."""

import json

import pytest
from ablations import made_up_ablation

from nnunet_attention.errors import CommandError
from nnunet_attention.evaluation.ablation.outputs import RECORD, write_ablation
from nnunet_attention.evaluation.ablation.proof import read_proof


def test_verdicts_on_single_gates_are_found_by_map(tmp_path):
    ablation = made_up_ablation()
    write_ablation(ablation, tmp_path)
    proof = read_proof(tmp_path / RECORD)
    assert proof.weights == (1, 2)
    assert proof.sentences == {
        "gate_0": (ablation.verdicts[0].sentence,),
        "gate_1": (ablation.verdicts[1].sentence,),
    }


def test_the_verdict_about_all_labels_comes_first(tmp_path):
    verdicts = [
        {"gates": gates, "label": label, "sentence": f"{gates} {label}"}
        for gates in ("all", "0")
        for label in ("a", "b", "mean of labels")
    ]
    path = tmp_path / RECORD
    path.write_text(json.dumps({"model": {"weights": [1]}, "verdicts": verdicts}))
    assert read_proof(path).sentences == {"gate_0": ("0 mean of labels", "0 a", "0 b")}


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ({}, "it is not an ablation.json"),
        ({"model": {"weights": "x"}, "verdicts": []}, "it is not an ablation.json"),
        ({"model": {"weights": [1]}, "verdicts": []}, "no verdict on any single gate"),
    ],
)
def test_what_is_no_proof_is_refused(tmp_path, content, message):
    path = tmp_path / RECORD
    path.write_text(json.dumps(content))
    with pytest.raises(CommandError, match=f"--proof .*{message}"):
        read_proof(path)
