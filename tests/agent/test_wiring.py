from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from agent.errors import BadFilter, SetupError, StoreBusy, StoreError, UnknownUser, UsageError
from agent.history.store import event_id
from agent.llm.scripted import NoModel, Scripted
from agent.settings import Settings
from agent.types import Event, Item
from agent.wiring import MAX_TAG, open_embedder, open_rapport
from vectorstore.base import VectorStoreError
from vectorstore.embed.hashing import HashingEmbedder

START = datetime(2025, 1, 1, tzinfo=UTC)
GENRES = ("Western", "Horror", "Romance")
CATALOGUE = [
    Item(
        f"f{at}",
        f"{GENRES[at % 3]} Tale {at}",
        f"A {GENRES[at % 3].lower()} film.",
        (GENRES[at % 3],),
        {"year": 1950 + at},
    )
    for at in range(30)
]


def happened(user: str, item: str, value: float = 5.0, day: int = 0) -> Event:
    at = START + timedelta(days=day)
    return Event(event_id(user, item, "rating", at), user, item, "rating", value, "", at)


EVENTS = [happened("ann", f"f{at}", 5.0, at) for at in range(1, 20, 3)] + [
    happened("ann", "f0", 1.0, 20),
    happened("ben", "f0"),
    happened("ben", "f3", 5.0, 1),
]


def settings(tmp_path, **more) -> Settings:
    return Settings(**{"home": tmp_path / "home", "llm": "none", "embedder": "hashing", **more})


@pytest.fixture
def rapport(shop):
    return shop(CATALOGUE, EVENTS)


@pytest.fixture
def on_disk(tmp_path):
    """With a real Chroma index."""
    with open_rapport(settings=settings(tmp_path)) as rapport:
        rapport.store.add_items(CATALOGUE)
        rapport.store.add_events(EVENTS)
        rapport.build_index()
        yield rapport


def ids(answer) -> list[str]:
    return [one.item.id for one in answer.items]


def served(answer) -> bool:
    """By the index, whatever became of the sentences."""
    return not any("popular list answers" in note for note in answer.provenance.notes)


class Closing:
    """A part that remembers that it was closed."""

    def __init__(self, part):
        self.part, self.closed = part, 0

    def __getattr__(self, name):
        return getattr(self.part, name)

    def close(self):
        self.closed += 1
        self.part.close()


def test_nothing_is_opened_before_it_is_needed(tmp_path):
    with open_rapport(settings=settings(tmp_path, llm="gguf:/nowhere", embedder="gguf:/nowhere")) as rapport:
        assert rapport.settings.home == tmp_path / "home"
    assert not (tmp_path / "home").exists()


def test_the_way_in_takes_specs_and_objects(tmp_path):
    model, embedder = Scripted(lambda chat: ""), HashingEmbedder(64)
    with open_rapport(tmp_path / "one", llm=model, embedder=embedder) as rapport:
        assert rapport.llm is model
        assert rapport.embedder is embedder
    with open_rapport(str(tmp_path / "two"), llm="none", embedder="hashing") as rapport:
        assert isinstance(rapport.llm, NoModel)
        assert rapport.embedder.name == "hashing-1-256"


@pytest.mark.parametrize("spec", ["", "hashing:x", "builtin:x", "gguf", "gguf:/nowhere/x.gguf", "word2vec", "openai:"])
def test_an_embedder_that_is_none_is_an_error_that_says_what_would_be(tmp_path, spec):
    with pytest.raises(SetupError, match=r"embedder|embedding"):
        open_embedder(settings(tmp_path, embedder=spec))


def test_a_model_that_is_none_is_an_error(tmp_path):
    with open_rapport(tmp_path, llm="gpt") as rapport, pytest.raises(SetupError, match="'gpt'"):
        _ = rapport.llm


def test_all_is_closed_also_when_a_part_fails(rapport):
    store, index = Closing(rapport.store), Closing(rapport.index)

    def fail():
        raise StoreError("will not close")

    index.close = fail
    rapport.__dict__.update(store=store, index=index)
    with pytest.raises(StoreError, match="will not close"):
        rapport.close()
    assert store.closed == 1
    rapport.close()
    assert store.closed == 1


