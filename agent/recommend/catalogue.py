"""Items as the index sees them: what is embedded, what can be filtered on, and how a filter is written and tested.

Knows items and the index's documents; knows no person, no model and no store.
"""

from __future__ import annotations

import difflib
import math
import re
import unicodedata
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Literal

from agent.errors import BadFilter
from agent.types import Condition, Item
from vectorstore.base import Document, Filter, MetadataValue

FieldKind = Literal["number", "text", "list"]
Scalar = str | int | float

TEXT_CHARS = 1200
"""Of an item's text that is embedded; the packaged embedding model reads about as much."""
FILTER_CHARS = 300
"""A longer attribute is prose: it is not filtered on."""
NOT_FILTERED = frozenset({"image"})
LISTS = frozenset({"categories", "creator"})
"""Always lists, also when an item has a single one."""
MOST_CREATORS = 5
WHERE = re.compile(r"(?P<field>[^<>=!:\"']+?)\s*(?P<op>>=|<=|!=|==|>|<|=|:)\s*(?P<value>.+)", re.DOTALL)
NUMBER = re.compile(r"[+-]?(\d+(\.\d*)?|\.\d+)([eE][+-]?\d+)?")


def document(item: Item) -> Document:
    """What the index keeps of `item`. Raises ValueError for an item without a title: it is only referred to."""
    if not item.title:
        raise ValueError(f"item {item.id!r} has no title")
    return Document(item.id, wording(item), metadata(item))


def documents(items: Iterable[Item]) -> Iterator[Document]:
    """Every item that has a title, as a document."""
    return (document(item) for item in items if item.title)


def wording(item: Item) -> str:
    """The text that is embedded: title and year, categories, creators, decade, description; bounded."""
    year = item.attributes.get("year")
    years = [f"{int(year) // 10 * 10}s"] if isinstance(year, int | float) and year >= 1000 else []
    creators = _listed(item.attributes.get("creator", ()))[:MOST_CREATORS]
    by = [f"by {', '.join(creators)}"] if creators else []
    facts = [headline(item), ", ".join(item.categories[:10]), *by, *years]
    return plain(". ".join(part for part in [*facts, item.text] if part), TEXT_CHARS)


def headline(item: Item) -> str:
    """Title and year, e.g. "Alien (1979)"; the year is left out where the title has it already."""
    year = item.attributes.get("year")
    if isinstance(year, int | float) and year >= 1000 and str(int(year)) not in item.title:
        return f"{item.title} ({int(year)})"
    return item.title


def line(item: Item, limit: int) -> str:
    """One line for a prompt, at most `limit` characters: headline, first categories, creator, then the description."""
    creators = _listed(item.attributes.get("creator", ()))[:1]
    facts = ", ".join([headline(item), *item.categories[:3], *(f"by {name}" for name in creators)])
    return plain(f"{facts}. {item.text}" if item.text else facts, limit)


