"""Nouns to and from what a table column holds: times, lists, attributes, profiles; the only place that knows this."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from functools import cache, lru_cache
from typing import TYPE_CHECKING

from agent.types import Profile, TagEdit, Value

if TYPE_CHECKING:
    from pydantic import TypeAdapter

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def to_micros(at: datetime | None) -> int | None:
    """Microseconds since 1970 UTC, exactly. Raises TypeError for a time without a zone."""
    if at is None:
        return None
    since = at - EPOCH
    return (since.days * 86_400 + since.seconds) * 1_000_000 + since.microseconds


def from_micros(micros: int | None) -> datetime | None:
    return None if micros is None else EPOCH + timedelta(microseconds=micros)


def categories_json(categories: tuple[str, ...]) -> str:
    return json.dumps(categories, ensure_ascii=False) if categories else "[]"


@lru_cache(maxsize=4_096)
def read_categories(text: str) -> tuple[str, ...]:
    return tuple(json.loads(text))


def attributes_json(attributes: Mapping[str, Value]) -> str:
    """JSON with sorted keys: equal attributes are equal text, so a change can be seen without parsing."""
    return json.dumps(dict(attributes), ensure_ascii=False, sort_keys=True) if attributes else "{}"


def read_attributes(text: str) -> dict[str, Value]:
    # The same popular items are read for one person after another: parsed once, handed out as a copy of one's own.
    return dict(_attributes(text))


@lru_cache(maxsize=8_192)
def _attributes(text: str) -> Mapping[str, Value]:
    return {name: tuple(value) if isinstance(value, list) else value for name, value in json.loads(text).items()}


def edits_json(edits: Sequence[TagEdit]) -> str:
    """What somebody says about their tags, without who."""
    rows = [[edit.name, edit.feature, edit.action, edit.polarity, to_micros(edit.at)] for edit in edits]
    return json.dumps(rows, ensure_ascii=False)


def read_edits(text: str, user: str) -> list[TagEdit]:
    return [
        TagEdit(user, name, feature, action, polarity, from_micros(at))
        for name, feature, action, polarity, at in json.loads(text)
    ]


def profile_json(profile: Profile) -> str:
    return _profiles().dump_json(profile).decode()


def read_profile(text: str) -> Profile:
    """Raises pydantic.ValidationError, a ValueError, for anything that is not a profile."""
    return _profiles().validate_json(text)


@cache
def _profiles() -> TypeAdapter[Profile]:
    from pydantic import TypeAdapter

    return TypeAdapter(Profile)
