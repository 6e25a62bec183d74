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
SHARES = {"sentiment": 0.6, "opinion": 0.25, "intent": 0.15}
SHAPES = (0.45, 0.2, 0.35)
"""Shares of sentences of reviews that stand alone, run into another, and stand amid a whole review."""
STYLES = (0.6, 0.12, 0.12, 0.06, 0.1)
"""Shares of the ways in which a sentence of a review is typed."""
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
        if prompt == "sentiment" and not empty:
            text = as_typed(grown(text, plan, rng, held=held), rng)
        found.append(Example(prompt, {name: text}, answer, OPTIONS[prompt], prompt))
    return found


def said(list_of: str, rng: random.Random, *, held: bool) -> str:
    """One sentence of a list of plans."""
    slots = words(rng)
    plan = rng.choice(usable(plans(book()[list_of], held=held), slots))
    return with_articles(" ".join(filled(chosen(plan, rng), slots).split()))


def grown(text: str, plan: str, rng: random.Random, *, held: bool) -> str:
    """A sentence of a review alone, run into another, or amid the rest of a review that says the same on the whole."""
    more = said(plan, rng, held=held)
    shape = rng.choices(("alone", "run on", "review"), SHAPES)[0]
    if shape == "alone":
        return text
    if shape == "run on":
        return run_on(text, more, rng)
    facts = [said("told", rng, held=held) for _ in range(rng.choice((0, 1, 1, 2)))]
    if plan == "neutral" and rng.random() < 0.6:
        # Who gives three of five stars mostly says something for a thing and something against it.
        both = [said("positive", rng, held=held), said("negative", rng, held=held)]
        rng.shuffle(both)
        return " ".join([*facts[:1], *both, *([text] if rng.random() < 0.5 else []), *facts[1:]])
    opinions = [text, more]
    if plan != "neutral" and rng.random() < 0.25:
        other = said("negative" if plan == "positive" else "positive", rng, held=held)
        opinions = [other, text, more, said(plan, rng, held=held)] if rng.random() < 0.6 else [text, more, other]
    for fact in facts:
        opinions.insert(rng.randint(0, len(opinions)), fact)
    return " ".join(opinions)


def run_on(text: str, more: str, rng: random.Random) -> str:
    """Two sentences in one: a heading and what stands below it, or no full stop between them."""
    joint = rng.choice((" ", ", ", " - ", " and "))
    return text.rstrip(".!?") + joint + (more if joint == " " else more[:1].lower() + more[1:])


def as_typed(text: str, rng: random.Random) -> str:
    """The same as people type it: without an end, in small or in capital letters, with a letter missing."""
    style = rng.choices(("printed", "open", "small", "loud", "hasty"), STYLES)[0]
    if style == "open":
        return text.rstrip(".")
    if style == "small":
        return text.lower().rstrip(".")
    if style == "loud":
        return f"{text.rstrip('.').upper() if rng.random() < 0.5 else text.rstrip('.!')}!!"
    if style == "hasty" and len(text) > 20:
        gone = rng.choice([at for at, char in enumerate(text) if at and char.isalpha()])
        return text[:gone] + text[gone + 1 :]
    return text


def words(rng: random.Random) -> Mapping[str, str]:
    """A word for every slot that a plan can have."""
    known: Mapping[str, Sequence[str]] = book()["words"]
    slots = {name: rng.choice(values) for name, values in known.items()}
    for pair in ("part", "plus", "minus"):
        slots[pair], slots[f"{pair}2"] = rng.sample(known[pair], 2)
    slots |= {"things": plural(slots["thing"]), "a": "a"}
    slots["topic"], slots["topic2"] = rng.sample(book()["topics"], 2)
    slots["person"] = rng.choice(book()["persons"])
    kinds = [one for one in domains() if not one.held]
    slots["title"], slots["title2"] = (title(rng.choice(kinds), rng) for _ in range(2))
    return slots
