from __future__ import annotations

from datetime import UTC, datetime

import pytest

from agent.errors import SetupError
from agent.recommend.gate import UNMEASURED_CAPABLE, Bucket, Gate, Measurement, load, save


def bucket(at_least: int, at_most: int | None, weight: float, low: float, reachable: int = 30) -> Bucket:
    return Bucket(
        at_least=at_least, at_most=at_most, weight=weight, delta=0.02, low=low, high=0.05, users=60, reachable=reachable
    )


def measured(model: str, *buckets: Bucket) -> Measurement:
    when = datetime(2026, 1, 1, tzinfo=UTC)
    return Measurement(model=model, prompt="rerank.en@1-0", data="films", measured_at=when, buckets=buckets)


GATE = Gate(
    measurements=(
        measured("small", bucket(0, 5, 0.3, 0.01), bucket(6, 20, 0.5, 0.0), bucket(21, None, 0.7, 0.02, reachable=3)),
    )
)


@pytest.mark.parametrize(
    ("model", "events", "capable", "weight"),
    [
        ("small", 0, False, 0.3),
        ("small", 5, False, 0.3),
        ("small", 6, False, 0.0),  # the interval touches zero
        ("small", 500, False, 0.0),  # three users are no evidence
        ("small", 6, True, 0.0),  # measured beats believed
        ("unknown", 5, False, 0.0),
        ("unknown", 5, True, UNMEASURED_CAPABLE),
    ],
)
def test_the_vote_counts_where_it_is_shown_to_help(model, events, capable, weight):
    assert GATE.weight(model, events, capable=capable) == weight


def test_the_note_says_why():
    assert GATE.note("small", 3) == "rerank weight 0.3: shown to help at 3 events, measured 2026-01-01"
    assert GATE.note("small", 10) == "rerank weight 0: not shown to help at 10 events, measured 2026-01-01"
    assert GATE.note("unknown", 10, capable=True) == "rerank weight 0.3: unknown is unmeasured here"


def test_a_length_that_was_not_measured_has_no_weight():
    assert Gate(measurements=(measured("small", bucket(0, 5, 0.3, 0.01)),)).weight("small", 50, capable=True) == 0.0


def test_a_new_measurement_replaces_the_old_one_of_the_same_model():
    gate = GATE.with_measurement(measured("other")).with_measurement(measured("small", bucket(0, None, 0.1, 0.001)))
    assert [one.model for one in gate.measurements] == ["other", "small"]
    assert gate.weight("small", 100) == 0.1


def test_it_survives_the_file(tmp_path):
    save(GATE, tmp_path / "home" / "gate.json")
    assert load(tmp_path / "home" / "gate.json") == GATE
    assert [path.name for path in (tmp_path / "home").iterdir()] == ["gate.json"]


def test_no_file_is_an_empty_gate(tmp_path):
    assert load(tmp_path / "gate.json") == Gate()


@pytest.mark.parametrize("text", ["", "{", "[]", '{"measurements": [{"model": 3}]}', '{"extra": 1}', "\xff"])
def test_a_damaged_file_says_so(tmp_path, text):
    (tmp_path / "gate.json").write_bytes(text.encode("latin-1"))
    with pytest.raises(SetupError, match="not a gate file"):
        load(tmp_path / "gate.json")
