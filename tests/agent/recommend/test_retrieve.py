from __future__ import annotations

from collections.abc import Container, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from agent.errors import StoreBusy, StoreError
from agent.recommend.catalogue import documents, fields_of, filters, matches
from agent.recommend.retrieve import (
    UNDER_SHOWN,
    Popular,
    Retrieve,
    RetrieveConfig,
    consumed,
    opinions,
    popularity,
    recently_disliked,
    recently_liked,
    tag_text,
)
from agent.types import Candidate, Condition, Event, EventKind, Item, Profile, Query, Tag
from vectorstore.base import VectorStoreBusy, VectorStoreError
from vectorstore.embed.hashing import HashingEmbedder
from vectorstore.exact import ExactStore

START = datetime(2026, 1, 1, tzinfo=UTC)
GENRES = ("Western", "Horror", "Romance", "Animation", "Documentary")
NOBODY = Profile("ann")


def film(at: int) -> Item:
    genre = GENRES[at % len(GENRES)]
    return Item(
        f"f{at}",
        f"{genre} film {at}",
        f"A {genre.lower()} tale.",
        (genre,),
        {"year": 1950 + at % 70, "language": "en" if at % 3 else "fr", "creator": (f"Director {at % 11}",)},
    )


CATALOGUE = {item.id: item for item in map(film, range(150))}
EMBEDDER = HashingEmbedder(512)


def items(ids: Sequence[str]) -> dict[str, Item]:
    return {id: CATALOGUE[id] for id in ids if id in CATALOGUE}


def exact() -> ExactStore:
    store, found = ExactStore(EMBEDDER.dimension), list(documents(CATALOGUE.values()))
    store.upsert(found, EMBEDDER.embed([one.text for one in found]))
    return store


INDEX = exact()
POPULAR = list(CATALOGUE)


def retrieve(config: RetrieveConfig | None = None, popular: Sequence[str] = POPULAR) -> Retrieve:
    return Retrieve(INDEX, EMBEDDER, items, popular, config or RetrieveConfig())


def event(item: str, kind: EventKind = "rating", value: float | None = None, day: int | None = 0) -> Event:
    return Event(0, "ann", item, kind, value, at=None if day is None else START + timedelta(days=day))


def tag(name: str, polarity: int = 1, weight: float = 0.9, kind: str = "observed", feature: str | None = None) -> Tag:
    return Tag(name, polarity, weight, kind, f"category:{name}" if feature is None else feature)  # type: ignore[arg-type]


def ids(found: Sequence[Candidate]) -> list[str]:
    return [one.item.id for one in found]


def share(found: Sequence[Candidate], genre: str, n: int = 10) -> int:
    return sum(genre in one.item.categories for one in found[:n])


def votes(one: Candidate) -> set[str]:
    return {source.retriever for source in one.sources}


def test_a_tag_brings_what_it_names():
    events = [event(f"f{at}", value=3) for at in range(40)]
    found = retrieve()(Query("ann"), Profile("ann", (tag("Horror"),)), events)
    assert share(found, "Horror") >= 6
    assert any("tag:Horror" in votes(one) for one in found[:3])


def test_a_stated_wish_counts_although_nothing_else_is_known():
    found = retrieve()(Query("ann"), Profile("ann", (tag("Horror", kind="stated"),)), [])
    assert share(found, "Horror") >= 6


def test_who_names_interests_on_the_first_day_gets_what_is_well_known_of_them():
    popular = POPULAR[::-1]
    stated = Profile("ann", (tag("Horror", kind="stated"), tag("Western", kind="stated")))
    found = retrieve(popular=popular)(Query("ann"), stated, [])
    wanted = [id for id in popular if {"Horror", "Western"} & {*CATALOGUE[id].categories}]
    assert set(ids(found)[:4]) == set(wanted[:4])
    assert {"popular:Horror", "popular:Western"} & votes(found[0])
    assert popular[0] in ids(found)


