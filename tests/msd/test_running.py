from contextlib import contextmanager

import pytest
from fake_experiments import FakeExperiments
from msd_archives import NAME, archive_of, write_task
from range_server import range_server

from nnunet_attention import msd
from nnunet_attention.crossval import CrossvalPlan
from nnunet_attention.errors import CommandError

TASK = msd.Task(NAME, None)
DATASET = "Dataset004_Hippocampus"


@pytest.fixture
def fake(tmp_path, monkeypatch) -> FakeExperiments:
    """This process's nnU-Net, with predictions for a task of six cases."""
    made = FakeExperiments(tmp_path / "nnunet")
    for name, value in made.environment().items():
        monkeypatch.setenv(name, value)
    made.cases = [f"case_{number}" for number in range(6)]
    made.lay_ready("TrainerA", [1] * 6)
    return made


def plan(trainer: str) -> CrossvalPlan:
    return CrossvalPlan(
        datasets=(),
        configurations=("3d_fullres",),
        models=((trainer, "nnUNetPlans"),),
        folds=("0",),
        device="cpu",
        processes=1,
    )


def test_tasks_are_cross_validated_from_a_local_copy(fake, tmp_path):
    write_task(tmp_path / "here", cases=6)
    source = msd.TaskSource(tmp_path / "msd", local=tmp_path / "here")
    outcome = msd.run([TASK], plan("TrainerA"), source=source, output=tmp_path / "out")
    assert outcome.ok
    assert f"{DATASET} TrainerA__nnUNetPlans__3d_fullres fold 0" in outcome.done
    assert (tmp_path / "msd" / "logs" / f"convert_{NAME}.log").is_file()
    assert msd.run([TASK], plan("TrainerA"), output=tmp_path / "out").done == []


def test_an_unknown_trainer_is_told_before_anything_is_had(fake, tmp_path):
    source = msd.TaskSource(tmp_path / "msd", base_url="http://127.0.0.1:1")
    with pytest.raises(CommandError, match="no trainer TrainerZ"):
        msd.run([TASK], plan("TrainerZ"), source=source)
    assert not (tmp_path / "msd").exists()


def test_download_and_conversion_are_shown(fake, tmp_path, monkeypatch):
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    shown = []

    @contextmanager
    def show_download(task):
        yield lambda done, total: shown.append((task.name, done == total))

    @contextmanager
    def show_conversion(task):
        yield shown.append(task)

    with range_server() as server:
        server.files[TASK.archive_name] = archive_of(write_task(tmp_path / "original", cases=6))
        source = msd.TaskSource(tmp_path / "msd", base_url=server.url)
        name = msd.prepare(
            TASK, fake.folders, source, processes=1,
            show_download=show_download, show_conversion=show_conversion,
        )  # fmt: skip
    assert name == DATASET
    assert shown[-2:] == [(NAME, True), TASK]


def test_a_data_set_that_is_there_needs_no_source(fake, tmp_path):
    fake.add_dataset(DATASET)
    nowhere = msd.TaskSource(tmp_path / "msd", local=tmp_path / "nowhere")
    assert msd.prepare(TASK, fake.folders, nowhere) == DATASET
    assert msd.missing_preparation(TASK, fake.folders, nowhere) == []


def test_what_is_missing_is_listed_by_source(fake, tmp_path):
    data = tmp_path / "msd"
    convert = "nnUNetv2_convert_MSD_dataset -i "
    listed = msd.missing_preparation(TASK, fake.folders, msd.TaskSource(data, base_url="http://x"))
    assert listed == [f"download http://x/{NAME}.tar to {data / NAME}", f"{convert}{data / NAME}"]
    task = write_task(tmp_path / "here", cases=6)
    local = msd.TaskSource(data, local=tmp_path / "here")
    assert msd.missing_preparation(TASK, fake.folders, local) == [f"{convert}{task}"]
    (tmp_path / "packed").mkdir()
    archive = tmp_path / "packed" / f"{NAME}.tar"
    archive.write_bytes(archive_of(task))
    packed = msd.TaskSource(data, local=tmp_path / "packed")
    assert msd.missing_preparation(TASK, fake.folders, packed) == [
        f"unpack {archive} to {data / NAME}",
        f"{convert}{data / NAME}",
    ]
