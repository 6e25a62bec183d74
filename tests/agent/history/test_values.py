from __future__ import annotations

import contextlib
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent.history import values
from agent.history.values import Unusable

LATEST = datetime(2026, 1, 1, tzinfo=UTC)
ANYTHING = st.one_of(
    st.none(), st.booleans(), st.integers(), st.floats(), st.text(), st.binary(), st.lists(st.integers()), st.just({})
)


@pytest.mark.parametrize(
    ("raw", "scale", "stars"),
    [("4.5", 5, 4.5), (5, 5, 5.0), ("7", 10, 3.5), (1, 10, 0.5), (80, 100, 4.0), (0, 100, 0.5), (" 3 ", 5, 3.0)],
)
def test_stars_are_on_one_scale(raw, scale, stars):
    assert values.stars(raw, scale) == stars


@pytest.mark.parametrize("raw", ["", None, "x", "nan", float("inf"), -1, "6", [5], 10**400])
def test_what_is_no_rating_is_refused(raw):
    with pytest.raises(Unusable, match="rating"):
        values.stars(raw, 5)


@pytest.mark.parametrize("raw", [0, -3, "", "many", "inf"])
def test_what_is_no_play_count_is_refused(raw):
    with pytest.raises(Unusable, match="play count"):
        values.plays(raw)


AT = datetime(2015, 3, 4, 5, 6, 7, tzinfo=UTC)


@pytest.mark.parametrize(
    "raw",
    [
        1425445567,
        "1425445567",
        "1425445567.0",
        1425445567000,
        "1425445567000",
        1425445567000000,
        1425445567000000000,
        "2015-03-04 05:06:07",
        "2015-03-04T05:06:07Z",
        "2015-03-04T13:06:07+08:00",
        "2015/03/04 05:06:07",
        AT,
        AT.replace(tzinfo=None),
    ],
)
def test_a_time_is_read_in_whatever_unit_it_comes(raw):
    assert values.time(raw, LATEST) == AT


@pytest.mark.parametrize(("raw", "day"), [("03 04, 2015", 4), ("2015-03-04", 4), ("3/4/2015", 4), ("04.03.2015", 4)])
def test_a_date_is_its_midnight(raw, day):
    assert values.time(raw, LATEST) == datetime(2015, 3, day, tzinfo=UTC)


def test_no_time_is_none_and_fractions_are_kept():
    assert values.time("", LATEST) is None
    assert values.time(None, LATEST) is None
    assert values.time(1425445567878, LATEST) == AT + timedelta(milliseconds=878)
    assert values.time("1425445567.5", LATEST) == AT + timedelta(milliseconds=500)
    assert values.time("0", LATEST) == datetime(1970, 1, 1, tzinfo=UTC)


@pytest.mark.parametrize(
    ("raw", "reason"),
    [
        (-1, "before 1970"),
        ("1969-12-31", "before 1970"),
        ("9999999999", "future"),
        ("2026-01-02", "future"),
        (10**30, "impossible|future"),
        ("nan", "impossible"),
        ("inf", "impossible"),
        ("9" * 5_000, "impossible"),
        ("http://example.org", "cannot be read"),
        ("2015-13-45", "cannot be read"),
        ("0001-01-01T00:00:00+23:00", "impossible|before"),
        ([1], "cannot be read"),
    ],
)
def test_impossible_times_are_refused_with_the_reason(raw, reason):
    with pytest.raises(Unusable, match=reason):
        values.time(raw, LATEST)


@given(ANYTHING)
def test_no_value_raises_anything_but_its_reason(raw):
    for read in (
        lambda: values.stars(raw, 5),
        lambda: values.plays(raw),
        lambda: values.time(raw, LATEST),
        lambda: values.kind(raw),
        lambda: values.price(raw),
        lambda: values.year(raw),
        lambda: values.parts(raw),
    ):
        with contextlib.suppress(Unusable):
            read()


@pytest.mark.parametrize(
    ("raw", "price"),
    [("$1,299.00", 1299.0), (12, 12.0), ("$5.99 - $9.99", 5.99), ("free", None), ("", None), (None, None), (-3, None)],
)
def test_prices_are_amounts(raw, price):
    assert values.price(raw) == price


@pytest.mark.parametrize(
    ("raw", "year"),
    [("1999", 1999), (2003, 2003), ("2003-05-01", 2003), ("c. 1851", 1851), ("0", None), ("12345", None)],
)
def test_years_are_found(raw, year):
    assert values.year(raw) == year


@pytest.mark.parametrize(
    ("raw", "parts"),
    [
        ("Drama|War", ["Drama", "War"]),
        ("Drama, War", ["Drama", " War"]),
        ('["Drama", "War, cold"]', ["Drama", "War, cold"]),
        ("['Drama', 'War']", ["Drama", "War"]),
        (["Drama", None, 5], ["Drama", "5"]),
        ("", []),
        (None, []),
    ],
)
def test_lists_are_split(raw, parts):
    assert values.parts(raw, "|,") == parts


@pytest.mark.parametrize(
    ("raw", "kind"), [("PV", "view"), ("buy", "purchase"), ("Add_To_Cart", "cart"), ("like", "like")]
)
def test_words_of_sources_are_kinds(raw, kind):
    assert values.kind(raw) == kind


def test_an_unknown_word_is_refused():
    with pytest.raises(Unusable, match="unknown kind"):
        values.kind("teleport")
