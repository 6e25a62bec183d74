"""Examples of reading: the feeling of a sentence, whether somebody liked a title, whether a message asks for something.

Every sentence is made up. The question and the words to choose from are the product's.
"""

from __future__ import annotations

import random
from collections.abc import Mapping, Sequence
from functools import cache
from typing import Any

from agent.chat import opinions
from agent.labels import plural
from agent.persona import reading
from agent.training.examples import ELSEWHERE, Example, Examples, mixed
from agent.training.grammar import chosen, filled, plans, usable, with_articles
from agent.training.worlds import domains, material, title

ASKED = ("yes", "no")
"""What `intent` is answered with: agent/chat/understand.py."""
KINDS = {
    "sentiment": ("sentence", {"positive": "positive", "neutral": "neutral", "negative": "negative"}),
    "opinion": ("message", {"liked": "liked", "disliked": "disliked", "neither": "neither"}),
    "intent": ("message", {"ask": "yes", "talk": "no"}),
}
"""Prompt -> its input, and which list of plans is answered how."""
OPTIONS = {"sentiment": reading.LABELS, "opinion": opinions.CHOICES, "intent": ASKED}
SHARES = {"sentiment": 0.5, "opinion": 0.3, "intent": 0.2}
EMPTY = 50
"""One question in so many is without content, answered each way equally often: the answer to it is taken for bias."""


@cache
def book() -> dict[str, Any]:
    return material("feelings")


def examples(count: int, held: int, seed: int) -> Examples:
    """`count` examples to train on, `held` to stop by, and as many of plans that those never show."""
    return Examples(
        made(count, seed, held=False), made(held, seed + ELSEWHERE, held=False), made(held, seed, held=True)
    )


def made(count: int, seed: int, *, held: bool) -> tuple[Example, ...]:
    """`count` examples, every answer of a question as often as the others."""
    parts: list[list[Example]] = []
    left = count
    for prompt, share in SHARES.items():
        wanted = left if prompt == "intent" else round(count * share)
        left -= wanted
        parts.append(of_kind(prompt, wanted, random.Random(f"{prompt} {seed} {held}"), held=held))
    return mixed(parts, seed)


def of_kind(prompt: str, count: int, rng: random.Random, *, held: bool) -> list[Example]:
    name, lists = KINDS[prompt]
    answers = list(lists.items())
    nothing = reading.NOTHING["en"]
    found = []
    for number in range(count):
        plan, answer = answers[number % len(answers)]
        empty = not held and prompt != "intent" and number // len(answers) % EMPTY == 0
        text = nothing if empty else said(plan, rng, held=held)
        found.append(Example(prompt, {name: text}, answer, OPTIONS[prompt], prompt))
    return found


def said(list_of: str, rng: random.Random, *, held: bool) -> str:
    """One sentence of a list of plans."""
    slots = words(rng)
    plan = rng.choice(usable(plans(book()[list_of], held=held), slots))
    return with_articles(" ".join(filled(chosen(plan, rng), slots).split()))


def words(rng: random.Random) -> Mapping[str, str]:
    """A word for every slot that a plan can have."""
    known: Mapping[str, Sequence[str]] = book()["words"]
    slots = {name: rng.choice(values) for name, values in known.items()}
    slots["part"], slots["part2"] = rng.sample(known["part"], 2)
    slots |= {"things": plural(slots["thing"]), "a": "a"}
    slots["topic"], slots["topic2"] = rng.sample(book()["topics"], 2)
    slots["person"] = rng.choice(book()["persons"])
    kinds = [one for one in domains() if not one.held]
    slots["title"], slots["title2"] = (title(rng.choice(kinds), rng) for _ in range(2))
    return slots