def test_new_events_count_at_once(rapport):
    first = ids(rapport.recommend("ann", 3))
    rapport.store.add_events([happened("ann", first[0], 1.0, 50)])
    assert first[0] not in ids(rapport.recommend("ann", 20))
    assert rapport.profile("ann").events == 9


def test_a_new_person_is_known_at_once(rapport):
    with pytest.raises(UnknownUser):
        rapport.profile("new")
    rapport.store.add_events([happened("new", "f4"), happened("new", "f7")])
    assert rapport.profile("new").events == 2
    assert len(rapport.recommend("new", 5).items) == 5


def test_new_items_count_after_the_index_was_brought_up_to_date(on_disk):
    assert served(on_disk.recommend("ann", 5))
    on_disk.store.add_items([Item("new", "Horror Tale 99", "A horror film.", ("Horror",), {"year": 2024})])
    report = on_disk.build_index()
    assert (report.added, report.unchanged) == (1, 30)
    assert "new" in ids(on_disk.recommend("ann", 30))
    assert on_disk.condition("year>2020").value == 2020
    assert on_disk.explain("ann", "new").receipts


def test_an_import_is_seen_after_refresh(rapport):
    assert rapport.fields
    with pytest.raises(BadFilter):
        rapport.condition("colour=red")
    rapport.store.add_items([Item("red", "Red", "", (), {"colour": "red"})])
    rapport.refresh()
    assert rapport.condition("colour=red").field == "colour"


@pytest.mark.parametrize(
    ("items", "why"), [([], "the catalogue is empty"), ([Item("1", "Alone"), Item("2", "Together")], "titles only")]
)
def test_a_filter_on_nothing_says_why(shop, items, why):
    with pytest.raises(BadFilter, match=why):
        shop(items).condition("year>1990")


def test_the_index_is_rebuilt_beside_the_old_one(on_disk):
    before = ids(on_disk.recommend("ann", 10))
    assert on_disk.build_index(rebuild=True).added == 30
    assert ids(on_disk.recommend("ann", 10)) == before


def test_two_homes_share_nothing(shop):
    one, two = shop(CATALOGUE, EVENTS, name="one"), shop(CATALOGUE[:5], [happened("zoe", "f1")], name="two")
    one.profile("ann")
    with pytest.raises(UnknownUser):
        two.profile("ann")
    with pytest.raises(UnknownUser):
        one.recommend("zoe")
    assert set(ids(two.recommend("zoe", 30))) <= {item.id for item in CATALOGUE[:5]}
    assert two.store.users() == ["zoe"]
    two.state("zoe", "slow burning", "add")
    assert one.store.edits("zoe") == []
    assert one.settings.home != two.settings.home


def test_another_model_on_the_same_home(rapport):
    model = Scripted(lambda chat: "Mostly drawn to horror.", name="other")
    twin = rapport.with_llm(model)
    assert twin.profile("ann", rebuild=True).persona_by == "model"
    assert twin.store is rapport.store
    assert twin.index is rapport.index
    assert rapport.llm.name == "none"
    assert rapport.profile("ann").persona == "Mostly drawn to horror."


def test_closing_the_other_leaves_this_one_open(rapport):
    store = Closing(rapport.store)
    rapport.__dict__["store"] = store
    model = Closing(Scripted(lambda chat: "x"))
    with rapport.with_llm(model) as twin:
        twin.recommend("ann", 3)
    assert model.closed == 1
    assert store.closed == 0
    assert rapport.recommend("ann", 3).items


def test_another_model_without_an_index_degrades_as_this_one_does(shop):
    rapport = shop(CATALOGUE, EVENTS, index=False)
    answer = rapport.with_llm(NoModel()).recommend("ann", 3)
    assert answer.degraded
    assert answer.items


def test_an_index_of_another_embedder_is_said_and_not_served(on_disk, tmp_path):
    on_disk.close()
    with open_rapport(settings=settings(tmp_path), embedder=HashingEmbedder(64)) as rapport:
        answer = rapport.recommend("ann", 3)
        assert answer.degraded
        assert any("made by 'hashing-1-256'" in note and "--rebuild" in note for note in answer.provenance.notes)
        with pytest.raises(StoreError, match="hashing-1-256"):
            rapport.build_index()
        assert rapport.build_index(rebuild=True).added == 30
        assert served(rapport.recommend("ann", 3))


