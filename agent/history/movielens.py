"""MovieLens folders: CSV (latest, 20M, 25M, 32M) and `::` files (1M, 10M); links and tags where there are any.

Source: Harper & Konstan 2015 and the README files of the sets. Tags that at least two people gave become the
attribute `tags`; a single person's tag is not kept.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from agent.history import values
from agent.history.files import first_lines
from agent.history.records import Format, Record, Source, event, item
from agent.history.tables import Layout, open_table
from agent.history.text import clean_line, split_year, turn_article
from agent.history.values import Unusable

_NO_GENRE = "(no genres listed)"
_SHARED_TAGS = """
    SELECT movieId, tag FROM (
        SELECT movieId, lower(trim(tag)) AS tag, count(DISTINCT userId) AS people
        FROM rows GROUP BY ALL HAVING people > 1
    ) QUALIFY row_number() OVER (PARTITION BY movieId ORDER BY people DESC, tag) <= 8
    ORDER BY movieId, people DESC, tag
"""


def _matches(path: Path) -> bool:
    movies, ratings = path / "movies.csv", path / "ratings.csv"
    if movies.is_file() and ratings.is_file():
        return all("movieId" in "".join(first_lines(file, 1)) for file in (movies, ratings))
    movies, ratings = path / "movies.dat", path / "ratings.dat"
    return movies.is_file() and ratings.is_file() and "::" in "".join(first_lines(ratings, 1))


def _read(source: Source) -> Iterator[Record]:
    tags = _shared_tags(source.path)
    links = _links(source.path / "links.csv")
    yield from _movies(source, tags, links)
    yield from _ratings(source)


def _layout(folder: Path, name: str, *columns: str) -> tuple[Path, Layout]:
    if (folder / f"{name}.csv").is_file():
        return folder / f"{name}.csv", Layout(",")
    return folder / f"{name}.dat", Layout("::", quote="", columns=columns)


def _movies(source: Source, tags: dict[str, list[str]], links: dict[str, dict[str, str]]) -> Iterator[Record]:
    with open_table(*_layout(source.path, "movies", "movieId", "title", "genres")) as table:
        for number, (id, name, genres) in table.rows("movieId", "title", "genres"):
            title, year = split_year(clean_line(name))
            attributes = {"year": year, "tags": tags.get(id), **links.get(id, {})}
            categories = () if genres == _NO_GENRE else values.parts(genres, "|")
            try:
                yield item(id, turn_article(title), categories=categories, attributes=attributes)
            except Unusable as error:
                yield table.refuse(number, str(error))
        yield from table.refused


def _ratings(source: Source) -> Iterator[Record]:
    columns = ("userId", "movieId", "rating", "timestamp")
    with open_table(*_layout(source.path, "ratings", *columns)) as table:
        for number, (user, movie, rating, at) in table.rows(*columns):
            try:
                value, when = values.stars(rating, 5), values.time(at, source.latest)
                yield event(user, movie, "rating", value=value, at=when, source="movielens")
            except Unusable as error:
                yield table.refuse(number, str(error))
        yield from table.refused


def _shared_tags(folder: Path) -> dict[str, list[str]]:
    path, layout = _layout(folder, "tags", "userId", "movieId", "tag", "timestamp")
    found: dict[str, list[str]] = {}
    if path.is_file():
        with open_table(path, layout) as table:
            for movie, tag in table.query(_SHARED_TAGS):
                found.setdefault(movie, []).append(tag)
    return found


def _links(path: Path) -> dict[str, dict[str, str]]:
    if not path.is_file():
        return {}
    with open_table(path, Layout(",")) as table:
        return {
            movie: {"imdb": f"tt{imdb}" if imdb else "", "tmdb": tmdb or ""}
            for _, (movie, imdb, tmdb) in table.rows("movieId", "imdbId", "tmdbId")
        }


FORMAT = Format(
    "movielens",
    "a folder with movies.csv and ratings.csv (or movies.dat and ratings.dat with ::)",
    _matches,
    _read,
)
