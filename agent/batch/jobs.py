"""The jobs of one process: a lock that shows it is alive, and the queue that its threads take jobs from.

Knows what waits and who holds what; neither model nor profile.
"""

from __future__ import annotations

import heapq
import platform
import threading
import uuid
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

from filelock import FileLock, Timeout

from agent.errors import SetupError
from agent.history.jobs import LOSSES, Failure, Job, Jobs, Waiting

LOOK = 16
"""Waiting jobs that are looked at in one transaction: other processes take from the same end."""
DOUBTFUL = frozenset({"Unavailable", "TimedOut"})
"""Reasons that another request in flight may have caused: the last attempt after them is made alone."""


@contextmanager
def presence(folder: Path) -> Iterator[str]:
    """A name of this process for its leases, with a locked file in `folder` that shows other processes on this machine
    that it is alive. The system frees the lock when the process dies. Raises SetupError."""
    name = f"{here()}{uuid.uuid4().hex}"
    lock = FileLock(file_of(folder, name), timeout=10)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        lock.acquire()
    except OSError as error:
        raise SetupError(f"the folder {folder} cannot be written: {error.strerror or error}") from error
    try:
        yield name
    finally:
        lock.release()


def reclaim(jobs: Jobs, folder: Path) -> int:
    """Frees what is held by processes that ended on this machine, and leases that expired; says how many jobs."""
    ended: dict[Path, FileLock] = {}
    for file in folder.glob(f"{here()}*.lock"):
        lock = FileLock(file, timeout=0)
        if file != file_of(folder, jobs.owner):
            with suppress(Timeout):
                lock.acquire()
                ended[file] = lock
    try:
        return jobs.reclaim([file.stem for file in ended])
    finally:
        for file, lock in ended.items():
            file.unlink(missing_ok=True)
            lock.release()


def here() -> str:
    """What the names of owners on this machine begin with. Those of others have no file that could tell: their leases
    expire."""
    return f"{platform.node().replace('/', '_') or 'localhost'}-"


def file_of(folder: Path, owner: str) -> Path:
    return folder / f"{owner}.lock"


class Queue:
    """Jobs for the threads of this process, in their turn, until none of `people` is left to be done.

    A job that may take the process or the model with it comes last, and alone: nothing else is then in flight here.
    """

    def __init__(self, jobs: Jobs, people: Iterable[str]) -> None:
        self._jobs = jobs
        # Guards all below, also while a lease is written: leases are written one after the other anyway.
        self._change = threading.Condition()
        self._open = set(people)
        self._waiting: list[tuple[bool, Waiting]] = []
        self._mine: dict[str, Job] = {}
        self._aside: set[str] = set()
        self._alone = False
        self._stopped = False
        self.refresh()

    def take(self) -> Job | None:
        """The next job, now leased to this process; waits for one while others may still give one up. None at the end.

        Raises StoreError.
        """
        with self._change:
            while not self._stopped and self._open:
                if not self._alone and (job := self._next()):
                    self._mine[job.user] = job
                    self._alone = job.alone
                    return job
                self._change.wait()
            return None

    def leave(self, job: Job, *, ended: bool) -> None:
        """`job` is no longer worked on here; `ended`: there is nothing left to do for the person."""
        with self._change:
            self._mine.pop(job.user, None)
            self._alone = False
            if ended:
                self._open.discard(job.user)
            self._change.notify_all()

    def again(self, job: Job) -> None:
        """`job` waits once more, behind its equals."""
        self.leave(job, ended=False)
        self._add(self._jobs.waiting([job.user]))

    def set_aside(self, job: Job) -> None:
        """`job` waits for something that this run cannot bring about."""
        with self._change:
            self._aside.add(job.user)
        self.leave(job, ended=True)

    def refresh(self) -> list[Failure]:
        """Looks at the table: what was given up waits here too, what others ended is taken out; says what failed."""
        with self._change:
            elsewhere = self._open - set(self._mine)
            ended = self._jobs.ended(sorted(elsewhere))
            self._open -= set(ended)
            self._waiting = []
        self._add(self._jobs.waiting(sorted(elsewhere - set(ended))))
        return [failure for failure in ended.values() if failure]

    def stop(self) -> None:
        """No further job is given out."""
        with self._change:
            self._stopped = True
            self._change.notify_all()

    @property
    def left(self) -> int:
        """People for whom something is still to be done, by whomever."""
        with self._change:
            return len(self._open)

    @property
    def aside(self) -> int:
        with self._change:
            return len(self._aside)

    @property
    def idle(self) -> bool:
        """Whether nothing waits here while others still work."""
        with self._change:
            return not self._waiting and bool(self._open - set(self._mine))

    def _add(self, found: Sequence[Waiting]) -> None:
        with self._change:
            for one in found:
                if one.user in self._open and one.user not in self._mine:
                    heapq.heappush(self._waiting, (suspect(one), one))
            self._change.notify_all()

    def _next(self) -> Job | None:
        while self._waiting:
            if self._waiting[0][0]:
                if self._mine:
                    return None
                user = heapq.heappop(self._waiting)[1].user
                if job := self._jobs.lease([user], alone=True):
                    return job
                continue
            looked: list[tuple[bool, Waiting]] = []
            while self._waiting and not self._waiting[0][0] and len(looked) < LOOK:
                looked.append(heapq.heappop(self._waiting))
            job = self._jobs.lease([entry[1].user for entry in looked])
            # Those before it were taken by others.
            after = [entry[1].user for entry in looked].index(job.user) + 1 if job else len(looked)
            for entry in looked[after:]:
                heapq.heappush(self._waiting, entry)
            if job:
                return job
        return None


def suspect(one: Waiting) -> bool:
    """Whether a job was lost so often, or failed in such a way, that nothing else should be in flight beside it."""
    return one.losses >= LOSSES or (one.attempts > 1 and one.reason in DOUBTFUL)