@pytest.mark.parametrize(
    ("query", "said", "had", "crowd"),
    [
        (Query("ann"), tag("Horror"), 0, 1.0),
        (Query("ann"), tag("Horror", -1, kind="stated"), 0, 1.0),
        (Query("ann"), tag("slow burning", kind="stated", feature=""), 0, 1.0),
        (Query("ann"), tag("Horror", kind="stated"), 5, 1.0),
        (Query("ann", words="a romance tale"), tag("Horror", kind="stated"), 0, 1.0),
        (Query("ann", like=("f3",)), tag("Horror", kind="stated"), 0, 1.0),
        (Query("ann"), tag("Horror", kind="stated"), 0, 0.0),
    ],
)
def test_what_is_well_known_is_not_proposed_for_anything_else(query, said, had, crowd):
    step = replace(retrieve(), crowd=crowd)
    found = step(query, Profile("ann", (said,)), [event(f"f{at}", value=3) for at in range(had)])
    assert not any(vote.startswith("popular:") for one in found for vote in votes(one))


def test_what_is_well_known_of_an_interest_meets_the_filters_and_is_not_had_already():
    where, stated = (Condition("year", ">=", 1990),), Profile("ann", (tag("Horror", kind="stated"),))
    had = [id for id in POPULAR if "Horror" in CATALOGUE[id].categories and matches(CATALOGUE[id], where[0])][:4]
    found = retrieve()(Query("ann", where=where), stated, [event(id, value=3) for id in had])
    told = [one.item for one in found if "popular:Horror" in votes(one)]
    assert told
    assert all(matches(one, where[0]) and "Horror" in one.categories and one.id not in had for one in told)


def test_a_recently_liked_item_brings_its_like_and_is_named():
    events = [event("f5", value=5, day=1), *(event(f"f{at}", value=3, day=0) for at in range(20, 60))]
    found = retrieve()(Query("ann"), NOBODY, sorted(events, key=lambda one: one.at or START))
    assert share(found, "Western") >= 6
    assert "recent:f5" in votes(found[0])


def test_the_persona_asks_too():
    found = retrieve()(Query("ann"), Profile("ann", persona="Animation films, animation tales."), [])
    assert any("persona" in votes(one) for one in found)


def test_the_requests_words_come_before_what_is_known():
    profile = Profile("ann", (tag("Horror"), tag("Western")), persona="Horror film and western film.")
    found = retrieve()(Query("ann", words="a romance tale"), profile, [event("f1", value=5)])
    assert share(found, "Romance") >= 8
    assert "words" in votes(found[0])


@pytest.mark.parametrize("surprise", [0.2, 1.0])
def test_guesses_and_what_hardly_anybody_had_are_proposed(surprise):
    profile = Profile("ann", (tag("Horror"), tag("Animation", kind="latent", weight=0.3)))
    found = retrieve(popular=("f1", "f6"))(Query("ann", surprise=surprise), profile, [event("f0", value=3)])
    assert sum("explore:Animation" in votes(one) for one in found) >= 5
    under_shown = [one for one in found if UNDER_SHOWN in votes(one)]
    assert len(under_shown) >= 5
    assert not {"f0", "f1"} & {one.item.id for one in under_shown}
    assert [one.score for one in found] == sorted((one.score for one in found), reverse=True)


@pytest.mark.parametrize("query", [Query("ann", surprise=0.0), Query("ann", surprise=1.0, words="a romance tale")])
def test_nothing_is_proposed_to_who_wants_what_they_know(query):
    profile = Profile("ann", (tag("Horror"),))
    found = retrieve()(query, profile, [event("f0", value=3)])
    assert not any(UNDER_SHOWN in votes(one) for one in found)


@pytest.mark.parametrize("events", [[], [event("f0", "view")], [event("f0", value=3, day=n) for n in range(3)]])
def test_a_new_person_gets_what_everybody_likes(events):
    found = retrieve()(Query("ann"), NOBODY, events)
    wanted = [id for id in POPULAR if id not in consumed(events, RetrieveConfig().consumed)]
    assert ids(found)[:10] == wanted[:10]
    assert votes(found[0]) == {"popular"}


def test_a_new_person_with_a_filter_that_the_popular_list_does_not_reach_gets_its_neighbours():
    where = (Condition("year", ">=", 2010),)
    step = Retrieve(INDEX, EMBEDDER, items, POPULAR[:10], RetrieveConfig())
    found = step(Query("ann", where=where, n=5), NOBODY, [])
    assert len(found) >= 5
    assert all(matches(one.item, where[0]) for one in found)


