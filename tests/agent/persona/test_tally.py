"""A history adds up to the same, however it comes."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from agent.features import Population
from agent.persona.tally import HALF_LIFE_DAYS, KEPT, NEUTRAL, Tally, add, preference
from agent.types import Event, Item

START = datetime(2020, 1, 1, tzinfo=UTC)
ITEMS = {str(n): Item(str(n), f"Title {n}", categories=(("Drama", "Crime", "Horror")[n % 3],)) for n in range(40)}


def event(id: int, item: str, kind: str, value: float | None = None, days: float | None = 0.0, text: str = "") -> Event:
    at = None if days is None else START + timedelta(days=days)
    return Event(id, "ann", item, kind, value, text, at)  # type: ignore[arg-type]


def total(events, parts=None, feelings=None, quotes=None) -> Tally:
    tally = Tally()
    for part in parts or [events]:
        tally = add(tally, part, ITEMS, Population(), feelings or {}, quotes or {}, len(events))
    return tally


def one(*events, feelings=None, quotes=None):
    return total(list(events), feelings=feelings, quotes=quotes).marks["1"]


KINDS = st.sampled_from(["rating", "rating", "rating", "view", "like", "dislike", "skip", "purchase", "review"])


@st.composite
def histories(draw):
    dated = draw(st.booleans())
    events = []
    for n in range(draw(st.integers(1, 25))):
        kind = draw(KINDS)
        value = draw(st.sampled_from([1.0, 2.0, 3.0, 4.0, 5.0])) if kind == "rating" else None
        days = n * draw(st.sampled_from([0.0, 1.0, 100.0])) if dated else None
        events.append(event(n, str(draw(st.integers(0, 9))), kind, value, days))
    events.sort(key=lambda one: one.at or START)
    cuts = sorted(draw(st.lists(st.integers(0, len(events)), max_size=4)))
    parts = [events[a:b] for a, b in zip([0, *cuts], [*cuts, len(events)], strict=True)]
    return events, parts


@settings(max_examples=200, deadline=None)
@given(histories())
def test_parts_add_up_to_the_whole(history):
    events, parts = history
    whole, split = total(events), total(events, parts)
    assert (split.events, split.stars, split.stars_sum, split.at) == (
        whole.events,
        whole.stars,
        whole.stars_sum,
        whole.at,
    )
    assert split.marks == whole.marks
    for feature, side in whole.features.items():
        other = split.features[feature]
        assert (other.mass_liked, other.mass_disliked) == pytest.approx((side.mass_liked, side.mass_disliked), abs=1e-9)
        assert (other.likes, other.dislikes, other.met, other.items) == (
            side.likes,
            side.dislikes,
            side.met,
            side.items,
        )


def test_plays_are_held_against_the_most_that_are_known_so_far():
    events = [event(1, "1", "play", 10.0), event(2, "2", "play", 1000.0, days=1)]
    whole, split = total(events), total(events, [events[:1], events[1:]])
    assert whole.marks["2"] == split.marks["2"]
    assert split.marks["1"].preference > whole.marks["1"].preference > 0


@settings(max_examples=100, deadline=None)
@given(histories())
def test_the_sums_are_those_of_the_marks(history):
    events, parts = history
    tally = total(events, parts)
    for side, category in [(tally.whole, None), *((s, f.partition(":")[2]) for f, s in tally.features.items())]:
        marks = [m for id, m in tally.marks.items() if category in (None, *ITEMS[id].categories)]
        liked = sum(m.preference * decay(tally, m) for m in marks if m.preference > 0.05)
        disliked = sum(-m.preference * decay(tally, m) for m in marks if m.preference < -0.05)
        assert side.mass_liked == pytest.approx(liked, abs=1e-6)
        assert side.mass_disliked == pytest.approx(disliked, abs=1e-6)
        assert side.likes == sum(m.preference > 0.05 for m in marks)
        assert side.met == len(marks)


def decay(tally, mark) -> float:
    if mark.at is None or tally.at is None:
        return 1.0
    return 0.5 ** ((tally.at - mark.at).total_seconds() / 86_400 / HALF_LIFE_DAYS)


def test_what_is_old_counts_half():
    tally = total([event(1, "0", "like"), event(2, "1", "like", days=HALF_LIFE_DAYS)])
    assert tally.features["category:Drama"].mass_liked == pytest.approx(0.5)
    assert tally.features["category:Crime"].mass_liked == pytest.approx(1.0)


def test_what_has_no_time_does_not_decay_and_can_be_taken_back():
    first = total([event(1, "0", "like", days=None)])
    later = add(
        first, [event(2, "1", "like", days=0), event(3, "1", "like", days=5000)], ITEMS, Population(), {}, {}, 3
    )
    assert later.features["category:Drama"].mass_liked == 1.0
    gone = add(later, [event(4, "0", "dislike", days=5001)], ITEMS, Population(), {}, {}, 4)
    side = gone.features["category:Drama"]
    assert (side.mass_liked, side.mass_disliked, side.likes, side.dislikes) == (0.0, 1.0, 0, 1)


def test_the_argument_is_left_as_it_is():
    first = total([event(1, "0", "like")])
    before = first.model_dump_json()
    add(first, [event(2, "0", "dislike")], ITEMS, Population(), {}, {}, 2)
    assert first.model_dump_json() == before


@pytest.mark.parametrize(
    ("earlier", "later", "wins"),
    [
        (("view", None), ("rating", 5.0), 2),
        (("rating", 2.0), ("rating", 5.0), 2),
        (("rating", 5.0), ("view", None), 1),
        (("rating", 5.0), ("dislike", None), 2),
        (("rating", 5.0), ("like", None), 1),
        (("rating", 2.0), ("like", None), 2),
        (("like", None), ("view", None), 1),
        (("purchase", None), ("view", None), 1),
        (("view", None), ("purchase", None), 2),
        (("like", None), ("dislike", None), 2),
        (("dislike", None), ("skip", None), 1),
    ],
)
def test_two_events_with_one_item(earlier, later, wins):
    first, second = event(1, "1", *earlier), event(2, "1", *later, days=1)  # type: ignore[misc]
    assert one(first, second).event == wins


def test_the_later_opinion_counts_whatever_the_order_of_import():
    old, new = event(1, "1", "rating", 5.0, days=0), event(2, "1", "rating", 1.0, days=9)
    for order in ([old, new], [new, old]):
        tally = total(order, [[one] for one in order])
        assert tally.marks["1"].event == 2
        assert tally.features["category:Crime"].likes == 0


def test_words_stay_as_the_receipt_of_a_later_rating():
    review = event(1, "1", "review", 4.0, days=0, text="Loved the ending.")
    mark = one(review, event(2, "1", "rating", 5.0, days=9), quotes={1: "Loved the ending."})
    assert (mark.event, mark.quote, mark.stars, mark.at) == (1, "Loved the ending.", 5.0, review.at)
    turned = one(review, event(2, "1", "rating", 1.0, days=9), quotes={1: "Loved the ending."})
    assert (turned.event, turned.quote) == (2, "")


def test_an_event_that_comes_again_with_another_value_counts_once():
    first = total([event(1, "1", "rating", 5.0)])
    again = add(first, [event(1, "1", "rating", 2.0)], ITEMS, Population(), {}, {}, 2)
    assert (again.events, again.stars, again.stars_sum) == (1, 1, 2.0)
    assert again.features["category:Crime"].dislikes == 1
    assert again.features["category:Crime"].likes == 0


def test_each_side_keeps_its_own_receipts():
    many = [event(n, str(n * 3), "dislike", days=n) for n in range(KEPT + 3)]
    few = [event(90, "39", "view", days=90)]
    side = total([*many, *few]).features["category:Drama"]
    assert "39" in side.items
    assert len(side.items) == KEPT + 1


def test_what_is_not_in_the_catalogue_is_no_mark():
    untitled = {"x": Item("x", "")}
    events = [event(1, "x", "like"), event(2, "unknown", "like"), event(3, "1", "search", text="noir")]
    tally = add(Tally(), events, {**ITEMS, **untitled}, Population(), {}, {}, 3)
    assert tally.marks == {}
    assert tally.events == 3


def test_stars_count_against_the_persons_own_mean():
    generous, strict = 4.8, 2.0
    four = event(1, "1", "rating", 4.0)
    assert preference(four, strict, 1, None) > preference(four, generous, 1, None) > 0
    assert preference(event(1, "1", "rating", 1.0), 3.5, 1, None) == -1.0
    assert preference(event(1, "1", "review"), 3.5, 1, -0.4) == -0.4
    assert preference(event(1, "1", "review"), 3.5, 1, None) == 0.1
    assert preference(event(1, "1", "play", 100.0), 3.5, 100, None) == pytest.approx(0.9)
    assert preference(event(1, "1", "play"), 3.5, 100, None) < 0.3


OPINIONS = st.lists(st.tuples(st.integers(0, 30), st.sampled_from([0.5, 1.5, 3.0, 3.5, 4.0, 5.0])), max_size=60)


@settings(max_examples=60, deadline=None)
@given(OPINIONS)
def test_the_strongest_of_each_side_are_remembered_the_newest_first_among_equals(opinions):
    events = [event(n, str(item), "rating", stars, days=n) for n, (item, stars) in enumerate(opinions, 1)]
    catalogue = {str(n): Item(str(n), f"Film {n}", categories=("All",)) for n in range(31)}
    whole = add(Tally(), events, catalogue, Population(), {}, {}, len(events))
    # Once each: what was pushed out does not come back when a stronger one is taken back.
    once = [one for one in events if [two.item for two in events].count(one.item) == 1]
    tally = add(Tally(), once, catalogue, Population(), {}, {}, len(once))
    marks = sorted(tally.marks.values(), key=lambda mark: (-abs(mark.preference), -mark.event))
    kept = {mark.item for side in (1, -1) for mark in [one for one in marks if one.preference * side > NEUTRAL][:KEPT]}
    assert not once or tally.features["category:All"].items == [mark.item for mark in marks if mark.item in kept]
    remembered = whole.features["category:All"].items if events else []
    strengths = [abs(whole.marks[item].preference) for item in remembered]
    assert strengths == sorted(strengths, reverse=True)
    assert len(set(remembered)) == len(remembered) <= 2 * KEPT