def plain(text: str, limit: int) -> str:
    """`text` on one line without control and invisible characters, cut at a word within `limit` characters."""
    kept = "".join(" " if char.isspace() else char for char in text if char.isspace() or _visible(char))
    flat = " ".join(kept.split())
    if len(flat) <= limit:
        return flat
    cut = flat[:limit]
    head = cut.rpartition(" ")[0]
    return (head if len(head) >= limit // 2 else cut).rstrip()


def metadata(item: Item) -> dict[str, MetadataValue]:
    """What can be filtered on: categories and every short attribute; empty values and pictures are left out."""
    values: dict[str, MetadataValue] = {"categories": item.categories} if item.categories else {}
    for name, value in item.attributes.items():
        if name in NOT_FILTERED or name == "categories":
            continue
        kept = tuple(part for part in _listed(value) if part) if name in LISTS or isinstance(value, tuple) else value
        if kept != "" and kept != () and _filterable(kept):
            values[name] = kept
    return values


def fields_of(items: Iterable[Item]) -> dict[str, FieldKind]:
    """Every field that can be filtered on, and what it holds; one that holds numbers and words counts as text."""
    fields: dict[str, FieldKind] = {}
    for item in items:
        for name, value in metadata(item).items():
            kind = _kind(value)
            fields[name] = kind if fields.get(name, kind) == kind else "text"
    return dict(sorted(fields.items()))


def parse_where(text: str, fields: Mapping[str, FieldKind]) -> Condition:
    """Read one filter: year>=1990, price<20, language=en, categories:Drama, creator:"Agnès Varda".

    `fields`: what the catalogue has (see fields_of). Raises BadFilter, which says what would be right.
    """
    match = WHERE.fullmatch(text.strip())
    if not match:
        raise BadFilter(f"{text[:80]!r} is not a filter; write for example year>=1990 or categories:Drama")
    name, op, value = match["field"].strip(), match["op"], _unquoted(match["value"].strip())
    operators: dict[str, Literal["=", "!=", ">", ">=", "<", "<=", "has"]] = {
        "==": "=", ":": "has", "=": "=", "!=": "!=", ">": ">", ">=": ">=", "<": "<", "<=": "<=",
    }  # fmt: skip
    return checked(Condition(name, operators[op], value), fields)


def checked(condition: Condition, fields: Mapping[str, FieldKind]) -> Condition:
    """`condition` with its value as the field holds it and `has` or `=` as the field's kind wants. Raises BadFilter."""
    name = _known(condition.field, fields)
    kind, op, value = fields[name], condition.op, condition.value
    if isinstance(value, str) and (not value or len(value) > FILTER_CHARS or not _encodable(value)):
        raise BadFilter(f"the value of {name!r} must have 1 to {FILTER_CHARS} readable characters")
    if kind == "list":
        if op not in ("=", "!=", "has"):
            raise BadFilter(f"{name!r} is a list: ask for one member, as in {name}:NAME")
        return Condition(name, "has" if op == "=" else op, str(value))
    op = "=" if op == "has" else op
    if kind == "text":
        if op not in ("=", "!="):
            raise BadFilter(f"{name!r} holds words, which have no {op}: use {name}=VALUE or {name}!=VALUE")
        return Condition(name, op, str(value))
    return Condition(name, op, _number(name, value))


def filters(conditions: Sequence[Condition]) -> list[Filter]:
    """The same conditions in the index's own terms."""
    return [Filter(one.field, one.op, one.value) for one in conditions]


def matches(item: Item, condition: Condition) -> bool:
    """Whether `item` fulfils `condition`, in plain Python: the oracle of what the index does with filters().

    A missing field never matches; on a list `=` asks for a member and `!=` for its absence; text equals no number.
    """
    held, wanted, op = metadata(item).get(condition.field), condition.value, condition.op
    if held is None:
        return False
    if op == "has":
        return isinstance(held, tuple) and wanted in held
    if op in ("=", "!="):
        equal = wanted in held if isinstance(held, tuple) else held == wanted
        return equal == (op == "=")
    if isinstance(held, str | tuple) or isinstance(wanted, str):
        return False
    return {">": held > wanted, ">=": held >= wanted, "<": held < wanted, "<=": held <= wanted}[op]


def _known(name: str, fields: Mapping[str, FieldKind]) -> str:
    if name in fields:
        return name
    spelled = {field.casefold(): field for field in fields}
    if name.casefold() in spelled:
        return spelled[name.casefold()]
    near = difflib.get_close_matches(name.casefold(), spelled, n=1)
    hint = f" (did you mean {spelled[near[0]]!r}?)" if near else ""
    raise BadFilter(f"no item has a field {plain(name, 60)!r}{hint}; there are {', '.join(sorted(fields)) or 'none'}")


def _number(name: str, value: Scalar) -> int | float:
    if isinstance(value, str):
        if not NUMBER.fullmatch(value.strip()):
            raise BadFilter(f"{name!r} holds numbers, and {plain(value, 60)!r} is none")
        value = float(value)
    if not math.isfinite(value) or abs(value) > 2**53:
        raise BadFilter(f"the value of {name!r} is too large")
    return int(value) if value == int(value) else float(value)


def _unquoted(value: str) -> str:
    return value[1:-1] if len(value) >= 2 and value[0] == value[-1] and value[0] in "\"'" else value


def _kind(value: MetadataValue) -> FieldKind:
    if isinstance(value, tuple):
        return "list"
    return "text" if isinstance(value, str) else "number"


def _listed(value: Scalar | tuple[str, ...]) -> tuple[str, ...]:
    return value if isinstance(value, tuple) else (str(value),)


def _filterable(value: MetadataValue) -> bool:
    if isinstance(value, tuple):
        return all(_filterable(part) for part in value)
    return len(value) <= FILTER_CHARS if isinstance(value, str) else math.isfinite(value)


def _encodable(text: str) -> bool:
    return not any(0xD800 <= ord(char) <= 0xDFFF for char in text)


def _visible(char: str) -> bool:
    # Variation selectors are marks, not controls, but carry hidden text all the same.
    selector = "\ufe00" <= char <= "\ufe0f" or "\U000e0100" <= char <= "\U000e01ef"
    return not selector and unicodedata.category(char)[0] != "C"
