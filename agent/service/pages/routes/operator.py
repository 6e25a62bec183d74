"""For whoever runs it: people, one person's whole story, what models were asked and cost, and whether all is well."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Annotated, Any

from fastapi import APIRouter, Query
from fastapi.responses import Response

from agent.batch.budget import Price, price_of
from agent.errors import RapportError
from agent.history.store import Usage
from agent.recommend.catalogue import plain
from agent.service.pages.cards import TITLE, did
from agent.service.pages.door import Operator, PageRoute, Visitor
from agent.service.requests import Do
from agent.wiring import Rapport

router = APIRouter(include_in_schema=False, prefix="/operator", route_class=PageRoute)
PAGE = 50
"""People, or calls, on one page."""
LATEST = 40
"""Rows of a person's story."""
VERSIONS = 12
TALKS = 12
Words = Annotated[str, Query(max_length=200)]
Who = Annotated[str, Query(max_length=600)]


@dataclass(frozen=True, slots=True)
class Cost:
    """What one model was used for."""

    usage: Usage
    price: float | None
    """US dollars; None where the price is not known."""
    free: bool


@router.get("")
async def overview(visitor: Operator, do: Do) -> Response:
    rapport, desk = visitor.rapport, do.desk

    def look() -> dict[str, Any]:
        store = rapport.store
        return {
            "health": desk.health(),
            "busy": desk.pool.busy,
            "counts": (store.count_items(), store.count_users(), store.count_events()),
            "model": model_name(rapport),
            "today": costs(rapport, datetime.now(UTC) - timedelta(days=1)),
            "ever": costs(rapport),
            "calls": store.calls(10),
        }

    return visitor.page("operator.html", await do(look))


@router.get("/people")
async def people(visitor: Operator, do: Do, q: Words = "", after: Who = "") -> Response:
    store = visitor.rapport.store

    def look() -> dict[str, Any]:
        found = store.people(q, after, PAGE + 1)
        return {
            "people": found[:PAGE],
            "next": found[PAGE - 1].user if len(found) > PAGE else "",
            "q": q,
            "after": after,
        }

    return visitor.page("people.html", await do(look))


@router.get("/person")
async def person(visitor: Operator, do: Do, user: Who) -> Response:
    """Everything about one person, on one page."""
    return visitor.page("person.html", await do(lambda: story(visitor, user), user))


@router.get("/calls")
async def calls(visitor: Operator, do: Do, user: Who = "") -> Response:
    store = visitor.rapport.store
    found = await do(lambda: store.calls(PAGE * 2, user or None))
    return visitor.page("calls.html", {"calls": found, "whose": user})


def story(visitor: Visitor, user: str) -> dict[str, Any]:
    """Raises UnknownUser."""
    rapport, words = visitor.rapport, visitor.words
    rapport.known(user)
    events = rapport.store.events(user)
    latest = events[: -LATEST - 1 : -1]
    titles = {id: item.title for id, item in rapport.store.items({one.item for one in latest}).items()}
    openings = rapport.chat.openings(user)
    talks = rapport.chat.conversations(user)[:TALKS]
    return {
        "whose": user,
        "count": len(events),
        "events": [(one, did(one, words, "did"), plain(titles.get(one.item, ""), TITLE) or one.item) for one in latest],
        "versions": rapport.store.profile_history(user)[: -VERSIONS - 1 : -1],
        "edits": rapport.store.edits(user),
        "wishes": rapport.chat.wishes(user, words.language),
        "calls": rapport.store.calls(LATEST, user),
        "talks": [
            (id, plain(openings.get(id, ""), TITLE), at, rapport.chat.history(user, id)[-LATEST:])
            for id, at, _ in talks
        ],
    }


def costs(rapport: Rapport, since: datetime | None = None) -> list[Cost]:
    """What each model was asked, with its price where that is known: that of the model in use now, for the others the
    table of prices."""
    settings = rapport.settings
    now = model_name(rapport)
    found = []
    for usage in rapport.store.usage(since):
        if usage.model == now:
            price = price_of(settings.llm, price_in=settings.price_in, price_out=settings.price_out)
        else:
            price = price_of(f"openai:{usage.model}")
        free = price == Price(0.0, 0.0)
        found.append(Cost(usage, price.of(usage.prompt_tokens, usage.completion_tokens) if price else None, free))
    return found


def model_name(rapport: Rapport) -> str:
    try:
        return rapport.llm.name
    except RapportError:
        return ""
