"""Documents and filters in Chroma's dialect: the only place that writes metadata or a `where`.

Callers' field names and values are only ever leaves of what is built here, never operators.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from vectorstore.base import Document, Filter

HASH = "hash"
CHECK = "check"
_FIELDS = "fields"
_OWN = "m:"
"""Prefix of the catalogue's fields, so that none can collide with ours or with Chroma's reserved names."""

_OPERATORS = {"=": "$eq", "!=": "$ne", ">": "$gt", ">=": "$gte", "<": "$lt", "<=": "$lte", "has": "$contains"}


def stored(document: Document, hash: str, check: float, before: Mapping[str, Any] | None) -> dict[str, Any]:
    """The metadata to upsert for a cleaned document that so far has `before`.

    Chroma merges metadata on upsert; a key with the value None is removed.
    """
    metadata: dict[str, Any] = dict.fromkeys(before or ())
    for name, value in document.metadata.items():
        metadata[_OWN + name] = list(value) if isinstance(value, tuple) else value
    # Chroma's $ne also holds where the field is missing; with the names of the fields that can be excluded.
    metadata[_FIELDS] = sorted(document.metadata) or None
    return metadata | {HASH: hash, CHECK: check}


def where_clause(conditions: Sequence[Filter]) -> dict[str, Any] | None:
    """The `where` for checked filters; None for no filter."""
    clauses = [clause for condition in conditions for clause in _clauses(condition)]
    if len(clauses) > 1:
        return {"$and": clauses}
    return clauses[0] if clauses else None


def _clauses(condition: Filter) -> list[dict[str, Any]]:
    field, value = _OWN + condition.field, condition.value
    one = {field: {_OPERATORS[condition.op]: value}}
    if condition.op == "=" and isinstance(value, str):
        return [{"$or": [one, {field: {"$contains": value}}]}]
    if condition.op == "!=":
        present = {_FIELDS: {"$contains": condition.field}}
        return [present, one, {field: {"$not_contains": value}}]
    return [one]
