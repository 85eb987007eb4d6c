import pytest
from experiments_folders import SOURCE, TARGET, plan

from nnunet_attention.errors import CommandError
from nnunet_attention.experiments.stages import Trainings
from nnunet_attention.experiments.training_size import Derivation, training_size

DERIVED = "Dataset900_TargetTrainingSize3"


def test_stages_prepare_derive_and_train(folders):
    prepare, derivation, trainings = training_size(plan(TARGET, folds=("3",)), folders).stages
    assert isinstance(prepare, Trainings)
    assert (prepare.plan.datasets, prepare.plan.folds) == ((TARGET,), ())
    assert isinstance(derivation, Derivation)
    assert derivation.name == f"derive {DERIVED}"
    assert derivation.description == (
        f"link {DERIVED} to the data of {TARGET}, with fold 3 and its swap as splits"
    )
    assert isinstance(trainings, Trainings)
    assert (trainings.plan.datasets, trainings.plan.folds) == ((DERIVED,), ("0", "1"))


def test_settings_are_named_by_the_numbers_of_cases(folders, tmp_path):
    experiment = training_size(plan(TARGET, folds=("3",)), folders)
    experiment.stages[1].do(tmp_path / "log")
    layout = experiment.layout()
    assert layout.settings == {f"{DERIVED} fold 0": "4/1", f"{DERIVED} fold 1": "1/4"}
    assert layout.methods_in_columns
    assert [(arm.setting, arm.folds) for arm in experiment.arms] == [
        (f"{DERIVED} fold 0", ("0",)),
        (f"{DERIVED} fold 0", ("0",)),
        (f"{DERIVED} fold 1", ("1",)),
        (f"{DERIVED} fold 1", ("1",)),
    ]


def test_several_data_sets_get_a_number_each(folders):
    experiment = training_size(plan(SOURCE, TARGET, folds=("0",)), folders)
    names = [stage.derived.name for stage in experiment.stages if isinstance(stage, Derivation)]
    assert names == ["Dataset900_TinyTrainingSize0", "Dataset903_TargetTrainingSize0"]


def test_derivation_is_done_once(folders, tmp_path):
    _, derivation, _ = training_size(plan(TARGET, folds=("0",)), folders).stages
    assert not derivation.is_done()
    derivation.do(tmp_path / "log")
    assert derivation.is_done()


@pytest.mark.parametrize("folds", [None, (), ("0", "1"), ("all",)])
def test_other_than_one_fold_is_refused(folders, folds):
    with pytest.raises(CommandError, match="training size takes one fold"):
        training_size(plan(TARGET, folds=folds), folders)


def test_one_number_for_two_data_sets_is_refused(folders):
    with pytest.raises(CommandError, match="--derived-id is for a single data set"):
        training_size(plan(SOURCE, TARGET, folds=("0",)), folders, 77)
