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
    return judging.examples(rapport, 30, 6, 1)


def test_the_answer_is_what_they_liked_next(rapport, made):
    assert made.training
    moments = {(m.user, m.liked): m for user in rapport.store.users() for m in judging.moments(rapport.store, user)}
    liked = {rapport.store.items([item])[item].title for _, item in moments}
    for one in made.held:
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
    for one in made.held:
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
    answers = [one.answer for one in judging.examples(rapport, 60, 6, 2).training]
    assert len(set(answers)) > 5


def test_people_held_back_are_others(rapport, made):
    again = judging.examples(rapport, 30, 6, 1)
    assert again == made
    assert len(made.held) <= 6
    assert not {repr(one.inputs) for one in made.held} & {repr(one.inputs) for one in made.training}


def test_it_is_the_question_that_the_product_asks(made):
    text = made.training[0].chat()[-1].content
    assert "Options:\nA. " in text
    assert text.endswith("Answer with its letter only.")
    assert made.prompts() == (made.prompts()[0],)
    assert made.prompts()[0].startswith("rerank.en@")


def test_options_that_say_nothing_are_answered_by_chance(rapport):
    made = judging.examples(rapport, 30, 3, 1)
    empty = [one for one in made.training if {each["text"] for each in one.inputs["options"]} == {"N/A"}]
    assert len(empty) == 1
    assert empty[0].answer in empty[0].options
    assert not [one for one in made.held if one.inputs["options"][0]["text"] == "N/A"]


def test_too_little_history_gives_no_example(shop):
    few = shop([Item("a", "A")], [Event(1, "ann", "a", "like", at=START)])
    assert judging.examples(few, 10, 2, 0).training == ()
