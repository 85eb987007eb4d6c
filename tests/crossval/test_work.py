import os

import pytest
from fake_nnunet import DATASET, FakeNnunet, plan

from nnunet_attention.crossval.work import CrossvalWork
from nnunet_attention.errors import CommandError

pytestmark = pytest.mark.skipif(os.name == "nt", reason="the stand-ins are POSIX scripts")


@pytest.fixture
def work(tmp_path):
    nnunet = FakeNnunet(tmp_path)
    nnunet.prepare()
    return CrossvalWork(plan(), nnunet.folders)


def test_what_goes_into_manifests_is_as_older_versions_wrote_it(work, monkeypatch):
    monkeypatch.delenv("NNUNET_ATTENTION_SEED", raising=False)
    assert CrossvalWork.made_by == "nnunet-attention crossval"
    assert work.seeds == {
        "splits_final.json": "12345, where nnU-Net's own split is used",
        "training": "not seeded by nnU-Net",
    }
    assert "nnunetv2" in CrossvalWork.packages


def test_every_fold_takes_a_device_and_is_counted(work):
    assert [step.name for step in work.device_steps()] == [
        f"{DATASET} {trainer}__nnUNetPlans__3d_fullres fold {fold}"
        for fold in "01"
        for trainer in ("TrainerA", "TrainerB")
    ]
    assert work.counted == "folds"
    assert work.groups == (DATASET,)


def test_the_prepared_data_sets_locks_are_those_of_whoever_writes_what_is_read(work):
    (lock,) = work.reading_locks()
    with lock.held():
        place = work.device_steps()[0].folders.dataset(DATASET)
        assert (place / ".crossval.lock").is_file()


def test_what_changed_since_folds_were_begun_is_named(work):
    before = work.depends_on()
    work.check_unchanged(before)
    work.check_unchanged({})
    before[DATASET]["nnUNetPlans 3d_fullres"]["patch_size"] = [4, 8, 32]
    before[DATASET]["splits"]["folds"] = []
    with pytest.raises(CommandError) as refusal:
        work.check_unchanged(before)
    assert "nnUNetPlans 3d_fullres: patch_size was [4, 8, 32], is [4, 8, 16]" in str(refusal.value)
    assert "splits: folds was []" in str(refusal.value)


def test_what_was_not_there_when_folds_were_begun_is_no_change(work):
    before = work.depends_on()
    del before[DATASET]["splits"]
    work.check_unchanged(before)