def test_a_damaged_index_is_said_by_every_answer_of_the_process(on_disk, tmp_path):
    on_disk.close()
    for path in (tmp_path / "home" / "index").rglob("*.sqlite3"):
        path.write_bytes(b"\x00" * 4096)
    with open_rapport(settings=settings(tmp_path)) as rapport:
        for _ in range(2):
            answer = rapport.recommend("ann", 3)
            assert answer.degraded
            assert any("damaged" in note for note in answer.provenance.notes)


def test_an_index_that_another_process_has_is_busy(on_disk, tmp_path):
    with open_rapport(settings=settings(tmp_path)) as second:
        with pytest.raises(StoreBusy):
            _ = second.index
        answer = second.recommend("ann", 3)
        assert len(answer.items) == 3
        assert any("another process" in note for note in answer.provenance.notes)


def test_what_the_index_raises_is_ours(rapport):
    def fail(*args, **options):
        raise VectorStoreError("gone")

    rapport.index.search = fail
    profile = rapport.profile("ann", rebuild=True)
    assert profile.tags
    assert rapport.recommend("ann", 3).degraded


def test_a_home_that_cannot_be_made_is_an_error(tmp_path):
    (tmp_path / "file").write_text("")
    with open_rapport(settings=settings(tmp_path, home=tmp_path / "file" / "home")) as rapport:
        with pytest.raises(SetupError, match="cannot be made"):
            rapport.profile("ann")
        with pytest.raises(SetupError, match="cannot be made"):
            rapport.build_index()


def test_an_index_folder_that_cannot_be_made_is_an_error(tmp_path):
    (tmp_path / "home").mkdir()
    (tmp_path / "home" / "index").write_text("")
    with open_rapport(settings=settings(tmp_path)) as rapport:
        rapport.store.add_items(CATALOGUE)
        with pytest.raises(StoreError, match="cannot be opened"):
            rapport.build_index()


# What people say of their tags


def names(rapport, user="ann") -> list[str]:
    return [tag.name for tag in rapport.profile(user).tags]


def test_what_a_person_states_stands_first_and_survives(rapport):
    rapport.state("ann", "  slow   burning ", "add")
    rapport.state("ann", "romance", "add", -1)
    tags = rapport.profile("ann", rebuild=True).tags
    stated = {tag.name: tag for tag in tags if tag.kind == "stated"}
    assert set(stated) == {"slow burning", "romance"}
    assert stated["romance"].polarity == -1
    assert stated["romance"].feature == "category:Romance"
    assert tags[0].kind == "stated"


def test_what_a_person_removes_does_not_come_back(rapport):
    assert "Horror" in names(rapport)
    rapport.state("ann", "horror", "remove")
    assert "Horror" not in names(rapport)
    rapport.store.add_events([happened("ann", "f28", 5.0, 60)])
    assert "Horror" not in [tag.name for tag in rapport.profile("ann", rebuild=True).tags]
    assert rapport.unstate("ann", "HORROR")
    assert "Horror" in names(rapport)
    assert not rapport.unstate("ann", "Horror")


@pytest.mark.parametrize(
    "name",
    [
        "",
        "   ",
        "x" * (MAX_TAG + 1),
        "<b>x</b>",
        "a\x1b[1mb",
        "evil\u202e",
        "zero\u200bwidth",
        "{{7*7}}",
        "see http://x",
    ],
)
def test_a_tag_is_short_and_plain(rapport, name):
    with pytest.raises(UsageError):
        rapport.state("ann", name, "add")
    assert rapport.store.edits("ann") == []


def test_nobody_has_no_tags(rapport):
    with pytest.raises(UnknownUser):
        rapport.state("zoe", "jazz", "add")


