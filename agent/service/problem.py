"""Errors as answers: the one table from the tree of agent.errors to HTTP, as problem+json (RFC 9457), and in OpenAI's
form where OpenAI's clients ask.

What a caller sent is never repeated, and what nobody raised on purpose is not explained to strangers.
"""

from __future__ import annotations

import logging
import re
from typing import Any

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse, Response
from pydantic import BaseModel, Field
from starlette.exceptions import HTTPException

from agent import errors

log = logging.getLogger("rapport.service")
MEDIA = "application/problem+json"
STATUS: dict[type[errors.RapportError], int] = {
    errors.RapportError: 500,
    errors.UsageError: 422,
    errors.UnknownUser: 404,
    errors.UnknownItem: 404,
    errors.BadFilter: 422,
    errors.NoKey: 401,
    errors.NotAllowed: 403,
    errors.TooMuch: 413,
    errors.OtherRequest: 409,
    errors.Overloaded: 429,
    errors.SetupError: 503,
    errors.ImportRefused: 422,
    errors.LLMError: 503,
    errors.Unavailable: 503,
    errors.TimedOut: 504,
    errors.Refused: 503,
    errors.CallFailed: 503,
    errors.CallUnavailable: 503,
    errors.CallRefused: 503,
    errors.BadCompletion: 503,
    errors.Truncated: 503,
    errors.BudgetSpent: 503,
    errors.Deferred: 503,
    errors.PromptError: 500,
    errors.StoreError: 503,
    errors.StoreBusy: 503,
    errors.StaleLease: 503,
}
"""Every class of the tree, by name: a test fails when one is missing."""
WAIT_S = 2
"""Seconds after which it is worth asking a service again that could not answer."""
MEANING = {
    400: "The request cannot be read.",
    401: "An API key is missing, wrong or revoked.",
    403: "The key is good, but not for this; or the request comes from another site.",
    404: "There is no such person, item or page.",
    405: "This address takes other methods.",
    409: "The idempotency key was used for another request.",
    413: "The request is larger than this address takes.",
    421: "The request names a host that this service is not.",
    422: "A value is wrong; the answer says which.",
    429: "Too many requests; come back after Retry-After seconds.",
    500: "Something that was not foreseen; the log has it under the request's id.",
    503: "A part is busy or broken; come back after Retry-After seconds.",
    504: "It took too long.",
}


OPENAI = "/v1/"
"""Whoever asks below this reads errors in OpenAI's form."""
KINDS = {400: "invalid_request_error", 401: "authentication_error", 403: "permission_error", 429: "rate_limit_error"}


class Wrong(BaseModel):
    """One value that is wrong."""

    where: str = Field(description="Where it stands, e.g. body.value or query.n.")
    message: str


class Problem(BaseModel):
    """What went wrong (RFC 9457)."""

    type: str = Field(description="A stable name for programs, e.g. urn:rapport:unknown-user.")
    title: str
    status: int
    detail: str = Field(description="For people.")
    request_id: str = Field(description="Under this the log knows the request; also the X-Request-ID header.")
    errors: list[Wrong] = []


class OpenAIErrorBody(BaseModel):
    message: str
    type: str
    param: str | None = None
    code: str | None = None


class OpenAIError(BaseModel):
    error: OpenAIErrorBody


def answers(*statuses: int) -> dict[int | str, dict[str, Any]]:
    """The error answers of a route that does something, for its description: these, and those that all such give."""
    return anyway(401, 422, 429, 503, 504, *statuses)


def anyway(*statuses: int) -> dict[int | str, dict[str, Any]]:
    """The same of a route that does nothing: these, and those that a request can meet before any route."""
    content = {MEDIA: {"schema": {"$ref": "#/components/schemas/Problem"}}}
    every = sorted({400, 403, 413, 421, 500, *statuses})
    return {status: {"description": MEANING[status], "content": content} for status in every}


def status_of(error: errors.RapportError) -> int:
    return next(STATUS[kind] for kind in type(error).__mro__ if kind in STATUS)