def test_a_candidate_of_a_known_person_rests_on_more_than_popularity():
    events = [event(f"f{at}", value=5, day=at) for at in range(20)]
    found = retrieve()(Query("ann"), Profile("ann", (tag("Horror"),)), events)
    assert all(votes(one) - {"popular"} for one in found)
    assert any("popular" in votes(one) for one in found)


def test_popularity_fades_as_a_history_grows():
    profile = Profile("ann", (tag("Documentary"),))
    places = []
    for had in (0, 3, 60):
        events = [event(f"f{at}", value=3) for at in range(80, 80 + had)]
        found = retrieve(popular=["f0", "f1", "f2"])(Query("ann"), profile, events)
        places.append(ids(found).index("f0") if "f0" in ids(found) else 99)
    assert places == sorted(places)
    assert places[0] < places[-1]


SEEN_KINDS = ("purchase", "play", "rating", "review", "like", "dislike", "skip")


@settings(deadline=None, derandomize=True)
@given(
    st.lists(
        st.tuples(st.sampled_from(POPULAR), st.sampled_from([*SEEN_KINDS, "view", "click", "cart", "search"])),
        max_size=40,
    )
)
def test_what_was_had_never_comes_back(history):
    events = [
        event(id, kind, 4.0 if kind in ("rating", "review") else None, day) for day, (id, kind) in enumerate(history)
    ]
    profile = Profile("ann", (tag("Horror"), tag("Western", kind="latent")), persona="Horror and romance.")
    found = retrieve()(Query("ann", words="film"), profile, events)
    had = {id for id, kind in history if kind in SEEN_KINDS}
    assert not had & set(ids(found))
    assert len(set(ids(found))) == len(found)


def test_thousands_of_seen_items_are_no_problem():
    events = [event(f"other{at}", value=4, day=at) for at in range(6000)]
    events += [event(id, value=4, day=7000) for id in POPULAR[:145]]
    found = retrieve()(Query("ann"), Profile("ann", (tag("Horror"),)), events)
    assert set(ids(found)) == set(POPULAR[145:])


def test_looking_is_not_having_unless_the_settings_say_so():
    events = [event("f0", "view"), event("f1", "click")]
    assert {"f0", "f1"} <= set(ids(retrieve()(Query("ann"), NOBODY, events)))
    strict = RetrieveConfig(consumed=frozenset({"view", "click"}))
    assert not {"f0", "f1"} & set(ids(retrieve(strict)(Query("ann"), NOBODY, events)))


def test_an_aversion_pushes_its_feature_down():
    profile = Profile("ann", (tag("film", feature=""), tag("Horror", -1)))
    found = retrieve()(Query("ann"), profile, [])
    assert share(found, "Horror", 20) == 0


def test_an_aversion_without_a_feature_pushes_down_what_is_like_it():
    likes = (tag("Horror", feature=""), tag("Romance", feature=""))
    dislikes = tag("horror tale", -1, 1.0, "stated", "")
    step = retrieve(popular=())
    plain, averse = (step(Query("ann"), Profile("ann", tags), []) for tags in (likes, (*likes, dislikes)))
    assert share(averse, "Horror", 20) < share(plain, "Horror", 20)
    assert "against:horror tale" in {name for one in averse for name in votes(one)}


def test_near_duplicates_of_a_disliked_item_go_out():
    twin = replace(CATALOGUE["f1"], id="twin")
    store, all_of_it = exact(), {**CATALOGUE, "twin": twin}
    (document,) = documents([twin])
    store.upsert([document], EMBEDDER.embed([document.text]))
    step = Retrieve(store, EMBEDDER, lambda wanted: {id: all_of_it[id] for id in wanted if id in all_of_it}, ())
    profile = Profile("ann", (tag("Horror"),))
    assert "twin" in ids(step(Query("ann"), profile, [event("f1", value=4)]))
    assert "twin" not in ids(step(Query("ann"), profile, [event("f1", "dislike")]))


