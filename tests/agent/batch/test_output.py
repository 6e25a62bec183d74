"""What a batch reads and writes: ids, and profiles in three formats, whole or not at all."""

from __future__ import annotations

import csv
import json
import stat
from collections.abc import Iterator
from datetime import UTC, datetime

import duckdb
import pytest

from agent import shapes
from agent.batch import output
from agent.errors import UsageError
from agent.types import Profile, Provenance, Receipt, Tag

AS_OF = datetime(2024, 5, 1, 12, tzinfo=UTC)
ANN = Profile(
    "ann",
    (
        Tag("Crime", 1, 0.7, "observed", "category:Crime", (Receipt(1, "f1", AS_OF, 'So "good",\nreally'),)),
        Tag("Jazz", 1, 1.0, "stated", ""),
        Tag("Western", -1, 0.4, "observed", "category:Western"),
        Tag("War", 1, 0.2, "latent", "category:War"),
    ),
    'A fan of crime films; says "more, please".',
    "model",
    events=7,
    as_of=AS_OF,
    version=3,
    provenance=Provenance(model="tiny"),
)
LIN = Profile("林", persona="主要喜欢犯罪片。", language="zh", version=1)
FLAT = [
    ("ann", ANN.persona, "model", "en", "Crime; Jazz", "Western", 7, 3, "tiny"),
    ("林", LIN.persona, "template", "zh", "", "", 0, 1, ""),
]
PLAIN = ("user", "persona", "persona_by", "language", "likes", "dislikes", "events", "version", "model")


def test_json_lines_are_what_the_command_profile_says(tmp_path):
    path = tmp_path / "out.jsonl"
    assert output.write(path, [ANN, LIN]) == 2
    lines = path.read_text(encoding="utf-8").split("\n")
    assert [json.loads(line) for line in lines[:2]] == [shapes.profile(ANN), shapes.profile(LIN)]
    assert lines[2:] == [""]
    assert "林" in lines[1]


def test_csv_has_a_row_a_person(tmp_path):
    path = tmp_path / "out.csv"
    assert output.write(path, [ANN, LIN]) == 2
    with path.open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    assert [tuple(row[name] for name in PLAIN) for row in rows] == [tuple(map(str, row)) for row in FLAT]
    assert json.loads(rows[0]["tags"]) == shapes.profile(ANN)["tags"]
    assert (rows[0]["as_of"], rows[1]["as_of"]) == ("2024-05-01T12:00:00Z", "")


def test_parquet_has_a_row_a_person_and_types(tmp_path):
    (tmp_path / "a [b]* folder").mkdir()
    path = tmp_path / "a [b]* folder" / "it's.parquet"
    assert output.write(path, [ANN, LIN]) == 2
    with duckdb.connect() as connection:
        found = connection.read_parquet(str(path.replace(tmp_path / "plain.parquet")))
        assert dict(zip(found.columns, map(str, found.types), strict=True)) == {
            name: kind.replace("TIMESTAMPTZ", "TIMESTAMP WITH TIME ZONE") for name, kind in output.COLUMNS.items()
        }
        rows = found.project(", ".join(f'"{name}"' for name in PLAIN)).fetchall()
        (tags, since) = found.project("tags, epoch(as_of)").fetchall()[0]
    assert rows == FLAT
    assert json.loads(tags) == shapes.profile(ANN)["tags"]
    assert since == AS_OF.timestamp()


@pytest.mark.parametrize("name", [f"out{suffix}" for suffix in output.FORMATS])
def test_nobody_is_a_file_too(name, tmp_path):
    assert output.write(tmp_path / name, []) == 0
    assert (tmp_path / name).is_file()


def broken() -> Iterator[Profile]:
    yield ANN
    raise OSError(28, "No space left on device")


@pytest.mark.parametrize("name", [f"out{suffix}" for suffix in output.FORMATS])
def test_what_fails_on_the_way_leaves_the_old_file_and_nothing_else(name, tmp_path):
    path = tmp_path / name
    path.write_text("the old one")
    with pytest.raises(UsageError, match="No space left"):
        output.write(path, broken())
    assert path.read_text() == "the old one"
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize("name", [f"out{suffix}" for suffix in output.FORMATS])
def test_profiles_are_for_their_owner_only(name, tmp_path):
    output.write(tmp_path / name, [ANN])
    assert stat.S_IMODE((tmp_path / name).stat().st_mode) == 0o600


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("out.xlsx", "ends in .jsonl, .csv, .parquet; 'out.xlsx' does not"),
        ("out", "'out' does not"),
        ("nowhere/out.csv", "there is no folder"),
        ("folder.csv", "is a folder"),
    ],
)
def test_a_file_that_cannot_be_written_is_said_before_any_work(name, message, tmp_path):
    (tmp_path / "folder.csv").mkdir()
    with pytest.raises(UsageError, match=message):
        output.check(tmp_path / name)


def test_ids_are_read_as_an_import_spells_them(tmp_path):
    path = tmp_path / "people.txt"
    path.write_bytes("\ufeffann\r\n\n  ben \ncafe\u0301\n林\n".encode())
    assert output.ids(path) == ["ann", "ben", "café", "林"]


@pytest.mark.parametrize(
    ("content", "message"),
    [(None, "cannot be read"), (b"\n \n", "there is no id"), (b"\xff\xfe\x00", "no list of ids"), (b"x" * 600, "512")],
)
def test_a_list_of_ids_that_is_none_is_refused(content, message, tmp_path):
    path = tmp_path / "people.txt"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(UsageError, match=message):
        output.ids(path)
