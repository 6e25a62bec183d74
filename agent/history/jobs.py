"""The table of jobs: who is to be tagged, who works on it, what became of it; every change is one short transaction.

A job is a person, the work (model, prompts, settings) and the input (what was known of them). A lease is written down
with a fencing token that grows with every lease, and every result names it: whoever lost the lease changes nothing.
Knows no model and no thread.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from hashlib import blake2b
from typing import Any, Literal

from sqlalchemy import Connection, Row, and_, bindparam, case, delete, func, insert, or_, select, update

from agent.errors import StaleLease
from agent.history.schema import answers, events, jobs, profiles, tag_edits
from agent.history.store import Store, batches, keep_profile
from agent.types import Profile

ATTEMPTS = 3
"""Failures that were seen after which a job has failed for good."""
LOSSES = 3
"""Leases that were lost with their process after which a job is worked on alone."""
LEASE_S = 120.0
"""How long a lease of a process that nobody can look at is honoured after its last sign of life."""
LOST = "ProcessLost"
"""Reason of a job that was worked on alone each time that its process ended without a word."""
_CHUNK = 5_000


@dataclass(frozen=True, slots=True, order=True)
class Waiting:
    """A job that nobody works on; they are taken in the order of these fields."""

    losses: int
    attempts: int
    user: str
    reason: str = ""
    """Why the last attempt failed; "" when none did."""


@dataclass(frozen=True, slots=True)
class Job:
    """A job that we hold. It is ours as long as the table has this fence."""

    user: str
    fence: int
    attempts: int
    rebuild: bool
    """The kept profile was made by other work: start from the whole history."""
    alone: bool


@dataclass(frozen=True, slots=True)
class Failure:
    user: str
    reason: str
    """The name of an error."""
    message: str
    attempts: int


@dataclass(frozen=True, slots=True)
class Planned:
    """What is to be done for the people that were asked for."""

    open: tuple[str, ...]
    """Waiting, or being worked on by somebody."""
    unchanged: int
    failed: tuple[Failure, ...]
    """Failed before on the same input."""


class Jobs:
    """The jobs of one kind of work, as one owner (a process) sees them. Safe to use from several threads.

    Every method raises StoreError and StoreBusy; what ends a lease raises StaleLease when it was lost before.
    """

    def __init__(self, store: Store, work: str, owner: str, clock: Callable[[], float] = time.time) -> None:
        self._store = store
        self.work = work
        self.owner = owner
        self._clock = clock

    def plan(self, users: Sequence[str], *, retry_failed: bool = False) -> Planned:
        """Writes down a job for each of `users` whose input, work or profile is not the one of their finished job.

        A newer input or other work takes the place of the person's old job, also where that is being worked on.
        """
        known = inputs(self._store, users)
        open_, unchanged, failed = [], 0, []
        fresh: list[dict[str, Any]] = []
        again: list[dict[str, Any]] = []
        with self._store.writing() as connection:
            rows, versions = _rows(connection, known), _versions(connection, known)
            for user, input in known.items():
                row = rows.get(user)
                if row is None:
                    fresh.append(_new(user, self.work, input))
                elif (row.work, row.input) != (self.work, input):
                    other = row.work != self.work and row.version > 0
                    again.append({"this": user, "input": input, "rebuild": int(row.rebuild or other)})
                elif row.state == "done" and row.version == versions.get(user, 0):
                    unchanged += 1
                    continue
                elif row.state == "failed" and not retry_failed:
                    failed.append(Failure(user, row.reason, row.message, row.attempts))
                    continue
                elif row.state in ("done", "failed"):
                    again.append({"this": user, "input": input, "rebuild": row.rebuild})
                open_.append(user)
            if fresh:
                connection.execute(insert(jobs), fresh)
            if again:
                connection.execute(_AGAIN, [{**row, "work": self.work} for row in again])
            # Of people who were forgotten while a process worked on them that died before it noticed.
            connection.execute(delete(answers).where(answers.c.user.not_in(select(jobs.c.user))))
        return Planned(tuple(open_), unchanged, tuple(failed))

    def waiting(self, users: Iterable[str]) -> list[Waiting]:
        """Those of `users` whose job waits, in the order in which they are to be taken."""
        found: list[Waiting] = []
        for chunk in batches(users, _CHUNK):
            query = select(jobs.c.losses, jobs.c.attempts, jobs.c.user, jobs.c.reason)
            query = query.where(jobs.c.user.in_(chunk), jobs.c.work == self.work, jobs.c.state == "waiting")
            with self._store.reading() as connection:
                found += [Waiting(*row) for row in connection.execute(query)]
        return sorted(found)

    def ended(self, users: Iterable[str]) -> dict[str, Failure | None]:
        """Those of `users` for whom nothing is left to do, with the failure of those that failed.

        A person whose job is gone (they were forgotten) or became other work is among them.
        """
        found: dict[str, Failure | None] = {}
        for chunk in batches(users, _CHUNK):
            with self._store.reading() as connection:
                rows = {row.user: row for row in connection.execute(select(jobs).where(jobs.c.user.in_(chunk)))}
            for user in chunk:
                row = rows.get(user)
                if row is None or row.work != self.work or row.state == "done":
                    found[user] = None
                elif row.state == "failed":
                    found[user] = Failure(user, row.reason, row.message, row.attempts)
        return found

    def lease(self, users: Sequence[str], *, alone: bool = False) -> Job | None:
        """The first of `users` whose job still waits, now ours; None when none does. `alone`: nothing else is in
        flight in this process, so that a death of it is this job's doing."""
        free = and_(jobs.c.user.in_(users), jobs.c.work == self.work, jobs.c.state == "waiting")
        with self._store.writing() as connection:
            rows = {row.user: row for row in connection.execute(select(jobs).where(free))}
            row = next((rows[user] for user in users if user in rows), None)
            if row is None:
                return None
            taken = {
                "state": "leased",
                "fence": row.fence + 1,
                "owner": self.owner,
                "expires": self._deadline(),
                "alone": int(alone),
            }
            connection.execute(update(jobs).where(jobs.c.user == row.user).values(taken))
        return Job(row.user, row.fence + 1, row.attempts, bool(row.rebuild), alone)

    def finish(self, job: Job, version: int) -> None:
        """The person's profile, of that version, is as it should be. Raises StaleLease."""
        with self._store.writing() as connection:
            self._done(connection, job, version)

    def keep(self, job: Job, profile: Profile, seq: int | None, tally: str | None) -> None:
        """As Store.save_profile, and the job is finished, together or not at all. Raises StaleLease."""
        with self._store.writing() as connection:
            self._done(connection, job, profile.version)
            keep_profile(connection, profile, seq, tally)

    def fail(self, job: Job, reason: str, message: str) -> bool:
        """An attempt failed; says whether that was the last one. Raises StaleLease."""
        last = job.attempts + 1 >= ATTEMPTS
        state: Literal["failed", "waiting"] = "failed" if last else "waiting"
        with self._store.writing() as connection:
            ending = {"state": state, "attempts": job.attempts + 1, "reason": reason, "message": message}
            self._end(connection, job, ending)
            if last:
                connection.execute(delete(answers).where(answers.c.user == job.user))
        return last

    def give_back(self, job: Job) -> None:
        """The job waits again as if it had never been taken. Raises StaleLease."""
        with self._store.writing() as connection:
            self._end(connection, job, {"state": "waiting"})

    def give_back_all(self) -> int:
        """Every job that this owner holds waits again; says how many."""
        mine = and_(jobs.c.state == "leased", jobs.c.owner == self.owner)
        with self._store.writing() as connection:
            return connection.execute(update(jobs).where(mine).values(state="waiting", owner="", alone=0)).rowcount

    def renew(self) -> None:
        """A sign of life: the leases of this owner count from now."""
        mine = and_(jobs.c.state == "leased", jobs.c.owner == self.owner)
        with self._store.writing() as connection:
            connection.execute(update(jobs).where(mine).values(expires=self._deadline()))

    def others(self) -> set[str]:
        """The other owners of leases, of whatever work."""
        query = select(jobs.c.owner).where(jobs.c.state == "leased", jobs.c.owner != self.owner).distinct()
        with self._store.reading() as connection:
            return set(connection.scalars(query))

    def reclaim(self, dead: Iterable[str] = ()) -> int:
        """Takes the leases of owners that are `dead`, and all that have expired; says how many.

        A job that was worked on alone is to blame for the death, and that counts as an attempt.
        """
        lost = and_(
            jobs.c.state == "leased",
            or_(jobs.c.owner.in_(list(dead)), and_(jobs.c.expires < self._now(), jobs.c.owner != self.owner)),
        )
        blamed = and_(lost, jobs.c.alone == 1)
        last = jobs.c.attempts + 1 >= ATTEMPTS
        with self._store.writing() as connection:
            blame = {
                "attempts": jobs.c.attempts + 1,
                "reason": LOST,
                "message": "the process ended each time it worked on this person alone",
                "state": case((last, "failed"), else_="waiting"),
                "owner": "",
                "alone": 0,
            }
            count = connection.execute(update(jobs).where(blamed).values(blame)).rowcount
            free = {"losses": jobs.c.losses + 1, "state": "waiting", "owner": ""}
            count += connection.execute(update(jobs).where(lost).values(free)).rowcount
            if count:
                over = select(jobs.c.user).where(jobs.c.state == "failed")
                connection.execute(delete(answers).where(answers.c.user.in_(over)))
        return count

    def _done(self, connection: Connection, job: Job, version: int) -> None:
        self._end(connection, job, {"state": "done", "version": version, "rebuild": 0, "reason": "", "message": ""})
        connection.execute(delete(answers).where(answers.c.user == job.user))

    def _end(self, connection: Connection, job: Job, values: dict[str, Any]) -> None:
        held = and_(jobs.c.user == job.user, jobs.c.fence == job.fence, jobs.c.state == "leased")
        if not connection.execute(update(jobs).where(held).values(owner="", alone=0, **values)).rowcount:
            raise StaleLease("somebody else took this job over, or it is gone: nothing was written")

    def _now(self) -> int:
        return int(self._clock() * 1_000_000)

    def _deadline(self) -> int:
        return self._now() + int(LEASE_S * 1_000_000)


