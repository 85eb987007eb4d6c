"""The study of where gates help: what is trained, and that supervised gates look where told."""

import os

import pytest

from benchmarks.preparation import run_shown
from benchmarks.where_gates_help.coefficients import (
    APART_BY,
    contrast_of_gates,
    read_coefficients,
)
from benchmarks.where_gates_help.design import PHANTOM_2D, PHANTOMS, SUPERVISED
from benchmarks.where_gates_help.running import (
    folders,
    mapped_folder,
    model_folder,
    prepare,
    write_maps,
)
from nnunet_attention.nnunet.folders import RAW_REFERENCES


@pytest.mark.exhaustive
def test_supervised_coefficients_of_unseen_cases_are_apart_by_half(tmp_path):
    """One training of the study, on the phantom of 1 % foreground among three look-alikes."""
    data = PHANTOMS[6]
    assert (data.recipe.foreground, data.recipe.distractors) == (0.01, 3)
    prepare(PHANTOM_2D, data, tmp_path, None, 1)
    places = folders(tmp_path)
    variables = {**os.environ, **places.variables, **PHANTOM_2D.variables()}
    arguments = PHANTOM_2D.crossval_arguments(data, [SUPERVISED.trainer], 1, repeats=1)
    assert run_shown(["nnunet-attention", *arguments], variables) == 0
    output = mapped_folder(tmp_path, PHANTOM_2D, data, SUPERVISED)
    model = model_folder(places.results, PHANTOM_2D, data, SUPERVISED)
    write_maps(model, PHANTOM_2D, data, places, output, variables)
    references = places.raw_dataset(data.dataset) / RAW_REFERENCES
    contrasts = contrast_of_gates(read_coefficients(output, references, ".nii.gz"))
    assert sorted(contrasts) == ["gate_0", "gate_1", "mean"]
    assert min(contrasts.values()) >= APART_BY, contrasts