CONDITIONS = st.one_of(
    st.builds(Condition, st.just("year"), st.sampled_from(["=", "!=", ">", ">=", "<", "<="]), st.integers(1945, 2025)),
    st.builds(Condition, st.just("language"), st.sampled_from(["=", "!="]), st.sampled_from(["en", "fr", "xx"])),
    st.builds(Condition, st.just("categories"), st.sampled_from(["has", "=", "!="]), st.sampled_from([*GENRES, "x"])),
    st.builds(Condition, st.just("creator"), st.just("has"), st.sampled_from(["Director 3", "Director"])),
    st.builds(Condition, st.just("year"), st.sampled_from(["=", "!="]), st.just("1962")),
    st.builds(Condition, st.just("nothing"), st.just("!="), st.just(3)),
)


@settings(deadline=None, derandomize=True)
@given(st.lists(CONDITIONS, max_size=3))
def test_the_index_filters_as_the_oracle_does(conditions):
    wanted = {id for id, item in CATALOGUE.items() if all(matches(item, one) for one in conditions)}
    (hits,) = INDEX.search(EMBEDDER.embed(["film"]), len(CATALOGUE), where=filters(conditions))
    assert {hit.id for hit in hits} == wanted


@settings(deadline=None, derandomize=True)
@given(st.lists(CONDITIONS, min_size=1, max_size=2))
def test_every_candidate_matches_the_filters(conditions):
    profile = Profile("ann", (tag("Horror"), tag("Western", kind="latent")), persona="Romance.")
    found = retrieve()(Query("ann", where=tuple(conditions), words="tale"), profile, [event("f3", value=5)])
    wanted = {id for id, item in CATALOGUE.items() if all(matches(item, one) for one in conditions)} - {"f3"}
    assert set(ids(found)) <= wanted
    assert len(found) >= min(len(wanted), 10)


def test_an_index_that_is_older_than_the_catalogue_is_not_believed():
    changed = {**CATALOGUE, "f1": replace(CATALOGUE["f1"], title="")}
    del changed["f6"]
    step = Retrieve(INDEX, EMBEDDER, lambda wanted: {id: changed[id] for id in wanted if id in changed}, POPULAR)
    found = step(Query("ann"), Profile("ann", (tag("Horror"),)), [event("f0", value=3)])
    assert not {"f1", "f6"} & set(ids(found))


class Broken(ExactStore):
    def __init__(self, error: Exception) -> None:
        super().__init__(EMBEDDER.dimension)
        self.error = error

    def vectors(self, ids):
        raise self.error


@pytest.mark.parametrize(
    ("error", "ours"), [(VectorStoreError("damaged"), StoreError), (VectorStoreBusy("owned by 7"), StoreBusy)]
)
def test_a_failing_index_is_our_own_error(error, ours):
    step = Retrieve(Broken(error), EMBEDDER, items, POPULAR)
    with pytest.raises(ours, match=str(error)):
        step(Query("ann"), Profile("ann", (tag("Horror"),)), [])


def test_the_popular_list_answers_without_an_index():
    found = Popular(items, POPULAR)(
        Query("ann", where=(Condition("categories", "has", "Horror"),)), NOBODY, [event("f1")]
    )
    assert ids(found)[:3] == ["f6", "f11", "f16"]


def test_it_asks_for_more_when_more_is_wanted():
    found = retrieve(RetrieveConfig(size=5, depth=5))(Query("ann", n=40), Profile("ann", (tag("Horror"),)), [])
    assert len(found) >= 40


def test_an_empty_catalogue_has_no_answer():
    assert Retrieve(ExactStore(512), EMBEDDER, items, ())(Query("ann", words="x"), NOBODY, []) == []


def test_the_same_question_has_the_same_answer():
    profile = Profile("ann", (tag("Horror"), tag("Western", kind="latent")), persona="Romance.")
    events = [event(f"f{at}", value=4, day=at) for at in range(30)]
    assert retrieve()(Query("ann"), profile, events) == retrieve()(Query("ann"), profile, events)


