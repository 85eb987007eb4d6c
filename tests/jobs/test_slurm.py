"""Through submitit on a real SLURM of one node, with fast stand-ins for nnU-Net's commands."""

import json
import os
import signal
import subprocess

import pytest
from fake_nnunet import DATASET, FakeNnunet, kill, wait_for
from slurm_node import running_slurm

from nnunet_attention.cli import main

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(os.name == "nt", reason="the stand-ins are POSIX scripts"),
]
SLURM = ("--slurm", "--cpus", "1", "--mem", "1", "--sbatch", "mem=100MB")


@pytest.fixture(scope="module")
def slurm(tmp_path_factory):
    with running_slurm(tmp_path_factory.mktemp("slurm")):
        yield


@pytest.fixture(scope="module", autouse=True)
def near_its_limit(tmp_path_factory, slurm):
    """A fold that takes longer than its job may; it trains while the other tests run."""
    nnunet = FakeNnunet(tmp_path_factory.mktemp("limit"))
    nnunet.prepare()
    # A minute is SLURM's shortest limit, and it warns up to a minute early: longer than that.
    launcher = nnunet.start(
        *("-f", "0", "-tr", "TrainerA", "--time", "2", "--signal-seconds", "30", *SLURM),
        FAKE_EPOCHS=110,
        FAKE_SECONDS=0.5,
    )
    yield nnunet, launcher
    nnunet.end()


@pytest.fixture
def nnunet(tmp_path, slurm):
    fake = FakeNnunet(tmp_path)
    yield fake
    fake.end()


def attempts(nnunet, kind="fold"):
    manifest = json.loads((out(nnunet) / "manifest.json").read_text())
    return [one for one in manifest["attempts"] if one["kind"] == kind]


def out(nnunet):
    return nnunet.folders.results / "crossval" / DATASET


def queued(nnunet, *options) -> list[str]:
    """The jobs of this launcher's folds that wait or run."""
    command = ["squeue", "--noheader", "--array", "--format=%i", *options]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    known = json.loads((out(nnunet) / "slurm" / "jobs.json").read_text())
    ours = {job["id"] for name, job in known.items() if " fold " in name}
    return sorted(ours & set(done.stdout.split()))


def test_a_crossval_runs_as_jobs_and_folds_as_an_array(nnunet):
    code, output = nnunet.run("-f", "0", "1", "--time", "10", *SLURM, timeout=240)
    assert code == 0, output
    folds = attempts(nnunet)
    assert len(folds) == 4
    assert len({one["slurm_job"].partition("_")[0] for one in folds}) == 1
    assert {one["slurm_job"].partition("_")[2] for one in folds} == {"0", "1", "2", "3"}
    assert all(one["ok"] for one in folds)
    assert nnunet.run("-f", "0", "1", *SLURM)[1].count("0 steps to do") == 1


def test_jobs_outlive_their_launcher_and_the_next_one_takes_them_over(nnunet):
    nnunet.prepare()
    first = nnunet.start("-f", "0", *SLURM, FAKE_EPOCHS=20, FAKE_SECONDS=0.2)
    wait_for(lambda: len(nnunet.journals()) == 2, 120)
    first.send_signal(signal.SIGINT)
    output, _ = first.communicate(timeout=30)
    assert first.returncode == 130
    assert "the jobs keep running; watch them again with" in output
    jobs = queued(nnunet)
    assert len(jobs) == 2
    second = nnunet.start("-f", "0", *SLURM)
    wait_for(lambda: (out(nnunet) / ".lock").exists(), 60)
    kill(second)
    code, output = nnunet.run("-f", "0", *SLURM, timeout=240)
    assert code == 0, output
    assert {one["slurm_job"] for one in attempts(nnunet)} == set(jobs)
    for lines in nnunet.journals().values():
        assert len([line for line in lines if line.startswith("begin")]) == 1


def journals_of_repeats(nnunet) -> dict[tuple[int, str], list[str]]:
    """What was done in the folds of both repeats, by repeat and fold."""
    found = {}
    for repeat in (1, 2):
        results = nnunet.folders.of_repeat(repeat).results
        for path in results.glob("Dataset*/*/fold_*/journal.txt"):
            lines = [line.partition(" ")[2] for line in path.read_text().splitlines()]
            found[repeat, path.parent.name] = lines
    return found


