"""Profiles over a real store: built, kept, updated from what is new."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from agent.errors import UnknownUser
from agent.features import Population, survey
from agent.history.store import Store, event_id
from agent.llm.scripted import NoModel, Scripted
from agent.persona import profiler
from agent.persona.profiler import PART, Profiler
from agent.types import Event, Item, TagEdit

START = datetime(2024, 1, 1, tzinfo=UTC)
ITEMS = [
    Item(
        str(n),
        f"Title {n}",
        categories=(("Crime", "Western", "Comedy", "Drama")[n % 4],),
        attributes={"year": 1990 + n % 30},
    )
    for n in range(80)
]


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    with Store.open(f"sqlite:///{tmp_path}/store.db") as store:
        store.add_items(ITEMS)
        yield store


def event(
    item: str, kind: str = "rating", value: float | None = None, text: str = "", day: float | None = 0.0, user="ann"
):
    at = None if day is None else START + timedelta(days=day)
    return Event(event_id(user, item, kind, at), user, item, kind, value, text, at)  # type: ignore[arg-type]


def crime_fan(user: str = "ann", start: int = 0) -> list[Event]:
    liked = [event(str(n), "rating", 5.0, day=start + n, user=user) for n in range(0, 24, 4)]
    return liked + [event(str(n), "rating", 1.0, day=start + n, user=user) for n in range(1, 17, 4)]


def population() -> Population:
    return survey(ITEMS, {item.id: 5 for item in ITEMS})


def scripted(persona: str = "A fan of crime films.") -> Scripted:
    return Scripted(lambda chat: persona, lambda chat, choices: [1.0, 0.0, 0.0])


def profiles(store: Store, llm=None, **changes) -> Profiler:
    return Profiler(store, llm or scripted(), population(), "film", **changes)


def test_a_profile_is_built_with_receipts_and_kept(store):
    store.add_events(crime_fan())
    made = profiles(store)("ann")
    assert [(tag.name, tag.polarity) for tag in made.tags if tag.feature.startswith("category:")] == [
        ("Crime", 1),
        ("Western", -1),
    ]
    own = {one.id: one for one in store.events("ann")}
    assert all(own[receipt.event].item == receipt.item for tag in made.tags for receipt in tag.receipts)
    assert all(tag.receipts for tag in made.tags)
    assert (made.persona, made.persona_by) == ("A fan of crime films.", "model")
    assert (made.version, made.events) == (1, 10)
    assert made.as_of == max(one.at for one in own.values())
    assert made.provenance.model == "scripted"
    assert made.provenance.prompts
    assert store.profile("ann") == made


def test_nothing_new_asks_nothing(store):
    store.add_events(crime_fan())
    llm = scripted()
    made = profiles(store, llm)("ann")
    asked = len(llm.calls)
    assert profiles(store, llm)("ann") == made
    assert len(llm.calls) == asked


def said(llm: Scripted) -> str:
    return "\n".join(message.content for call in llm.calls if call.method == "choose" for message in call.chat)


def test_an_update_reads_only_what_is_new(store):
    store.add_events(crime_fan())
    store.add_events([event("2", "review", 5.0, "An old sentence. Another old sentence.", day=50)])
    first = scripted()
    before = profiles(store, first)("ann")
    assert "old sentence" in said(first)
    store.add_events([event("6", "review", 2.0, "A new sentence. Another new sentence.", day=60)])
    second = scripted()
    after = profiles(store, second)("ann")
    assert "new sentence" in said(second)
    assert "old sentence" not in said(second)
    assert (before.version, after.version, after.events) == (1, 2, 12)
    assert after.as_of == START + timedelta(days=60)
    assert after.sentiment.negative == before.sentiment.negative + 1
    assert after.sentiment.positive == before.sentiment.positive
    assert [one.version for one in store.profile_history("ann")] == [1, 2]


def test_updating_comes_to_the_same_as_building_anew(store):
    events = sorted(crime_fan(), key=lambda one: (one.at or START, one.item))
    for one in events:
        store.add_events([one])
        profiles(store)("ann")
    grown = store.profile("ann")
    anew = profiles(store)("ann", rebuild=True)
    assert grown is not None
    assert [(tag.name, tag.weight, tag.receipts) for tag in grown.tags] == [
        (t.name, t.weight, t.receipts) for t in anew.tags
    ]
    assert (grown.sentiment, grown.events, grown.as_of) == (anew.sentiment, anew.events, anew.as_of)
    assert anew.version == grown.version + 1 == len(events) + 1


def test_a_rebuild_reads_everything_again(store):
    store.add_events([event("0", "review", 5.0, "An old sentence. Another old sentence.")])
    profiles(store)("ann")
    llm = scripted()
    assert profiles(store, llm)("ann", rebuild=True).version == 2
    assert "old sentence" in said(llm)


def test_quotes_are_in_the_receipts(store):
    text = "I watched it on a rainy day. The chase through the city is wonderful."
    store.add_events([*crime_fan(), event("40", "review", 5.0, text, day=90)])
    quotes = {receipt.quote for tag in profiles(store)("ann").tags for receipt in tag.receipts} - {""}
    assert quotes
    assert all(quote in text for quote in quotes)


def test_the_language_is_the_persons_and_one_sentence_does_not_turn_it(store):
    chinese = [event(str(n), "review", 5.0, "我很喜欢这部电影，剧情紧凑。", day=n) for n in range(0, 24, 4)]
    store.add_events(chinese)
    made = profiles(store, NoModel())("ann")
    assert made.language == "zh"
    assert "喜欢" in made.persona
    store.add_events([event("44", "review", 5.0, "Great!", day=70)])
    assert profiles(store, NoModel())("ann").language == "zh"
    long = (
        "I have written nothing but long English reviews ever since I moved to another country and stayed there. " * 8
    )
    store.add_events([event("48", "review", 5.0, long, day=80)])
    assert profiles(store, NoModel())("ann").language == "en"


def test_who_writes_nothing_gets_the_default_language(store):
    store.add_events(crime_fan())
    assert profiles(store, NoModel(), language="zh")("ann").language == "zh"


def test_nobody_is_unknown_and_a_blank_person_is_said_to_be(store):
    with pytest.raises(UnknownUser, match="nobody is called 'eve'"):
        profiles(store)("eve")
    blank = profiles(store).blank("eve")
    assert "Too little is known yet: no events" in blank.persona
    assert (blank.tags, blank.version) == ((), 0)
    assert store.profile("eve") is None


def test_without_a_model_the_profile_is_complete_and_says_so(store):
    store.add_events([*crime_fan(), event("2", "review", None, "A sentence here. Another sentence there.")])
    made = profiles(store, NoModel())("ann")
    assert made.persona_by == "template"
    assert "crime films" in made.persona
    assert any("without a model" in note for note in made.provenance.notes)
    assert {call.outcome for call in store.calls(9, "ann")} == {"Unavailable"}


def test_a_lying_model_is_not_shown(store):
    store.add_events(crime_fan())
    made = profiles(store, scripted("A mother of two who adores Western films."))("ann")
    assert made.persona_by == "template"
    assert any(note.startswith("persona by template") for note in made.provenance.notes)


def stated(called: str, action: str, feature: str = "", polarity: int = 1, user: str = "ann") -> TagEdit:
    return TagEdit(user, called, feature, action, polarity, START)  # type: ignore[arg-type]


def test_what_a_person_says_holds_over_rebuild_and_update(store):
    store.add_events(crime_fan())
    store.add_edit(stated("Crime", "remove", "category:Crime"))
    store.add_edit(stated("jazz", "add"))
    for step in range(3):
        made = profiles(store)("ann", rebuild=step == 1)
        assert made.tags[0].name == "jazz"
        assert made.tags[0].kind == "stated"
        assert "category:Crime" not in [tag.feature for tag in made.tags]
        store.add_events(crime_fan(start=100 * (step + 1)))


def test_an_edit_alone_makes_a_new_version_and_taking_it_back_another(store):
    store.add_events(crime_fan())
    before = profiles(store)("ann")
    store.add_edit(stated("Crime", "mute", "category:Crime"))
    muted = profiles(store)("ann")
    assert muted.version == before.version + 1
    assert "Crime" not in [tag.name for tag in muted.tags]
    assert profiles(store)("ann") == muted
    store.remove_edit("ann", "Crime", "category:Crime")
    back = profiles(store)("ann")
    assert [tag.name for tag in back.tags] == [tag.name for tag in before.tags]
    assert back.version == muted.version + 1


def test_somebody_who_has_only_said_something_has_a_profile(store):
    store.add_edit(stated("jazz", "add", user="zoe"))
    made = profiles(store)("zoe")
    assert [tag.name for tag in made.tags] == ["jazz"]
    assert made.events == 0
    assert made.as_of is None


def test_a_long_history_is_read_in_parts(store, monkeypatch):
    parts: list[int] = []
    add = profiler.add

    def counting(tally, events, *rest):
        parts.append(len(events))
        return add(tally, events, *rest)

    monkeypatch.setattr(profiler, "add", counting)
    store.add_events(Event(n + 1, "ann", str(n % 80), "view", at=START + timedelta(hours=n)) for n in range(4_800))
    store.add_events(replace(one, id=one.id) for one in crime_fan(start=300))
    made = profiles(store, NoModel())("ann")
    assert sum(parts) == made.events == 4_810
    assert max(parts) == PART
    assert "Crime" in [tag.name for tag in made.tags]


def test_the_last_word_counts_even_when_it_was_imported_first(store):
    store.add_events([event("0", "rating", 1.0, day=50)])
    profiles(store)("ann")
    store.add_events([event("0", "rating", 5.0, day=10)])
    made = profiles(store)("ann")
    assert not [tag for tag in made.tags if tag.polarity > 0]
    assert made.as_of == START + timedelta(days=50)


def test_one_person_never_shows_in_anothers_profile(store):
    store.add_events([*crime_fan(), event("2", "review", 5.0, "Secret words of Ann. More words.")])
    store.add_events(crime_fan("bob"))
    profiles(store)("ann")
    llm = scripted()
    made = profiles(store, llm)("bob")
    assert "Secret" not in "".join(message.content for call in llm.calls for message in call.chat)
    own = {one.id for one in store.events("bob")}
    assert {receipt.event for tag in made.tags for receipt in tag.receipts} <= own


def test_a_guess_becomes_a_question(store):
    store.add_events(crime_fan())
    near = [Item(f"n{n}", f"Near {n}", categories=("Noir", "Crime")) for n in range(4)]
    made = profiles(store, near=lambda liked, leave_out: near)("ann")
    assert [tag.kind for tag in made.tags if tag.name == "Noir"] == ["latent"]
    assert made.questions == ("Would you like to see more of “Noir”?",)
