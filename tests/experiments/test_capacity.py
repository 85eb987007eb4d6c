from experiments_folders import SOURCE, TARGET, plan

from nnunet_attention.experiments.capacity import capacity
from nnunet_attention.experiments.stages import Trainings


def test_all_models_train_on_the_folds_of_all_data_sets():
    wanted = plan(TARGET, SOURCE)
    experiment = capacity(wanted)
    assert experiment.stages == (Trainings("trainings", wanted),)
    assert [(arm.setting, arm.method, arm.trainer, arm.folds) for arm in experiment.arms] == [
        (TARGET, "U-Net", "nnUNetTrainer", ("0", "1")),
        (TARGET, "Attention U-Net", "AttentionUNetTrainer", ("0", "1")),
        (SOURCE, "U-Net", "nnUNetTrainer", ("0", "1")),
        (SOURCE, "Attention U-Net", "AttentionUNetTrainer", ("0", "1")),
    ]
    assert all(arm.elsewhere is None for arm in experiment.arms)


def test_the_first_model_is_the_baseline_and_settings_are_the_data_sets():
    layout = capacity(plan(TARGET, SOURCE)).layout()
    assert layout.baseline == "U-Net"
    assert layout.settings == {TARGET: "Target", SOURCE: "Tiny"}
    assert not layout.methods_in_columns
