import json

import pytest
from experiments_folders import CONFIGURATION, MODELS, SOURCE, TARGET, change_plans, splits

from nnunet_attention.errors import CommandError
from nnunet_attention.experiments.derived import (
    Derived,
    choose_derived,
    derive,
    is_derived,
    read_split,
)

DERIVED = Derived("Dataset900_TargetTrainingSize2", TARGET, "2")


def make(folders) -> None:
    derive(DERIVED, folders, MODELS, CONFIGURATION)


def is_made(folders) -> bool:
    return is_derived(DERIVED, folders, MODELS, CONFIGURATION)


def test_a_new_one_gets_the_first_free_number(folders):
    assert choose_derived(folders, TARGET, "2") == DERIVED
    (folders.results / "Dataset900_Other").mkdir()
    assert choose_derived(folders, TARGET, "2", reserved={903}).name.startswith("Dataset904_")


def test_one_that_is_there_is_found_again_by_its_note(folders):
    make(folders)
    assert choose_derived(folders, TARGET, "2") == DERIVED
    assert choose_derived(folders, TARGET, "2", number=900) == DERIVED
    assert choose_derived(folders, TARGET, "1").name != DERIVED.name


def test_a_number_that_another_data_set_has_is_refused(folders):
    with pytest.raises(CommandError, match=f"--derived-id 901: taken by .*{SOURCE}"):
        choose_derived(folders, TARGET, "2", number=901)


def test_its_two_folds_are_the_originals_and_the_swap(folders):
    make(folders)
    original = splits()[2]
    large, small = json.loads(folders.splits(DERIVED.name).read_text())
    assert large == original
    assert small == {"train": original["val"], "val": original["train"]}


def test_data_are_links_and_plans_name_the_new_data_set(folders):
    assert not is_made(folders)
    make(folders)
    assert is_made(folders)
    data = folders.data(DERIVED.name, "nnUNetPlans_3d_fullres")
    assert data.is_symlink()
    assert len(list(data.iterdir())) == 5
    assert folders.references(DERIVED.name).is_symlink()
    plans = json.loads(folders.plans(DERIVED.name, "nnUNetPlans").read_text())
    assert plans["dataset_name"] == DERIVED.name
    assert [path.name for path in folders.raw.iterdir() if "900" in path.name] == []


def test_what_is_lacking_is_added(folders):
    make(folders)
    folders.data(DERIVED.name, "nnUNetPlans_3d_fullres").unlink()
    folders.plans(DERIVED.name, "nnUNetPlans").unlink()
    assert not is_made(folders)
    make(folders)
    assert is_made(folders)


def test_an_original_that_is_not_preprocessed_leaves_nothing(folders):
    folders.data(TARGET, "nnUNetPlans_3d_fullres").rename(folders.dataset(TARGET) / "away")
    with pytest.raises(CommandError, match="is missing; preprocess the data set first"):
        make(folders)
    assert not folders.dataset(DERIVED.name).exists()


def test_changed_splits_and_plans_are_refused(folders):
    make(folders)
    folders.splits(TARGET).write_text(json.dumps([*splits()[:2], splits()[3]]))
    with pytest.raises(CommandError, match="are no longer those"):
        is_made(folders)
    folders.splits(TARGET).write_text(json.dumps(splits()))
    change_plans(folders.plans(TARGET, "nnUNetPlans"), patch_size=[8, 8, 8])
    with pytest.raises(CommandError, match=r"patch_size was \[4, 8, 16\], is \[8, 8, 8\]"):
        is_made(folders)


def test_a_fold_that_is_not_there_is_refused(folders):
    assert read_split(folders, TARGET, "4") == splits()[4]
    with pytest.raises(CommandError, match=r"-f 5: .* has 5 folds"):
        read_split(folders, TARGET, "5")
    folders.splits(TARGET).unlink()
    with pytest.raises(CommandError, match=r"-f 0: .* has 0 folds"):
        read_split(folders, TARGET, "0")
