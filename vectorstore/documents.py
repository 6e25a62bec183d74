"""What every store asks of documents, vectors and filters before it touches them, and what a filter means.

Pure functions over the types of `base`; both stores use them, so that they cannot disagree.
"""

from __future__ import annotations

import hashlib
import json
import math
import unicodedata
from collections.abc import Mapping, Sequence

import numpy as np

from vectorstore.base import Document, Filter, MetadataValue, Vectors, VectorStoreError

_COMPARISONS = {
    ">": lambda mine, theirs: mine > theirs,
    ">=": lambda mine, theirs: mine >= theirs,
    "<": lambda mine, theirs: mine < theirs,
    "<=": lambda mine, theirs: mine <= theirs,
}


def clean_id(id: str) -> str:
    """`id` in Unicode normal form C: two spellings of the same characters are one id, everywhere in a store."""
    if not id:
        raise VectorStoreError("a document has an empty id")
    return _text(unicodedata.normalize("NFC", id), "the id")


def clean(document: Document) -> Document:
    """`document` as stores keep it: NFC id, numbers as floats, duplicates within a list and empty lists gone.

    Raises VectorStoreError for what cannot be kept: lone surrogates, NaN and infinity, an empty id.
    """
    id = clean_id(document.id)
    kept = {_text(name, f"a field of {id!r}"): _value(value, id, name) for name, value in document.metadata.items()}
    return Document(id, _text(document.text, f"the text of {id!r}"), {name: v for name, v in kept.items() if v != ()})


def _value(value: MetadataValue, id: str, name: str) -> MetadataValue:
    where = f"the field {name!r} of {id!r}"
    match value:
        case str():
            return _text(value, where)
        case tuple():
            return tuple(dict.fromkeys(_text(word, where) for word in value))
        case int() | float():
            return _number(value, where)
    raise VectorStoreError(f"{where} is {type(value).__name__}, not text, a number or a tuple of texts")


def _text(value: str, where: str) -> str:
    if not isinstance(value, str):
        raise VectorStoreError(f"{where} is {type(value).__name__}, not text")
    try:
        value.encode()
    except UnicodeEncodeError as error:
        raise VectorStoreError(f"{where} holds a character that is not Unicode text") from error
    return value


def _number(value: float, where: str) -> float:
    try:
        number = float(value)
    except OverflowError:
        number = math.inf
    if not math.isfinite(number):
        raise VectorStoreError(f"{where} is not a finite number")
    return number


def content_hash(document: Document) -> str:
    """Hash of text and metadata of a cleaned document, 32 hexadecimal digits; the order of the fields is no matter."""
    content = json.dumps([document.text, sorted(document.metadata.items())], ensure_ascii=True)
    return hashlib.blake2b(content.encode(), digest_size=16).hexdigest()


def check_vectors(vectors: Vectors, count: int, dimension: int) -> Vectors:
    """`vectors` as float32 of length 1, [count, dimension]; VectorStoreError for any other shape, NaN or zero."""
    found = np.asarray(vectors, np.float32)
    if found.shape != (count, dimension):
        raise VectorStoreError(f"{count} vectors of dimension {dimension} expected, shape {found.shape} given")
    lengths = np.linalg.norm(found, axis=1, keepdims=True)
    if not np.all(np.isfinite(lengths)) or np.any(lengths == 0):
        raise VectorStoreError("a vector is zero or not finite, so it has no direction")
    return found / lengths


def check_queries(vectors: Vectors, dimension: int) -> Vectors:
    """`vectors` of a search as `check_vectors` wants them, any number of them."""
    return check_vectors(vectors, len(vectors), dimension)


def check_filter(condition: Filter) -> Filter:
    """`condition` with its number as a float; VectorStoreError when it compares a text by size or makes no sense."""
    name = _text(condition.field, "the field of a filter")
    where = f"the value of the filter on {name!r}"
    if condition.op in _COMPARISONS:
        if isinstance(condition.value, str):
            raise VectorStoreError(f"{where} must be a number for {condition.op!r}, not {condition.value!r}")
    elif condition.op not in ("=", "!=", "has"):
        raise VectorStoreError(f"{condition.op!r} is not an operator of filters")
    value = condition.value
    if not isinstance(value, str | int | float):
        raise VectorStoreError(f"{where} is {type(value).__name__}, not text or a number")
    return Filter(name, condition.op, _text(value, where) if isinstance(value, str) else _number(value, where))


def matches(metadata: Mapping[str, MetadataValue], where: Sequence[Filter]) -> bool:
    """Whether cleaned metadata meets every one of the checked filters; the meaning of `Filter`.

    A missing field never matches. `=` on a list is true when a member equals, `!=` is true where `=` is not, `has`
    is true for lists only. Text never equals a number, and only numbers are greater or less.
    """
    return all(one.field in metadata and _holds(metadata[one.field], one) for one in where)


def _holds(value: MetadataValue, condition: Filter) -> bool:
    if condition.op in _COMPARISONS:
        return isinstance(value, float) and _COMPARISONS[condition.op](value, condition.value)
    if condition.op == "has":
        return isinstance(value, tuple) and condition.value in value
    equal = condition.value in value if isinstance(value, tuple) else condition.value == value
    return equal == (condition.op == "=")