def test_forgetting_clears_the_model_that_is_open_and_opens_none(shop, tmp_path):
    cleared = []

    class Keeping(Scripted):
        def clear(self) -> None:
            cleared.append(self.name)

    people = [happened("ann", "f1"), happened("ben", "f2")]
    rapport = shop(CATALOGUE, people, Keeping(lambda chat: "", name="one"))
    rapport.forget("ann")
    assert cleared == ["one"]
    with open_rapport(settings=settings(tmp_path, llm="gguf:/nowhere")) as other:
        other.store.add_events(people)
        other.forget("ben")


def test_forgetting_leaves_no_count_behind(rapport):
    rapport.recommend("ben", 3)
    assert rapport.background.stats["f0"].events == 2
    proof = rapport.forget("ben")
    assert proof.rows["events"] == 2
    assert rapport.background.stats["f0"].events == 1
    with pytest.raises(UnknownUser):
        rapport.profile("ben")
    assert rapport.recommend("ann", 3).items


# What goes together in everybody's histories


def crowd(extra: int = 0) -> list[Event]:
    """60 people who go from f1 to f5, f9 and f20; `extra` more who go from f1 to f26."""
    found = [happened(f"p{one}", f"f{at}", 5.0, day) for one in range(60) for day, at in enumerate((1, 5, 9, 20))]
    return found + [
        happened(f"q{one}", f"f{at}", 5.0, day) for one in range(extra) for day, at in enumerate((1, 26, 9))
    ]


def test_what_others_had_is_recommended_with_a_true_reason_and_its_receipt(shop):
    rapport = shop(CATALOGUE, [*crowd(), happened("zoe", "f1"), happened("zoe", "f5", 4.0, 1)])
    before = rapport.recommend("zoe", 5)
    assert not any("collaborative" in vote.retriever for one in before.items for vote in one.sources)
    assert rapport.train() is not None
    found = {one.item.id: one for one in rapport.recommend("zoe", 5).items}
    assert {"f9", "f20"} <= set(found)
    votes = {vote.retriever for vote in found["f20"].sources}
    assert votes & {"collaborative:f1", "collaborative:f5"}
    assert {one.item for one in found["f20"].receipts} <= {"f1", "f5"}
    assert found["f20"].receipts


def test_few_people_teach_nothing_and_nothing_is_written(rapport):
    assert rapport.train() is None
    assert not rapport.settings.collaborative_file.exists()
    assert rapport.recommend("ann", 3).items


def test_damaged_weights_do_not_stop_an_answer(shop):
    rapport = shop(CATALOGUE, crowd())
    rapport.train()
    rapport.settings.collaborative_file.write_bytes(b"PK broken")
    rapport.refresh()
    assert rapport.recommend("p1", 3).items
    assert rapport.collaborative is None
    assert rapport.train() is not None


def test_a_forgotten_person_is_not_in_the_weights_either(shop):
    """What is left is byte for byte what a home has learned that never knew them."""
    rapport = shop(CATALOGUE, crowd(extra=3))
    rapport.train()
    with_them = rapport.settings.collaborative_file.read_bytes()
    rapport.forget("q0")
    after = rapport.settings.collaborative_file.read_bytes()
    assert after != with_them
    stranger = shop(CATALOGUE, [one for one in crowd(extra=3) if one.user != "q0"], name="other")
    stranger.train()
    assert stranger.settings.collaborative_file.read_bytes() == after


def test_weights_go_even_when_the_proof_of_erasure_fails(shop, monkeypatch):
    rapport = shop(CATALOGUE, crowd())
    rapport.train()

    def fails(*_: object) -> None:
        raise StoreError("traces stay")

    monkeypatch.setattr("agent.privacy.erasure.forget", fails)
    with pytest.raises(StoreError):
        rapport.forget("p0")
    assert not rapport.settings.collaborative_file.exists()


def test_whether_dislikes_pull_is_a_setting(tmp_path):
    events = [*crowd(), happened("zoe", "f1", 1.0)]
    heard = {}
    for interactions in ("liked", "had"):
        with open_rapport(settings=settings(tmp_path, interactions=interactions)) as rapport:
            rapport.store.add_items(CATALOGUE)
            rapport.store.add_events(events)
            trained = rapport.train()
            assert trained is not None
            heard[interactions] = [id for id, _ in trained(rapport.store.events("zoe")).ranked()]
    assert heard["liked"] == []
    assert "f5" in heard["had"]
