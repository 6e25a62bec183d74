"""Examples of reading: the product's own questions, every answer as often as the others."""

from __future__ import annotations

import random
from collections import Counter

from agent.chat.opinions import CHOICES
from agent.persona.reading import LABELS, NOTHING
from agent.persona.reading import spans as reading_spans
from agent.training import reading


def test_every_answer_is_as_frequent_as_the_others():
    made = reading.examples(300, 60, 1)
    counts = Counter((one.prompt, one.answer) for one in made.training)
    for prompt, options in reading.OPTIONS.items():
        mine = [counts[prompt, option] for option in options]
        assert max(mine) - min(mine) <= 1
    assert len(made.training) == 300


def test_they_choose_from_what_the_product_asks_for():
    assert reading.OPTIONS == {"sentiment": LABELS, "opinion": CHOICES, "intent": ("yes", "no")}
    for one in reading.examples(60, 12, 2).training:
        assert one.answer in one.options
        assert one.chat()[-1].content == next(iter(one.inputs.values())).strip()


def test_the_same_seed_gives_the_same_sentences():
    assert reading.examples(80, 20, 3) == reading.examples(80, 20, 3)
    assert reading.examples(80, 20, 3) != reading.examples(80, 20, 4)


def test_nothing_is_said_of_nothing():
    """What is answered to a question without content is taken for bias, so each answer is trained equally often."""
    empty = [
        one.answer
        for one in reading.examples(6000, 3, 1).training
        if NOTHING["en"] in one.inputs.values() and one.prompt == "sentiment"
    ]
    shares = Counter(empty)
    assert set(shares) == set(LABELS)
    assert max(shares.values()) == min(shares.values())


def test_every_plan_is_a_sentence():
    for one in reading.examples(400, 100, 6).training:
        text = next(iter(one.inputs.values()))
        assert not set("[]{}|~") & set(text)
        assert "  " not in text


def test_sentences_of_reviews_are_typed_in_many_ways_and_say_what_they_said():
    rng = random.Random(0)
    typed = {reading.as_typed("The lamp is bright and it works.", rng) for _ in range(200)}
    assert {"The lamp is bright and it works", "the lamp is bright and it works"} <= typed
    assert any(one.startswith("THE LAMP") for one in typed)
    assert all(abs(len(one) - len("The lamp is bright and it works.")) <= 1 for one in typed)
    joined = {reading.run_on("It broke.", "Never again.", rng) for _ in range(200)}
    assert joined == {
        "It broke Never again.",
        "It broke, never again.",
        "It broke - never again.",
        "It broke and never again.",
    }


def test_a_whole_review_holds_what_it_says_on_the_whole():
    rng = random.Random(0)
    grown = [reading.grown("It broke.", "negative", rng, held=False) for _ in range(300)]
    assert all("broke" in one for one in grown)
    assert "It broke." in grown
    assert max(len(reading_spans(one)) for one in grown) >= 4
