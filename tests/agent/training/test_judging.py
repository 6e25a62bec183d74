"""Examples of judging come from before the moment they ask about, and never show what is held back."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from agent.training import judging
from agent.types import Event, Item
from agent.wiring import Rapport

GENRES = ("Western", "Horror", "Romance", "Crime")
START = datetime(2024, 1, 1, tzinfo=UTC)


@pytest.fixture
def rapport(shop) -> Rapport:
    items = [
        Item(f"f{n}", f"{GENRES[n % 4]} Tale {n}", categories=(GENRES[n % 4],), attributes={"year": 1950 + n})
        for n in range(80)
    ]
    events = []
    for who in range(20):
        for step in range(14):
            item = items[(who % 4 + 4 * step + 3 * (step % 5 == 4)) % 80]
            stars = 5.0 if item.categories[0] == GENRES[who % 4] else 2.0
            at = START + timedelta(days=step)
            events.append(Event(100 * who + step, f"u{who:02}", item.id, "rating", stars, at=at))
    return shop(items, events)


@pytest.fixture
def made(rapport):
    return judging.examples(rapport, 120, 24, 1)


def lettered(examples):
    return [one for one in examples if one.prompt == "rerank"]


def alone(examples):
    return [one for one in examples if one.prompt == "liking"]


def test_the_answer_is_what_they_liked_next(rapport, made):
    assert made.training
    moments = {(m.user, m.liked): m for user in rapport.store.users() for m in judging.moments(rapport.store, user)}
    liked = {rapport.store.items([item])[item].title for _, item in moments}
    for one in lettered(made.held):
        chosen = next(each["text"] for each in one.inputs["options"] if each["letter"] == one.answer)
        assert any(chosen.startswith(title) for title in liked)


def test_what_comes_after_is_not_known_before(rapport):
    for user in rapport.store.users():
        for moment in judging.moments(rapport.store, user):
            assert moment.liked not in {event.item for event in moment.before}
            profile = judging.profile_of(rapport, moment)
            assert profile.events == len(moment.before)
            assert moment.liked not in {receipt.item for tag in profile.tags for receipt in tag.receipts}
            assert rapport.store.items([moment.liked])[moment.liked].title not in profile.persona


def test_the_other_options_were_not_had(rapport, made):
    for one in lettered(made.held):
        texts = [each["text"] for each in one.inputs["options"]]
        assert len(set(texts)) == len(texts) == len(one.options)
        assert not {text for text in texts if any(text.startswith(f"{had} (") for had in one.inputs["recent"])}


def test_what_they_liked_later_is_no_wrong_answer(rapport):
    import random

    seen = 0
    for user in rapport.store.users():
        for moment in judging.moments(rapport.store, user):
            one = judging.question(rapport, moment, random.Random(1))
            assert one is not None
            later = {rapport.store.items([item])[item].title for item in moment.later}
            seen += len(later)
            assert not [each for each in one.inputs["options"] if each["text"].split(" (")[0] in later]
    assert seen


def test_letters_are_in_no_order_of_the_answer(rapport):
    answers = [one.answer for one in lettered(judging.examples(rapport, 240, 24, 2).training)]
    assert len(set(answers)) > 5


def test_people_held_back_are_others(rapport, made):
    again = judging.examples(rapport, 120, 24, 1)
    assert again == made
    assert len(made.training) == 120
    assert 0 < len(made.held) <= 24
    held, shown = ({repr(one.inputs) for one in lettered(part)} for part in (made.held, made.training))
    assert not held & shown


def test_it_is_the_question_that_the_product_asks(made):
    text = lettered(made.training)[0].chat()[-1].content
    assert "Options:\nA. " in text
    assert text.endswith("Answer with its letter only.")
    assert [one.partition("@")[0] for one in made.prompts()] == ["liking.en", "rerank.en"]


def test_options_that_say_nothing_are_answered_by_chance(rapport):
    made = judging.examples(rapport, 240, 12, 1)
    empty = [one for one in lettered(made.training) if {each["text"] for each in one.inputs["options"]} == {"N/A"}]
    assert len(empty) == 1
    assert empty[0].answer in empty[0].options
    assert not [one for one in lettered(made.held) if one.inputs["options"][0]["text"] == "N/A"]


def test_whether_they_liked_it_is_asked_from_what_they_said_before(rapport, made):
    titles = {one.title: one for one in rapport.store.all_items()}
    histories = {user: rapport.store.events(user) for user in rapport.store.users()}

    def happened(one, events) -> bool:
        """Whether somebody's history has what the question tells, then what it asks for, answered so."""
        had = [(event.item, event.value >= 4.0) for event in events]
        item = titles[one.inputs["item"].split(" (")[0].split(",")[0]].id
        told = {titles[title].id: liked for liked in (True, False)
                for title in one.inputs["liked" if liked else "disliked"]}  # fmt: skip
        at = next((at for at, (id, _) in enumerate(had) if id == item), 0)
        return bool(at) and had[at][1] == (one.answer == "yes") and dict(had[at - len(told) : at]) == told

    for one in alone(made.training):
        assert any(happened(one, events) for events in histories.values())


def test_what_others_think_leaves_the_asked_person_out(rapport):
    """In the fixture everybody who had an item agrees, so a share that counted the asked person would still be 100 or
    0: whoever is the only one of five must be told nothing."""
    stats = rapport.background.stats
    five = {id for id, one in stats.items() if one.events == 5}
    assert five
    titles = {item.title: item.id for item in rapport.store.all_items()}
    made = judging.examples(rapport, 400, 8, 3)
    asked = [one for one in alone(made.training) if titles[one.inputs["item"].split(" (")[0].split(",")[0]] in five]
    assert asked
    assert not [one for one in asked if one.inputs["others"]]


def test_too_little_history_gives_no_example(shop):
    few = shop([Item("a", "A")], [Event(1, "ann", "a", "like", at=START)])
    assert judging.examples(few, 10, 2, 0).training == ()
