"""Sentences from lists of plans: alternatives in brackets, verbs that follow the voice, plans that can be held back.

Knows patterns and words; knows no facts.
"""

from __future__ import annotations

import random
import re
from collections.abc import Mapping, Sequence
from typing import Literal

Voice = Literal["bare", "they"]
"""Whether a sentence names nobody ("Keeps coming back to") or says "They keep"."""

CHOICE = re.compile(r"\[([^\[\]]*)\]")
VERB = re.compile(r"(?P<opens>^|; )?~(?P<verb>[a-z]+)")
ARTICLE = re.compile(r"\b([Aa])(?= [aeiou])")
SLOT = re.compile(r"\{(\w+)\}")
ODD = {"have": "has", "do": "does", "would": "would", "go": "goes"}
EVERY = 5
"""One plan in so many is held back for what is measured on."""


def plans(found: Sequence[str], *, held: bool) -> list[str]:
    """The plans of a list that are trained on, or those that are held back."""
    return [one for number, one in enumerate(found) if (number % EVERY == EVERY - 1) == held]


def usable(found: Sequence[str], slots: Mapping[str, str]) -> list[str]:
    """The plans of which every slot can be filled."""
    return [one for one in found if all(slots.get(name.lower()) for name in SLOT.findall(one))]


def chosen(pattern: str, rng: random.Random) -> str:
    """`pattern` with one of each bracket's alternatives, the innermost first.

    >>> chosen("[a]nd [so [on]]", random.Random(0))
    'and so on'
    """
    while match := CHOICE.search(pattern):
        pattern = pattern[: match.start()] + rng.choice(match[1].split("|")) + pattern[match.end() :]
    return with_articles(pattern)


def with_articles(text: str) -> str:
    """ "a album" as "an album"."""
    return ARTICLE.sub(r"\1n", text)


def voiced(text: str, voice: Voice) -> str:
    """`text` with its verbs in the form that `voice` takes.

    >>> voiced("~keep going; ~have time, and ~reach on", "bare")
    'keeps going; has time, and reaches on'
    >>> voiced("~keep going; ~have time, and ~reach on", "they")
    'they keep going; they have time, and reach on'
    """

    def verb(match: re.Match[str]) -> str:
        opens, base = match["opens"], match["verb"]
        if voice == "they":
            return base if opens is None else f"{opens}they {base}"
        return (opens or "") + (ODD.get(base) or base + ("es" if base.endswith("ch") else "s"))

    return VERB.sub(verb, text)


def filled(text: str, slots: Mapping[str, str]) -> str:
    """`text` with its slots filled in one pass; a capital in a slot's name asks for one in the text.

    >>> filled("{Np} and {np}", {"np": "war films"})
    'War films and war films'
    """

    def slot(match: re.Match[str]) -> str:
        value = slots[match[1].lower()]
        return value if match[1].islower() else value[:1].upper() + value[1:]

    return SLOT.sub(slot, text)


def sentence(text: str) -> str:
    """With a capital in front and an end."""
    text = text.strip()
    text = text[:1].upper() + text[1:]
    return text if text.endswith((".", "!", "?")) else f"{text}."
