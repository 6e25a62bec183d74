"""The list for a person, with the dial and what is asked for; buttons on its cards count at once."""

from __future__ import annotations

from typing import Any

from fastapi import APIRouter
from fastapi.responses import Response

from agent.service.pages import lists
from agent.service.pages.door import Form, Member, PageRoute, Sent
from agent.service.pages.lists import Flash, ListView
from agent.service.requests import Do

router = APIRouter(include_in_schema=False, route_class=PageRoute)
ALL = "*"
"""Of a button, in place of one wish."""


@router.get("/for-you")
async def page(visitor: Member) -> Response:
    """At once; the list, which may take a model's time, comes into it."""
    _ = visitor.user
    return visitor.page("for_you.html", {"list": None})


@router.get("/for-you/list")
async def found(visitor: Member, do: Do) -> Response:
    user, words = visitor.user, visitor.words
    view = await do(lambda: lists.listed(visitor.rapport, user, words), user)
    return visitor.page("for_you.html", values(view, None))


@router.post("/for-you/list")
async def changed(visitor: Member, sent: Sent, do: Do) -> Response:
    """What a button said, and the list as it is then."""
    user, words, rapport = visitor.may_change(), visitor.words, visitor.rapport

    def change() -> tuple[ListView, Flash | None]:
        flash = apply(visitor, user, sent)
        return lists.listed(rapport, user, words, before=sent.every("shown")), flash

    return visitor.page("for_you.html", values(*await do(change, user)))


def apply(visitor: Member, user: str, sent: Form, conversation: str = "") -> Flash | None:
    """Does what a form around a list asks for. Raises UsageError, UnknownItem."""
    rapport, words = visitor.rapport, visitor.words
    if button := sent.one("do"):
        return lists.said(rapport, user, words, button, conversation)
    if undo := sent.one("undo"):
        return lists.taken_back(rapport, user, words, undo)
    if slot := sent.one("drop"):
        rapport.chat.revoke(user, None if slot == ALL else slot)
    elif at := sent.one("dial"):
        lists.dialled(rapport, user, at)
    return None


def values(view: ListView, flash: Flash | None) -> dict[str, Any]:
    return {"list": view, "flash": flash, "action": "/for-you/list", "conversation": ""}
