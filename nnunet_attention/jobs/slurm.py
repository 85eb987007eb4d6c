"""Runs steps as SLURM jobs, through submitit; those on devices form job arrays.

A job that nears its time limit stops its step cleanly and is requeued; the step then resumes as any
interrupted step does. Jobs do not need the launcher: it submits them, watches them, and submits
those that come after.
"""

from __future__ import annotations

import signal
import socket
import subprocess
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from nnunet_attention.errors import CommandError, last_line
from nnunet_attention.files import read_json, write_json
from nnunet_attention.jobs.attempt import Attempt, Result
from nnunet_attention.jobs.local import command_environment
from nnunet_attention.jobs.lock import queued_jobs
from nnunet_attention.jobs.output import Output
from nnunet_attention.jobs.process import last_lines
from nnunet_attention.jobs.step import Step

if TYPE_CHECKING:
    from submitit import Job, SlurmExecutor
    from submitit.helpers import DelayedSubmission

_POLL_SECONDS = 0.5
_QUEUE_SECONDS = 10.0
# Each requeueing ends one time limit; a step of a month on a partition of an hour needs 720.
_MOST_REQUEUES = 10_000
# Shared folders show another machine's files late.
_FILES_SECONDS = 60.0
# SLURM kills a cancelled job's processes within its KillWait, 30 s by default.
_CANCELLED_SECONDS = 45.0


@dataclass(frozen=True)
class SlurmSettings:
    """Says what jobs ask for.

    Attributes:
        partition: None for the cluster's default.
        minutes: each job's time limit.
        memory_gb: each job's memory.
        cpus: each job's cores.
        gres: the devices of a step that takes one; None for as many GPUs as it takes.
        jobs_at_once: how many jobs of an array run at a time.
        signal_seconds: how long before the time limit a step is stopped.
        options: further ones of sbatch, without dashes.
    """

    partition: str | None = None
    minutes: int = 24 * 60
    memory_gb: int = 32
    cpus: int = 12
    gres: str | None = None
    jobs_at_once: int = 256
    signal_seconds: int = 120
    options: Mapping[str, str] = field(default_factory=dict)


class StepTask:
    """Makes one attempt at a step, as a job; submitit sends it to the job's machine."""

    def __init__(self, step: Step, output: Output):
        self._step, self._output = step, output
        self._attempt: Attempt | None = None

    def __call__(self) -> dict:
        """Run the step to its end, and return the fields of its `Result`."""
        # Sent by SLURM before the end of a job's time. No constant of this module, which Windows,
        # without this signal, imports too.
        warning = signal.SIGUSR2
        # It is for us; it would end the step's processes, which it reaches too.
        self._attempt = Attempt(
            self._step,
            self._output,
            command_environment(),
            socket.gethostname(),
            ignored_signals=(warning,),
        )
        # A warning during the start would leave a process that nobody knows of.
        signal.pthread_sigmask(signal.SIG_BLOCK, {warning})
        self._attempt.start()
        while (result := self._attempt.poll()) is None:
            signal.pthread_sigmask(signal.SIG_UNBLOCK, {warning})
            time.sleep(_POLL_SECONDS)
            signal.pthread_sigmask(signal.SIG_BLOCK, {warning})
        if result.exit_code == -signal.SIGTERM:
            # Either the job is being cancelled or preempted, and this is the end of it, or
            # somebody has ended the step alone.
            signal.pthread_sigmask(signal.SIG_UNBLOCK, {warning})
            time.sleep(_CANCELLED_SECONDS)
        return asdict(result)

    def checkpoint(self) -> DelayedSubmission:
        """Stop the step near the end of the job's time; the requeued job resumes it."""
        from submitit.helpers import DelayedSubmission

        if self._attempt is not None:
            self._attempt.stop()
        return DelayedSubmission(StepTask(self._step, self._output))