def inputs(store: Store, users: Iterable[str]) -> dict[str, str]:
    """What is known of each person, as a short text that changes with it; people of whom nothing is are left out."""
    found: dict[str, str] = {}
    for chunk in batches(users, _CHUNK):
        counted = select(events.c.user, func.max(events.c.seq), func.count()).where(events.c.user.in_(chunk))
        said = select(tag_edits).where(tag_edits.c.user.in_(chunk)).order_by(*tag_edits.c)
        with store.reading() as connection:
            history = {
                user: f"{seq}.{count}" for user, seq, count in connection.execute(counted.group_by(events.c.user))
            }
            edits: dict[str, list[Any]] = {}
            for row in connection.execute(said):
                edits.setdefault(row.user, []).append(tuple(row))
        for user in chunk:
            if user in history or user in edits:
                words = (
                    blake2b(repr(edits[user]).encode("utf-8", "surrogatepass"), digest_size=8)
                    if user in edits
                    else None
                )
                found[user] = history.get(user, "0.0") + (f".{words.hexdigest()}" if words else "")
    return found


_AGAIN = (
    update(jobs)
    .where(jobs.c.user == bindparam("this"))
    .values(
        work=bindparam("work"),
        input=bindparam("input"),
        rebuild=bindparam("rebuild"),
        state="waiting",
        owner="",
        alone=0,
        attempts=0,
        losses=0,
        reason="",
        message="",
    )
)


def _new(user: str, work: str, input: str) -> dict[str, Any]:
    text = {"user": user, "work": work, "input": input, "state": "waiting", "owner": "", "reason": "", "message": ""}
    return text | dict.fromkeys(("fence", "expires", "alone", "attempts", "losses", "rebuild", "version"), 0)


def _rows(connection: Connection, users: Iterable[str]) -> dict[str, Row[Any]]:
    found: dict[str, Row[Any]] = {}
    for chunk in batches(users, _CHUNK):
        found.update((row.user, row) for row in connection.execute(select(jobs).where(jobs.c.user.in_(chunk))))
    return found


def _versions(connection: Connection, users: Iterable[str]) -> dict[str, int]:
    found: dict[str, int] = {}
    for chunk in batches(users, _CHUNK):
        newest = select(profiles.c.user, func.max(profiles.c.version)).where(profiles.c.user.in_(chunk))
        found.update((user, version) for user, version in connection.execute(newest.group_by(profiles.c.user)))
    return found
