"""The catalogue: looking, searching, keeping one item."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Query

from agent import searching, shapes
from agent.errors import UnknownItem, UsageError
from agent.history.records import item as clean_item
from agent.history.text import ID
from agent.service import schemas
from agent.service.events import what
from agent.service.problem import answers
from agent.service.requests import Do, Who
from agent.service.schemas import ItemIn, ItemPath, Json, Text, Where, Words

router = APIRouter(prefix="/api/items", tags=["items"])


@router.get("", response_model=schemas.Items, responses=answers())
async def search(
    who: Who,
    do: Do,
    words: Words = "",
    where: Where = [],  # noqa: B006 - FastAPI copies it
    n: Annotated[int, Query(ge=1, le=searching.MOST)] = 20,
    after: Annotated[Text, Query(max_length=ID, description="Without words: items after this id.")] = "",
) -> Json:
    """Items that fit the words and fulfil the filters, best first; without words by id."""
    if not who.user:
        who.need("read")
    rapport = do.desk.rapport
    return await do(lambda: shapes.found(searching.search(rapport, words, where=where, n=n, after=after)))


@router.get("/{item:path}", response_model=schemas.Item, responses=answers(404))
async def read(item: ItemPath, who: Who, do: Do) -> Json:
    """One item."""
    if not who.user:
        who.need("read")
    found = await do(lambda: do.desk.rapport.store.item(item))
    if found is None:
        raise UnknownItem("no item has this id")
    return shapes.item(found)


@router.put("/{item:path}", response_model=schemas.ItemKept, responses=answers(404))
async def keep(item: ItemPath, body: ItemIn, who: Who, do: Do) -> Json:
    """Add an item, or replace it as a whole; it can be found and recommended at once."""
    who.need("write")
    new = clean_item(item, body.title, text=body.text, categories=body.categories, attributes=body.attributes)
    if not new.title:
        raise UsageError("an item needs a title that can be read")
    counts, note = await do(lambda: do.desk.put_item(new))
    return {"item": shapes.item(new), "stored": what(counts), "indexed": not note, "note": note}
