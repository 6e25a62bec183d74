"""The ways in and out: signing in as a person or with a key, the language, and the files that pages load."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Query, Request
from fastapi.responses import RedirectResponse, Response

from agent.errors import NoKey, Overloaded
from agent.service.pages.door import (
    HOME,
    LANGUAGE,
    Anyone,
    Operator,
    PageRoute,
    Sent,
    Visitor,
    person_named,
    safe_path,
)
from agent.service.pages.render import KINDS, SPOKEN
from agent.service.pages.session import LASTS_S, begun
from agent.service.requests import Do, Work, parts_of

router = APIRouter(include_in_schema=False, route_class=PageRoute)
FIRST = 24
"""People who are offered at once."""
To = Annotated[str, Query(max_length=2000)]


@router.get("/")
async def start(visitor: Anyone) -> Response:
    if visitor.principal is None:
        return RedirectResponse("/sign-in", 303)
    return RedirectResponse("/chat" if visitor.session.user else "/operator/people", 303)


@router.get("/sign-in")
async def sign_in(visitor: Anyone, do: Do, to: To = "/", q: Annotated[str, Query(max_length=200)] = "") -> Response:
    return await entrance(visitor, do, safe_path(to), q)


async def entrance(visitor: Visitor, do: Work, to: str, q: str = "", wrong: str = "", status: int = 200) -> Response:
    """The page to sign in by: people to choose from where nobody needs a key."""
    doorman, store = parts_of(visitor.request).doorman, do.desk.rapport.store

    def look() -> dict[str, object]:
        free = doorman.open
        return {"open": free, "people": store.people(q, limit=FIRST) if free else []}

    return visitor.page("sign_in.html", {**await do(look), "to": to, "q": q, "wrong": wrong}, status)


@router.post("/sign-in")
async def signed_in(visitor: Anyone, sent: Sent, do: Do) -> Response:
    to = safe_path(sent.one("to", "/"))
    doorman = parts_of(visitor.request).doorman
    address = visitor.request.client.host if visitor.request.client else ""
    if key := sent.one("key"):
        try:
            principal = await do(lambda: doorman.admit_key(key, address))
        except NoKey:
            return await entrance(visitor, do, to, wrong=visitor.words("wrong_key"), status=401)
        except Overloaded:
            return await entrance(visitor, do, to, wrong=visitor.words("too_many"), status=429)
        session = begun(principal.caller, principal.user)
    else:
        user = person_named(sent.one("user"))
        if not user and not sent.one("operator"):
            return await entrance(visitor, do, to, wrong=visitor.words("name_wrong"), status=422)
        await do(lambda: doorman.admit_again("", address))
        session = begun(HOME, user)
    response = RedirectResponse(to if session.user or to.startswith("/operator") else "/operator", 303)
    visitor.seal_into(response, session)
    return response


@router.post("/sign-out")
async def sign_out(visitor: Anyone, sent: Sent) -> Response:
    response = RedirectResponse("/sign-in", 303)
    visitor.seal_into(response, begun())
    return response


@router.post("/act")
async def act(visitor: Operator, sent: Sent) -> Response:
    """Who may look at everybody looks at the pages as one of them."""
    user = person_named(sent.one("user"))
    response = RedirectResponse("/for-you" if user else "/operator/people", 303)
    visitor.seal_into(response, begun(visitor.session.key, user))
    return response


@router.post("/language")
async def language(visitor: Anyone, sent: Sent) -> Response:
    chosen = next((one for one in SPOKEN if one == sent.one("to")), visitor.words.language)
    response = RedirectResponse(safe_path(sent.one("back", "/")), 303)
    response.set_cookie(LANGUAGE, chosen, max_age=12 * LASTS_S, samesite="lax", httponly=True)
    return response


@router.get("/static/{name}")
async def static(request: Request, name: str) -> Response:
    """A file of the pages; its address changes when it does."""
    body = request.app.state.office.renderer.files.get(name)
    if body is None:
        return Response(status_code=404)
    return Response(body, media_type=KINDS[name], headers={"Cache-Control": "public, max-age=31536000, immutable"})
