"""Invented catalogues and people with histories in them; everything is made up, nothing is anybody's data.

Knows items and events; knows no prompt and no model. The same seed makes the same world.
"""

from __future__ import annotations

import math
import random
import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from functools import cache
from pathlib import Path
from typing import Any

import yaml

from agent.features import Population, survey
from agent.labels import plural
from agent.types import Event, EventKind, Item, Value

MATERIAL = Path(__file__).parent / "material"
ITEMS, CROWD = (90, 220), 1.1
"""How many items a catalogue has, and how steeply their popularity falls (the exponent of Zipf's law)."""
EVENTS = (2, 70)
NOW = datetime(2024, 6, 1, tzinfo=UTC)
NUMBERS = "Two Three Four Five Six Seven Nine Ten Twelve Twenty Forty".split()  # noqa: SIM905
ROMAN = "II III IV V".split()  # noqa: SIM905
SYLLABLES = "al bo cor dra el fen gli hov is kel lum mar nor ola pri quo ren sol tav ur ven wex yo zan".split()  # noqa: SIM905


@dataclass(frozen=True, slots=True)
class Domain:
    """What one kind of catalogue is made of, as domains.yaml says it."""

    noun: str
    acts: tuple[EventKind, ...]
    categories: tuple[str, ...]
    themes: tuple[str, ...]
    titles: tuple[str, ...]
    held: bool = False
    """Kept for examples that are measured on, never trained on."""
    years: tuple[int, int] | None = None
    scale: Mapping[str, tuple[int, int]] = field(default_factory=dict)
    languages: tuple[str, ...] = ()
    brands: bool = False
    """Makers are firms, not people."""
    creatorless: bool = False
    """Items are makers themselves."""
    anonymous: bool = False
    """Nobody is named as the maker of an item: many shops know none."""
    words: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    """Lists of its own that the titles use."""


@dataclass(frozen=True, slots=True)
class World:
    """One catalogue and what everybody does in it."""

    domain: Domain
    items: Mapping[str, Item]
    population: Population


@dataclass(frozen=True, slots=True)
class Person:
    """Somebody who is not there, and what they did, oldest first."""

    name: str
    events: tuple[Event, ...]


@dataclass(frozen=True, slots=True)
class Taste:
    """What decides how a person takes to an item: weights of features, in a made-up unit."""

    pull: Mapping[str, float]
    leniency: float

    def of(self, item: Item) -> float:
        return sum(self.pull.get(one, 0.0) for one in traits(item))


@cache
def names() -> dict[str, tuple[str, ...]]:
    """The words that titles and names are made of."""
    return {key: tuple(text.split()) for key, text in material("names").items()}


@cache
def domains() -> tuple[Domain, ...]:
    """Every kind of catalogue."""
    found = []
    for one in material("domains"):
        own = {key: tuple(value) for key, value in one.items() if key in ("thing", "colour", "dish", "maker_word")}
        found.append(
            Domain(
                noun=one["noun"],
                acts=tuple(one["acts"]),
                categories=tuple(one["categories"]),
                titles=tuple(one["titles"]),
                held=one.get("held", False),
                brands=one.get("brands", False),
                creatorless=one.get("creatorless", False),
                anonymous=one.get("anonymous", False),
                themes=tuple(one["themes"].split()),
                years=tuple(one["years"]) if "years" in one else None,
                scale={key: tuple(bounds) for key, bounds in one.get("scale", {}).items()},
                languages=tuple(one.get("languages", ())),
                words=own,
            )
        )
    return tuple(found)


def material(name: str) -> Any:
    """A file of material/, parsed."""
    return yaml.safe_load((MATERIAL / f"{name}.yaml").read_text(encoding="utf-8"))


def world(domain: Domain, seed: int) -> World:
    """A catalogue of `domain` and its population."""
    rng = random.Random(f"world {domain.noun} {seed}")
    makers = sorted({maker(domain, rng) for _ in range(rng.randint(12, 40))})
    categories = rng.sample(domain.categories, rng.randint(min(6, len(domain.categories)), len(domain.categories)))
    titles: set[str] = set()
    items: dict[str, Item] = {}
    for number in range(rng.randint(*ITEMS)):
        name = next((one for _ in range(9) if (one := title(domain, rng)) not in titles), "")
        if not name:
            continue
        titles.add(name)
        items[f"i{number}"] = item(f"i{number}", name, domain, makers, categories, rng)
    crowd = {id: int(400 / (place + 1) ** CROWD) + 1 for place, id in enumerate(rng.sample(sorted(items), len(items)))}
    return World(domain, items, survey(items.values(), crowd))


def item(
    id: str, name: str, domain: Domain, makers: Sequence[str], categories: Sequence[str], rng: random.Random
) -> Item:
    """One entry of a catalogue."""
    attributes: dict[str, Value] = {}
    if not (domain.creatorless or domain.anonymous):
        # A few makers made much: only then can anybody have a favourite one.
        attributes["creator"] = (makers[int(len(makers) * rng.random() ** 2)],)
    if domain.years:
        first, last = domain.years
        attributes["year"] = last - int((last - first) * rng.random() ** 1.5)
    for name_of, (low, high) in domain.scale.items():
        attributes[name_of] = round(math.exp(rng.uniform(math.log(low), math.log(high))))
    if domain.languages:
        attributes["language"] = rng.choice(domain.languages)
    themes = rng.sample(domain.themes, rng.choice((0, 1, 1, 2, 3)))
    return Item(
        id,
        name,
        text=" ".join(f"with a {theme}" for theme in themes),
        categories=tuple(rng.sample(categories, rng.choice((1, 1, 2, 2, 3)))),
        attributes=attributes,
    )


