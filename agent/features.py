"""What can be counted about an item: its features, and how often each occurs in a whole population's events.

A feature is the string "<kind>:<value>". Knows items; knows no person.
"""

from __future__ import annotations

import math
import re
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from functools import lru_cache

from agent.sensitive import sensitive
from agent.types import Item

WORD = re.compile(r"[a-z][a-z'-]{2,}[a-z]")
NAME = re.compile(r"(?<=[\w,;:] )[A-Z][\w'-]+")
"""A capitalised word inside a sentence: a name, not a theme."""
SCALES = {"price": (0.25, 0.75), "minutes": (0.15, 0.85)}
"""Numbers of which only the extremes are features, and from which quantiles on."""
FEWEST_FOR_SCALE = 20
MOST_TEXT = 4_000
"""Characters of a description that are counted, so that no item costs more than another."""
DESCRIBING_TITLE = 6
"""A title of this many words describes the item (a shop's product), if categories do not; others only name it."""
STOPWORDS = frozenset(
    """about above after again against along also although always among another around back because been before
    behind being below between beyond both brand brings came case come comes could does doing done down each either
    else even ever every everyone everything first five four free from full gets give given gives goes going good great
    have having here hers herself high himself into inch inches item items itself just keep kind last later less like
    little long look made make makes making many meets more most much must need never next once only other others over
    pack part perfect piece pieces product quality real same second seen sets several shall should since size small some
    someone something still such take takes than that their them then there these they thing things this those three
    through time times tries trying turn turns under until upon used using various very wants well were what when where
    which while whole whose will with within without work works would year years young your yours ounce ounces count
    finds find becomes become must only must film movie films movies story tale life lives
    """.split()  # noqa: SIM905  (a readable block of words)
)

NO_PLURAL = frozenset(
    """alias always atlas bias canvas christmas headquarters jeans news pants perhaps pyjamas series shorts species
    texas trousers""".split()  # noqa: SIM905
)
"""End in s and have no form without it."""
IN_IE = frozenset(
    """birdie brownie calorie collie cookie genie hippie hoodie indie junkie movie newbie pixie prairie rookie selfie
    smoothie zombie""".split()  # noqa: SIM905
)


@dataclass(frozen=True, slots=True)
class Population:
    """What everybody does: the background that a person stands out from."""

    events: float = 0.0
    """Sum of all features' base: the number of events counted."""
    features: Mapping[str, float] = field(default_factory=dict)
    """feature -> number of events with an item that has it."""
    extremes: Mapping[str, tuple[float, float]] = field(default_factory=dict)
    """attribute of SCALES -> the catalogue's low and high quantile, where enough items have it."""
    languages: tuple[str, ...] = ()
    """The catalogue's main language, which says nothing about a person."""

    items: int = 0
    listed: Mapping[str, int] = field(default_factory=dict)
    """category or language -> number of items of the catalogue that have it."""

    def listed_share(self, feature: str) -> float:
        """Share of all items that have `feature`, a category or language, between 0 and 1 and never quite either."""
        return (self.listed.get(feature, 0) + 0.5) / (self.items + 1.0)

    def share(self, feature: str) -> float:
        """Share of all events whose item has `feature`, between 0 and 1 and never quite either."""
        return (self.features.get(feature, 0.0) + 0.5) / (self.events + 1.0)


MOST_DESCRIBED = 20_000
"""Items whose features are remembered."""


class Described:
    """The features of items, remembered: the same items come up for person after person."""

    def __init__(self, population: Population) -> None:
        self._population = population
        self._known: dict[str, tuple[Item, tuple[str, ...]]] = {}

    def __call__(self, item: Item) -> tuple[str, ...]:
        known = self._known.get(item.id)
        if known is None or known[0] is not item:
            if len(self._known) > MOST_DESCRIBED:
                self._known.clear()
            known = self._known[item.id] = item, features(item, self._population)
        return known[1]


def survey(items: Iterable[Item], events_of: Mapping[str, int]) -> Population:
    """Count every feature over all events. `events_of`: item id -> number of events with it.

    One pass over the catalogue; an item without events counts a tenth, so that a new shop has a background too.
    """
    catalogue = [item for item in items if item.title]
    bounds = {name: found for name, shares in SCALES.items() if (found := quantiles(catalogue, name, shares))}
    tongues = Counter(str(item.attributes["language"]) for item in catalogue if "language" in item.attributes)
    main = tuple(language for language, count in tongues.most_common(1) if count > 0.4 * len(catalogue))
    background = Population(extremes=bounds, languages=main)
    counts: defaultdict[str, float] = defaultdict(float)
    catalogued: Counter[str] = Counter()
    total = 0.0
    for item in catalogue:
        weight = events_of.get(item.id, 0) or 0.1
        total += weight
        for feature in features(item, background):
            counts[feature] += weight
        catalogued.update(listed(item, background))
    # A word that one item alone has cannot be shared by two, so it is never an interest: leave it out of the cache.
    kept = {feature: count for feature, count in counts.items() if count >= 2 or not feature.startswith("word:")}
    return Population(total, kept, bounds, main, len(catalogue), dict(catalogued))


