"""A profile for which the model was too late does not stay a template for ever."""

from __future__ import annotations

import re
import threading
from concurrent.futures import ThreadPoolExecutor

from agent.errors import CallUnavailable, TimedOut, Unavailable
from agent.llm.scripted import Scripted
from agent.service import later as later_module
from agent.service.later import Later
from agent.service.model import still_wanted
from agent.types import Event


def idle(later: Later) -> bool:
    """Waits until nobody is in line."""
    thread = later._thread
    if thread is not None:
        thread.join(20)
    return later._thread is None


class Writer:
    """A model that can be too late, and writes a persona that passes the check."""

    def __init__(self) -> None:
        self.late = True
        self.asked = 0

    def __call__(self, chat) -> str:
        self.asked += 1
        if self.late:
            raise TimedOut("the request's time for models is over")
        likes = re.search(r"(?:likes|interests)\W+(.*)", chat[-1].content, re.IGNORECASE)
        return f"A fan of {likes[1].split(',')[0]}." if likes else ""


def test_a_persona_that_came_too_late_is_there_for_the_next_request(serve):
    model = Writer()
    service = serve(Scripted(model))
    first = service.get("/api/people/mara/profile").json()
    assert idle(service.desk.later)
    kept = service.rapport.store.profile("mara")
    assert kept is not None
    assert (first["persona_by"], kept.persona_by, kept.persona) == ("template", "template", first["persona"])
    model.late = False
    # The model was late for the second time, too: this person waits an hour, the next one does not.
    service.get("/api/people/mara/profile")
    assert idle(service.desk.later)
    asked = model.asked
    service.desk.later._tried.clear()
    assert service.get("/api/people/mara/profile").json()["persona_by"] == "template"
    assert idle(service.desk.later)
    assert model.asked > asked
    then = service.get("/api/people/mara/profile").json()
    assert then["persona_by"] == "model"
    assert then["version"] > first["version"]
    assert {tag["name"] for tag in then["tags"]} == {tag["name"] for tag in first["tags"]}
    asked = model.asked
    assert service.get("/api/people/mara/profile").json() == then
    assert idle(service.desk.later)
    assert model.asked == asked, "nothing is left to be written"


def test_what_is_written_late_is_not_kept_over_what_happened_meanwhile(serve):
    model = Writer()
    service = serve(Scripted(model))
    service.get("/api/people/mara/profile")
    assert idle(service.desk.later)
    store, profiler = service.rapport.store, service.rapport.profiler
    model.late = False
    answer = model.__call__

    def interrupted(chat) -> str:
        store.add_events([Event(4711, "mara", "ran-1985", "like")])
        return answer(chat)

    twin = service.rapport.with_llm(Scripted(interrupted)).profiler
    assert not twin.again("mara")
    assert store.profile("mara").persona_by == "template"
    assert profiler("mara").persona_by == "model", "the event brought another one"
    assert not profiler.again("mara"), "there is nothing to write again"


def test_the_line_is_bounded_and_nobody_is_in_it_twice(monkeypatch):
    monkeypatch.setattr(later_module, "MOST", 3)
    go, begun, done = threading.Event(), threading.Event(), []

    def work(user: str) -> None:
        begun.set()
        assert go.wait(20)
        done.append(user)

    later = Later(work)
    later.ask("ann")
    assert begun.wait(20)
    for user in ("ann", "ben", "ben", "cho", "dee", "eve"):
        later.ask(user)
    later.drop("cho")
    go.set()
    assert idle(later)
    assert done == ["ann", "ben", "dee"]
    assert [one.name for one in threading.enumerate()].count("rapport-later") == 0


def test_somebody_is_tried_again_after_an_hour():
    clock, done = [0.0], []
    later = Later(done.append, now=lambda: clock[0])
    for now in (0.0, 10.0, later_module.AGAIN_S, later_module.AGAIN_S + 1):
        clock[0] = now
        later.ask("ann")
        assert idle(later)
    assert done == ["ann", "ann"]


def test_what_is_under_way_is_given_up_when_the_service_stops_or_the_person_is_erased():
    begun, outcomes = threading.Semaphore(0), []

    def work(user: str) -> None:
        begun.release()
        while True:
            try:
                still_wanted()
            except CallUnavailable:
                outcomes.append(user)
                raise

    later = Later(work)
    for user in ("ann", "ben"):
        later.ask(user)
    assert begun.acquire(timeout=20)
    later.drop("ann")
    assert outcomes == ["ann"]
    assert begun.acquire(timeout=20)
    later.stop()
    assert outcomes == ["ann", "ben"]
    assert later._thread is None
    later.ask("cho")
    assert later._thread is None


def test_an_error_does_not_keep_the_others_waiting(caplog):
    done = []

    def work(user: str) -> None:
        if user == "ann":
            raise ZeroDivisionError
        if user == "ben":
            raise Unavailable("the model is gone")
        done.append(user)

    later = Later(work)
    with ThreadPoolExecutor(4) as threads:
        list(threads.map(later.ask, ["ann", "ben", "cho"]))
    while not idle(later):
        pass
    assert done == ["cho"]
    assert "ZeroDivisionError" in caplog.text


def test_nobody_in_line_is_left_behind_when_the_service_ends(serve):
    service = serve(Scripted(Writer()))
    service.get("/api/people/mara/profile")
    service.desk.stop()
    assert [one.name for one in threading.enumerate()].count("rapport-later") == 0
