"""What a sentence about a person or an item may say: names, terms, numbers, and who belongs to what.

Built by code from events and catalogue; the check (check.py) holds a model's text against it.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

NUMBER = re.compile(r"\d+(?:[.,]\d+)*")


@dataclass(frozen=True, slots=True)
class Facts:
    """The whole truth that one text may use."""

    known: Mapping[str, frozenset[str]] = field(default_factory=dict)
    """Titles the person has experienced -> the numbers that are true of each (stars, year)."""
    offered: Mapping[str, frozenset[str]] = field(default_factory=dict)
    """Titles that are recommended, not experienced -> the numbers that are true of each."""
    liked: frozenset[str] = frozenset()
    """Titles among `known` that the person liked; only these may be called so."""
    makers: Mapping[str, frozenset[str]] = field(default_factory=dict)
    """Creator -> the titles above that are theirs. A creator who made none of them may be named, not credited."""
    terms: frozenset[str] = frozenset()
    """What may be said the person likes, and the item has: category names, theme words, decades, tag names."""
    traits: frozenset[str] = frozenset()
    """What may only be said the item has, not that the person likes it."""
    aversions: frozenset[str] = frozenset()
    """What may only be said the person dislikes."""
    nouns: frozenset[str] = frozenset()
    """What an item is called, e.g. film and films: said of what is liked and of what is not."""
    numbers: frozenset[str] = frozenset()
    """Numbers that may stand anywhere but as a rating, e.g. counts of events."""

    @property
    def titles(self) -> dict[str, frozenset[str]]:
        return {**self.known, **self.offered}


def numbers_in(*texts: str) -> frozenset[str]:
    """Every number in `texts`, as it is written."""
    return frozenset(number for text in texts for number in NUMBER.findall(text))


def stars(value: float | None) -> frozenset[str]:
    """The ways a rating may be written: 4.0 -> {"4", "4.0"}; what it is out of is no rating."""
    return frozenset() if value is None else frozenset({f"{value:g}", f"{value:.1f}"})


def year(value: object) -> frozenset[str]:
    """The ways a year may be written, whatever the catalogue keeps it as: 1995.0 -> {"1995"}."""
    whole = isinstance(value, int | float) and value == value and abs(value) < 10_000
    return frozenset({f"{value:g}"}) if whole else frozenset()


def union(parts: Iterable[frozenset[str]]) -> frozenset[str]:
    return frozenset().union(*parts)
