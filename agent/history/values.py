"""Reading single values of a file: stars, counts, times, prices, lists, kinds; each says why it cannot."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Iterable
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from typing import cast, get_args

from agent.types import EventKind


class Unusable(ValueError):
    """A value, and so its row, cannot be used; the text is the reason that the report counts."""


_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_NUMBER = re.compile(r"-?\d+(?:\.\d+)?")
# Since 1973, seconds have at most 10 digits before the point, milliseconds 12 or 13, and so on.
_UNITS = ((1e11, 1), (1e14, 1_000), (1e17, 1_000_000), (math.inf, 1_000_000_000))
_DATES = ("%m %d, %Y", "%Y/%m/%d %H:%M:%S", "%Y/%m/%d %H:%M", "%Y/%m/%d", "%m/%d/%Y %H:%M", "%m/%d/%Y", "%d.%m.%Y")


def number(raw: object, what: str) -> float:
    """A finite number. Raises Unusable, also for NaN and infinity."""
    try:
        value = float(raw)  # type: ignore[arg-type]
    except OverflowError:
        value = math.inf
    except (TypeError, ValueError):
        raise Unusable(f"{what} is not a number") from None
    if not math.isfinite(value):
        raise Unusable(f"{what} is not a finite number")
    return value


def stars(raw: object, scale: float) -> float:
    """A rating on a scale that ends at `scale`, as 0.5 to 5 stars. Raises Unusable outside 0 to `scale`."""
    return _spelled_stars(raw, scale) if isinstance(raw, str) else _stars(raw, scale)


@lru_cache(maxsize=4_096)
def _spelled_stars(raw: str, scale: float) -> float:
    return _stars(raw, scale)


def _stars(raw: object, scale: float) -> float:
    value = number(raw, "rating")
    if not 0 <= value <= scale:
        raise Unusable(f"rating outside 0 to {scale:g}")
    return max(0.5, value * 5 / scale)


def plays(raw: object) -> float:
    value = number(raw, "play count")
    if value <= 0:
        raise Unusable("play count is not positive")
    return value


def price(raw: object) -> float | None:
    """An amount such as 12.5 or "$1,299.00"; of a range the lower end; None where there is none."""
    if raw is None or raw == "":
        return None
    found = _NUMBER.search(str(raw)[:100].replace(",", ""))
    value = float(found[0]) if found else math.nan
    return value if 0 <= value < 1e9 else None


def year(raw: object) -> int | None:
    found = re.search(r"(?<!\d)(1[5-9]\d\d|20\d\d)(?!\d)", str(raw)[:100])
    return int(found[1]) if found else None


def latest_time() -> datetime:
    """The last time that an event may have: a day from now, because clocks and time zones differ."""
    return datetime.now(UTC) + timedelta(days=1)


def time(raw: object, latest: datetime) -> datetime | None:
    """A time from seconds, milli-, micro- or nanoseconds since 1970 UTC (told apart by size) or a date; no zone = UTC.
    None where there is none. Raises Unusable before 1970, after `latest`, and for anything else."""
    if isinstance(raw, str) and raw.isdecimal() and len(raw) <= 10:
        # Nearly every row of nearly every file: seconds.
        at = datetime.fromtimestamp(int(raw), UTC)
        return at if at <= latest else _possible(at, latest)
    if raw is None or raw == "":
        return None
    if isinstance(raw, datetime):
        return _possible(raw if raw.tzinfo else raw.replace(tzinfo=UTC), latest)
    try:
        value: float = int(raw)  # type: ignore[call-overload]
    except (TypeError, ValueError, OverflowError):
        try:
            value = float(raw)  # type: ignore[arg-type]
        except (TypeError, ValueError, OverflowError):
            return _possible(_date(str(raw)), latest)
    return _possible(_instant(value), latest)


def _instant(value: float) -> datetime:
    unit = next((unit for limit, unit in _UNITS if abs(value) < limit), 0)
    try:
        if unit == 1 and isinstance(value, int):
            return datetime.fromtimestamp(value, UTC)
        whole = value * 1_000_000 // unit if isinstance(value, int) else round(value * 1_000_000 / unit)
        return _EPOCH + timedelta(microseconds=whole)
    except (ValueError, OverflowError, OSError, ZeroDivisionError):
        raise Unusable("impossible time") from None


def _date(raw: str) -> datetime:
    text = raw.strip()[:64]
    try:
        found = datetime.fromisoformat(text)
    except ValueError:
        found = next(filter(None, (_by_format(text, spelling) for spelling in _DATES)), None)
    if found is None:
        raise Unusable("the time cannot be read")
    try:
        return found.astimezone(UTC) if found.tzinfo else found.replace(tzinfo=UTC)
    except (ValueError, OverflowError):
        raise Unusable("impossible time") from None


def _by_format(text: str, spelling: str) -> datetime | None:
    try:
        return datetime.strptime(text, spelling)
    except ValueError:
        return None


def _possible(at: datetime, latest: datetime) -> datetime:
    if at < _EPOCH:
        raise Unusable("time before 1970")
    if at > latest:
        raise Unusable("time in the future")
    return at


_KINDS: dict[str, EventKind] = {
    "pv": "view",
    "page_view": "view",
    "pageview": "view",
    "detail": "view",
    "watch": "play",
    "listen": "play",
    "stream": "play",
    "fav": "like",
    "favourite": "like",
    "favorite": "like",
    "heart": "like",
    "addtocart": "cart",
    "add_to_cart": "cart",
    "buy": "purchase",
    "order": "purchase",
    "transaction": "purchase",
    "rate": "rating",
    "upvote": "like",
    "downvote": "dislike",
    **{kind: cast(EventKind, kind) for kind in get_args(EventKind)},
}


def kind(raw: object) -> EventKind:
    """The kind of event that a word of a source stands for. Raises Unusable for an unknown word."""
    word = str(raw).strip().lower()[:40]
    if word not in _KINDS:
        raise Unusable("unknown kind of event")
    return _KINDS[word]


def parts(raw: object, separators: str = "|") -> list[str]:
    """The members of a list that is spelled as a list, as JSON, or with the first of `separators` that occurs."""
    if raw is None:
        return []
    if isinstance(raw, list | tuple | set):
        return [str(member) for member in cast(Iterable[object], raw) if member is not None]
    text = str(raw)[:4_000].strip()
    if text.startswith("[") and text.endswith("]"):
        return _listed(text)
    separator = next((mark for mark in separators if mark in text), None)
    return [part for part in (text.split(separator) if separator else [text]) if part.strip()]


def _listed(text: str) -> list[str]:
    try:
        found = json.loads(text)
    except (ValueError, RecursionError):
        # A list as Python prints it: ['a', 'b'].
        found = [part.strip().strip("'\"") for part in text[1:-1].split(",")]
    return [str(member) for member in found if member is not None and str(member).strip()]
