"""A profile as a page shows it: every tag with its strength and evidence, and what the person said themselves.

Knows profiles and words; knows no request.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from agent.correcting import Change, Preview
from agent.history.store import Store
from agent.labels import label
from agent.recommend.catalogue import plain
from agent.service.pages.cards import TITLE, Ground, ground
from agent.service.pages.render import Words
from agent.types import Profile, Tag

PERSONA = 1200


@dataclass(frozen=True, slots=True)
class TagView:
    key: str
    """The name that edits are made by."""
    name: str
    """The name in the language of the page."""
    polarity: int
    percent: int
    kind: str
    grounds: tuple[Ground, ...]
    last: datetime | None


@dataclass(frozen=True, slots=True)
class EditView:
    name: str
    what: str
    """A key of the words: c_add, c_avoid, c_remove or c_mute."""
    at: datetime | None


@dataclass(frozen=True, slots=True)
class Belief:
    """All that the page about a person's taste shows."""

    persona: str
    persona_by: str
    language: str
    events: int
    as_of: datetime | None
    good: int
    neutral: int
    bad: int
    likes: tuple[TagView, ...]
    dislikes: tuple[TagView, ...]
    maybe: tuple[TagView, ...]
    edits: tuple[EditView, ...]
    undoable: bool

    @property
    def empty(self) -> bool:
        return not (self.likes or self.dislikes or self.maybe)


def belief(store: Store, profile: Profile, words: Words) -> Belief:
    receipts = [one for tag in profile.tags for one in tag.receipts]
    titles = {id: plain(item.title, TITLE) for id, item in store.items({one.item for one in receipts}).items()}
    events = {one.id: one for one in store.events_by_id(profile.user, {one.event for one in receipts})}

    def shown(tag: Tag) -> TagView:
        grounds = dict.fromkeys(ground(one, titles, events, words) for one in tag.receipts)
        return TagView(
            key=tag.name,
            name=tag_name(tag, profile, words),
            polarity=tag.polarity,
            percent=round(tag.weight * 100),
            kind=tag.kind,
            grounds=tuple(grounds),
            last=tag.last_seen,
        )

    return Belief(
        persona=plain(profile.persona, PERSONA),
        persona_by=profile.persona_by,
        language=profile.language,
        events=profile.events,
        as_of=profile.as_of,
        good=profile.sentiment.positive,
        neutral=profile.sentiment.neutral,
        bad=profile.sentiment.negative,
        likes=tuple(shown(one) for one in profile.tags if one.polarity > 0 and one.kind != "latent"),
        dislikes=tuple(shown(one) for one in profile.tags if one.polarity < 0),
        maybe=tuple(shown(one) for one in profile.tags if one.polarity > 0 and one.kind == "latent"),
        edits=tuple(
            EditView(
                plain(one.name, TITLE),
                "c_avoid" if one.action == "add" and one.polarity < 0 else f"c_{one.action}",
                one.at,
            )
            for one in reversed(store.edits(profile.user))
        ),
        undoable=store.undoable(profile.user),
    )


def tag_name(tag: Tag, profile: Profile, words: Words) -> str:
    """In the language of the page, where the tag is called as what was counted."""
    if tag.feature and tag.name.casefold() == label(tag.feature, profile.language).casefold():
        return plain(label(tag.feature, words.language), TITLE)
    return plain(tag.name, TITLE)


@dataclass(frozen=True, slots=True)
class PlaceView:
    rank: int
    title: str
    moved: int | None
    """Places up; None when it was not in the list."""


@dataclass(frozen=True, slots=True)
class PreviewView:
    """What a change would do, before it is saved."""

    change: Change
    what: str
    """The change in words."""
    places: tuple[PlaceView, ...]
    gone: tuple[str, ...]
    changed: int
    """Places of the list that would hold another item."""
    tags_gone: tuple[str, ...]
    tags_new: tuple[str, ...]


def preview(found: Preview, now: Profile, change: Change, words: Words) -> PreviewView:
    places = tuple(
        PlaceView(one.rank, plain(one.candidate.item.title, TITLE), None if one.was is None else one.was - one.rank)
        for one in found.items
    )
    before, after = ({tag_name(tag, one, words) for tag in one.tags} for one in (now, found.profile))
    return PreviewView(
        change=change,
        what=spoken(change, words),
        places=places,
        gone=tuple(plain(one.item.title, TITLE) for one in found.gone),
        changed=sum(one.moved != 0 for one in places),
        tags_gone=tuple(sorted(before - after)),
        tags_new=tuple(sorted(after - before)),
    )


def spoken(change: Change, words: Words) -> str:
    """A change as a sentence: "Delete “Animation”"."""
    action = "avoid" if change.action == "add" and change.polarity < 0 else change.action
    said = words(f"p_{action}", plain(change.name, TITLE))
    return f"{said} {words('p_to', plain(change.to, TITLE))}" if change.action == "rename" else said
