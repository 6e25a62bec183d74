"""The HetRec 2011 Last.fm folder: plays per person and artist, artists, and tags as far as people agree on them.

A person's own tag is not kept: an artist's categories are the tags that at least two people gave it, most used first.
Source: Cantador, Brusilovsky & Kuflik, HetRec 2011.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from agent.history import values
from agent.history.records import Format, Record, Source, event, item
from agent.history.tables import Layout, open_table
from agent.history.values import Unusable

_TABS = Layout("\t", quote="")
_SHARED_TAGS = """
    SELECT artistID, tagID FROM (
        SELECT artistID, tagID, count(DISTINCT userID) AS people FROM rows GROUP BY ALL HAVING people > 1
    ) QUALIFY row_number() OVER (PARTITION BY artistID ORDER BY people DESC, tagID) <= 8
    ORDER BY artistID, people DESC, tagID
"""


def _matches(path: Path) -> bool:
    return all((path / name).is_file() for name in ("artists.dat", "user_artists.dat"))


def _read(source: Source) -> Iterator[Record]:
    yield from _artists(source, _shared_tags(source.path))
    with open_table(source.path / "user_artists.dat", _TABS) as table:
        for number, (user, artist, weight) in table.rows("userID", "artistID", "weight"):
            try:
                yield event(user, artist, "play", value=values.plays(weight), source="lastfm")
            except Unusable as error:
                yield table.refuse(number, str(error))
        yield from table.refused


def _artists(source: Source, tags: dict[str, list[str]]) -> Iterator[Record]:
    with open_table(source.path / "artists.dat", _TABS) as table:
        pictures = "pictureURL" if "pictureURL" in table.columns else "url"
        for number, (id, name, url, picture) in table.rows("id", "name", "url", pictures):
            attributes = {"url": url, "image": picture if pictures != "url" else None}
            try:
                yield item(id, name, categories=tags.get(id, ()), attributes=attributes)
            except Unusable as error:
                yield table.refuse(number, str(error))
        yield from table.refused


def _shared_tags(folder: Path) -> dict[str, list[str]]:
    """The names of the tags that several people gave, by artist; {} where the folder has no tags."""
    assignments, spelled = folder / "user_taggedartists.dat", folder / "tags.dat"
    if not (assignments.is_file() and spelled.is_file()):
        return {}
    with open_table(spelled, _TABS) as table:
        names = {id: name for _, (id, name) in table.rows("tagID", "tagValue")}
    found: dict[str, list[str]] = {}
    with open_table(assignments, _TABS) as table:
        for artist, tag in table.query(_SHARED_TAGS):
            found.setdefault(artist, []).append(names.get(tag, ""))
    return found


FORMAT = Format("lastfm", "a folder with artists.dat and user_artists.dat (HetRec 2011)", _matches, _read)