def test_what_was_liked_last_weighs_most_and_the_last_word_counts():
    events = [
        event("old", value=5, day=1),
        event("changed", value=5, day=2),
        event("new", value=5, day=3),
        event("changed", value=1, day=4),
        event("meh", value=3, day=5),
    ]
    assert list(recently_liked(opinions(events), 10, 0.5)) == ["new", "old"]
    assert recently_liked(opinions(events), 10, 0.5)["old"] == recently_liked(opinions(events), 10, 0.5)["new"] / 2
    assert recently_disliked(opinions(events), 10) == ["changed"]


def test_without_dates_only_preference_counts():
    events = [event("much", "play", 900, None), event("some", "play", 300, None), event("little", "play", 200, None)]
    assert list(recently_liked(opinions(events), 2, 0.1)) == ["much", "some"]


@dataclass(frozen=True)
class Stats:
    events: int
    positive: int


def test_popularity_wants_both_many_and_happy():
    stats = {"hit": Stats(100, 90), "panned": Stats(100, 10), "one fan": Stats(1, 1), "known": Stats(50, 45)}
    assert popularity(stats, ["hit", "never seen"]) == ["hit", "known", "panned", "one fan", "never seen"]


@pytest.mark.parametrize(
    ("name", "feature", "text"),
    [
        ("space operas", "category:Sci-Fi", "space operas: Sci-Fi"),
        ("Horror", "category:Horror", "Horror"),
        ("slow jazz", "", "slow jazz"),
    ],
)
def test_a_tag_as_a_question(name, feature, text):
    assert tag_text(tag(name, feature=feature)) == text


def test_the_fields_of_the_catalogue():
    assert fields_of(CATALOGUE.values()) == {
        "categories": "list", "creator": "list", "language": "text", "year": "number",
    }  # fmt: skip


def test_no_probe_costs_more_than_one_search():
    searches = []

    class Counting(ExactStore):
        def search(self, vectors, k, *, where=(), exclude=()):
            searches.append(np.asarray(vectors).shape[0])
            return INDEX.search(vectors, k, where=where, exclude=exclude)

        def vectors(self, ids):
            return INDEX.vectors(ids)

    profile = Profile("ann", tuple(tag(name) for name in GENRES), persona="Romance.")
    events = [event(f"f{at}", value=5, day=at) for at in range(100)]
    Retrieve(Counting(512), EMBEDDER, items, POPULAR)(Query("ann", words="tale"), profile, events)
    assert searches == [5 + 10 + 1 + 1]


# everybody's histories


@dataclass(frozen=True)
class Heard:
    """A voice that says what it is told to."""

    says: dict[str, list[str]]

    def ranked(self) -> list[tuple[str, float]]:
        return [(id, 1.0 - at / 100) for at, id in enumerate(self.says)]

    def loudest(self, ids: Sequence[str], *among: Container[str]) -> dict[str, str]:
        speaking = {id: [one for inside in among for one in self.says[id] if one in inside] for id in ids}
        return {id: own[0] for id, own in speaking.items() if own}


def with_others(says: dict[str, list[str]], weight: float = 8.0) -> Retrieve:
    return replace(retrieve(), others=lambda events: Heard(says), share=lambda had: weight if had else 0.0)


OTHERS = {f"f{at}": ["f1", "f2"] for at in (77, 91, 1, 103)}


def test_what_goes_together_with_a_history_leads_and_the_seen_stays_out():
    found = with_others(OTHERS)(Query("ann"), NOBODY, [event("f1", value=5), event("f2", value=5)])
    assert ids(found)[:3] == ["f77", "f91", "f103"]


def test_a_collaborative_vote_names_the_liked_item_it_rests_on_most():
    events = [event("f1", value=1), event("f2", value=5), event("f3", value=3)]
    found = with_others({**OTHERS, "f50": ["f1"]})(Query("ann"), NOBODY, events)
    by_id = {one.item.id: votes(one) for one in found}
    assert "collaborative:f2" in by_id["f77"]
    # What rests on disliked items alone is proposed, but without a name that a reason could use.
    assert "collaborative" in by_id["f50"]


def test_without_a_weight_for_the_length_of_the_history_it_says_nothing():
    events = [event("f1", value=5)]
    assert ids(with_others(OTHERS, weight=0.0)(Query("ann"), NOBODY, events)) == ids(
        retrieve()(Query("ann"), NOBODY, events)
    )
    assert not any(
        "collaborative" in vote for one in with_others(OTHERS)(Query("ann"), NOBODY, []) for vote in votes(one)
    )


