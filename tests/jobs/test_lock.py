import json
import os
import subprocess
import sys
from contextlib import suppress

import pytest

from nnunet_attention.jobs import lock as lock_module
from nnunet_attention.jobs.lock import Lock, LockedError, Owner

HOLDER = """
import sys, time
from pathlib import Path
from nnunet_attention.jobs.lock import Lock
Lock(Path(sys.argv[1]), "the folder").take()
print("taken", flush=True)
time.sleep(100)
"""


@pytest.fixture
def path(tmp_path):
    return tmp_path / "folder" / ".lock"


@pytest.fixture
def holder(path):
    process = subprocess.Popen(
        [sys.executable, "-c", HOLDER, str(path)], stdout=subprocess.PIPE, text=True
    )
    assert process.stdout.readline() == "taken\n"
    yield process
    process.kill()
    process.wait()
    process.stdout.close()


def write_owner(path, **changes):
    mine = Owner.this_process()
    owner = {"host": mine.host, "pid": mine.pid, "started": mine.started, "job": None}
    path.parent.mkdir(exist_ok=True)
    path.write_text(json.dumps(owner | changes))


def test_a_free_lock_is_taken_and_given_back(path):
    with Lock(path, "the folder").held() as lock:
        assert lock.owner().pid == os.getpid()
    assert not path.exists()


def test_a_lock_in_use_is_refused_with_the_owners_machine_and_process(path, holder):
    with pytest.raises(LockedError, match=rf"the folder is in use by process {holder.pid} on "):
        Lock(path, "the folder").take()


def test_looking_refuses_as_taking_does_and_takes_nothing(path, holder):
    with pytest.raises(LockedError):
        Lock(path, "the folder").check_free()
    holder.kill()
    holder.wait()
    Lock(path, "the folder").check_free()
    assert Lock(path, "the folder").owner().pid == holder.pid


def test_a_refused_lock_stays_with_its_owner(path, holder):
    lock = Lock(path, "the folder")
    with pytest.raises(LockedError):
        lock.take()
    lock.release()
    assert lock.owner().pid == holder.pid


def test_the_lock_of_a_killed_process_is_taken_over(path, holder):
    holder.kill()
    holder.wait()
    Lock(path, "the folder").take()
    assert Lock(path, "the folder").owner().pid == os.getpid()


def test_another_process_with_the_number_of_the_owner_is_not_the_owner(path):
    write_owner(path, started=1.0)
    Lock(path, "the folder").take()
    assert Lock(path, "the folder").owner().started != 1.0


def test_an_owner_on_another_machine_is_never_thought_gone(path):
    write_owner(path, host="elsewhere", pid=2**22 + 1)
    with pytest.raises(LockedError, match=r"on elsewhere.*remove .*\.lock"):
        Lock(path, "the folder").take()


def test_a_job_that_left_slurms_queue_is_gone(path, monkeypatch):
    write_owner(path, host="node7", job="12_3")
    monkeypatch.setattr(lock_module, "queued_jobs", lambda: {"12_3": "RUNNING", "14": "RUNNING"})
    with pytest.raises(LockedError, match=r"on node7, SLURM job 12_3"):
        Lock(path, "the folder").take()
    monkeypatch.setattr(lock_module, "queued_jobs", lambda: None)
    with pytest.raises(LockedError):
        Lock(path, "the folder").take()
    monkeypatch.setattr(lock_module, "queued_jobs", lambda: {"14": "PENDING"})
    Lock(path, "the folder").take()


def test_a_requeued_job_takes_over_its_own_lock_on_another_machine(path, monkeypatch):
    write_owner(path, host="node7", job="12_3")
    monkeypatch.setenv("SLURM_ARRAY_JOB_ID", "12")
    monkeypatch.setenv("SLURM_ARRAY_TASK_ID", "3")
    Lock(path, "the folder").take()
    assert Lock(path, "the folder").owner().job == "12_3"


def test_without_hard_links_a_lock_is_still_one(path, monkeypatch, holder):
    def no_links(source, target):
        raise OSError("not supported")

    monkeypatch.setattr(os, "link", no_links)
    with pytest.raises(LockedError):
        Lock(path, "the folder").take()
    with Lock(path.with_name("other"), "the folder").held() as lock:
        assert lock.owner().pid == os.getpid()


TAKERS = """
import sys, time
from pathlib import Path
from nnunet_attention.jobs.lock import Lock, LockedError
sys.stdin.readline()
try:
    Lock(Path(sys.argv[1]), "the folder").take()
    print("taken", flush=True)
    sys.stdin.readline()
except LockedError:
    print("refused", flush=True)
"""