class SlurmRunner:
    """Submits steps as jobs; those of an earlier launcher that still wait or run are taken over."""

    def __init__(self, output: Output, settings: SlurmSettings, prefix: str, gpus: int):
        """Check that SLURM is available.

        Args:
            output: for logs, records and submitit's files.
            settings: for the jobs.
            prefix: begins the names of the jobs.
            gpus: how many a step that takes a device gets; 0 where the device is not a GPU.

        Raises:
            CommandError: if submitit or SLURM's commands are not there.
        """
        try:
            from submitit import SlurmExecutor
        except ImportError as error:
            raise CommandError(
                "--slurm needs submitit; install the extra `slurm` of nnunet-attention"
            ) from error
        if SlurmExecutor.affinity() < 0:
            raise CommandError(
                "--slurm: the command srun was not found; run this on a machine that can submit "
                "jobs"
            )
        self._output, self._settings = output, settings
        self._prefix, self._gpus = prefix, gpus
        self._queue = _Queue()
        self._known = self._read_known()

    def check(self, steps: Sequence[Step]) -> None:
        """Refuse steps that other processes are running.

        Raises:
            LockedError: if one was begun by anything other than a job of this folder.
        """
        ours = {job["id"] for job in self._known.values()}
        for step in steps:
            lock = step.lock()
            owner = lock.owner()
            if owner is None or owner.job not in ours:
                lock.check_free()

    def adopts(self, step: Step) -> bool:
        """Return False: a step that a launcher without SLURM has left running is not a job."""
        return False

    def start(self, ready: Sequence[Step]) -> list[SlurmJob | Attempt]:
        """Submit all of the steps."""
        # Steps without a command are quick, and are done here.
        here = [
            Attempt(step, self._output, command_environment(), socket.gethostname())
            for step in ready
            if not step.command
        ]
        for attempt in here:
            attempt.start()
        taken_over = [self._taken_over(step) for step in ready if step.command]
        left = [job for job in taken_over if job is not None]
        names = {job.step.name for job in left}
        fresh = [step for step in ready if step.command and step.name not in names]
        on_devices = [step for step in fresh if step.takes_device]
        submitted = self._submit(on_devices) if on_devices else []
        for step in fresh:
            if not step.takes_device:
                submitted += self._submit([step])
        return [*here, *left, *submitted]

    def _submit(self, steps: list[Step]) -> list[SlurmJob]:
        from submitit.core.utils import FailedJobError, FailedSubmissionError

        executor = self._executor(steps)
        moment = time.time()
        try:
            with executor.batch():
                jobs = [executor.submit(StepTask(step, self._output)) for step in steps]
        except (FailedJobError, FailedSubmissionError, subprocess.CalledProcessError) as error:
            raise CommandError(
                f"SLURM refused the job: {error}; check --partition, --time, --mem, --cpus, --gres "
                "and --sbatch"
            ) from error
        for step, job in zip(steps, jobs, strict=True):
            self._known[step.name] = {"id": job.job_id, "submitted": moment}
        self._output.slurm.mkdir(parents=True, exist_ok=True)
        write_json(self._jobs_file, self._known)
        return [
            SlurmJob(step, job, moment, self._queue) for step, job in zip(steps, jobs, strict=True)
        ]

    def _executor(self, steps: list[Step]) -> SlurmExecutor:
        from submitit import SlurmExecutor

        settings = self._settings
        executor = SlurmExecutor(self._output.slurm, max_num_timeout=_MOST_REQUEUES)
        gres = settings.gres
        if gres is None and self._gpus:
            gres = f"gpu:{self._gpus}"
        parameters = {
            "job_name": f"{self._prefix}-{steps[0].kind}",
            "partition": settings.partition,
            "time": settings.minutes,
            "mem": f"{settings.memory_gb}GB",
            "cpus_per_task": settings.cpus,
            # With any other step, a GPU would only idle.
            "gres": gres if steps[0].takes_device else None,
            "array_parallelism": settings.jobs_at_once,
            "signal_delay_s": settings.signal_seconds,
            "stderr_to_stdout": True,
            # From SLURM 22.05 on, srun no longer takes it from the job.
            "srun_args": [f"--cpus-per-task={settings.cpus}"],
            "additional_parameters": {"requeue": True, **settings.options},
        }
        executor.update_parameters(
            **{name: value for name, value in parameters.items() if value is not None}
        )
        return executor

    def _taken_over(self, step: Step) -> SlurmJob | None:
        """Return the job that an earlier launcher has submitted for a step, if it is not over."""
        known = self._known.get(step.name)
        if known is None or not self._queue.has(known["id"], fresh=True):
            return None
        from submitit import SlurmJob as SubmititJob

        job: Job[dict] = SubmititJob(folder=self._output.slurm, job_id=known["id"])
        return SlurmJob(step, job, known["submitted"], self._queue)

    @property
    def _jobs_file(self) -> Path:
        return self._output.slurm / "jobs.json"

    def _read_known(self) -> dict[str, dict]:
        return read_json(self._jobs_file) if self._jobs_file.exists() else {}


