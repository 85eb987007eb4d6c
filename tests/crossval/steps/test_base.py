from nnunet_attention.crossval import Folders
from nnunet_attention.crossval.steps import SplitsStep
from nnunet_attention.crossval.steps.base import set_damaged_aside


def test_what_is_half_written_is_kept_under_another_name_and_told(tmp_path):
    path = tmp_path / "plans.json"
    path.write_text("half")
    notes = []
    set_damaged_aside([path], notes.append)
    assert (tmp_path / "plans.json.damaged-1").read_text() == "half"
    assert notes == [
        f"{path} is damaged, probably half written when a process was killed; kept as "
        "plans.json.damaged-1"
    ]


def test_preparation_writes_in_the_data_sets_folder_or_where_it_is_to_be_made(tmp_path):
    folders = Folders(tmp_path / "raw", tmp_path / "preprocessed", tmp_path / "results")
    step = SplitsStep(folders, "Dataset004_My_Organ", ())
    assert step.written_folders == (tmp_path / "preprocessed",)
    step.place().mkdir(parents=True)
    assert step.written_folders == (tmp_path / "preprocessed" / "Dataset004_My_Organ",)
    assert step.dataset_in_words == "004 My_Organ"
