"""The conversation for programs that speak OpenAI's chat completions and know nothing of Rapport.

They send everything that was said each time; which conversation that is, is found out. Errors have OpenAI's form.
"""

from __future__ import annotations

import json
import logging
import time
import uuid
from collections.abc import AsyncIterator, Callable, Coroutine, Generator, Sequence
from dataclasses import dataclass, field
from typing import Annotated, Any, Literal

from fastapi import APIRouter, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse, Response
from fastapi.routing import APIRoute
from fastapi.sse import format_sse_event
from pydantic import BaseModel, ConfigDict, Field

from agent.chat import side_tasks
from agent.chat.plain_text import text_of
from agent.chat.resent import found_again
from agent.errors import Overloaded, RapportError, UnknownItem
from agent.llm.tokens import estimate_tokens
from agent.service.access import talks_for
from agent.service.desk import Desk
from agent.service.pool import Gone
from agent.service.problem import MEANING, WAIT_S, OpenAIError, id_of, openai_error, readable, status_of
from agent.service.requests import Do, Who
from agent.service.schemas import Json, Text
from agent.service.streaming import ALIVE, MEDIA, Sending, Stream, lively

log = logging.getLogger("rapport.service")
MODEL = "rapport"
CARDS = 5
MOST_MESSAGES = 4000
LANGUAGES = {"en": "English", "zh": "Chinese"}


class Loose(BaseModel):
    """What chat programs send: what is not known here is ignored."""

    model_config = ConfigDict(extra="ignore", allow_inf_nan=False)


class ContentPart(Loose):
    type: Text = ""
    text: Text | None = None


class MessageIn(Loose):
    role: Text
    content: Text | list[ContentPart] | None = None

    @property
    def words(self) -> str:
        """What is text of it."""
        if self.content is None or isinstance(self.content, str):
            return self.content or ""
        return "\n".join(one.text for one in self.content if one.text)


class StreamOptions(Loose):
    include_usage: bool | None = None


class CompletionIn(Loose):
    """As OpenAI describes it. Whatever the model is called, it is this one, and sampling has no meaning here."""

    messages: Annotated[list[MessageIn], Field(min_length=1, max_length=MOST_MESSAGES)]
    model: Text = MODEL
    stream: bool | None = None
    stream_options: StreamOptions | None = None
    user: Annotated[Text, Field(max_length=512, description="Whose conversation it is, for keys of scope proxy.")] = ""
    tools: list[dict[str, Any]] | None = Field(default=None, description="Only looked at where a title is asked for.")
    response_format: dict[str, Any] | None = Field(default=None, description="The same.")


class ModelOut(BaseModel):
    id: str
    object: Literal["model"] = "model"
    created: int = 0
    owned_by: str = "rapport"


class ModelsOut(BaseModel):
    object: Literal["list"] = "list"
    data: list[ModelOut]


class CalledFunction(BaseModel):
    name: str
    arguments: str


class ToolCall(BaseModel):
    id: str
    type: Literal["function"] = "function"
    function: CalledFunction


class MessageOut(BaseModel):
    role: Literal["assistant"] = "assistant"
    content: str | None
    tool_calls: list[ToolCall] | None = None


class ChoiceOut(BaseModel):
    index: int = 0
    message: MessageOut
    finish_reason: Literal["stop", "tool_calls"] = "stop"


class Usage(BaseModel):
    """Estimated from the texts: what a model of ours was asked is in the call log."""

    prompt_tokens: int
    completion_tokens: int
    total_tokens: int


class CompletionOut(BaseModel):
    id: str
    object: Literal["chat.completion"] = "chat.completion"
    created: int
    model: str = MODEL
    choices: list[ChoiceOut]
    usage: Usage


class OpenAIRoute(APIRoute):
    """Errors in the form that OpenAI's clients read."""

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        handle = super().get_route_handler()

        async def handled(request: Request) -> Response:
            try:
                return await handle(request)
            except RapportError as error:
                return failed(request, error)
            except RequestValidationError as error:
                # Without the input, which may be what JSON or UTF-8 cannot carry.
                first = error.errors()[0]
                where = readable(".".join(str(part)[:80] for part in first["loc"] if part != "body"))
                body = openai_error(400, f"{where}: {readable(str(first['msg']))}", param=where or None)
                return JSONResponse(body, 400)

        return handled


def failed(request: Request, error: RapportError) -> Response:
    status = status_of(error)
    status = 400 if status == 422 else status
    headers = {}
    if isinstance(error, Overloaded):
        headers["Retry-After"] = str(max(1, round(error.wait_s)))
    elif status == 503:
        headers["Retry-After"] = str(WAIT_S)
    elif status == 401:
        headers["WWW-Authenticate"] = "Bearer"
    if status >= 500:
        log.warning("%s %s: %s", id_of(request), type(error).__name__, error)
    return JSONResponse(openai_error(status, str(error)), status, headers)


def errors(*statuses: int) -> dict[int | str, dict[str, Any]]:
    """The error answers of a route here."""
    every = (400, 401, 403, 413, 421, 429, 500, 503, 504, *statuses)
    return {one: {"description": MEANING[one], "model": OpenAIError} for one in every}


router = APIRouter(prefix="/v1", tags=["openai"], route_class=OpenAIRoute)


@router.get("/models", response_model=ModelsOut, responses=errors())
async def models(who: Who) -> Json:
    """The one model there is."""
    return {"data": [{"id": MODEL}]}