def test_repeats_run_as_jobs_of_one_array_with_folders_and_seeds_of_their_own(nnunet):
    wanted = ("-f", "0", "1", "-tr", "TrainerA", "--repeats", "2", "--seed", "7", *SLURM)
    code, output = nnunet.run(*wanted, timeout=240)
    assert code == 0, output
    folds = attempts(nnunet)
    assert len(folds) == 4
    assert len({one["slurm_job"].partition("_")[0] for one in folds}) == 1
    seeds = {
        key: [line.rpartition(", ")[2] for line in lines if line.startswith("begin")]
        for key, lines in journals_of_repeats(nnunet).items()
    }
    assert seeds == {
        (repeat, f"fold_{fold}"): [f"seed {6 + repeat}"] for repeat in (1, 2) for fold in (0, 1)
    }
    for repeat in (1, 2):
        model = nnunet.folders.of_repeat(repeat).results / DATASET / "TrainerA__nnUNetPlans__3d_ful"
        (gathered,) = model.parent.glob(f"{model.name}*/crossval_results_folds_0_1/summary.json")
        assert len(json.loads(gathered.read_text())["metric_per_case"]) == 4
    assert nnunet.run(*wanted, timeout=240)[1].count("0 steps to do") == 1


def test_the_jobs_of_repeats_are_taken_over_each_by_its_own(nnunet):
    nnunet.prepare()
    wanted = ("-f", "0", "-tr", "TrainerA", "--repeats", "2", *SLURM)
    first = nnunet.start(*wanted, FAKE_EPOCHS=30, FAKE_SECONDS=0.2)
    wait_for(lambda: len(journals_of_repeats(nnunet)) == 2, 120)
    first.send_signal(signal.SIGINT)
    first.communicate(timeout=30)
    jobs = queued(nnunet)
    assert len(jobs) == 2
    code, output = nnunet.run(*wanted, timeout=240)
    assert code == 0, output
    assert {one["slurm_job"] for one in attempts(nnunet)} == set(jobs)
    begun = [line for lines in journals_of_repeats(nnunet).values() for line in lines]
    assert sum(line.startswith("begin") for line in begun) == 2


def test_a_cancelled_job_is_reported_and_its_fold_goes_on_at_the_next_launch(nnunet):
    nnunet.prepare()
    first = nnunet.start(*("-f", "0", "-tr", "TrainerA", *SLURM), FAKE_EPOCHS=30, FAKE_SECONDS=0.2)
    wait_for(lambda: any("epoch 3" in lines for lines in nnunet.journals().values()), 120)
    subprocess.run(["scancel", *queued(nnunet)], check=True)
    output, _ = first.communicate(timeout=240)
    assert first.returncode == 1, output
    assert "disappeared without a result" in output
    code, output = nnunet.run("-f", "0", "-tr", "TrainerA", *SLURM, timeout=240)
    assert code == 0, output
    assert "--c" in attempts(nnunet)[1]["command"]


def test_without_slurms_commands_the_remedy_is_named(nnunet, monkeypatch, capsys):
    for name, value in nnunet.environment().items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("PATH", str(nnunet.bin))
    assert main(["crossval", "-d", "901", "-tr", "TrainerA", "--slurm"]) == 1
    assert "the command srun was not found" in capsys.readouterr().err


def test_a_fold_stopped_at_its_time_limit_is_requeued_and_goes_on(near_its_limit):
    nnunet, launcher = near_its_limit
    wait_for(lambda: queued(nnunet, "--states=PENDING") or launcher.poll() is not None, 180)
    for job in queued(nnunet, "--states=PENDING"):
        # SLURM would let a requeued job wait for two minutes.
        subprocess.run(["scontrol", "update", f"JobId={job}", "StartTime=now"], check=True)
    output, _ = launcher.communicate(timeout=300)
    assert launcher.returncode == 0, output
    begun = [one["command"] for one in attempts(nnunet)]
    assert len(begun) >= 2, output
    assert "--c" not in begun[0]
    assert all("--c" in one for one in begun[1:])
    (lines,) = nnunet.journals().values()
    assert lines.count("trained") == 1
    assert "overlap" not in lines
    # Stopped in good order: at most the epoch that ran was begun again.
    epochs = [line for line in lines if line.startswith("epoch")]
    assert len(epochs) - len(set(epochs)) <= len(begun) - 1
    assert not list(nnunet.folders.results.glob("*/*/fold_0/*.damaged-*"))
    assert len({one["slurm_job"] for one in attempts(nnunet)}) == 1
