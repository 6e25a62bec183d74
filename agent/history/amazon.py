"""Amazon reviews and products as JSON lines, plain or gzip: the 2023 and 2018 releases, and the nested sample of 2023.

What a line is, is told by its fields. A reviewer's name is never kept, also not among the refused rows.
Option `heldout=skip`: leaves out the newest review of every sequence of the nested sample, for evaluation.
Source: Hou et al. 2024 (2023 release), Ni, Li & McAuley 2019 (2018 release).
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Sequence
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any

from pydantic import AliasChoices, BaseModel, Field, TypeAdapter, ValidationError

from agent.errors import ImportRefused
from agent.history import values
from agent.history.files import first_lines
from agent.history.lines import json_lines, reason
from agent.history.records import Format, Record, Refusal, Source, event, item, refusal, review_text
from agent.history.values import Unusable
from agent.types import Event, Item

_ENDINGS = (".jsonl", ".json", ".jsonl.gz", ".json.gz", ".ndjson")
_NAME = re.compile(r'"reviewerName"\s*:\s*"(?:[^"\\]|\\.)*"?\s*,?\s*')


class _Review(BaseModel):
    user: str = Field(validation_alias=AliasChoices("user_id", "reviewerID"))
    item: str = Field(validation_alias=AliasChoices("parent_asin", "asin"))
    rating: float = Field(validation_alias=AliasChoices("rating", "overall"))
    at: int | float | None = Field(
        None, validation_alias=AliasChoices("timestamp", "timestamp_ms", "sort_timestamp", "unixReviewTime")
    )
    title: str | None = Field(None, validation_alias=AliasChoices("title", "review_title", "summary"))
    text: str | None = Field(None, validation_alias=AliasChoices("text", "review_full", "reviewText"))


class _Product(BaseModel):
    id: str = Field(validation_alias=AliasChoices("parent_asin", "asin"))
    title: str | None = None
    description: list[Any] | str | None = None
    features: list[Any] | str | None = Field(None, validation_alias=AliasChoices("features", "feature"))
    categories: list[Any] | str | None = Field(None, validation_alias=AliasChoices("categories", "category"))
    main_category: str | None = Field(None, validation_alias=AliasChoices("main_category", "main_cat"))
    price: Any = None
    brand: str | None = Field(None, validation_alias=AliasChoices("store", "brand"))
    images: list[Any] | None = Field(None, validation_alias=AliasChoices("images", "imageURLHighRes", "imageURL"))


class _Sequence(BaseModel):
    user_id: str
    category: str | None = None
    # Checked one by one: a bad review does not cost the person the others.
    history: list[dict[str, Any]] = []
    heldout: dict[str, Any] | list[dict[str, Any]] | None = None


def _matches(path: Path) -> bool:
    return any(_what(file) for file in _files(path))


def _read(source: Source) -> Iterator[Record]:
    if source.mapping.get("heldout", "keep") not in ("keep", "skip"):
        raise ImportRefused("heldout is either keep or skip")
    readers = {"products": _products, "reviews": _reviews, "sequences": _sequences}
    files = [(what, file) for file in _files(source.path) if (what := _what(file))]
    if not files:
        raise ImportRefused(f"{source.path.name}: no line of it is an Amazon review or product")
    # Products first, so that they are there when the reviews refer to them.
    for what, file in sorted(files, key=lambda found: list(readers).index(found[0])):
        for record in readers[what](replace(source, path=file)):
            yield _nameless(record) if isinstance(record, Refusal) else record


def _files(path: Path) -> Sequence[Path]:
    if path.is_file():
        return [path] if path.name.lower().endswith(_ENDINGS) else []
    return sorted(file for file in path.iterdir() if file.is_file() and file.name.lower().endswith(_ENDINGS))


def _what(path: Path) -> str | None:
    """ "products", "reviews" or "sequences", by the first line that says; None when none of the first does."""
    for line in first_lines(path, 20):
        fields = set(re.findall(r'"(\w+)"\s*:', line[:20_000]))
        if {"user_id", "history"} <= fields:
            return "sequences"
        if fields & {"parent_asin", "asin"}:
            return "reviews" if fields & {"user_id", "reviewerID"} else "products"
    return None


def _nameless(record: Refusal) -> Refusal:
    return replace(record, raw=_NAME.sub("", record.raw))


def _reviews(source: Source) -> Iterator[Record]:
    for found in json_lines(source.path, _adapter(_Review)):
        if isinstance(found, Refusal):
            yield found
            continue
        line, review = found
        try:
            yield _event(review, source)
        except Unusable as error:
            yield refusal(source.path, line, str(error), f"{review.user} {review.item} {review.rating} {review.at}")


def _products(source: Source) -> Iterator[Record]:
    for found in json_lines(source.path, _adapter(_Product)):
        if isinstance(found, Refusal):
            yield found
            continue
        line, product = found
        try:
            yield _item(product)
        except Unusable as error:
            yield refusal(source.path, line, str(error), f"{product.id} {product.title}")


def _sequences(source: Source) -> Iterator[Record]:
    for found in json_lines(source.path, _adapter(_Sequence)):
        if isinstance(found, Refusal):
            yield found
            continue
        line, sequence = found
        held = sequence.heldout if isinstance(sequence.heldout, list) else [sequence.heldout or {}]
        kept = [] if source.mapping.get("heldout") == "skip" else [review for review in held if review]
        for raw in (*sequence.history, *kept):
            try:
                yield from _nested(raw, sequence, source)
            except (Unusable, ValidationError) as error:
                why = reason(error) if isinstance(error, ValidationError) else str(error)
                yield refusal(source.path, line, why, json.dumps(raw))


def _nested(raw: dict[str, Any], sequence: _Sequence, source: Source) -> Iterator[Item | Event]:
    review = _Review.model_validate({**raw, "user_id": sequence.user_id})
    happened = _event(review, source)
    product = _Product.model_validate({**(raw.get("product") or {}), "parent_asin": review.item})
    if not product.main_category and sequence.category:
        product.main_category = sequence.category.replace("_", " ")
    yield _item(product)
    yield happened


def _event(review: _Review, source: Source) -> Event:
    text = review_text(review.title, review.text)
    return event(
        review.user,
        review.item,
        "review" if text else "rating",
        value=values.stars(review.rating, 5),
        text=text,
        at=values.time(review.at, source.latest),
        source="amazon",
    )


def _item(product: _Product) -> Item:
    about = (*_texts(product.description), *_texts(product.features))
    return item(
        product.id,
        product.title,
        text="\n".join(about),
        categories=(product.main_category or "", *filter(_is_category, _texts(product.categories))),
        attributes={
            "price": values.price(product.price),
            "creator": (product.brand,) if product.brand else None,
            "image": _image(product.images),
        },
    )


def _texts(raw: list[Any] | str | None) -> list[str]:
    found = raw if isinstance(raw, list) else [raw or ""]
    return [text for text in found if isinstance(text, str) and text.strip()]


def _is_category(text: str) -> bool:
    """Not so the selling points ("No expiration, no fees.") that slipped into the categories of 2018."""
    return len(text) <= 60 and not text.rstrip().endswith((".", "!"))


def _image(images: list[Any] | None) -> str | None:
    """The address of the first picture: a string in 2018, an object with sizes in 2023."""
    first = images[0] if images else None
    if isinstance(first, dict):
        first = first.get("large") or first.get("thumb")
    return first if isinstance(first, str) else None


@cache
def _adapter(model: Any) -> TypeAdapter[Any]:
    return TypeAdapter(model)


FORMAT = Format(
    "amazon",
    "JSON lines (or a folder of them, also .gz) with asin or parent_asin: Amazon reviews and products",
    _matches,
    _read,
    frozenset({"heldout"}),
)
