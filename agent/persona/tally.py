"""A history added up, feature by feature, so that new events are added to it rather than everything counted again.

Masses decay by half every HALF_LIFE_DAYS, which is the same whether events come in one part or in many. Linear in the
events that are added. Knows no model.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime

from pydantic import BaseModel, Field

from agent.features import Population, features
from agent.types import Event, EventKind, Item

HALF_LIFE_DAYS = 1000.0
"""An event this much older than the person's last one counts half."""
NEUTRAL = 0.05
"""Preferences between -NEUTRAL and NEUTRAL are neither liking nor disliking."""
KEPT = 8
"""Items remembered for each feature, as receipts."""
MEAN_STARS, MEAN_WEIGHT = 3.5, 5.0
"""What people give on average, and how many ratings of one's own weigh as much."""
EXPLICIT = ("rating", "review", "like", "dislike")
IMPLICIT = {"like": 1.0, "dislike": -1.0, "purchase": 0.6, "cart": 0.35, "view": 0.3, "click": 0.15, "skip": -0.5}


class Mark(BaseModel, frozen=True):
    """How a person took to one item, all their events with it together."""

    event: int
    """The event that says most: a review before a rating before the rest."""
    item: str
    preference: float
    """-1 (could not stand it) to 1 (loved it)."""
    at: datetime | None = None
    quote: str = ""
    stars: float | None = None
    kind: EventKind = "view"


@dataclass(slots=True)
class Side:
    """One feature in one history."""

    liked: float = 0.0
    """Decayed sum of preferences of liked items that have it, of those whose time is known."""
    disliked: float = 0.0
    undated_liked: float = 0.0
    """The same for items without a time, which never decay."""
    undated_disliked: float = 0.0
    likes: int = 0
    dislikes: int = 0
    met: int = 0
    """Items with it, liked, disliked and neither."""
    items: list[str] = field(default_factory=list)
    """Up to KEPT liked and KEPT disliked items that have it, strongest opinion first."""

    @property
    def mass_liked(self) -> float:
        return self.liked + self.undated_liked

    @property
    def mass_disliked(self) -> float:
        return self.disliked + self.undated_disliked


@dataclass(slots=True)
class Opinions:
    """What the marks say, by item, in the form in which it is compared most often."""

    strengths: dict[str, float] = field(default_factory=dict)
    """How strong an opinion is, a quoted one a little more."""
    leanings: dict[str, int] = field(default_factory=dict)
    """1 for a liking, -1 for a dislike, 0 for neither."""

    def note(self, mark: Mark) -> None:
        self.strengths[mark.item] = abs(mark.preference) + 0.2 * bool(mark.quote)
        self.leanings[mark.item] = (mark.preference > NEUTRAL) - (mark.preference < -NEUTRAL)


class Tally(BaseModel):
    """Everything that is counted about one person. `seq` is the last event of the store that is in it."""

    seq: int = 0
    events: int = 0
    at: datetime | None = None
    """Time of the last event, the reference of the decay."""
    stars: int = 0
    stars_sum: float = 0.0
    most_plays: float = 1.0
    whole: Side = Field(default_factory=Side)
    """All items together."""
    features: dict[str, Side] = {}
    marks: dict[str, Mark] = {}
    letters: int = 0
    """Letters that the person wrote, and how many of them are Chinese: the language they write in."""
    chinese: int = 0
    edits: str = ""
    """What the person had said about their tags when the profile was built, as a digest."""

    @property
    def mean_stars(self) -> float:
        """The person's mean, drawn towards everybody's while there are few: much the same early and late."""
        return (MEAN_STARS * MEAN_WEIGHT + self.stars_sum) / (MEAN_WEIGHT + self.stars)


def add(
    tally: Tally,
    events: Sequence[Event],
    items: Mapping[str, Item],
    population: Population,
    feelings: Mapping[int, float],
    quotes: Mapping[int, str],
    seq: int,
) -> Tally:
    """`tally` with `events` (oldest first) added; the argument is left as it is.

    `items`: the catalogue entries of the events, and of no others. `feelings`: event id -> sentiment of its text, -1 to
    1. `quotes`: event id -> the words worth quoting.
    """
    new = copied(tally)
    new.seq, new.events = seq, tally.events + len(events)
    new.most_plays = max([new.most_plays, *(event.value or 1.0 for event in events if event.kind == "play")])
    advance(new, max((event.at for event in events if event.at), default=None))
    opinions = Opinions()
    for mark in new.marks.values():
        opinions.note(mark)
    for event in events:
        earlier = new.marks.get(event.item)
        if earlier and earlier.event == event.id:
            # The same event came again with another value or text: it counts once.
            new.events -= 1
            new.stars -= earlier.stars is not None
            new.stars_sum -= earlier.stars or 0.0
        if event.kind in ("rating", "review") and event.value is not None:
            # A rating is held against the mean up to it, so that it means the same in whatever part it comes.
            new.stars += 1
            new.stars_sum += event.value
        item = items.get(event.item)
        if item is None or not item.title or event.kind == "search":
            continue
        opinion = preference(event, new.mean_stars, new.most_plays, feelings.get(event.id))
        mark = Mark(
            event=event.id,
            item=item.id,
            preference=round(opinion, 4),
            at=event.at,
            quote=quotes.get(event.id, ""),
            stars=event.value if event.kind in ("rating", "review") else None,
            kind=event.kind,
        )
        own = features(item, population)
        if earlier:
            if earlier.event != event.id:
                mark = stronger(*in_time(earlier, mark))
            contribute(new, earlier, own, -1, opinions)
            del new.marks[item.id]
        opinions.note(mark)
        contribute(new, mark, own, 1, opinions)
        new.marks[item.id] = mark
    return new


