"""Who looks at a page, what their forms send, and what they see when it fails. Knows no page by name.

A form counts when its browser says that it comes from here (Origin), and when it carries its session's token.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Coroutine, Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, Any
from urllib.parse import parse_qs, quote

from fastapi import Depends, FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import RedirectResponse, Response
from fastapi.routing import APIRoute
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect

from agent.errors import NoKey, NotAllowed, RapportError
from agent.history.text import clean_id
from agent.history.values import Unusable
from agent.service import problem
from agent.service.access import Principal
from agent.service.frame import urlsplit_or_none
from agent.service.pages.refusals import refusal
from agent.service.pages.render import SPOKEN, Renderer, Words, preferred
from agent.service.pages.session import COOKIE, LASTS_S, Seal, Session, begun
from agent.service.pool import Gone
from agent.service.requests import parts_of
from agent.types import Language
from agent.wiring import Rapport

log = logging.getLogger("rapport.service")
LANGUAGE = "rapport_language"
PART = "X-Rapport-Part"
"""Sent by the script: only the parts of the page that may have changed are wanted."""
FIELDS = 500
PROGRAMS = ("/api/", "/v1/", "/mcp")
"""Where nobody looks at pages."""


@dataclass(frozen=True, slots=True)
class Office:
    """What all pages share."""

    renderer: Renderer
    seal: Seal


@dataclass(frozen=True, slots=True)
class Visitor:
    """Whoever looks at a page."""

    request: Request
    office: Office
    session: Session
    words: Words
    principal: Principal | None = None
    """None before they signed in."""

    @property
    def user(self) -> str:
        """The person whose pages these are. Raises NotAllowed."""
        if not self.session.user:
            raise NotAllowed("no person was chosen")
        self._asking.need_person(self.session.user, "read")
        return self.session.user

    def may_change(self) -> str:
        """The same for somebody who changes something. Raises NotAllowed."""
        self._asking.need_person(self.user, "write")
        return self.user

    def owns(self) -> str:
        """The same for somebody who takes everything along, or removes it. Raises NotAllowed."""
        self._asking.need_person(self.user, "admin")
        return self.user

    @property
    def operates(self) -> bool:
        return self.principal is not None and not self.principal.user and self.principal.may("read")

    @property
    def rapport(self) -> Rapport:
        return parts_of(self.request).desk.rapport

    @property
    def wants_part(self) -> bool:
        return PART in self.request.headers

    @property
    def _asking(self) -> Principal:
        if self.principal is None:
            raise NoKey("nobody is signed in")
        return self.principal

    def context(self, values: Mapping[str, Any]) -> dict[str, Any]:
        """What every template may use."""
        return {
            "t": self.words,
            "token": self.office.seal.token(self.session),
            "part": self.wants_part,
            "user": self.session.user,
            "operates": self.operates,
            "signed_in": self.principal is not None,
            "path": self.request.url.path,
            "here": here(self.request),
            "flash": None,
            **values,
        }

    def page(self, template: str, values: Mapping[str, Any] | None = None, status: int = 200) -> Response:
        """A page; of it only what may have changed when the script asks."""
        response = self.office.renderer.response(template, self.context(values or {}), status)
        if self.office.seal.read(self.request.cookies.get(COOKIE, "")) is None:
            self.seal_into(response, self.session)
        return response

    def seal_into(self, response: Response, session: Session) -> None:
        """Lets the browser keep a session. Scripts cannot read it, and other sites cannot have it sent along."""
        forwarded = self.request.headers.get("x-forwarded-proto", self.request.url.scheme)
        response.set_cookie(
            COOKIE,
            self.office.seal.write(session),
            max_age=LASTS_S,
            httponly=True,
            samesite="lax",
            secure=forwarded == "https",
        )


def here(request: Request) -> str:
    """Where somebody comes back to when the page is shown anew."""
    if request.method != "GET":
        return "/"
    return request.url.path + (f"?{request.url.query}" if request.url.query else "")


def language_of(request: Request, default: Language) -> Language:
    """What the person chose, or what their browser asks for."""
    chosen = request.cookies.get(LANGUAGE)
    for known in SPOKEN:
        if known == chosen:
            return known
    return preferred(request.headers.get("accept-language", ""), default)


def anyone(request: Request) -> Visitor:
    """Whoever it is, signed in or not. Raises Overloaded, StoreError."""
    parts, office = parts_of(request), request.app.state.office
    words = Words(language_of(request, parts.desk.rapport.settings.language))
    session = office.seal.read(request.cookies.get(COOKIE, ""))
    if session is None:
        return Visitor(request, office, begun(), words)
    if not session.key and not session.user:
        return Visitor(request, office, session, words)
    address = request.client.host if request.client else ""
    key = "" if session.key == HOME else session.key
    try:
        return Visitor(request, office, session, words, parts.doorman.admit_again(key, address))
    except NoKey:
        return Visitor(request, office, Session(since=session.since, nonce=session.nonce), words)


HOME = "home"
"""In place of a key's id: somebody at this machine, while nobody needs a key."""


