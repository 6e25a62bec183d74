"""What may happen at the same time, and what may not."""

from __future__ import annotations

import threading
import time
from concurrent.futures import ThreadPoolExecutor

import pytest

from agent import sample
from agent.errors import StoreBusy, UnknownUser
from agent.history.store import Store
from agent.llm.scripted import Scripted
from agent.service.config import Config
from agent.service.desk import Desk
from agent.service.people import People
from agent.settings import Settings
from agent.types import Item
from agent.wiring import Rapport, open_rapport


def test_many_at_work_on_a_person_but_nobody_beside_their_erasure():
    people, present, wrong = People(20.0), [], []

    def visit(_: int) -> None:
        with people.about("ann"):
            present.append(1)
            time.sleep(0.001)
            present.pop()

    def erase(_: int) -> None:
        with people.erasing("ann"):
            wrong.extend(present)
            time.sleep(0.002)
            wrong.extend(present)

    with ThreadPoolExecutor(12) as threads:
        list(threads.map(lambda n: (erase if n % 10 == 0 else visit)(n), range(300)))
    assert wrong == []


def test_an_erasure_does_not_wait_for_ever_and_is_not_put_off_by_those_who_come():
    people = People(0.05)
    with people.about("ann"):
        with pytest.raises(StoreBusy), people.erasing("ann"):
            pass
        with people.erasing("ben"):
            pass
    entered = threading.Event()
    with people.erasing("ann"):
        with pytest.raises(StoreBusy), people.about("ann"):
            entered.set()
        with people.about("ben"):
            pass
    assert not entered.is_set()
    with people.about("ann"):
        entered.set()
    assert entered.is_set()


def test_a_request_under_way_does_not_write_down_again_who_was_erased(serve):
    """The model is still wording mara's persona when she asks to be forgotten."""
    asked, go = threading.Event(), threading.Event()

    def slow(chat) -> str:
        asked.set()
        go.wait(20)
        return "late"

    service = serve(Scripted(slow))
    service.desk.people._patience_s = 20.0
    with ThreadPoolExecutor(2) as threads:
        reading = threads.submit(service.get, "/api/people/mara/profile")
        assert asked.wait(20)
        erasing = threads.submit(service.client.delete, "/api/people/mara")
        time.sleep(0.1)
        assert not erasing.done()
        go.set()
        assert reading.result(20).status_code == 200
        assert erasing.result(20).status_code == 200
    rows = service.rapport.store.export_user("mara")
    assert not any(rows[table] for table in rows if table != "user")
    with pytest.raises(UnknownUser):
        service.rapport.profile("mara")


def test_another_process_that_writes_makes_a_503_that_says_when_to_come_back(serve, tmp_path):
    service = serve()
    service.get("/api/people/mara/profile")
    service.rapport.store.close()
    service.rapport.__dict__["store"] = Store.open(service.rapport.settings.database_url, busy_s=0.05)
    with Store.open(service.rapport.settings.database_url) as other, other.writing():
        said = service.client.post("/api/events", json={"user": "mara", "item": "ran-1985", "kind": "like"})
        assert (said.status_code, said.json()["type"]) == (503, "urn:rapport:store-busy")
        assert int(said.headers["retry-after"]) >= 1
        assert service.get("/api/people/mara/profile").status_code == 200, "reading goes on"
    assert service.post("/api/events", {"user": "mara", "item": "ran-1985", "kind": "like"}).status_code == 200


def test_what_was_counted_is_counted_anew_but_not_for_every_change(shop):
    rapport = shop(sample.films(), sample.events())
    desk = Desk(rapport, Config(look_s=0.0))
    assert "mood" not in rapport.fields
    desk.put_item(Item("x", "X", attributes={"mood": "calm"}))
    assert "mood" in rapport.fields
    patient = Desk(rapport, Config(look_s=1000.0))
    before = rapport.background
    for n in range(3):
        patient.put_item(Item(f"x{n}", "X", attributes={"pace": "slow"}))
    assert rapport.background is before
    patient._counted -= 2000
    patient.look_after()
    assert rapport.background is not before
    assert "pace" in rapport.fields
    desk.pool.stop()
    patient.pool.stop()


def test_parts_are_made_once_whoever_comes_first(tmp_path):
    with open_rapport(settings=Settings(home=tmp_path, llm="none", embedder="hashing")) as rapport:
        rapport.store.add_items(sample.films()[:30])
        with ThreadPoolExecutor(16) as threads:
            found = list(
                threads.map(lambda _: (rapport.index, rapport.llm, rapport.store, rapport.background), range(48))
            )
        assert len({tuple(map(id, one)) for one in found}) == 1


def by_index(answer) -> bool:
    """Whether the index answered; without a model every answer is degraded."""
    return not any("popular list answers" in note for note in answer.provenance.notes)


@pytest.fixture
def on_disk(tmp_path) -> Rapport:
    rapport = open_rapport(settings=Settings(home=tmp_path / "home", llm="none", embedder="hashing", domain="film"))
    rapport.store.add_items(sample.films())
    rapport.store.add_events(sample.events())
    rapport.build_index()
    return rapport


def test_searches_and_changes_of_the_real_index_at_the_same_time(on_disk):
    """One lock for the index: nobody is answered wrongly, and it is sound afterwards."""
    people = [one for one in sample.PEOPLE if one != "nadia"]
    with on_disk as rapport:
        desk = Desk(rapport, Config())
        desk.warm()
        known = {film.id for film in sample.films()} | {f"new{n}" for n in range(24)}

        def work(n: int) -> None:
            if n % 4 == 0:
                assert desk.put_item(Item(f"new{n // 4 % 24}", f"New {n}", f"A quiet film number {n}."))[1] == ""
            answer = rapport.recommend(people[n % len(people)], 10)
            assert by_index(answer)
            assert {one.item.id for one in answer.items} <= known

        with ThreadPoolExecutor(8) as threads:
            list(threads.map(work, range(96)))
        assert rapport.index.count() == len(sample.films()) + 24
        assert rapport.check_index() == ""
        desk.pool.stop()


def test_an_index_that_fails_its_check_answers_no_more(on_disk, monkeypatch):
    from vectorstore.chroma import ChromaStore

    with on_disk as rapport:
        desk = Desk(rapport, Config())
        desk.warm()
        assert by_index(rapport.recommend("mara"))
        with monkeypatch.context() as patch:
            patch.setattr(ChromaStore, "healthy", lambda self: False)
            desk.look_after()
        answer = rapport.recommend("mara")
        assert not by_index(answer)
        assert answer.degraded
        assert len(answer.items) == 10
        assert [one.name for one in desk.health() if one.wrong] == ["index"]
        desk.look_after()
        assert by_index(rapport.recommend("mara")), "it was sound after all: opened again, it was looked at closely"
        desk.pool.stop()
