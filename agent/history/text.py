"""Cleaning of text and ids that come from outside: markup, invisible characters, lengths; knows no file format."""

from __future__ import annotations

import html
import math
import re
import unicodedata
from functools import lru_cache

from agent.history.values import Unusable

TITLE, TEXT, ID, NAME = 300, 4_000, 512, 100
"""Bounds in characters: titles, texts, ids, names of categories and attributes."""

# What no reader sees but a model, a terminal or a comparison does: controls, zero-width, bidi overrides, soft hyphen,
# variation selectors, Hangul fillers, surrogates, the tag block. Tab and line feed stay.
_INVISIBLE = re.compile(
    "[\x00-\x08\x0b-\x1f\x7f-\x9f\xad\u034f\u061c\u115f\u1160\u17b4\u17b5\u180b-\u180f\u200b-\u200f\u2028-\u202e"
    "\u2060-\u206f\u3164\ud800-\udfff\ufe00-\ufe0f\ufeff\uffa0\ufff0-\ufffc\ufffe\uffff\U000e0000-\U000e0fff]"
)
_BREAK = re.compile(r"<\s*(?:br|/p|/li|/div)\s*/?\s*>", re.IGNORECASE)
_MARKUP = re.compile(r"<(?:/?[a-zA-Z][^<>]{0,500}|!--[^<>]{0,500}--)>")
_BLANKS = re.compile(r"[^\S\n]+")
_LINES = re.compile(r"\s*\n\s*")


def clean_text(raw: object, limit: int = TEXT) -> str:
    """Readable text: entities resolved, markup and invisible characters gone, blanks merged, lines kept."""
    if raw is None:
        return ""
    # Everything below works on a bounded text, whatever was sent; markup may need more room than what it wraps.
    text = str(raw)[: limit * 4]
    if "&" in text:
        text = html.unescape(text)
    if "<" in text:
        text = _MARKUP.sub("", _BREAK.sub("\n", text))
    if not (text.isascii() and text.isprintable()):
        text = unicodedata.normalize("NFC", _INVISIBLE.sub("", text.replace("\r", "\n")))
    return _LINES.sub("\n", _BLANKS.sub(" ", text)).strip()[:limit].rstrip()


def clean_line(raw: object, limit: int = TITLE) -> str:
    """As clean_text, on one line: for titles and names."""
    return clean_text(raw, limit).replace("\n", " ")


def clean_id(raw: object, what: str) -> str:
    """An id in its one spelling: NFC, no blanks around it, nothing invisible inside. `what`: "user" or "item".
    Raises Unusable when nothing is left, when it is longer than ID, and for a list."""
    return _clean_id(raw if type(raw) is str else _spelled(raw, what), what)


def _spelled(raw: object, what: str) -> str:
    if isinstance(raw, list | dict | tuple | bytes):
        raise Unusable(f"{what} is not a single value")
    if isinstance(raw, float):
        # A column of whole numbers with gaps comes as 7.0; NaN stands for a gap.
        return str(int(raw)) if raw.is_integer() else str(raw) if math.isfinite(raw) else ""
    return "" if raw is None else str(raw)


# The same ids come again and again in a history.
@lru_cache(maxsize=200_000)
def _clean_id(raw: str, what: str) -> str:
    text = raw
    if not (text.isascii() and text.isprintable()):
        bounded = text[: ID * 4].replace("\t", " ").replace("\n", " ")
        text = unicodedata.normalize("NFC", _INVISIBLE.sub("", bounded))
    text = text.strip()
    if not text:
        raise Unusable(f"no {what}")
    if len(text) > ID:
        raise Unusable(f"{what} id longer than {ID} characters")
    return text


_ARTICLE = re.compile(
    r"^(?P<lead>a\.k\.a\. )?(?P<rest>.+), "
    r"(?P<article>The|An?|L[ae]s?|L'|Los|Une?|El|Il|Lo|I|Gli|Der|Die|Das|Den?|Det|Het|Een|O|Os|As)$"
)
_YEAR = re.compile(r"\s*\((\d{4})(?:\s*[-–]\s*(?:\d{4})?)?\)\s*$")
_PARENTHESES = re.compile(r"\(([^()]+)\)")


def split_year(title: str) -> tuple[str, int | None]:
    """A title without the year in parentheses at its end, and that year.

    >>> split_year("Matrix, The (1999)")
    ('Matrix, The', 1999)
    """
    found = _YEAR.search(title)
    return (title[: found.start()], int(found[1])) if found else (title, None)


def turn_article(title: str) -> str:
    """The article of a library title in front, also in the parentheses of other titles.

    >>> turn_article("City of Lost Children, The (Cité des enfants perdus, La)")
    'The City of Lost Children (La Cité des enfants perdus)'
    """
    inside = _PARENTHESES.sub(lambda found: f"({_turned(found[1])})", title)
    head, parenthesis, tail = inside.partition(" (")
    return _turned(head) + parenthesis + tail


def _turned(part: str) -> str:
    found = _ARTICLE.match(part)
    if not found:
        return part
    gap = "" if found["article"].endswith("'") else " "
    return f"{found['lead'] or ''}{found['article']}{gap}{found['rest']}"
