from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta

import pytest

from agent import shapes
from agent.errors import StoreError, TimedOut, Unavailable, UnknownItem, UnknownUser, UsageError
from agent.history.store import event_id
from agent.llm.scripted import Scripted
from agent.recommend.recommender import RETRIEVED, few
from agent.recommend.rerank import Opinion, RerankConfig
from agent.types import Condition, Event, Item
from vectorstore.base import VectorStoreError

START = datetime(2025, 1, 1, tzinfo=UTC)
GENRES = ("Western", "Horror", "Romance", "Mystery")
CATALOGUE = [
    Item(
        f"f{at}",
        f"{GENRES[at % 4]} Tale {chr(65 + at % 26)}{at // 26}",
        f"A {GENRES[at % 4].lower()} film.",
        (GENRES[at % 4],),
        {"year": 1950 + at, "creator": (f"Maker {chr(65 + at % 7)}",)},
    )
    for at in range(60)
]


def happened(user: str, at: int, kind: str = "rating", value: float | None = 5.0, text: str = "") -> Event:
    when = START + timedelta(days=at)
    return Event(event_id(user, f"f{at}", kind, when), user, f"f{at}", kind, value, text, when)  # type: ignore[arg-type]


EVENTS = [
    *(
        happened("ann", at, "review" if at % 8 == 1 else "rating", 5.0, "I slept badly. A fine night." * (at % 8 == 1))
        for at in range(1, 40, 4)
    ),
    *(happened("ann", at, "rating", 1.0) for at in (2, 6, 10)),
    *(happened("ben", at) for at in range(0, 40, 4)),
    happened("few", 3),
    happened("few", 7, "like", None),
    happened("few", 2, "skip", None),
    *(happened("林", at, "review", 5.0, "太好看了，我看了两遍。") for at in (3, 7, 11, 15)),
]


@pytest.fixture
def rapport(shop):
    return shop(CATALOGUE, EVENTS)


def ids(answer) -> list[str]:
    return [one.item.id for one in answer.items]


class Broken:
    """An index whose every look-up fails."""

    def __init__(self, index):
        self.count = index.count
        self.asked = 0

    def search(self, *args, **options):
        self.asked += 1
        raise VectorStoreError("the disk is gone")

    vectors = search

    def close(self):
        pass


def test_what_somebody_likes_comes_first_and_rests_on_their_own_events(rapport):
    answer = rapport.recommend("ann", 6)
    assert [one.rank for one in answer.items] == [1, 2, 3, 4, 5, 6]
    assert sum("Horror" in one.item.categories for one in answer.items) >= 4
    assert [one.score for one in answer.items] == sorted((one.score for one in answer.items), reverse=True)
    mine = {(event.id, event.item) for event in EVENTS if event.user == "ann"}
    assert any(one.receipts for one in answer.items)
    for one in answer.items:
        assert {(receipt.event, receipt.item) for receipt in one.receipts} <= mine
        assert one.grounded
        assert one.sources


@pytest.mark.parametrize("surprise", [0.0, 0.2, 1.0])
@pytest.mark.parametrize("user", ["ann", "ben", "few", "林"])
def test_everything_shown_to_whoever_likes_something_rests_on_an_event_of_theirs(rapport, user, surprise):
    """Items for exploration and popular ones, too: as many as the catalogue holds."""
    answer = rapport.recommend(user, 50, surprise=surprise)
    mine = {(one.id, one.item) for one in EVENTS if one.user == user}
    assert [one.reason for one in answer.items if not one.receipts] == []
    assert {(each.event, each.item) for one in answer.items for each in one.receipts} <= mine


def test_what_somebody_had_is_not_recommended_again(rapport):
    for user in ("ann", "ben", "few"):
        had = {event.item for event in EVENTS if event.user == user}
        assert not had & set(ids(rapport.recommend(user, 60)))


def test_more_than_there_is_gives_all_there_is(rapport):
    answer = rapport.recommend("few", 500)
    assert len(answer.items) == 57
    assert len(set(ids(answer))) == 57


@pytest.mark.parametrize(
    ("where", "fits"),
    [
        (["year>=1990"], lambda item: item.attributes["year"] >= 1990),
        (["categories:Romance"], lambda item: "Romance" in item.categories),
        (
            ["creator:Maker A", "year<1980"],
            lambda item: item.attributes["creator"] == ("Maker A",) and item.attributes["year"] < 1980,
        ),
        ([Condition("year", ">=", 1990)], lambda item: item.attributes["year"] >= 1990),
    ],
)
def test_a_filter_holds_for_every_item(rapport, where, fits):
    answer = rapport.recommend("ann", 60, where=where)
    had = {event.item for event in EVENTS if event.user == "ann"}
    assert set(ids(answer)) == {item.id for item in CATALOGUE if fits(item) and item.id not in had}


