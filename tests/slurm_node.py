"""A real SLURM of one node, on this machine's loopback."""

import contextlib
import os
import pwd
import shutil
import socket
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

PROGRAMS = ("slurmctld", "slurmd", "munged", "sbatch", "srun", "squeue")
# Debian puts the daemons where only root looks.
_SEARCH = os.pathsep.join([os.environ.get("PATH", ""), "/usr/sbin", "/sbin"])


@contextlib.contextmanager
def running_slurm(folder: Path) -> Iterator[None]:
    """Starts the daemons and stops them; without them skips the test or, in CI, fails it."""
    programs = {name: shutil.which(name, path=_SEARCH) for name in PROGRAMS}
    missing = [name for name, path in programs.items() if path is None]
    if missing:
        _give_up(f"no SLURM: {', '.join(missing)} not installed; apt-get install slurm-wlm munge")
    if os.geteuid() != 0:
        _give_up("SLURM's daemons are started by root only")
    daemons = []
    before = os.environ.get("SLURM_CONF")
    os.environ["SLURM_CONF"] = str(_write_configuration(folder))
    try:
        _start_munge(programs["munged"], folder)
        for name in ("slurmctld", "slurmd"):
            with (folder / f"{name}.out").open("wb") as output:
                daemons.append(
                    subprocess.Popen(
                        [programs[name], "-D"], stdout=output, stderr=subprocess.STDOUT
                    )
                )
        _wait_until_idle(folder)
        yield
    finally:
        subprocess.run(["scancel", "--me"], capture_output=True, check=False)
        for daemon in reversed(daemons):
            daemon.terminate()
            try:
                daemon.wait(15)
            except subprocess.TimeoutExpired:
                daemon.kill()
                daemon.wait()
        _stop_munge(folder)
        if before is None:
            del os.environ["SLURM_CONF"]
        else:
            os.environ["SLURM_CONF"] = before


def _write_configuration(folder: Path) -> Path:
    host = socket.gethostname().partition(".")[0]
    for name in ("state", "spool"):
        (folder / name).mkdir(parents=True)
    cores = os.cpu_count() or 1
    path = folder / "slurm.conf"
    path.write_text(
        f"""ClusterName=test
SlurmctldHost={host}(127.0.0.1)
SlurmUser=root
SlurmdUser=root
SlurmctldPort={_free_port()}
SlurmdPort={_free_port()}
AuthType=auth/munge
AuthInfo=socket={folder}/munge/socket
CredType=cred/munge
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
SelectType=select/cons_tres
SelectTypeParameters=CR_CPU
JobAcctGatherType=jobacct_gather/none
AccountingStorageType=accounting_storage/none
ReturnToService=2
MpiDefault=none
SwitchType=switch/none
KillWait=5
OverTimeLimit=0
SchedulerParameters=sched_interval=5,batch_sched_delay=1,defer
StateSaveLocation={folder}/state
SlurmdSpoolDir={folder}/spool
SlurmctldPidFile={folder}/slurmctld.pid
SlurmdPidFile={folder}/slurmd.pid
SlurmctldLogFile={folder}/slurmctld.log
SlurmdLogFile={folder}/slurmd.log
NodeName={host} NodeAddr=127.0.0.1 CPUs={cores} RealMemory=1000 State=UNKNOWN
PartitionName=short Nodes={host} Default=YES MaxTime=INFINITE State=UP OverSubscribe=FORCE:8
"""
    )
    return path


def _start_munge(program: str, folder: Path) -> None:
    """A munge of its own, so that one that runs here already is left alone."""
    place = folder / "munge"
    place.mkdir()
    key = place / "key"
    key.write_bytes(os.urandom(1024))
    key.chmod(0o400)
    user = pwd.getpwnam("munge")
    for path in (place, key):
        os.chown(path, user.pw_uid, user.pw_gid)
    place.chmod(0o755)
    # munged refuses folders that others may write to; tests' folders are root's and private.
    for parent in place.parents:
        if parent.stat().st_uid == os.geteuid() and not parent.stat().st_mode & 0o001:
            parent.chmod(parent.stat().st_mode | 0o011)
    subprocess.run(
        [
            *("setpriv", f"--reuid={user.pw_uid}", f"--regid={user.pw_gid}", "--clear-groups"),
            *(program, f"--key-file={key}", f"--socket={place}/socket", f"--log-file={place}/log"),
            *(f"--pid-file={place}/pid", f"--seed-file={place}/seed", "--force"),
        ],
        check=True,
        timeout=30,
    )


def _stop_munge(folder: Path) -> None:
    with contextlib.suppress(OSError, ValueError):
        os.kill(int((folder / "munge" / "pid").read_text()), 15)


def _wait_until_idle(folder: Path) -> None:
    deadline = time.monotonic() + 60
    while True:
        done = subprocess.run(
            ["sinfo", "--noheader", "--format=%T"], capture_output=True, text=True, check=False
        )
        if done.stdout.strip() in ("idle", "mixed", "allocated"):
            return
        assert time.monotonic() < deadline, (
            done.stdout + done.stderr + (folder / "slurmctld.log").read_text()[-3000:]
        )
        time.sleep(0.5)


def _free_port() -> int:
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return one.getsockname()[1]


def _give_up(reason: str) -> None:
    if os.environ.get("CI") == "true":
        pytest.fail(reason)
    pytest.skip(reason)
