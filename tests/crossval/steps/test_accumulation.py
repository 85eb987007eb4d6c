from nnunet_attention.crossval import Folders
from nnunet_attention.crossval.steps import AccumulationStep
from nnunet_attention.nnunet.model_folders import ModelName


def test_the_step_is_known_by_its_model_and_locked_beside_the_folds(tmp_path):
    folders = Folders(tmp_path / "raw", tmp_path / "preprocessed", tmp_path / "results")
    model = ModelName("TrainerA", "nnUNetPlans", "2d")
    step = AccumulationStep(folders, "Dataset901_Tiny", ("a fold",), model, ("0", "10"))
    place = tmp_path / "results" / "Dataset901_Tiny" / "TrainerA__nnUNetPlans__2d"
    assert step.name == "Dataset901_Tiny TrainerA__nnUNetPlans__2d accumulation"
    assert step.kind == "accumulation"
    assert " ".join(step.command) == (
        "nnUNetv2_accumulate_crossval_results Dataset901_Tiny -c 2d -tr TrainerA -p nnUNetPlans "
        "-f 0 10"
    )
    assert step.place() == place
    assert step.written_folders == (tmp_path / "results",)
    place.parent.mkdir(parents=True)
    assert step.written_folders == (place.parent,)
    assert step.mark == f"accumulation{place}"
    assert step.cells == ("901 Tiny", "TrainerA nnUNetPlans 2d accumulation", "")
    with step.lock().held():
        assert (place / ".accumulation.lock").is_file()