def test_a_filter_that_nothing_meets_gives_an_empty_answer(rapport):
    assert rapport.recommend("ann", where=["year>2999"]).items == ()


def test_words_count_more_than_history(rapport):
    answer = rapport.recommend("ann", 5, words="western")
    assert sum("Western" in one.item.categories for one in answer.items) >= 3


def test_the_language_of_the_caller_wins_over_the_person_s(rapport):
    assert any("与您" in one.reason or "您" in one.reason for one in rapport.recommend("林", 5).items)
    assert all(one.reason.isascii() for one in rapport.recommend("林", 5, language="en").items)
    assert not any(one.reason.isascii() for one in rapport.recommend("ann", 5, language="zh").items)


def test_nobody_is_an_error_unless_new_people_are_welcome(rapport):
    with pytest.raises(UnknownUser, match="'zoe'"):
        rapport.recommend("zoe")
    answer = rapport.recommend("zoe", 5, allow_new=True)
    assert len(answer.items) == 5
    assert "nobody by this name is known yet: what most people like" in answer.provenance.notes
    assert all(one.receipts == () for one in answer.items)
    assert all("your history speaks" in one.reason for one in answer.items)
    assert not rapport.store.has_user("zoe"), "asking leaves no trace of a person"


def test_a_new_shop_has_something_to_show_although_nobody_did_anything(shop):
    answer = shop(CATALOGUE, []).recommend("zoe", 10, allow_new=True)
    assert len(answer.items) == 10
    assert all("Nothing in your history" in one.reason for one in answer.items)


def test_three_events_are_said_to_be_few(rapport):
    assert few(3) in rapport.recommend("few", 5).provenance.notes
    assert few(1) == "only one event is known: much of this is what many people like"
    assert few(0).startswith("no event is known")


def test_without_an_index_the_popular_list_answers_and_says_so(shop):
    rapport = shop(CATALOGUE, EVENTS, index=False)
    answer = rapport.recommend("ann", 5)
    assert len(answer.items) == 5
    assert answer.degraded
    assert any(
        "popular list answers: there is no index yet; run `rapport index`" in note for note in answer.provenance.notes
    )
    assert {source.retriever for one in answer.items for source in one.sources} == {"popular", RETRIEVED}


def test_an_index_that_fails_degrades_the_answer(rapport):
    broken = Broken(rapport.index)
    rapport.__dict__["index"] = broken
    answer = rapport.recommend("ann", 40)
    assert broken.asked
    assert len(answer.items) == 40
    assert answer.degraded
    assert any("the disk is gone" in note for note in answer.provenance.notes)


def test_an_index_that_fails_after_retrieval_costs_only_the_difference(rapport):
    calls = []

    def fail(ids):
        calls.append(ids)
        raise StoreError("gone")

    from dataclasses import replace

    from agent.types import Query

    answer = replace(rapport.recommender, vectors=fail)(Query("ann", 5))
    assert calls
    assert len(answer.items) == 5
    assert answer.degraded


@pytest.mark.parametrize("error", [Unavailable("gone"), TimedOut("late")])
@pytest.mark.parametrize("capable", [True, False])
def test_a_model_that_is_gone_leaves_templates_and_retrieval_order(rapport, error, capable):
    def fail(*_):
        raise error

    quiet = rapport.recommend("ann", 8)
    model = Scripted(fail, fail, capable=capable)
    answer = rapport.with_llm(model).recommend("ann", 8)
    assert model.calls
    assert ids(answer) == ids(quiet)
    assert answer.degraded
    assert any(type(error).__name__ in note for note in answer.provenance.notes)
    assert all(one.written_by == "template" and one.reason for one in answer.items)


def test_a_model_that_answers_is_not_degraded_and_leaves_its_trace(rapport):
    def reply(chat):
        prompt = chat[-1].content
        if '"order"' in chat[0].content:
            return json.dumps({"order": [f"c{at}" for at in range(20, 0, -1)]})
        return "It is horror again." if "In common" in prompt else "Mostly drawn to horror."

    answer = rapport.with_llm(Scripted(reply, name="big", capable=True)).recommend("ann", 8)
    assert not answer.degraded
    provenance = answer.provenance
    assert provenance.model == "big"
    assert {prompt.partition(".")[0] for prompt in provenance.prompts} >= {"rerank-order", "reason"}
    assert all("@" in prompt and "-" in prompt.partition("@")[2] for prompt in provenance.prompts)
    assert provenance.prompt_tokens > 0
    assert provenance.completion_tokens > 0
    assert provenance.ms > 0
    assert provenance.profile_version == rapport.profile("ann").version
    assert any("rerank weight 0.3" in note for note in provenance.notes)
    assert any(one.written_by == "model" for one in answer.items)
    assert any(source.retriever == "model" for one in answer.items for source in one.sources)
    assert {call.prompt.partition(".")[0] for call in rapport.store.calls(100, "ann")} >= {"rerank-order", "reason"}