@router.get("/models/{model}", response_model=ModelOut, responses=errors(404))
async def model(model: Text, who: Who) -> Json:
    """The one model, by its name."""
    if model != MODEL:
        raise UnknownItem(f"there is one model here: {MODEL}")
    return {"id": MODEL}


@router.post(
    "/chat/completions",
    response_model=CompletionOut,
    response_model_exclude_none=False,
    responses=errors()
    | {200: {"description": "The answer, or with stream=true chunks of it.", "content": {MEDIA: {"schema": {}}}}},
)
async def complete(body: CompletionIn, who: Who, do: Do, request: Request) -> Any:
    """An answer to the last message of the user, as text: what is recommended, with years and reasons. Whose
    conversation it is: the key's person, whom a trusted header names, or `user` (scope proxy)."""
    said = [one.words for one in body.messages if one.role == "user"]
    answer = Answering(body)
    if said and (kind := side_tasks.kind_of(said[-1])):
        message = beside(kind, said[-1], body, do.desk.rapport.domain)
        return answer.sent(message) if body.stream else answer.whole(message)
    user = talks_for(who, request.headers, body.user, do.desk.config.user_header)
    make = talking(do.desk, user, said)
    if not body.stream:
        return answer.whole(MessageOut(content=await do(lambda: "".join(make()).strip())))
    stream = Stream(do.desk.pool, make)
    first = await stream.first(request)
    return Sending(stream, answer.chunks(stream, first, id_of(request)))


def talking(desk: Desk, user: str, said: Sequence[str]) -> Callable[[], Generator[str]]:
    def pieces() -> Generator[str]:
        chat = desk.rapport.chat
        with desk.people.about(user):
            for part in chat.reply(user, found_again(chat, user, said), said[-1], n=CARDS):
                if text := text_of(part):
                    yield text

    return pieces


def beside(kind: side_tasks.Kind, prompt: str, body: CompletionIn, domain: str) -> MessageOut:
    """What a program asks for itself, a title say: nobody said it, so nothing is learned of it."""
    function = next((one.get("function") for one in body.tools or () if isinstance(one.get("function"), dict)), None)
    wants_fields = function is not None or (body.response_format or {}).get("type") in ("json_schema", "json_object")
    if kind != "title" or not wants_fields:
        return MessageOut(content=side_tasks.answered(kind, prompt, domain))
    language, title = side_tasks.title_of(prompt)
    fields = json.dumps({"language": LANGUAGES[language], "title": title}, ensure_ascii=False)
    if function is None:
        return MessageOut(content=fields)
    called = CalledFunction(name=str(function.get("name", "title"))[:200], arguments=fields)
    return MessageOut(content=None, tool_calls=[ToolCall(id=f"call_{uuid.uuid4().hex[:24]}", function=called)])


@dataclass(frozen=True)
class Answering:
    """One answer in OpenAI's form."""

    body: CompletionIn
    id: str = field(default_factory=lambda: f"chatcmpl-{uuid.uuid4().hex}")
    created: int = field(default_factory=lambda: int(time.time()))

    def whole(self, message: MessageOut) -> CompletionOut:
        choice = ChoiceOut(message=message, finish_reason="tool_calls" if message.tool_calls else "stop")
        return CompletionOut(
            id=self.id, created=self.created, choices=[choice], usage=self._usage(message.content or "")
        )

    def sent(self, message: MessageOut) -> Response:
        """The same as a stream."""
        delta: Json = {"role": "assistant", "content": message.content}
        if message.tool_calls:
            delta["tool_calls"] = [{"index": 0} | one.model_dump() for one in message.tool_calls]
        ended = "tool_calls" if message.tool_calls else "stop"
        text = b"".join([self._chunk(delta), *self._end(message.content or "", ended)])
        return Response(text, media_type=MEDIA)

    async def chunks(self, stream: Stream[str], first: str | None, request_id: str) -> AsyncIterator[bytes]:
        """The answer as it is made. What fails in the middle is an error object, as OpenAI sends it."""
        text = ""
        try:
            yield self._chunk({"role": "assistant", "content": ""})
            async for piece in lively(stream, first):
                if piece is None:
                    yield ALIVE
                    continue
                # What is said comes after what was shown, on a line of its own.
                piece = piece if text else piece.lstrip()
                text += piece
                yield self._chunk({"content": piece})
            for one in self._end(text, "stop"):
                yield one
        except Gone:
            # Nobody reads this.
            return
        except RapportError as error:
            yield data(openai_error(status_of(error), str(error)))
        except Exception as error:
            log.error("%s failed", request_id, exc_info=error)
            yield data(openai_error(500, MEANING[500]))

    def _end(self, text: str, reason: str) -> list[bytes]:
        last = [self._chunk({}, reason)]
        if self.body.stream_options and self.body.stream_options.include_usage:
            last.append(data(self._frame([]) | {"usage": self._usage(text).model_dump()}))
        return [*last, format_sse_event(data_str="[DONE]")]

    def _chunk(self, delta: Json, reason: str | None = None) -> bytes:
        return data(self._frame([{"index": 0, "delta": delta, "finish_reason": reason}]))

    def _frame(self, choices: list[Json]) -> Json:
        return {
            "id": self.id,
            "object": "chat.completion.chunk",
            "created": self.created,
            "model": MODEL,
            "choices": choices,
        }

    def _usage(self, text: str) -> Usage:
        asked = sum(estimate_tokens(one.words) for one in self.body.messages)
        told = estimate_tokens(text)
        return Usage(prompt_tokens=asked, completion_tokens=told, total_tokens=asked + told)


def data(value: Json) -> bytes:
    return format_sse_event(data_str=json.dumps(value, ensure_ascii=False))
