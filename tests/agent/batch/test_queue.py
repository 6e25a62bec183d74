"""Whose turn it is, who works alone, and whose process is still alive."""

from __future__ import annotations

import subprocess
import sys
import threading
from pathlib import Path

import pytest

from agent.batch.jobs import Queue, here, presence, reclaim, suspect
from agent.history.jobs import LOSSES, Jobs, Waiting
from agent.history.store import Store
from tests.agent.batch.conftest import names, populate

PEOPLE = names(6)


@pytest.fixture
def store(tmp_path):
    with Store.open(f"sqlite:///{tmp_path}/store.db") as store:
        populate(store, PEOPLE)
        yield store


def jobs_of(store: Store, owner: str = "me") -> Jobs:
    jobs = Jobs(store, "work", owner)
    jobs.plan(PEOPLE)
    return jobs


def lose(store: Store, user: str, times: int) -> None:
    for _ in range(times):
        assert jobs_of(store, "dead").lease([user])
        jobs_of(store).reclaim(["dead"])


def taken(queue: Queue):
    job = queue.take()
    assert job
    return job


def test_jobs_come_in_their_turn_and_an_end_is_an_end(store):
    lose(store, "u0001", 1)
    jobs = jobs_of(store)
    queue = Queue(jobs, PEOPLE)
    order = []
    while job := queue.take():
        order.append(job.user)
        jobs.finish(job, 1)
        queue.leave(job, ended=True)
    assert order == ["u0000", "u0002", "u0003", "u0004", "u0005", "u0001"]
    assert (queue.left, queue.idle) == (0, False)


def test_a_failed_attempt_waits_behind_those_who_had_none(store):
    jobs = jobs_of(store)
    queue = Queue(jobs, PEOPLE)
    first = taken(queue)
    jobs.fail(first, "Refused", "no")
    queue.again(first)
    order = [taken(queue).user for _ in PEOPLE]
    assert order == [*PEOPLE[1:], first.user]


def test_a_suspect_is_worked_on_alone(store):
    lose(store, "u0003", LOSSES)
    jobs = jobs_of(store)
    queue = Queue(jobs, PEOPLE)
    others = [taken(queue) for _ in range(5)]
    alone: list = []
    waiter = threading.Thread(target=lambda: alone.append(queue.take()))
    waiter.start()
    for job in others:
        assert not alone, "somebody else is still in flight"
        jobs.finish(job, 1)
        queue.leave(job, ended=True)
    waiter.join(10)
    assert (alone[0].user, alone[0].alone) == ("u0003", True)


def test_nothing_is_taken_beside_a_suspect(store):
    for user in PEOPLE[:2]:
        lose(store, user, LOSSES)
    jobs = jobs_of(store)
    queue = Queue(jobs, PEOPLE[:2])
    first = taken(queue)
    second: list = []
    waiter = threading.Thread(target=lambda: second.append(queue.take()))
    waiter.start()
    waiter.join(0.2)
    assert not second
    jobs.finish(first, 1)
    queue.leave(first, ended=True)
    waiter.join(10)
    assert second[0].alone


@pytest.mark.parametrize(
    ("losses", "attempts", "reason", "expected"),
    [
        (0, 0, "", False),
        (LOSSES - 1, 0, "", False),
        (LOSSES, 0, "", True),
        (0, 1, "Unavailable", False),
        (0, 2, "Unavailable", True),
        (0, 2, "TimedOut", True),
        (0, 2, "Refused", False),
    ],
)
def test_who_is_suspect(losses, attempts, reason, expected):
    assert suspect(Waiting(losses, attempts, "ann", reason)) is expected


def test_what_another_process_took_is_passed_over_and_its_end_is_seen(store):
    mine, others = jobs_of(store), jobs_of(store, "other")
    queue = Queue(mine, PEOPLE)
    held = [others.lease([user]) for user in PEOPLE[:4]]
    assert [taken(queue).user, taken(queue).user] == ["u0004", "u0005"]
    assert queue.idle
    for job in held[:3]:
        assert job
        others.finish(job, 1)
    assert held[3]
    others.give_back(held[3])
    assert queue.refresh() == []
    assert taken(queue).user == "u0003"
    assert queue.left == 3


def test_a_queue_that_is_stopped_gives_nothing_and_wakes_who_waits(store):
    queue = Queue(jobs_of(store), PEOPLE)
    for _ in PEOPLE:
        taken(queue)
    got: list = []
    waiter = threading.Thread(target=lambda: got.append(queue.take()))
    waiter.start()
    queue.stop()
    waiter.join(10)
    assert got == [None]


# Whose process is alive

HOLDER = """
import sys
from pathlib import Path
from agent.batch.jobs import presence
with presence(Path(sys.argv[1])) as name:
    print(name, flush=True)
    sys.stdin.read()
"""


def test_leases_of_a_process_that_is_alive_are_left_and_those_of_a_killed_one_are_free_at_once(store, tmp_path):
    folder = tmp_path / "workers"
    with presence(folder) as me:
        jobs = jobs_of(store, me)
        holder = subprocess.Popen(
            [sys.executable, "-c", HOLDER, str(folder)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        assert holder.stdout
        owner = holder.stdout.readline().strip()
        assert jobs_of(store, owner).lease(["u0000"])
        assert reclaim(jobs, folder) == 0
        holder.kill()
        holder.communicate()
        assert reclaim(jobs, folder) == 1
        assert [path.name for path in folder.iterdir()] == [f"{me}.lock"], "what the dead left is tidied up"
        assert jobs.lease(["u0000"])


def test_leases_of_another_machine_wait_for_their_end(store, tmp_path):
    folder = tmp_path / "workers"
    jobs = jobs_of(store)
    assert jobs_of(store, "elsewhere-1").lease(["u0000"])
    assert jobs_of(store, f"{here()}of-another-home").lease(["u0001"])
    assert reclaim(jobs, folder) == 0


def test_an_owner_has_a_name_of_its_own_each_time(tmp_path: Path):
    with presence(tmp_path) as one, presence(tmp_path) as two:
        assert one != two
        assert one.startswith(here())