def member(visitor: Annotated[Visitor, Depends(anyone)]) -> Visitor:
    """Somebody who is signed in. Raises NoKey."""
    if visitor.principal is None:
        raise NoKey("nobody is signed in")
    return visitor


def operator(visitor: Annotated[Visitor, Depends(member)]) -> Visitor:
    """Somebody who may look at everybody. Raises NotAllowed."""
    if not visitor.operates:
        raise NotAllowed("these pages are the operator's")
    return visitor


class Form:
    """What a form sent."""

    def __init__(self, fields: Mapping[str, Sequence[str]]) -> None:
        self._fields = fields

    def one(self, name: str, default: str = "") -> str:
        return next(iter(self._fields.get(name, ())), default)

    def every(self, name: str) -> list[str]:
        return list(self._fields.get(name, ()))


class Stale(Exception):
    """A form that is not from a page of this session."""


async def form(request: Request, visitor: Annotated[Visitor, Depends(anyone)]) -> Form:
    """What was sent. Raises Stale when it does not come from a page that this session was shown."""
    origin = request.headers.get("origin")
    if origin is not None and urlsplit_or_none(origin) != request.headers.get("host", "").lower():
        raise Stale
    if origin is None and request.headers.get("sec-fetch-site", "same-origin") != "same-origin":
        raise Stale
    try:
        body = (await request.body()).decode("ascii")
        fields = Form(parse_qs(body, keep_blank_values=True, max_num_fields=FIELDS, errors="strict"))
    except ClientDisconnect as error:
        raise Gone from error
    except ValueError as error:
        raise Stale from error
    if not visitor.office.seal.holds(visitor.session, fields.one("token")):
        raise Stale
    return fields


Anyone = Annotated[Visitor, Depends(anyone)]
Member = Annotated[Visitor, Depends(member)]
Operator = Annotated[Visitor, Depends(operator)]
Sent = Annotated[Form, Depends(form)]


def person_named(text: str) -> str:
    """A person's id as somebody types it; "" for what is none."""
    try:
        return clean_id(text, "user")
    except Unusable:
        return ""


class PageRoute(APIRoute):
    """A route whose errors are pages, too."""

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        handle = super().get_route_handler()

        async def guarded(request: Request) -> Response:
            try:
                return await handle(request)
            except Gone:
                raise
            except NoKey:
                return to_sign_in(request)
            except Stale:
                return failed(request, 400)
            except RapportError as error:
                status = problem.status_of(error)
                if status >= 500:
                    log.warning("%s %s: %s", problem.id_of(request), type(error).__name__, error)
                # A sentence of ours about what was asked for; what broke inside is the operator's business.
                return failed(request, status, said=str(error) if status == 422 else "")
            except HTTPException as error:
                return failed(request, error.status_code)
            except RequestValidationError:
                return failed(request, 422)
            except Exception:
                log.exception("%s failed", problem.id_of(request))
                return failed(request, 500)

        return guarded


def to_sign_in(request: Request) -> Response:
    """The way in; a script is told, because it cannot follow."""
    if PART in request.headers:
        return failed(request, 401)
    return RedirectResponse(
        f"/sign-in?to={quote(here(request), safe='')}" if request.method == "GET" else "/sign-in", 303
    )


def failed(request: Request, status: int, said: str = "") -> Response:
    """What went wrong, as a page. `said`: a sentence about what was asked for, as the core says it."""
    visitor = _without_asking(request)
    words = visitor.words
    detail = refusal(said, words.language)
    known = status if words.has(f"e{status}") else 503 if status in (502, 504) else 422 if status < 500 else 500
    text = detail or (words(f"e{known}_text", problem.id_of(request)) if words.has(f"e{known}_text") else "")
    values = {"title": words(f"e{known}"), "text": problem.readable(text), "status": status}
    # The way on, as far as the cookie tells: each page asks again who it is.
    values["signed_in"] = bool(visitor.session.user) and status != 401
    return visitor.page("failed.html", values, status)


def _without_asking(request: Request) -> Visitor:
    """The visitor as far as their cookies tell: what failed may be the store."""
    office = request.app.state.office
    words = Words(language_of(request, parts_of(request).desk.rapport.settings.language))
    session = office.seal.read(request.cookies.get(COOKIE, "")) or begun()
    return Visitor(request, office, session, words)


def safe_path(to: str) -> str:
    """A path of this site to go on to; the start for anything else."""
    fine = to.startswith("/") and not to.startswith(("//", "/\\")) and to.isprintable() and "\\" not in to
    return to if fine else "/"


def install(app: FastAPI) -> None:
    """Whoever looks for a page that is none is told by a page; programs by a problem, as ever."""
    others = app.exception_handlers[HTTPException]

    @app.exception_handler(HTTPException)
    async def refused(request: Request, error: HTTPException) -> Response:
        wants = request.headers.get("accept", "")
        if request.method == "GET" and "text/html" in wants and not request.url.path.startswith(PROGRAMS):
            return failed(request, error.status_code)
        return await others(request, error)  # type: ignore[misc]