def copied(tally: Tally) -> Tally:
    """One's own to change; the marks themselves are frozen and shared."""
    features = {feature: replace(side, items=list(side.items)) for feature, side in tally.features.items()}
    whole = replace(tally.whole, items=list(tally.whole.items))
    return tally.model_copy(update={"whole": whole, "features": features, "marks": dict(tally.marks)})


def advance(tally: Tally, to: datetime | None) -> None:
    """Move the reference time forward, and decay what was there before."""
    if to is None or (tally.at is not None and to <= tally.at):
        return
    if tally.at is not None:
        factor = 0.5 ** ((to - tally.at).total_seconds() / 86_400 / HALF_LIFE_DAYS)
        for side in (tally.whole, *tally.features.values()):
            side.liked *= factor
            side.disliked *= factor
    tally.at = to


def contribute(tally: Tally, mark: Mark, own: Sequence[str], sign: int, opinions: Opinions) -> None:
    """Add (+1) or take back (-1) one item's part in every feature."""
    age = 0.0 if tally.at is None or mark.at is None else (tally.at - mark.at).total_seconds() / 86_400
    mass = sign * abs(mark.preference) * 0.5 ** (age / HALF_LIFE_DAYS)
    undated = mark.at is None
    likes, dislikes = mark.preference > NEUTRAL, mark.preference < -NEUTRAL
    own_sides = [tally.features.get(feature) or tally.features.setdefault(feature, Side()) for feature in own]
    for side in (tally.whole, *own_sides):
        side.met += sign
        # Never below nothing: what is taken back was rounded on the way.
        if likes:
            side.likes += sign
            if undated:
                side.undated_liked = max(0.0, side.undated_liked + mass) if side.likes else 0.0
            else:
                side.liked = max(0.0, side.liked + mass) if side.likes else 0.0
        elif dislikes:
            side.dislikes += sign
            if undated:
                side.undated_disliked = max(0.0, side.undated_disliked + mass) if side.dislikes else 0.0
            else:
                side.disliked = max(0.0, side.disliked + mass) if side.dislikes else 0.0
    for side in own_sides:
        keep(side, mark.item, opinions, sign)


def keep(side: Side, item: str, opinions: Opinions, sign: int) -> None:
    others = [other for other in side.items if other != item] if item in side.items else side.items
    leaning = opinions.leanings[item]
    if sign < 0 or not leaning:
        side.items = others
        return
    # Newest first among equals: the receipt that a person will remember.
    ranked = sorted([item, *others], key=opinions.strengths.__getitem__, reverse=True)
    if len(ranked) > KEPT:
        # Each side keeps its own, or many strong dislikes would leave the likes without a receipt.
        alike = [one for one in ranked if opinions.leanings[one] == leaning]
        if len(alike) > KEPT:
            ranked.remove(alike[-1])
    side.items = ranked


def in_time(known: Mark, new: Mark) -> tuple[Mark, Mark]:
    """Both, the earlier one first; as they came where a time is missing."""
    swapped = known.at is not None and new.at is not None and new.at < known.at
    return (new, known) if swapped else (known, new)


def stronger(earlier: Mark, later: Mark) -> Mark:
    """What two events with one item say together: a spoken opinion before mere use, then the later one."""
    spoken_before, spoken_after = earlier.kind in EXPLICIT, later.kind in EXPLICIT
    agree = earlier.preference * later.preference > 0
    if spoken_before and not spoken_after:
        return earlier
    if spoken_before and earlier.stars is not None and later.stars is None and not later.quote and agree:
        return earlier
    if not spoken_before and not spoken_after and abs(earlier.preference) > abs(later.preference):
        return earlier
    if earlier.quote and not later.quote and agree:
        told = {"event": earlier.event, "quote": earlier.quote, "kind": earlier.kind, "at": earlier.at}
        return later.model_copy(update=told)
    return later


def preference(event: Event, mean: float, most_plays: float, feeling: float | None) -> float:
    """How much one event says the person liked the item, -1 to 1.

    Stars count mostly by themselves (3 is neutral) and partly against the person's own mean, because some people give
    five to everything and some to nothing.
    """
    if event.kind in ("rating", "review") and event.value is not None:
        absolute = (event.value - 3.0) / 2.0
        relative = max(-1.0, min(1.0, (event.value - mean) / 1.5))
        return max(-1.0, min(1.0, 0.6 * absolute + 0.4 * relative))
    if event.kind == "review":
        return feeling if feeling is not None else 0.1
    if event.kind == "play":
        return 0.15 + 0.75 * math.log1p(event.value or 1.0) / math.log1p(max(most_plays, 1.0))
    return IMPLICIT.get(event.kind, 0.0)
