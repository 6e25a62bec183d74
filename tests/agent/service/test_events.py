"""Events over the wire: lines cut from any stream, reports that add up, and one effect however often it is sent."""

from __future__ import annotations

import json
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent.history.values import Unusable
from agent.service import events
from agent.service.events import LONGEST, Lines, event_of
from agent.service.schemas import EventIn

LATEST = datetime(2030, 1, 1, tzinfo=UTC)


def cut(body: bytes, at: list[int]) -> list[bytes]:
    edges = [0, *sorted(min(one, len(body)) for one in at), len(body)]
    return [body[start:end] for start, end in pairwise(edges)]


@given(
    st.lists(st.sampled_from([b"", b" ", b"a", b"bb", b"\r", "é".encode(), b"x" * 40])).map(b"\n".join),
    st.lists(st.integers(0, 200), max_size=8),
)
def test_lines_are_the_same_however_the_stream_is_cut(body, at):
    lines = Lines()
    found = [one for chunk in cut(body, at) for one in lines.feed(chunk)] + lines.end()
    assert found == [(n, line.strip()) for n, line in enumerate(body.split(b"\n"), 1) if line.strip()]


def test_a_line_without_an_end_is_never_held():
    lines = Lines()
    for _ in range(40):
        assert list(lines.feed(b"x" * LONGEST)) == []
        assert len(lines._rest) <= LONGEST
    found = [*lines.feed(b"\nshort\n"), *lines.end()]
    assert found == [(1, "the line is longer than 256 KiB"), (2, b"short")]


@pytest.mark.parametrize(
    ("row", "value"),
    [
        ({"kind": "rating", "value": 4.5}, 4.5),
        ({"kind": "review", "text": "fine"}, None),
        ({"kind": "review", "value": 0.5}, 0.5),
        ({"kind": "play"}, 1.0),
        ({"kind": "play", "value": 7}, 7.0),
        ({"kind": "like"}, None),
    ],
)
def test_what_a_row_means(row, value):
    assert event_of(EventIn(user="a", item="b", **row), LATEST).value == value


@pytest.mark.parametrize(
    "row",
    [{"kind": "rating"}, {"kind": "rating", "value": 5.5}, {"kind": "rating", "value": 0}, {"kind": "review"},
     {"kind": "like", "value": 1}, {"kind": "like", "at": "2031-01-01"}, {"kind": "like", "at": "1969-01-01"}],
)  # fmt: skip
def test_what_no_row_can_mean(row):
    with pytest.raises(Unusable):
        event_of(EventIn(user="a", item="b", **row), LATEST)


def lines_of(n: int) -> bytes:
    rows = [{"user": f"u{i % 7}", "item": "ran-1985", "kind": "view", "at": 1_600_000_000 + i} for i in range(n)]
    return b"\n".join(json.dumps(row).encode() for row in rows)


def test_many_lines_in_many_batches_add_up(service, monkeypatch):
    monkeypatch.setattr(events, "BATCH", 100)
    body = lines_of(250) + b"\nbad\n\n{}\n" + lines_of(250) + b"\n" + b"x" * (LONGEST + 1)
    said = service.client.post("/api/events/bulk", content=body).json()
    assert (said["lines"], said["added"], said["changed"], said["unchanged"], said["refused"]) == (503, 250, 0, 250, 3)
    assert [one["line"] for one in said["refusals"]] == [251, 253, 504]
    assert sum(said["reasons"].values()) == 3
    assert service.get("/api/people/u3/profile").json()["events"] == 36, "it counts at once"


def test_a_report_stays_small_whatever_comes(service):
    said = service.client.post("/api/events/bulk", content=b"bad\n" * 5000).json()
    assert (said["refused"], len(said["refusals"])) == (5000, events.LISTED)
    body = b"\n".join(b'{"user":"a","item":"b","kind":"like","z%d":1}' % n for n in range(200))
    said = service.client.post("/api/events/bulk", content=body).json()
    assert len(said["reasons"]) <= events.REASONS + 1


def test_a_body_beyond_the_limit_keeps_what_came_before(serve):
    service = serve(bulk=20_000)
    said = service.client.post(
        "/api/events/bulk", content=iter([lines_of(2000)[i : i + 5000] for i in range(0, 90000, 5000)])
    )
    assert said.status_code == 413
    assert service.get("/health").status_code == 200


EVENT = {"user": "otis", "item": "ran-1985", "kind": "like"}


def test_the_same_event_with_its_time_is_one_event(service):
    dated = EVENT | {"at": "2024-05-01T12:00:00Z"}
    said = [service.post("/api/events", dated).json() for _ in range(3)]
    assert [one["stored"] for one in said] == ["added", "unchanged", "unchanged"]
    assert len({one["event"] for one in said}) == 1


def test_the_same_key_is_one_event_and_one_answer_also_at_once(service):
    with ThreadPoolExecutor(8) as threads:
        said = list(threads.map(lambda _: service.post("/api/events", EVENT, again="k1").text, range(40)))
    assert len(set(said)) == 1
    assert json.loads(said[0])["stored"] == "added"
    assert len(service.rapport.store.events("otis")) == 4


def test_without_a_key_now_and_now_are_two(service):
    service.post("/api/events", EVENT)
    service.post("/api/events", EVENT)
    assert len(service.rapport.store.events("otis")) == 5


def test_in_bulk_too(service):
    def send(body: bytes, again: str = "b1"):
        return service.client.post("/api/events/bulk", content=body, headers={"Idempotency-Key": again})

    with ThreadPoolExecutor(8) as threads:
        said = list(threads.map(lambda _: send(lines_of(300)).text, range(16)))
    assert len(set(said)) == 1
    assert json.loads(said[0])["added"] == 300
    assert send(lines_of(300), "b2").json()["unchanged"] == 300
    other = send(lines_of(10))
    assert (other.status_code, other.json()["type"]) == (409, "urn:rapport:other-request")


@pytest.mark.parametrize("again", ["", "x" * 201, "a b", "é"])
def test_what_is_no_idempotency_key(service, again):
    said = service.client.post("/api/events", json=EVENT, headers={"Idempotency-Key": again.encode()})
    assert said.status_code == 422
