"""What people say about their own profile: looked at before it is saved, saved, and undone. Knows no surface."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Literal

from agent.errors import UnknownUser, UsageError
from agent.grounding.check import MARKUP
from agent.labels import label
from agent.persona.naming import about, last_words
from agent.types import Candidate, Polarity, Profile, Query, Tag, TagEdit
from agent.wiring import MAX_TAG, Rapport

Action = Literal["add", "mute", "remove", "rename"]


@dataclass(frozen=True, slots=True)
class Change:
    """One thing that a person says about a tag."""

    action: Action
    name: str
    polarity: Polarity = 1
    """Of add: an interest (1) or an aversion (-1)."""
    to: str = ""
    """Of rename: the new name."""


@dataclass(frozen=True, slots=True)
class Moved:
    """A place in the list after a change, and where that item was before."""

    candidate: Candidate
    rank: int
    was: int | None
    """Its rank before; None when it was not among them."""


@dataclass(frozen=True, slots=True)
class Preview:
    """What a change would do, if it were saved."""

    profile: Profile
    """With the change; kept nowhere."""
    items: tuple[Moved, ...]
    gone: tuple[Candidate, ...]
    """What would no longer be among them."""


def save(rapport: Rapport, user: str, change: Change) -> Profile:
    """The profile with the change, which no model ever overrides. Also the first thing that is known of somebody.
    Raises UsageError."""
    rapport.store.replace_edits(user, with_change(rapport, user, change))
    return rapport.profile(user)


def undo(rapport: Rapport, user: str) -> Profile:
    """The profile as it was before what was said last; again for what was said before that. Raises UsageError."""
    rapport.known(user)
    if not rapport.store.undo_edits(user):
        raise UsageError(f"{user!r} has said nothing about their tags that could be undone")
    return rapport.profile(user)


def preview(rapport: Rapport, user: str, change: Change, n: int = 10, *, asked: Query | None = None) -> Preview:
    """What saving the change would do to the first `n` recommendations, or to those that `asked` asks for. Keeps
    nothing but the row of a model's call, where a model has a vote on the order. Raises UsageError."""
    edits = with_change(rapport, user, change)
    recommender, query = rapport.recommender, asked or Query(user, n)
    now = believed(rapport, user)
    then = rapport.profiler.as_if(now, edits)
    before, after = recommender.order(query, now), recommender.order(query, then)
    ranks = {one.item.id: rank for rank, one in enumerate(before, 1)}
    kept = {one.item.id for one in after}
    return Preview(
        then,
        tuple(Moved(one, rank, ranks.get(one.item.id)) for rank, one in enumerate(after, 1)),
        tuple(one for one in before if one.item.id not in kept),
    )


def with_change(rapport: Rapport, user: str, change: Change) -> list[TagEdit]:
    """All that this person says about their tags, if they also said this. Raises UsageError."""
    profile = believed(rapport, user)
    edits = rapport.store.edits(user)
    name, now = checked_name(change.name), datetime.now(UTC)
    if change.action == "add":
        return last_words(
            [*edits, TagEdit(user, name, feature_of(rapport, profile, name), "add", change.polarity, now)]
        )
    tag = tag_called(profile, name)
    gone = TagEdit(user, tag.name, tag.feature, "mute" if change.action == "mute" else "remove", tag.polarity, now)
    if change.action != "rename":
        return last_words([*edits, gone])
    to = checked_name(change.to)
    renamed = TagEdit(user, to, tag.feature, "add", tag.polarity, now)
    if tag.feature:
        # The counted tag gives way to a stated one of the same feature, and lends it its receipts.
        return last_words([*edits, renamed])
    return last_words([*(one for one in edits if not about(one, tag)), renamed])


def believed(rapport: Rapport, user: str) -> Profile:
    """The profile; a blank one, which is not kept, of somebody who is new."""
    try:
        return rapport.profile(user)
    except UnknownUser:
        return rapport.profiler.blank(user)


def checked_name(name: str) -> str:
    """A tag's name in its one spelling. Raises UsageError."""
    clean = " ".join(name.split())
    if not 1 <= len(clean) <= MAX_TAG or not clean.isprintable() or MARKUP.search(clean):
        raise UsageError(f"a tag has 1 to {MAX_TAG} plain characters: {name[:80]!r}")
    return clean


def tag_called(profile: Profile, name: str) -> Tag:
    """The tag of that name, in either language. Raises UsageError naming those that there are."""
    wanted = name.casefold()
    for tag in profile.tags:
        if wanted in names_of(tag):
            return tag
    names = ", ".join(tag.name for tag in profile.tags) or "none yet"
    raise UsageError(f"{profile.user!r} has no tag {name!r}; there are: {names}")


def names_of(tag: Tag) -> set[str]:
    labels = {label(tag.feature, language).casefold() for language in ("en", "zh")} if tag.feature else set()
    return {tag.name.casefold(), *labels}


def feature_of(rapport: Rapport, profile: Profile, name: str) -> str:
    """What is counted under that name, in this profile or in the catalogue; "" where nothing is."""
    known = next((tag.feature for tag in profile.tags if name.casefold() in names_of(tag)), "")
    return known or rapport.feature_named(name)