def test_the_model_hears_what_was_liked_lately_and_no_titles_of_others(rapport):
    model = Scripted(lambda chat: "{}", capable=True)
    rapport.with_llm(model).recommend("ann", 8)
    asked = next(call.chat[-1].content for call in model.calls if '"order"' in call.chat[0].content)
    lately = asked.partition("Liked lately, newest first: ")[2].partition("\n")[0].split("; ")
    titles = {item.id: item.title for item in CATALOGUE}
    assert lately == [titles[f"f{at}"] for at in range(37, 8, -4)]


def test_plays_are_not_stars(rapport):
    events = [Event(1, "x", "f1", "play", 400.0), Event(2, "x", "f2", "like"), Event(3, "x", "f3", "rating", 3.5)]
    assert rapport.recommender.opinions(events) == [
        Opinion(CATALOGUE[3].title, liked=False),
        Opinion(CATALOGUE[2].title, liked=True),
    ]


def test_the_last_opinion_of_an_item_counts_and_no_more_are_told_than_asked_for(rapport):
    events = [Event(at, "x", f"f{at % 20}", "rating", 5.0 if at < 20 else 1.0) for at in range(40)]
    said = rapport.recommender.opinions(events)
    assert said[0] == Opinion(CATALOGUE[19].title, liked=False)
    assert not any(one.liked for one in said)
    assert len(said) == 20
    happy = [Event(at, "x", f"f{at}", "like") for at in range(40)]
    assert len(rapport.recommender.opinions(happy)) == RerankConfig().lately


def test_why_an_item_suits_or_does_not(rapport):
    assert rapport.explain("ann", "f41").reason.startswith("Horror, close to ")
    assert rapport.explain("ann", "f42").reason.startswith("You tend not to like romance")
    assert rapport.explain("ann", "f1").reason.startswith("You gave it 5 stars.")
    with pytest.raises(UnknownItem, match="'nothing'"):
        rapport.explain("ann", "nothing")
    with pytest.raises(UnknownUser):
        rapport.explain("zoe", "f1")


def test_an_item_that_events_only_refer_to_is_not_known(rapport):
    rapport.store.add_events([happened("ann", 99)])
    with pytest.raises(UnknownItem):
        rapport.explain("ann", "f99")


@pytest.mark.parametrize("n", [0, -1, 10_000])
def test_a_number_out_of_range_is_the_caller_s_mistake(rapport, n):
    with pytest.raises(UsageError):
        rapport.recommend("ann", n)


@pytest.mark.parametrize("surprise", [-0.1, 1.1, float("nan")])
def test_surprise_goes_from_0_to_1(rapport, surprise):
    with pytest.raises(UsageError):
        rapport.recommend("ann", surprise=surprise)


def test_the_same_question_has_the_same_answer(rapport):
    first, second = (shapes.answer(rapport.recommend("ann", 10)) for _ in range(2))
    for answer in (first, second):
        answer["provenance"].pop("ms")
    assert first == second


def test_the_json_is_what_others_rely_on(rapport):
    answer = shapes.answer(rapport.recommend("ann", 3))
    assert list(answer) == ["user", "items", "degraded", "provenance"]
    for one in answer["items"]:
        assert list(one) == [
            "rank", "item", "title", "score", "reason", "receipts", "grounded", "written_by", "explored", "sources",
        ]  # fmt: skip
        assert all(isinstance(id, str) for id in one["receipts"])
        assert all(set(vote) == {"rank", "score"} for vote in one["sources"].values())
    assert set(answer["provenance"]) == {"model", "prompt", "tokens", "ms", "profile_version", "notes"}
    profile = shapes.profile(rapport.profile("ann"))
    assert {"user", "tags", "persona", "as_of", "version", "provenance"} <= set(profile)
    assert {"model", "prompt", "tokens", "ms"} <= set(profile["provenance"])
    assert profile["as_of"] == "2025-02-07T00:00:00Z"
    for tag in profile["tags"]:
        assert {"name", "polarity", "weight", "kind", "receipts"} <= set(tag)
        assert all({"item", "at"} <= set(one) <= {"item", "at", "event", "quote"} for one in tag["receipts"])
    assert json.loads(json.dumps([answer, profile], allow_nan=False)) == [answer, profile]


def test_each_item_tells_where_retrieval_had_it(rapport):
    answer = rapport.recommend("ann", 10)
    places = [[one.rank for one in each.sources if one.retriever == RETRIEVED] for each in answer.items]
    assert all(len(each) == 1 for each in places)
    assert len({place for (place,) in places}) == 10
    assert [place for (place,) in places] != sorted(place for (place,) in places), "it was made diverse after that"
    assert not [one for one in rapport.explain("ann", ids(answer)[0]).sources if one.retriever == RETRIEVED]
