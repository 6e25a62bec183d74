"""The bundled sample: real films, and invented people with histories; it knows the nouns and the event hash, no model.

The sample is original: the film descriptions, the people and everything they write were made up for this project and
have the project's licence. Titles, years, directors, genres, languages and running times are facts.
"""

from __future__ import annotations

import csv
import json
from collections.abc import Mapping
from datetime import datetime
from importlib.resources import files
from types import MappingProxyType
from typing import Any

from agent.types import Event, Item, Value

SOURCE = "sample"

PEOPLE: Mapping[str, str] = MappingProxyType(
    {
        "mara": "Two tastes in one account: her film noir late on Fridays, her small daughter's animation on Saturday"
        " mornings. No singing, no loud action, nothing that frightens the child.",
        "theo": "Changed: fast old comedies until 2024, since then slow, quiet science fiction that he used to mock.",
        "lin": "Writes in Chinese. Restrained family and city dramas from Taiwan, the mainland, Hong Kong, Japan, Iran;"
        " no martial arts, effects or broad jokes.",
        "otis": "Exactly three events: a warm sports review, a rated sports film, a disliked horror film.",
        "greta": "Dislikes much: gore and anything long. Likes short, witty comedies and bloodless mysteries.",
        "nadia": "Implicit only: views, clicks, plays and skips. Food, gentle documentaries, quiet romance; skips"
        " horror, war and action.",
        "piet": "Loves one director, Akira Kurosawa, and what is like him; no jokes about swords, no frantic cutting.",
        "jules": "Horror of dread, monsters and humour; neither torture nor romance nor musicals.",
        "ines": "Musicals, dance and romance; no war, no dusty westerns, nothing bleak.",
        "bram": "Documentaries, true stories and films on how a job, a heist or an escape is done; no songs or magic.",
        "kavi": "Big-hearted Indian cinema, sport, friendship and crowd-pleasing action; bored by slow art films.",
        "yuna": "Dark, twisty crime from Korea and elsewhere; allergic to sentiment and cosiness.",
    }
)
"""Who each person is meant to be, for documentation and tests; nothing on the way to a model reads it."""


def films() -> list[Item]:
    """The catalogue, oldest first. Attributes: year, creator (directors), language (the original one, as a code) and,
    where it is certain, minutes."""
    text = files(__name__).joinpath("films.csv").read_text(encoding="utf-8")
    return [_item(row) for row in csv.DictReader(text.splitlines())]


def events() -> list[Event]:
    """What the people of `PEOPLE` did, person after person, oldest first within each."""
    text = files(__name__).joinpath("events.jsonl").read_text(encoding="utf-8")
    return [_event(json.loads(line)) for line in text.splitlines()]


def _item(row: Mapping[str, str]) -> Item:
    attributes: dict[str, Value] = {
        "year": int(row["year"]),
        "creator": tuple(row["director"].split(";")),
        "language": row["language"],
    }
    if row["minutes"]:
        attributes["minutes"] = int(row["minutes"])
    return Item(row["id"], row["title"], row["description"], tuple(row["genres"].split("|")), attributes)


def _event(row: Mapping[str, Any]) -> Event:
    from agent.history.store import event_id  # brings SQLAlchemy, which reading the films does not need

    user, item, kind, at = row["user"], row["item"], row["kind"], datetime.fromisoformat(row["at"])
    return Event(
        event_id(user, item, kind, at), user, item, kind, row.get("value"), row.get("text", ""), at, source=SOURCE
    )