def title(domain: Domain, rng: random.Random) -> str:
    """A name for an item, in one of the domain's patterns."""
    words = names()
    verb = rng.choice(words["verb"])
    filled = {key: rng.choice(values) for key, values in domain.words.items()}
    filled |= {key: rng.choice(words[key]) for key in ("adjective", "noun", "first", "last", "place")}
    filled |= {"noun2": rng.choice(words["noun"]), "first2": rng.choice(words["first"]), "verb": verb}
    filled |= {"verb_s": verb + ("es" if verb.endswith(("ch", "s")) else "s"), "brand": firm(rng)}
    filled |= {"number": rng.choice(NUMBERS), "roman": rng.choice(ROMAN), "digit": str(rng.randint(2, 12))}
    filled |= {"year": str(rng.randint(1910, 2030))}
    filled["nouns"] = plural(filled["noun"])
    filled["code"] = f"{rng.choice(ROMAN)}{rng.choice('ABCKLRTXZ')}-{rng.randint(2, 990)}"
    filled |= {"loud": filled["adjective"].upper(), "loud2": filled["noun"].upper()}
    return re.sub(r"\bA (?=[AEIOU])", "An ", rng.choice(domain.titles).format_map(filled))


def maker(domain: Domain, rng: random.Random) -> str:
    """Somebody, or a firm, that makes things."""
    if domain.brands:
        return firm(rng)
    first, last = rng.choice(names()["first"]), rng.choice(names()["last"])
    return rng.choice((f"{first} {last}",) * 5 + (f"{first} {rng.choice(names()['last'])[0]}. {last}", last))


def firm(rng: random.Random) -> str:
    return "".join(rng.choice(SYLLABLES) for _ in range(rng.choice((2, 2, 3)))).capitalize()


def traits(item: Item) -> tuple[str, ...]:
    """What a taste can be about."""
    made = item.attributes.get("creator", ())
    year = item.attributes.get("year")
    return (
        *(f"category:{one}" for one in item.categories),
        *(f"creator:{one}" for one in (made if isinstance(made, tuple) else ())),
        *((f"decade:{int(year) // 10}",) if isinstance(year, int) else ()),
        *((f"language:{item.attributes['language']}",) if "language" in item.attributes else ()),
        *(f"word:{word}" for word in item.text.removeprefix("with a ").split(" with a ") if word),
        *(f"{key}:{scaled(item.attributes[key])}" for key in ("price", "minutes") if key in item.attributes),
    )


def scaled(value: Value) -> str:
    return f"{math.log(float(value)):.0f}" if isinstance(value, int | float) else ""


def taste(world: World, rng: random.Random) -> Taste:
    """Some things that a person likes, some that they do not."""
    found = Counter(one for item in world.items.values() for one in traits(item))
    pull: dict[str, float] = {}
    wanted = {
        "category": (1, 3),
        "creator": (0, 2),
        "decade": (0, 1),
        "word": (0, 2),
        "language": (0, 1),
        "price": (0, 1),
    }
    for kind, (least, most) in {**wanted, "minutes": (0, 1)}.items():
        known = sorted(one for one, count in found.items() if one.startswith(f"{kind}:") and count >= 3)
        for one in rng.sample(known, min(len(known), rng.randint(least, most))):
            pull[one] = rng.uniform(1.0, 2.2)
    known = sorted(one for one in found if one.startswith("category:") and one not in pull)
    for one in rng.sample(known, min(len(known), rng.choice((1, 2, 2, 3)))):
        pull[one] = -rng.uniform(1.0, 2.0)
    return Taste(pull, rng.uniform(-0.5, 0.7))


def person(world: World, seed: int) -> Person:
    """Somebody with a taste and a history in `world`."""
    rng = random.Random(f"person {world.domain.noun} {len(world.items)} {seed}")
    likes = taste(world, rng)
    count = min(len(world.items), int(math.exp(rng.uniform(*map(math.log, EVENTS)))))
    # Chosen mostly by taste, partly by chance.
    ranked = sorted(world.items.values(), key=lambda one: -likes.of(one) - rng.gauss(0, 1.6))
    met = ranked[: max(1, int(count * 0.8))]
    met += rng.sample(ranked[len(met) :], min(len(ranked) - len(met), count - len(met)))
    rng.shuffle(met)
    name = f"p{seed}"
    at = NOW - timedelta(days=3 * len(met) + rng.randint(0, 2000))
    events = []
    for number, one in enumerate(met):
        at += timedelta(hours=rng.randint(1, 120))
        events.append(event(number + 1, name, one, likes, world.domain, at, rng))
    return Person(name, tuple(events))


def event(number: int, who: str, item: Item, likes: Taste, domain: Domain, at: datetime, rng: random.Random) -> Event:
    """What one person does with one item."""
    felt = likes.of(item) + likes.leniency + rng.gauss(0, 0.5)
    kind = rng.choice(domain.acts)
    value = None
    if kind in ("rating", "review"):
        value = min(5.0, max(0.5, round((3.1 + felt * 0.8) * 2) / 2))
        value = float(round(value)) if domain.brands else value
    elif kind == "play":
        value = float(max(1, round(math.exp(min(4.0, felt)))))
    elif kind == "like" and felt < 0:
        kind = "dislike"
    elif kind == "purchase" and felt < -0.5:
        kind = "skip"
    return Event(number, who, item.id, kind, value, at=at)
