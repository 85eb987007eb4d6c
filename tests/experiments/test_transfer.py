import pytest
from experiments_folders import CONFIGURATION, SOURCE, TARGET, description, plan, write

from nnunet_attention.errors import CommandError
from nnunet_attention.experiments.stages import Trainings
from nnunet_attention.experiments.transfer import check_alike, transfer, weights_of


def test_stages_lead_from_one_data_set_to_the_other(folders, tmp_path):
    experiment = transfer(plan(SOURCE, TARGET), folders, tmp_path / "out")
    assert [stage.name for stage in experiment.stages] == [
        "prepare",
        "move nnUNetPlans",
        "copy nnUNetPlans",
        "pretrain Tiny",
        "predict U-Net",
        "fine-tune U-Net",
        "predict Attention U-Net",
        "fine-tune Attention U-Net",
        "scratch",
    ]


def test_the_source_is_trained_as_a_whole_with_the_targets_plans(folders, tmp_path):
    stages = {s.name: s for s in transfer(plan(SOURCE, TARGET), folders, tmp_path).stages}
    pretraining = stages["pretrain Tiny"]
    assert isinstance(pretraining, Trainings)
    assert (pretraining.plan.datasets, pretraining.plan.folds) == ((SOURCE,), ("all",))
    assert pretraining.plan.models == (
        ("nnUNetTrainer", "nnUNetPlansFor902"),
        ("AttentionUNetTrainer", "nnUNetPlansFor902"),
    )
    tuning = stages["fine-tune Attention U-Net"].plan
    assert (tuning.datasets, tuning.folds) == ((TARGET,), ("0", "1"))
    assert tuning.models == (("AttentionUNetTrainer", "nnUNetPlansFrom901"),)
    model = folders.results / SOURCE / "AttentionUNetTrainer__nnUNetPlansFor902__3d_fullres"
    assert tuning.pretrained_weights == model / "fold_all" / "checkpoint_final.pth"
    assert stages["scratch"].plan.pretrained_weights is None


def test_each_method_stands_in_three_settings(folders, tmp_path):
    experiment = transfer(plan(SOURCE, TARGET), folders, tmp_path / "out")
    assert [(arm.setting, arm.method, arm.plans, arm.folds) for arm in experiment.arms] == [
        ("before", "U-Net", "nnUNetPlans", ("0",)),
        ("before", "Attention U-Net", "nnUNetPlans", ("0",)),
        ("after", "U-Net", "nnUNetPlansFrom901", ("0", "1")),
        ("after", "Attention U-Net", "nnUNetPlansFrom901", ("0", "1")),
        ("scratch", "U-Net", "nnUNetPlans", ("0", "1")),
        ("scratch", "Attention U-Net", "nnUNetPlans", ("0", "1")),
    ]
    elsewhere = experiment.arms[0].elsewhere
    assert (elsewhere.dataset, elsewhere.plans) == (SOURCE, "nnUNetPlansFor902")
    assert elsewhere.folder == tmp_path / "out" / "before" / "nnUNetTrainer__nnUNetPlans"
    assert experiment.layout().title == "Transfer from Tiny to Target"
    assert list(experiment.layout().settings) == ["before", "after", "scratch"]


def test_a_repeat_is_a_chain_of_its_own_from_pre_training_to_fine_tuning(folders, tmp_path):
    groups = {TARGET: {"case_0": "a"}}
    wanted = plan(SOURCE, TARGET, repeats=2, seed=3, groups=groups)
    experiment = transfer(wanted, folders, tmp_path / "out")
    assert [stage.name for stage in experiment.stages[3:8]] == [
        "pretrain Tiny",
        "predict U-Net",
        "fine-tune U-Net",
        "predict U-Net, repeat 2",
        "fine-tune U-Net, repeat 2",
    ]
    pretraining, predicting, tuning = (experiment.stages[number] for number in (3, 6, 7))
    assert (pretraining.plan.repeats, pretraining.plan.seed) == (2, 3)
    second = folders.of_repeat(2)
    assert predicting.folder.relative_to(tmp_path / "out").parts[:4] == (
        "before", "repeats", "repeat_2", "nnUNetTrainer__nnUNetPlans",
    )  # fmt: skip
    assert tuning.folders(folders) == second
    assert (tuning.plan.repeats, tuning.plan.seed) == (1, 4)
    model = second.results / SOURCE / "nnUNetTrainer__nnUNetPlansFor902__3d_fullres"
    assert tuning.plan.pretrained_weights == model / "fold_all" / "checkpoint_final.pth"
    arms = [(arm.setting, arm.repeat) for arm in experiment.arms if arm.method == "U-Net"]
    assert arms == [(name, k) for name in ("before", "after", "scratch") for k in (1, 2)]
    assert {arm.setting for arm in experiment.arms if arm.shares_training} == {"after"}
    assert experiment.groups_of_settings == dict.fromkeys(
        ("before", "after", "scratch"), groups[TARGET]
    )


def test_weights_are_those_that_the_training_ends_with(folders):
    path = weights_of(folders, SOURCE, TARGET, ("A", "nnUNetPlans"), CONFIGURATION)
    assert path.relative_to(folders.results).parts == (
        SOURCE,
        "A__nnUNetPlansFor902__3d_fullres",
        "fold_all",
        "checkpoint_final.pth",
    )


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"labels": {"background": 0, "tumour": 1}}, "labels are"),
        ({"channel_names": {"0": "T1", "1": "T2"}}, "there are 2 and 1 channels"),
        ({"modality": {"0": "T1", "1": "T2"}}, "there are 2 and 1 channels"),
        ({"file_ending": ".png"}, r"files end in \.png and \.nii\.gz"),
    ],
)
def test_data_sets_that_no_network_can_serve_are_refused(folders, changes, said):
    check_alike(folders, SOURCE, TARGET)
    write(folders.raw_dataset(SOURCE) / "dataset.json", description(**changes))
    with pytest.raises(CommandError, match=said):
        check_alike(folders, SOURCE, TARGET)


@pytest.mark.parametrize("datasets", [(SOURCE,), (SOURCE, TARGET, "Dataset903_X")])
def test_other_than_two_data_sets_are_refused(folders, tmp_path, datasets):
    with pytest.raises(CommandError, match="transfer needs two data sets"):
        transfer(plan(*datasets), folders, tmp_path)


def test_fold_all_leaves_nothing_to_test_on(folders, tmp_path):
    with pytest.raises(CommandError, match="leaves no cases to test on"):
        transfer(plan(SOURCE, TARGET, folds=("all",)), folders, tmp_path)