def kind_of(error: errors.RapportError) -> str:
    """ "UnknownUser" as "unknown-user"."""
    return re.sub(r"(?<!^)(?=[A-Z])", "-", type(error).__name__).lower()


def problem(request_id: str, status: int, kind: str, detail: str, wrong: list[Wrong] | None = None) -> Problem:
    return Problem(
        type=f"urn:rapport:{kind}",
        title=MEANING.get(status, "The request failed."),
        status=status,
        detail=readable(detail),
        request_id=request_id,
        errors=wrong or [],
    )


def response(
    request_id: str,
    status: int,
    kind: str,
    detail: str,
    wrong: list[Wrong] | None = None,
    headers: dict[str, str] | None = None,
) -> Response:
    """A problem as an answer."""
    return JSONResponse(problem(request_id, status, kind, detail, wrong).model_dump(), status, headers, MEDIA)


def openai_error(status: int, message: str, param: str | None = None) -> dict[str, Any]:
    """An error as OpenAI's clients read it."""
    kind = KINDS.get(status, "server_error" if status >= 500 else "invalid_request_error")
    code = "invalid_api_key" if status == 401 else None
    return OpenAIError(error=OpenAIErrorBody(message=readable(message), type=kind, param=param, code=code)).model_dump()


def refusal(
    path: str, request_id: str, status: int, kind: str, detail: str, headers: dict[str, str] | None = None
) -> Response:
    """What no route answers, in the form that is read at `path`."""
    if path.startswith(OPENAI):
        return JSONResponse(openai_error(status, detail), status, headers)
    return response(request_id, status, kind, detail, headers=headers)


def of_raised(request_id: str, error: errors.RapportError) -> Problem:
    """What ends an answer that had begun: its status was sent already."""
    return problem(request_id, status_of(error), kind_of(error), str(error))


def readable(text: str) -> str:
    """What every reader can decode: half a surrogate pair is no text."""
    return text.encode("utf-8", "replace").decode()


def of_error(request_id: str, error: errors.RapportError) -> Response:
    """What a RapportError is to a caller."""
    status = status_of(error)
    headers: dict[str, str] = {}
    if isinstance(error, errors.Overloaded):
        headers["Retry-After"] = str(max(1, round(error.wait_s)))
    elif status == 503:
        headers["Retry-After"] = str(WAIT_S)
    elif status == 401:
        headers["WWW-Authenticate"] = "Bearer"
    if status >= 500:
        log.warning("%s %s: %s", request_id, type(error).__name__, error)
    return JSONResponse(of_raised(request_id, error).model_dump(), status, headers, MEDIA)


def id_of(request: Request) -> str:
    return request.scope.get("state", {}).get("request_id", "")


def install(app: FastAPI) -> None:
    """Every error of `app` as a problem."""

    @app.exception_handler(errors.RapportError)
    async def raised(request: Request, error: errors.RapportError) -> Response:
        return of_error(id_of(request), error)

    @app.exception_handler(RequestValidationError)
    async def invalid(request: Request, error: RequestValidationError) -> Response:
        # Without the input: it may be what JSON or UTF-8 cannot carry, and it may be somebody's data.
        wrong = [
            Wrong(where=".".join(str(part)[:80] for part in one["loc"]), message=readable(str(one["msg"])))
            for one in error.errors()[:20]
        ]
        for one in wrong:
            one.where = readable(one.where)
        said = "; ".join(f"{one.where}: {one.message}" for one in wrong[:3])
        return response(id_of(request), 422, "invalid", said, wrong)

    @app.exception_handler(HTTPException)
    async def refused(request: Request, error: HTTPException) -> Response:
        kind = {404: "not-found", 405: "method-not-allowed", 413: "too-much"}.get(error.status_code, "refused")
        detail = MEANING.get(error.status_code, str(error.detail))
        told = dict(error.headers or {})
        return refusal(request.url.path, id_of(request), error.status_code, kind, detail, told)

    @app.exception_handler(Exception)
    async def unforeseen(request: Request, error: Exception) -> Response:
        log.error("%s failed", id_of(request), exc_info=error)
        return refusal(request.url.path, id_of(request), 500, "unforeseen", MEANING[500])
