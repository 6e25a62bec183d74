"""What is believed about a person, to be seen, corrected before and after it is saved, and undone."""

from __future__ import annotations

from typing import Any, cast, get_args

from fastapi import APIRouter
from fastapi.responses import Response

from agent import correcting
from agent.correcting import Action, Change
from agent.errors import UsageError
from agent.service.pages import believed
from agent.service.pages.believed import Belief, PreviewView
from agent.service.pages.door import Form, Member, PageRoute, Sent, Visitor
from agent.service.pages.lists import MANY, Flash, dialled, steering
from agent.service.requests import Do

router = APIRouter(include_in_schema=False, route_class=PageRoute)


@router.get("/taste")
async def page(visitor: Member) -> Response:
    _ = visitor.user
    return visitor.page("taste.html", {"belief": None})


@router.get("/taste/body")
async def body(visitor: Member, do: Do) -> Response:
    user = visitor.user
    return visitor.page("taste.html", await do(lambda: seen(visitor, user), user))


@router.post("/taste/preview")
async def preview(visitor: Member, sent: Sent, do: Do) -> Response:
    """What would change; nothing is kept."""
    user, change = visitor.user, change_of(sent)

    def look() -> PreviewView:
        now = correcting.believed(visitor.rapport, user)
        # The list as it is shown to this person, with what they ask for now.
        asked = visitor.rapport.chat.asked(user, MANY, language=visitor.words.language)
        found = correcting.preview(visitor.rapport, user, change, asked=asked)
        return believed.preview(found, now, change, visitor.words)

    return visitor.page("preview.html", {"preview": await do(look, user)})


@router.post("/taste/save")
async def save(visitor: Member, sent: Sent, do: Do) -> Response:
    user, change = visitor.may_change(), change_of(sent)

    def keep() -> dict[str, Any]:
        correcting.save(visitor.rapport, user, change)
        said = visitor.words("saved", believed.spoken(change, visitor.words))
        return seen(visitor, user, Flash(said, "taste"))

    return visitor.page("taste.html", await do(keep, user))


@router.post("/taste/undo")
async def undo(visitor: Member, sent: Sent, do: Do) -> Response:
    user = visitor.may_change()

    def take_back() -> dict[str, Any]:
        correcting.undo(visitor.rapport, user)
        return seen(visitor, user, Flash(visitor.words("undone_taste")))

    return visitor.page("taste.html", await do(take_back, user))


@router.post("/taste/dial")
async def dial(visitor: Member, sent: Sent, do: Do) -> Response:
    """How familiar or surprising the lists are, until it expires like every wish."""
    user = visitor.may_change()

    def turn() -> dict[str, Any]:
        dialled(visitor.rapport, user, sent.one("dial"))
        return seen(visitor, user)

    return visitor.page("taste.html", await do(turn, user))


def seen(visitor: Visitor, user: str, flash: Flash | None = None) -> dict[str, Any]:
    rapport = visitor.rapport
    profile = correcting.believed(rapport, user)
    found: Belief = believed.belief(rapport.store, profile, visitor.words)
    return {
        "belief": found,
        "steering": steering(rapport, user, visitor.words),
        "flash": flash,
        "action": "/taste/undo",
        "conversation": "",
    }


def change_of(sent: Form) -> Change:
    """Raises UsageError."""
    action = sent.one("action")
    if action not in get_args(Action):
        raise UsageError(f"nothing can be done to a tag by {action[:20]!r}")
    name, to = sent.one("name"), sent.one("to")
    return Change(cast(Action, action), name, -1 if sent.one("polarity") == "-1" else 1, to)