def test_of_many_that_take_over_a_stale_lock_one_gets_it(path):
    write_owner(path, started=1.0)
    takers = [
        subprocess.Popen(
            [sys.executable, "-c", TAKERS, str(path)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        for _ in range(5)
    ]
    for taker in takers:
        taker.stdin.write("go\n")
        taker.stdin.flush()
    answers = [taker.stdout.readline().strip() for taker in takers]
    for taker in takers:
        taker.communicate("\n")
    assert sorted(answers) == ["refused"] * 4 + ["taken"]


class Hosts:
    """Lets this process be one of several machines, none of which sees the others' processes."""

    def __init__(self, monkeypatch):
        self.name = "here"
        # The file locks of such machines' kernels know nothing of each other.
        with suppress(ImportError):
            monkeypatch.setattr("fcntl.flock", lambda file, how: None)
        monkeypatch.setattr("socket.gethostname", lambda: self.name)
        monkeypatch.setattr(lock_module, "queued_jobs", dict)

    def take(self, name: str, path) -> Lock:
        before, self.name = self.name, name
        try:
            lock = Lock(path, "the folder")
            lock.take()
            return lock
        finally:
            self.name = before


@pytest.fixture
def hosts(monkeypatch):
    return Hosts(monkeypatch)


def test_of_two_machines_that_judge_a_job_gone_one_gets_its_lock(path, hosts, monkeypatch):
    write_owner(path, host="node7", job="12")

    def other_machine_is_faster():
        monkeypatch.setattr(lock_module, "queued_jobs", dict)
        hosts.take("quick", path)
        return {}

    monkeypatch.setattr(lock_module, "queued_jobs", other_machine_is_faster)
    with pytest.raises(LockedError, match=f"in use by process {os.getpid()} on quick"):
        hosts.take("slow", path)
    assert Lock(path, "the folder").owner().host == "quick"
    assert os.listdir(path.parent) == [path.name]


def test_a_machine_that_comes_amid_a_takeover_is_refused(path, hosts, monkeypatch):
    write_owner(path, host="node7", job="12")
    replaced, refusals = os.replace, []

    def second_comes_first(source, target):
        with pytest.raises(LockedError) as refusal:
            hosts.take("second", path)
        refusals.append(str(refusal.value))
        replaced(source, target)

    monkeypatch.setattr(os, "replace", second_comes_first)
    hosts.take("first", path)
    assert "on first" in refusals[0]
    assert Lock(path, "the folder").owner().host == "first"


DYING_TAKER = """
import os, sys
from pathlib import Path
from nnunet_attention.jobs import lock
from nnunet_attention.jobs.lock import Lock
when, path = sys.argv[1], Path(sys.argv[2])
lock.queued_jobs = dict
replace = os.replace
def die(source, target):
    if when == "after":
        replace(source, target)
    os._exit(9)
os.replace = die
Lock(path, "the folder").take()
"""


def died_in_takeover(path, when: str) -> None:
    command = [sys.executable, "-c", DYING_TAKER, when, str(path)]
    assert subprocess.run(command, timeout=60).returncode == 9


@pytest.mark.parametrize("deaths", [["before"], ["after"], ["before"] * 3, ["before", "after"]])
def test_a_takeover_that_died_on_the_way_is_taken_over_too(path, hosts, deaths):
    hosts.name = os.uname().nodename  # Where those that die are seen to be dead.
    write_owner(path, host="node7", job="12")
    for when in deaths:
        died_in_takeover(path, when)
    assert any(name.endswith(".takeover") for name in os.listdir(path.parent))
    lock = Lock(path, "the folder")
    lock.take()
    assert lock.owner() == Owner.this_process()
    # A killed process leaves its .part files, which nobody reads.
    assert [name for name in os.listdir(path.parent) if not name.endswith(".part")] == [path.name]
    with pytest.raises(LockedError):
        hosts.take("elsewhere", path)


def test_a_lock_that_is_just_being_written_without_hard_links_is_held(path, hosts):
    path.parent.mkdir()
    path.write_text("")
    with pytest.raises(LockedError, match="in use by somebody"):
        Lock(path, "the folder").take()
    os.utime(path, (1, 1))
    Lock(path, "the folder").take()


def test_a_hard_link_whose_answer_got_lost_counts(path, monkeypatch):
    linked = os.link

    def twice(source, target):
        linked(source, target)
        linked(source, target)

    monkeypatch.setattr(os, "link", twice)
    with Lock(path, "the folder").held() as lock:
        assert lock.owner().pid == os.getpid()


TAKER_OF_A_HOST = """
import os, socket, sys
from pathlib import Path
from nnunet_attention.jobs import lock
from nnunet_attention.jobs.lock import Lock, LockedError
socket.gethostname = lambda: sys.argv[2]
def judge():
    print("judged", flush=True)
    sys.stdin.readline()
    return {}
lock.queued_jobs = judge
try:
    Lock(Path(sys.argv[1]), "the folder").take()
    print("taken", flush=True)
    sys.stdin.readline()
except LockedError:
    print("refused", flush=True)
"""


def test_of_many_machines_at_the_same_moment_one_takes_over(path):
    write_owner(path, host="node7", job="12")
    takers = [
        subprocess.Popen(
            [sys.executable, "-c", TAKER_OF_A_HOST, str(path), f"host{number}"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        for number in range(4)
    ]
    for taker in takers:
        assert taker.stdout.readline() == "judged\n"
    for taker in takers:
        taker.stdin.write("go\n" * 5)
        taker.stdin.flush()
    answers = [[*map(str.strip, taker.communicate(timeout=60)[0].splitlines())] for taker in takers]
    assert sorted(one[-1] for one in answers) == ["refused"] * 3 + ["taken"]