def test_few_events_an_item_make_it_quieter_as_they_do_popularity():
    events = [event("f1", value=5)]
    quiet = replace(with_others(OTHERS), crowd=0.0)(Query("ann"), NOBODY, events)
    assert not any("collaborative" in vote for one in quiet for vote in votes(one))


def test_the_filter_holds_for_it_too_and_is_looked_for_down_the_list():
    says = {f"f{at}": ["f1"] for at in range(2, 150)}
    where = (Condition("year", ">=", 2015),)
    found = with_others(says)(Query("ann", where=where), NOBODY, [event("f1", value=5)])
    assert all(int(one.item.attributes["year"]) >= 2015 for one in found)  # type: ignore[arg-type]
    assert any("collaborative:f1" in votes(one) for one in found)


def test_the_request_s_words_come_before_what_others_had():
    says = {f"f{at}": ["f1"] for at in range(1, 150, 5)}  # all Horror
    found = with_others(says, weight=32.0)(Query("ann", words="a romance tale"), NOBODY, [event("f1", value=5)])
    assert share(found, "Romance") >= 8


def test_what_goes_with_a_title_and_with_the_history_is_asked_in_one_and_leads():
    asked = []

    def others(events: Sequence[Event]) -> Heard:
        asked.append([one.item for one in events])
        return Heard({f"f{at}": ["f1", "f2"] for at in (77, 91, 103)})

    heard = replace(retrieve(), others=others, share=lambda had: 32.0 if had == 2 else 0.0)
    found = heard(Query("ann", like=("f2",)), NOBODY, [event("f1", value=5)])
    assert ["f1", "f2"] in asked
    assert ids(found)[:3] == ["f77", "f91", "f103"]
    assert any(vote.startswith("collaborative") for vote in votes(found[0]))


def test_titles_lead_a_history_that_is_longer():
    asked = []

    def others(events: Sequence[Event]) -> Heard:
        asked.append([one.item for one in events])
        return Heard({"f77": ["f149"]} if [one.item for one in events] == ["f149"] else {"f91": ["f1"]})

    heard = replace(retrieve(), others=others, share=lambda had: 128.0)
    long = [event(f"f{at}", value=5, day=at) for at in range(1, 30)]
    assert ids(heard(Query("ann", like=("f149",)), NOBODY, long))[0] == "f77"
    assert [one.item for one in long] in asked


def test_a_title_that_is_named_is_a_beginning_and_popularity_is_heard_beside_it_where_people_are_many():
    popular = [f"f{at}" for at in range(149, -1, -1)]

    def by_popularity_alone(system: Retrieve, events: Sequence[Event] = ()) -> list[str]:
        found = system(Query("ann", like=("f1",)), NOBODY, events)
        return [one.item.id for one in found if votes(one) == {"popular"}]

    many = replace(retrieve(popular=popular), others=lambda events: Heard({}))
    assert by_popularity_alone(many)
    assert not by_popularity_alone(many, [event(f"f{at}", value=3) for at in range(2, 20)])
    assert not by_popularity_alone(retrieve(popular=popular))


def test_like_something_means_what_goes_together_with_it_for_others():
    asked = []

    def others(events: Sequence[Event]) -> Heard:
        asked.append([(one.item, one.kind) for one in events])
        return Heard({f"f{at}": ["f1"] for at in (77, 1, 91)} if events else {})

    heard = replace(retrieve(), others=others)
    found = heard(Query("ann", like=("f1",)), NOBODY, [])
    assert set(ids(found)[:2]) == {"f77", "f91"}
    assert all("alongside:f1" in votes(one) for one in found[:2])
    assert "f1" not in ids(found), "what was named is known already"
    assert [("f1", "like")] in asked
    assert not any("alongside" in vote for one in heard(Query("ann"), NOBODY, []) for vote in votes(one))
    where = (Condition("categories", "has", "Animation"),)
    assert "f77" not in ids(heard(Query("ann", like=("f1",), where=where), NOBODY, []))