def quantiles(catalogue: Iterable[Item], name: str, shares: tuple[float, float]) -> tuple[float, float] | None:
    """The two quantiles of a numeric attribute; None where fewer than FEWEST_FOR_SCALE items have it."""
    values = sorted(value for item in catalogue if (value := number(item, name)) is not None)
    if len(values) < FEWEST_FOR_SCALE:
        return None
    low, high = (values[int(len(values) * share)] for share in shares)
    return float(low), float(high)


def features(item: Item, population: Population) -> tuple[str, ...]:
    """Every feature of `item`, in a fixed order, without duplicates."""
    found = [*_categories(item.categories), *_makers(creators(item))]
    year = number(item, "year")
    if year is not None and 1000 <= year < 10_000:
        found.append(f"decade:{int(year) // 10 * 10}s")
    found += tongue(item, population)
    for name, (low, high) in population.extremes.items():
        value = number(item, name)
        if value is not None and low < high and (value <= low or value >= high):
            found.append(f"{name}:{'low' if value <= low else 'high'}")
    found += _themes(item.title, item.text[:MOST_TEXT], item.categories)
    return tuple(found)


def listed(item: Item, population: Population) -> tuple[str, ...]:
    """Of the features of `item` those that a catalogue is ordered by: its categories and its language."""
    return (*_categories(item.categories), *tongue(item, population))


def tongue(item: Item, population: Population) -> tuple[str, ...]:
    """The language, unless it is that of nearly everything."""
    language = item.attributes.get("language")
    if not isinstance(language, str) or language in population.languages:
        return ()
    return _sayable("language", (language,))


# What is the same for many items, or asked of the same item for one person after another, is worked out once.


@lru_cache(maxsize=4_096)
def _categories(categories: tuple[str, ...]) -> tuple[str, ...]:
    return _sayable("category", categories)


@lru_cache(maxsize=8_192)
def _makers(names: tuple[str, ...]) -> tuple[str, ...]:
    # A maker's name says nothing about the person, whatever words are in it.
    return tuple(f"creator:{name}" for name in dict.fromkeys(names) if name)


@lru_cache(maxsize=8_192)
def _themes(title: str, text: str, categories: tuple[str, ...]) -> tuple[str, ...]:
    return _sayable("word", _words(title, text, categories))


def _sayable(kind: str, values: Iterable[str]) -> tuple[str, ...]:
    """The features of one kind, without those that must not be inferred of anybody."""
    found = (f"{kind}:{value}" for value in dict.fromkeys(values) if value)
    return tuple(one for one in found if not sensitive(one))


def number(item: Item, name: str) -> float | None:
    """A numeric attribute; None where it is missing, no number, or not finite."""
    value = item.attributes.get(name)
    return value if isinstance(value, int | float) and math.isfinite(value) else None


def creators(item: Item) -> tuple[str, ...]:
    """Who made it, however the catalogue wrote that down."""
    made = item.attributes.get("creator", ())
    return made if isinstance(made, tuple) else (str(made),)


def words(item: Item) -> tuple[str, ...]:
    """The content words of an item's description (and of its title, where that describes), lower case."""
    return _words(item.title, item.text[:MOST_TEXT], item.categories)


def _words(title: str, text: str, categories: tuple[str, ...]) -> tuple[str, ...]:
    describes = len(title.split()) >= DESCRIBING_TITLE and len(categories) <= 1
    text = f"{title if describes else ''} {NAME.sub('', text)}".lower()
    said_elsewhere = {part for category in categories for part in WORD.findall(category.lower())}
    return tuple(
        dict.fromkeys(
            stem
            for word in WORD.findall(text)
            if word not in STOPWORDS and (stem := singular(word)) not in STOPWORDS and stem not in said_elsewhere
        )
    )


def singular(word: str) -> str:
    """A plain plural without its s, so that "robots" and "robot" count together; other words unchanged."""
    word = word.removesuffix("'s")
    if len(word) <= 4 or not word.endswith("s") or word in NO_PLURAL or word.endswith(("ss", "us", "is")):
        return word
    if word.endswith("ies"):
        return word[:-1] if word[:-1] in IN_IE else word[:-3] + "y"
    if word.endswith(("sses", "shes", "xes", "zzes", "tches")) and word[:-1] not in ("axe", "deluxe"):
        return word[:-2]
    return word[:-1]


def kind_of(feature: str) -> str:
    return feature.partition(":")[0]


def value_of(feature: str) -> str:
    return feature.partition(":")[2]