class SlurmJob:
    """A submitted step.

    Attributes:
        step: as it was submitted.
        device: for people.
        started: when it was submitted, in seconds since the epoch.
        notes: what was found before.
    """

    # Jobs that an earlier launcher submitted count as this one's own.
    adopted = False

    def __init__(self, step: Step, job: Job[dict], submitted: float, queue: _Queue):
        self.step = step
        self.device = f"SLURM job {job.job_id}"
        self.started = submitted
        self.notes: list[str] = []
        self._job = job
        self._queue = queue
        self._gone_since: float | None = None

    def poll(self) -> Result | None:
        """Return how it ended; None while it waits, runs or is requeued."""
        if self._job.paths.result_pickle.exists():
            error = self._job.exception()
            if error is not None:
                return self._failed(f"failed: {last_line(error)}")
            result = Result(**self._job.result())
            return result if not result.ok or self._is_visible() else None
        if self._queue.has(self._job.job_id):
            self._gone_since = None
            return None
        self._gone_since = self._gone_since or time.monotonic()
        if time.monotonic() - self._gone_since < _FILES_SECONDS:
            return None
        return self._failed(
            "disappeared without a result: cancelled, out of memory, or its node failed"
        )

    @property
    def waits(self) -> bool:
        """Tell whether it waits in SLURM's queue."""
        return self._queue.waits(self._job.job_id)

    def stop(self) -> None:
        """Do nothing: jobs go on without the launcher."""

    def _is_visible(self) -> bool:
        """Tell whether this machine sees the files that the job's machine has written."""
        if self.step.is_done():
            return True
        self._gone_since = self._gone_since or time.monotonic()
        return time.monotonic() - self._gone_since > _FILES_SECONDS

    def _failed(self, how: str) -> Result:
        log = self._job.paths.stdout
        message = f"{self.step.name}: job {self._job.job_id} {how}; its output: {log}\n"
        return Result(False, message + last_lines(log), time.time() - self.started)


class _Queue:
    """The user's jobs in SLURM's queue, asked for now and then."""

    def __init__(self) -> None:
        self._asked = -_QUEUE_SECONDS
        self._states: dict[str, str] | None = None

    def has(self, job_id: str, fresh: bool = False) -> bool:
        """Tell whether a job waits or runs; also if SLURM does not answer."""
        self._ask(fresh)
        return self._states is None or job_id in self._states

    def waits(self, job_id: str) -> bool:
        """Tell whether a job has not begun, or waits to be continued."""
        self._ask()
        return (self._states or {}).get(job_id) == "PENDING"

    def _ask(self, now: bool = False) -> None:
        if now or time.monotonic() - self._asked >= _QUEUE_SECONDS:
            self._asked = time.monotonic()
            self._states = queued_jobs()
