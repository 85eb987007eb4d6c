import pytest
from experiments_folders import TARGET, plan

from nnunet_attention.errors import CommandError
from nnunet_attention.experiments.stages import (
    configuration_of,
    method_titles,
    single_stage_configuration_of,
)
from nnunet_attention.nnunet.dataset_names import short_dataset_name


def test_methods_are_called_as_in_the_paper():
    models = [
        ("nnUNetTrainer_250epochs", "nnUNetPlans"),
        ("WideUNetTrainer", "nnUNetPlans"),
        ("AttentionUNetTrainer", "nnUNetPlans"),
        ("MyTrainer", "nnUNetPlans"),
    ]
    titles = method_titles(models)
    assert list(titles) == models
    assert list(titles.values()) == ["U-Net", "U-Net (wide)", "Attention U-Net", "MyTrainer"]


def test_methods_of_one_title_are_told_apart_by_trainer_and_plans():
    models = [("nnUNetTrainer", "nnUNetPlans"), ("nnUNetTrainer", "nnUNetResEncUNetMPlans")]
    assert list(method_titles(models).values()) == [
        "nnUNetTrainer",
        "nnUNetTrainer nnUNetResEncUNetMPlans",
    ]


def test_a_short_name_leaves_the_number_out():
    assert short_dataset_name("Dataset003_Liver_Tumour") == "Liver_Tumour"


def test_an_experiment_has_one_configuration():
    assert configuration_of(plan(TARGET)) == "3d_fullres"
    with pytest.raises(CommandError, match="-c 2d 3d_fullres: an experiment compares"):
        configuration_of(plan(TARGET, configurations=("2d", "3d_fullres")))


def test_a_cascade_is_refused_where_its_first_stage_cannot_be_had():
    cascade = plan(TARGET, configurations=("3d_cascade_fullres",))
    assert configuration_of(cascade) == "3d_cascade_fullres"
    with pytest.raises(CommandError, match="a cascade needs all folds of its first stage"):
        single_stage_configuration_of(cascade)
