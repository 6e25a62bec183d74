"""The question that would narrow the catalogue most, for somebody of whom little is known.

Knows items; knows no person and no model. Cost: one pass over a bounded list of candidates.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

from agent.features import number
from agent.labels import label
from agent.types import Item, Language

MOST_OPTIONS = 6
FEWEST = 2
"""Options of a question at least."""
LEAST_GAIN = 0.5
"""Bits that an answer must be worth on average."""


@dataclass(frozen=True, slots=True)
class Option:
    text: str
    """As it is shown, and as it can be sent back."""
    share: float
    """Of the candidates that are left with this answer."""


@dataclass(frozen=True, slots=True)
class Asking:
    """A question, and what it is worth."""

    slot: str
    """category, decade, language or length."""
    options: tuple[Option, ...]
    gain: float
    """Bits by which the answer narrows the candidates on average."""


Values = Callable[[Item], Sequence[str]]


def categories(item: Item) -> Sequence[str]:
    return item.categories


def decade(item: Item) -> Sequence[str]:
    year = number(item, "year")
    return (f"{int(year) // 10 * 10}s",) if year and 1000 <= year < 10_000 else ()


def language(item: Item) -> Sequence[str]:
    code = item.attributes.get("language")
    return (code,) if isinstance(code, str) and code else ()


KINDS: dict[str, Values] = {"category": categories, "decade": decade, "language": language}


def best(candidates: Iterable[Item], known: Iterable[str] = (), spoken: Language = "en") -> Asking | None:
    """The question with the highest gain whose slot is not `known`; None when none is worth asking."""
    items = list(candidates)
    skip = set(known)
    asked = [one for slot in KINDS if slot not in skip and (one := asking(slot, items, spoken))]
    good = [one for one in asked if one.gain >= LEAST_GAIN]
    return max(good, key=lambda one: (one.gain, one.slot), default=None)


def asking(slot: str, items: Sequence[Item], spoken: Language = "en") -> Asking | None:
    """The question about one slot; None where it has fewer than FEWEST answers.

    An answer v leaves N(v) of N candidates and is given as often as it is had: the expected gain is the sum of
    P(v) log2(N / N(v)). Who wants none of the options learns us nothing.
    """
    values = KINDS[slot]
    counts = Counter(value for item in items for value in set(values(item)))
    whole = len(items)
    common = [value for value, count in counts.most_common(MOST_OPTIONS) if count < whole]
    common = sorted(common) if slot == "decade" else common
    if len(common) < FEWEST:
        return None
    said = sum(counts.values())
    gain = sum(counts[value] / said * math.log2(whole / counts[value]) for value in common)
    kind = {"category": "category", "decade": "decade", "language": "language"}[slot]
    options = tuple(
        Option(label(f"{kind}:{value}", spoken).removesuffix("-language"), counts[value] / whole) for value in common
    )
    return Asking(slot, options, gain)
