"""The table of jobs: what is planned, who holds what, and that a stale owner changes nothing."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime

import pytest

from agent.errors import StaleLease
from agent.history.jobs import ATTEMPTS, LEASE_S, LOSSES, LOST, Jobs
from agent.history.store import Store, event_id
from agent.types import Event, Profile, TagEdit

NOON = datetime(2024, 5, 1, 12, tzinfo=UTC)
PEOPLE = ["ann", "ben", "cem"]


def play(user: str, item: str = "i1") -> Event:
    return Event(event_id(user, item, "play", NOON), user, item, "play", 1.0, "", NOON)


class Clock:
    now = 1_000_000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def jobs(store, clock) -> Jobs:
    store.add_events(play(user) for user in PEOPLE)
    return Jobs(store, "work", "here-1", clock)


@pytest.fixture
def other(store, clock) -> Jobs:
    return Jobs(store, "work", "here-2", clock)


def held(jobs: Jobs, user: str = "ann"):
    job = jobs.lease([user])
    assert job is not None
    return job


def profile(user: str, version: int = 1) -> Profile:
    return Profile(user, persona=f"version {version}", version=version)


def test_a_plan_holds_everybody_once_and_nobody_who_is_not_known(jobs):
    assert jobs.plan([*PEOPLE, "nobody"]).open == ("ann", "ben", "cem")
    assert jobs.plan(PEOPLE).open == ("ann", "ben", "cem")
    assert [one.user for one in jobs.waiting(PEOPLE)] == PEOPLE


def test_what_is_done_is_unchanged_until_the_input_changes(jobs, store):
    jobs.plan(PEOPLE)
    for user in PEOPLE:
        jobs.keep(held(jobs, user), profile(user), None, None)
    assert (jobs.plan(PEOPLE).open, jobs.plan(PEOPLE).unchanged) == ((), 3)
    store.add_events([play("ben", "i2")])
    store.add_edit(TagEdit("cem", "Jazz", "", "add", 1, NOON))
    assert (jobs.plan(PEOPLE).open, jobs.plan(PEOPLE).unchanged) == (("ben", "cem"), 1)
    assert not held(jobs, "ben").rebuild


def test_an_edit_that_is_taken_back_is_a_change_too(jobs, store):
    store.add_edit(TagEdit("ann", "Jazz", "", "add", 1, NOON))
    jobs.plan(["ann"])
    jobs.keep(held(jobs), profile("ann"), None, None)
    store.remove_edit("ann", "Jazz")
    assert jobs.plan(["ann"]).open == ("ann",)


def test_other_work_is_done_for_everybody_again_and_from_the_whole_history(jobs, store):
    jobs.plan(PEOPLE)
    jobs.keep(held(jobs), profile("ann"), None, None)
    newer = Jobs(store, "newer work", "here-1")
    assert newer.plan(PEOPLE).open == ("ann", "ben", "cem")
    assert (held(newer, "ann").rebuild, held(newer, "ben").rebuild) == (True, False)


def test_a_profile_that_somebody_else_made_since_is_looked_at_again(jobs, store):
    jobs.plan(["ann"])
    jobs.keep(held(jobs), profile("ann"), None, None)
    store.save_profile(profile("ann", 2))
    assert jobs.plan(["ann"]).open == ("ann",)


def test_a_job_is_given_to_one_owner_only(jobs, other):
    jobs.plan(PEOPLE)
    first, second = jobs.lease(PEOPLE), other.lease(PEOPLE)
    assert (first and first.user, second and second.user) == ("ann", "ben")
    assert other.lease(["ann", "ben"]) is None


def test_jobs_are_taken_in_the_order_asked_which_is_fewest_losses_then_attempts_then_name(jobs):
    jobs.plan(PEOPLE)
    jobs.fail(held(jobs, "ann"), "Refused", "no")
    assert [one.user for one in jobs.waiting(PEOPLE)] == ["ben", "cem", "ann"]


def test_a_failure_is_final_after_three_attempts_and_keeps_its_reason(jobs, store):
    jobs.plan(["ann"])
    store.keep_answer("ann", "question", "{}")
    ends = [jobs.fail(held(jobs), "Refused", f"no {number}") for number in range(ATTEMPTS)]
    assert ends == [False, False, True]
    assert store.answer("ann", "question") is None
    (failure,) = jobs.plan(["ann"]).failed
    assert (failure.reason, failure.message, failure.attempts) == ("Refused", "no 2", ATTEMPTS)
    assert jobs.lease(["ann"]) is None


def test_a_failure_is_tried_again_when_asked_for_or_when_the_input_changes(jobs, store):
    jobs.plan(["ann", "ben"])
    for user in ("ann", "ben"):
        for _ in range(ATTEMPTS):
            jobs.fail(held(jobs, user), "Refused", "no")
    store.add_events([play("ben", "i2")])
    assert jobs.plan(["ann", "ben"]).open == ("ben",)
    assert jobs.plan(["ann"], retry_failed=True).open == ("ann",)
    assert held(jobs, "ann").attempts == 0


def stale_ways():
    return [
        ("finish", lambda jobs, job: jobs.finish(job, 1)),
        ("keep", lambda jobs, job: jobs.keep(job, profile("ann", 7), None, "{}")),
        ("fail", lambda jobs, job: jobs.fail(job, "Refused", "no")),
        ("give_back", lambda jobs, job: jobs.give_back(job)),
    ]


@pytest.mark.parametrize(("name", "end"), stale_ways(), ids=lambda value: value if isinstance(value, str) else "")
@pytest.mark.parametrize("lost_to", ["another lease", "nobody yet", "a finished job", "newer work", "forgetting"])
def test_a_stale_owner_changes_nothing(name, end, lost_to, jobs, other, store, clock):
    jobs.plan(["ann"])
    stale = held(jobs)
    if lost_to == "newer work":
        Jobs(store, "newer work", "here-2").plan(["ann"])
    elif lost_to == "forgetting":
        store.erase_user("ann")
    else:
        other.reclaim(["here-1"])
        if lost_to != "nobody yet":
            job = held(other)
            if lost_to == "a finished job":
                other.keep(job, profile("ann", 1), None, "{}")
    before = store.export_user("ann")
    with pytest.raises(StaleLease):
        end(jobs, stale)
    assert store.export_user("ann") == before


def test_the_fence_grows_with_every_lease(jobs):
    jobs.plan(["ann"])
    fences = []
    for _ in range(3):
        job = held(jobs)
        fences.append(job.fence)
        jobs.give_back(job)
    jobs.plan(["ann"], retry_failed=True)
    fences.append(held(jobs).fence)
    assert fences == sorted(set(fences))


def test_the_profile_and_the_end_of_the_job_are_one_transaction(jobs, store, monkeypatch):
    jobs.plan(["ann"])
    job = held(jobs)
    store.keep_answer("ann", "question", "{}")

    def power_cut(*_):
        raise OSError("power cut")

    monkeypatch.setattr("agent.history.jobs.keep_profile", power_cut)
    with pytest.raises(OSError, match="power cut"):
        jobs.keep(job, profile("ann"), None, None)
    monkeypatch.undo()
    assert store.profile("ann") is None
    assert store.answer("ann", "question") == "{}"
    jobs.keep(job, profile("ann"), 1, "{}")
    assert (store.profile("ann"), store.profile_seq("ann"), store.tally("ann")) == (profile("ann"), 1, "{}")
    assert store.answer("ann", "question") is None


def test_what_a_dead_owner_held_waits_again_behind_the_others(jobs, other):
    jobs.plan(PEOPLE)
    held(jobs, "ann")
    held(other, "ben")
    assert other.others() == {"here-1"}
    assert other.reclaim(["here-1"]) == 1
    assert [(one.user, one.losses, one.attempts) for one in other.waiting(PEOPLE)] == [("cem", 0, 0), ("ann", 1, 0)]


def test_a_lease_expires_unless_it_is_renewed(jobs, other, clock):
    jobs.plan(PEOPLE)
    job = held(jobs, "ann")
    clock.now += LEASE_S - 1
    jobs.renew()
    clock.now += LEASE_S - 1
    assert other.reclaim() == 0
    clock.now += 2
    assert jobs.reclaim() == 0, "an owner that is alive does not take its own leases"
    assert other.reclaim() == 1
    with pytest.raises(StaleLease):
        jobs.finish(job, 1)


def test_only_a_job_that_was_worked_on_alone_is_blamed_for_a_death(jobs, other, store):
    jobs.plan(["ann"])
    store.keep_answer("ann", "question", "{}")
    for number in range(LOSSES):
        held(jobs)
        other.reclaim(["here-1"])
        (waiting,) = other.waiting(["ann"])
        assert (waiting.losses, waiting.attempts) == (number + 1, 0)
    for number in range(ATTEMPTS):
        assert jobs.lease(["ann"], alone=True)
        other.reclaim(["here-1"])
        left = [one.attempts for one in other.waiting(["ann"])]
        assert left == ([number + 1] if number + 1 < ATTEMPTS else [])
    (failure,) = jobs.plan(["ann"]).failed
    assert failure.reason == LOST
    assert store.answer("ann", "question") is None


def test_leases_that_are_given_back_count_for_nothing(jobs):
    jobs.plan(PEOPLE)
    held(jobs, "ann")
    jobs.lease(["ben"], alone=True)
    assert jobs.give_back_all() == 2
    assert [(one.user, one.losses, one.attempts) for one in jobs.waiting(PEOPLE)] == [(user, 0, 0) for user in PEOPLE]


def test_who_ended_is_told_with_the_failure(jobs, store):
    jobs.plan(PEOPLE)
    jobs.keep(held(jobs, "ann"), profile("ann"), None, None)
    for _ in range(ATTEMPTS):
        jobs.fail(held(jobs, "ben"), "Refused", "no")
    ended = jobs.ended([*PEOPLE, "gone"])
    assert set(ended) == {"ann", "ben", "gone"}
    assert [failure.user for failure in ended.values() if failure] == ["ben"]


def test_ten_thousand_people_are_planned_in_a_few_statements(store, url):
    from sqlalchemy import event

    store.add_events(play(f"p{number:05}") for number in range(10_000))
    jobs = Jobs(store, "work", "here-1")
    sent: list[str] = []
    for engine in (store._database.reader, store._database.writer):
        event.listen(engine, "before_cursor_execute", lambda *arguments: sent.append(arguments[2]))
    assert len(jobs.plan(store.users()).open) == 10_000
    assert len(sent) < 20


def test_answers_about_somebody_who_was_forgotten_meanwhile_do_not_stay(jobs, store):
    jobs.plan(PEOPLE)
    store.erase_user("ann")
    for user in ("ann", "ben"):
        store.keep_answer(user, "question", "{}")
    jobs.plan(["ben", "cem"])
    assert (store.answer("ann", "question"), store.answer("ben", "question")) == (None, "{}")


def test_waiting_is_told_in_its_turn(jobs):
    jobs.plan(PEOPLE)
    first = jobs.waiting(PEOPLE)[0]
    assert sorted([replace(first, user="b"), replace(first, losses=1, user="a"), replace(first, attempts=1)]) == [
        replace(first, user="b"),
        replace(first, attempts=1),
        replace(first, losses=1, user="a"),
    ]


def test_answers_are_kept_until_they_are_dropped(store: Store):
    store.keep_answer("ann", "q", '{"text": "one"}')
    store.keep_answer("ann", "q", '{"text": "two"}')
    store.keep_answer("ben", "q", '{"text": "his"}')
    assert (store.answer("ann", "q"), store.answer("ann", "r")) == ('{"text": "two"}', None)
    assert store.export_user("ann")["answers"][0]["body"] == {"text": "two"}
    store.drop_answers("ann")
    assert (store.answer("ann", "q"), store.answer("ben", "q")) == (None, '{"text": "his"}')


def test_the_newest_profiles_come_in_the_order_asked(store: Store):
    for user, version in [("ann", 1), ("ben", 1), ("ann", 2), ("ann", 10)]:
        store.save_profile(profile(user, version))
    assert list(store.newest_profiles(["ben", "nobody", "ann"])) == [profile("ben"), profile("ann", 10)]
