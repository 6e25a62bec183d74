"""What goes over the wire to an OpenAI-compatible API and what comes back; asks nothing itself and never waits.

Answers are untrusted: read up to a size and a deadline, decoded whatever their bytes are, and every way in which they
can be wrong becomes an LLMError. `vendor_errors` is the only place that knows the SDK's exceptions.
"""

from __future__ import annotations

import json
import math
import socket
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence, Set
from contextlib import closing, contextmanager
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import TYPE_CHECKING, Any, Literal

from agent.errors import LLMError, Refused, SetupError, TimedOut, Unavailable
from agent.llm.base import Chat, Completion, Schema
from agent.llm.scripted import normalised
from agent.llm.tokens import estimate_prompt, estimate_tokens, refuse_overflow

if TYPE_CHECKING:
    import httpx2
    import openai

LARGEST_ANSWER = 8 * 1024 * 1024
"""Bytes; more is no answer to any question that Rapport asks."""
CONNECT_S = 5.0
PAUSE_S = 0.5
"""Before another attempt, where the provider does not say how long to wait."""
SURE = 0.9
"""The probability given to the pick of a model that does not tell its probabilities."""
TOP_LOGPROBS = 20  # the most that OpenAI gives
OPTIONAL = frozenset({"temperature", "seed", "max_tokens", "logprobs", "top_logprobs"})
"""Parameters that some models refuse; they are left out (max_tokens: renamed) once that has happened."""
_LOGPROBS = {"logprobs", "top_logprobs"}
OPENAIS_OWN = frozenset({"max_tokens"})
"""What OpenAI's own newer models refuse and its older ones do not need."""
_SHOWN = 200  # characters of a vendor's message


def client(base_url: str | None, api_key: str | None, timeout_s: float) -> openai.OpenAI:
    """The SDK's client of the API at `base_url` (None: OpenAI's own), which retries nothing. Raises SetupError."""
    import openai

    timeout = openai.Timeout(timeout_s, connect=min(CONNECT_S, timeout_s))
    try:
        return openai.OpenAI(api_key=api_key, base_url=base_url, max_retries=0, timeout=timeout)
    except openai.OpenAIError as error:
        if base_url is None:
            raise SetupError("models of OpenAI need a key: set the variable OPENAI_API_KEY") from error
        # The SDK insists on a key, servers of one's own do not.
        return openai.OpenAI(api_key="none", base_url=base_url, max_retries=0, timeout=timeout)


# -- errors


def error_table() -> dict[type[Exception], type[LLMError]]:
    """What each exception of the SDK and of its HTTP library means; a subclass means what its nearest base means."""
    import httpx2
    import openai

    return {
        openai.APITimeoutError: TimedOut,
        openai.APIConnectionError: Unavailable,
        openai.RateLimitError: Unavailable,
        openai.ConflictError: Unavailable,
        openai.InternalServerError: Unavailable,
        openai.APIResponseValidationError: Unavailable,
        openai.WebSocketConnectionClosedError: Unavailable,
        openai.WebSocketQueueFullError: Unavailable,
        openai.APIError: Unavailable,
        openai.BadRequestError: Refused,
        openai.AuthenticationError: Refused,
        openai.PermissionDeniedError: Refused,
        openai.NotFoundError: Refused,
        openai.UnprocessableEntityError: Refused,
        openai.APIStatusError: Refused,
        openai.LengthFinishReasonError: Refused,
        openai.ContentFilterFinishReasonError: Refused,
        openai.InvalidWebhookSignatureError: Refused,
        openai.OpenAIError: Refused,  # wrongly configured; a test sees to it that nothing else arrives here
        httpx2.TimeoutException: TimedOut,
        httpx2.HTTPError: Unavailable,
        httpx2.StreamError: Unavailable,
        httpx2.CookieConflict: Unavailable,
        httpx2.InvalidURL: Refused,
    }


def meaning(error: Exception) -> type[LLMError]:
    """The LLMError that a vendor's exception becomes."""
    import openai

    if isinstance(error, openai.APIStatusError):
        if error.status_code in (408, 425):  # too slow, too early: both pass
            return Unavailable
        if error.code == "insufficient_quota":  # comes as 429, but waiting does not mend it
            return Refused
    table = error_table()
    return next(table[base] for base in type(error).__mro__ if base in table)


@contextmanager
def vendor_errors() -> Iterator[None]:
    """Turns every exception of the SDK and of its HTTP library into an LLMError, which keeps it as its cause."""
    import httpx2
    import openai

    vendors = (openai.OpenAIError, openai.InvalidWebhookSignatureError, httpx2.HTTPError, httpx2.StreamError)
    try:
        yield
    except (*vendors, httpx2.InvalidURL, httpx2.CookieConflict) as error:
        raise meaning(error)(f"the model's server: {str(error)[:_SHOWN] or type(error).__name__}") from error


def retry_after_s(error: BaseException | None) -> float:
    """Seconds that the provider asks to wait before another attempt; PAUSE_S where it says nothing readable.

    A date is read against the server's own clock where the answer carries it: clocks differ.
    """
    import openai

    if not isinstance(error, openai.APIStatusError):
        return PAUSE_S
    headers = error.response.headers
    said = headers.get("retry-after", "")
    try:
        seconds = float(said)
    except ValueError:
        until, now = _date(said), _date(headers.get("date", "")) or datetime.now(UTC)
        seconds = (until - now).total_seconds() if until else PAUSE_S
    return max(seconds, 0.0) if math.isfinite(seconds) else PAUSE_S


def _date(text: str) -> datetime | None:
    try:
        found = parsedate_to_datetime(text)
    except ValueError:
        return None
    return found if found.tzinfo else found.replace(tzinfo=UTC)


# -- questions


def sendable(text: str) -> str:
    """`text` without what UTF-8 cannot hold (lone surrogates)."""
    return text.encode("utf-8", "replace").decode("utf-8")


def question(
    model: str,
    chat: Chat,
    context: int,
    *,
    schema: Schema | None = None,
    max_tokens: int,
    temperature: float = 0.0,
    seed: int = 0,
) -> dict[str, Any]:
    """The body of a request for a chat completion. Refused when it does not fit into `context` tokens."""
    refuse_overflow(estimate_prompt(message.content for message in chat), max_tokens, context)
    body: dict[str, Any] = {
        "model": model,
        "messages": [{"role": message.role, "content": sendable(message.content)} for message in chat],
        "max_tokens": max_tokens,
        "temperature": temperature,
        "seed": seed,
    }
    return body if schema is None else body | {"response_format": response_format(schema)}


def accepted(body: Mapping[str, Any], left_out: Set[str]) -> dict[str, Any]:
    """`body` as a provider takes it that refused the parameters `left_out`."""
    if not left_out.isdisjoint(_LOGPROBS):
        left_out = left_out | _LOGPROBS  # neither means anything without the other
    sent = {name: value for name, value in body.items() if name not in left_out}
    if "max_tokens" in left_out:
        sent["max_completion_tokens"] = body["max_tokens"]
    return sent


def refuse_choices(choices: Sequence[str]) -> None:
    """Refused unless `choices` are all different and non-empty."""
    if not all(choices) or len(set(choices)) < len(choices):
        raise Refused(f"the choices {list(choices)} are not all different and non-empty")


def choose(
    body: Mapping[str, Any],
    choices: Sequence[str],
    answer: Callable[[Mapping[str, Any]], Mapping[str, Any]],
    left_out: set[str],
) -> list[float]:
    """Log-probability of each choice for the question `body` of one token, by one or two requests to `answer`.

    A provider that tells no log-probabilities is asked to pick; "logprobs" in `left_out` says so from then on.
    """
    if "logprobs" not in left_out:
        first = answer({**body, "logprobs": True, "top_logprobs": TOP_LOGPROBS})
        if found := scores(first, choices):
            return found
        if not tells(first):
            left_out.add("logprobs")
    schema = {"type": "object", "properties": {"answer": {"enum": list(choices)}}, "required": ["answer"]}
    room = max(map(estimate_tokens, choices)) + estimate_tokens('{"answer": ""}')
    return picked(content(answer({**body, "max_tokens": room, "response_format": response_format(schema)})), choices)


def response_format(schema: Schema) -> dict[str, Any]:
    """The parameter that asks for an answer by `schema`, strictly."""
    return {"type": "json_schema", "json_schema": {"name": "answer", "strict": True, "schema": strict(schema)}}


_KEPT = {
    *("type", "enum", "const", "description", "pattern", "format", "$ref"),
    *("minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum", "multipleOf", "minItems", "maxItems"),
}
_DROPPED = {"title", "default", "examples", "minLength", "maxLength", "uniqueItems", "$schema", "$id", "$comment"}
"""Keywords that the strict dialect does not know; the caller validates the answer against them."""


def strict(schema: Any) -> dict[str, Any]:
    """`schema` in OpenAI's strict dialect: every property required, none additional. Refused where it has no word.

    Source: the section "Supported schemas" of OpenAI's guide to structured outputs.
    """
    if not isinstance(schema, Mapping):
        raise Refused(f"{schema!r} is no schema")
    made: dict[str, Any] = {}
    for keyword, value in schema.items():
        if keyword in ("properties", "$defs", "definitions"):
            made[keyword] = {name: strict(inner) for name, inner in value.items()}
        elif keyword == "items":
            made[keyword] = strict(value)
        elif keyword == "anyOf":
            made[keyword] = [strict(inner) for inner in value]
        elif keyword in _KEPT:
            made[keyword] = value
        elif keyword == "additionalProperties":
            if value is not False:
                raise Refused("a schema that allows additional properties is not strict")
        elif keyword not in _DROPPED | {"required"}:
            raise Refused(f"the strict dialect has no {keyword!r}")
    if made.get("type") == "object" or "properties" in made:
        if not made.get("properties"):
            raise Refused("an object without properties is not strict")
        made |= {"required": list(made["properties"]), "additionalProperties": False}
    return made


# -- answers


@contextmanager
def reading(response: httpx2.Response, deadline: float) -> Iterator[None]:
    """While the body of `response` is read: vendor errors are translated, at `deadline` (monotonic) reading ends.

    A provider that sends a byte now and then never trips a read timeout; shutting the socket down ends it.
    """
    timer = threading.Timer(max(deadline - time.monotonic(), 0.0), _shut_down, [response])
    timer.daemon = True
    timer.start()
    try:
        with closing(response), vendor_errors():
            yield
    except Unavailable as error:
        if time.monotonic() >= deadline:
            raise TimedOut("the model's server did not finish its answer in time") from error
        raise
    finally:
        timer.cancel()


def _shut_down(response: httpx2.Response) -> None:
    stream = response.extensions.get("network_stream")
    connection = stream.get_extra_info("socket") if stream else None
    if isinstance(connection, socket.socket):
        try:
            connection.shutdown(socket.SHUT_RDWR)
        except OSError:
            return  # closed already: the answer ended at this very moment


def parsed(body: Iterable[bytes]) -> dict[str, Any]:
    """The JSON object that a whole answer is, with at least one choice."""
    raw = bytearray()
    for chunk in body:
        raw += chunk
        if len(raw) > LARGEST_ANSWER:
            raise Unavailable(f"the model's server sent more than {LARGEST_ANSWER} bytes")
    answer = _object(raw.decode("utf-8", "replace"))
    _first(answer)
    return answer


def stream_pieces(body: Iterable[bytes]) -> Iterator[str]:
    """The text of a streamed answer piece by piece; Unavailable when it breaks off before its end."""
    ended = False
    for data in _events(body):
        if data == "[DONE]":
            ended = True
            break
        event = _object(data)
        if not event.get("choices"):
            continue  # a comment on usage
        choice = _first(event)
        delta = choice.get("delta")
        text = delta.get("content") if isinstance(delta, dict) else None
        _refuse_refusal(choice, delta if isinstance(delta, dict) else {})
        if isinstance(text, str) and text:
            yield sendable(text)
        ended = ended or isinstance(choice.get("finish_reason"), str)
    if not ended:
        raise Unavailable("the model's server broke the stream off")


def _events(body: Iterable[bytes]) -> Iterator[str]:
    """The data of server-sent events, one line each as these APIs send them; split characters are joined again."""
    rest = b""
    total = 0
    for chunk in body:
        total += len(chunk)
        if total > LARGEST_ANSWER:
            raise Unavailable(f"the model's server sent more than {LARGEST_ANSWER} bytes")
        *lines, rest = (rest + chunk).split(b"\n")
        for line in lines:
            if line.startswith(b"data:"):
                yield line[len(b"data:") :].strip().decode("utf-8", "replace")


def content(answer: Mapping[str, Any]) -> str:
    """The text of the first choice; "" when it was cut off before its first word."""
    choice = _first(answer)
    message = choice.get("message")
    if not isinstance(message, dict):
        raise Unavailable("the model's server sent a choice without a message")
    _refuse_refusal(choice, message)
    text = message.get("content")
    if isinstance(text, str):
        return sendable(text)
    if finish(answer) == "length":
        return ""
    if message.get("tool_calls"):
        raise Refused("the model asked for a tool, and it has none")
    raise Unavailable("the model's server sent no content")


def completion(answer: Mapping[str, Any], body: Mapping[str, Any], ms: float) -> Completion:
    """What the answer to the question `body` says. Raises Unavailable, Refused."""
    text = content(answer)
    return Completion(
        text=text,
        finish=finish(answer),
        prompt_tokens=usage(answer, "prompt_tokens")
        or estimate_prompt(message["content"] for message in body["messages"]),
        completion_tokens=usage(answer, "completion_tokens") or estimate_tokens(text),
        ms=ms,
    )


def finish(answer: Mapping[str, Any]) -> Literal["stop", "length"]:
    return "length" if _first(answer).get("finish_reason") == "length" else "stop"


def usage(answer: Mapping[str, Any], name: str) -> int:
    """The count `name` of the answer's usage; 0 when the provider does not tell."""
    counts = answer.get("usage")
    count = counts.get(name) if isinstance(counts, dict) else None
    return count if isinstance(count, int) and count > 0 else 0


def scores(answer: Mapping[str, Any], choices: Sequence[str]) -> list[float]:
    """Log-probability of each choice by the likeliest first tokens; [] when the answer has none that begin a choice.

    A token that begins several choices counts for all of them in equal parts. What is not among the likeliest is at
    most as likely as the last of them, and counted as that.
    """
    first = _top_logprobs(_first(answer))
    mass = [0.0] * len(choices)
    for token, logprob in first:
        begun = [n for n, choice in enumerate(choices) if _begins(token, choice)]
        for n in begun:
            mass[n] += math.exp(logprob) / len(begun)
    if not any(mass):
        return []
    least = min(logprob for _, logprob in first)
    return normalised([math.log(share) if share else least for share in mass])


def tells(answer: Mapping[str, Any]) -> bool:
    """Whether the answer carries log-probabilities. Raises Unavailable when there is no answer in it."""
    return bool(_top_logprobs(_first(answer)))


def _begins(token: str, choice: str) -> bool:
    """True when an answer that begins with `token` may be `choice`."""
    word = token.strip()
    if not word:
        return False
    return choice.startswith(word) or (word.startswith(choice) and not word[len(choice)].isalnum())


def _top_logprobs(choice: Mapping[str, Any]) -> list[tuple[str, float]]:
    """The likeliest first tokens with their log-probabilities; [] where the provider gives none."""
    logprobs = choice.get("logprobs")
    tokens = logprobs.get("content") if isinstance(logprobs, dict) else None
    first = tokens[0] if isinstance(tokens, list) and tokens else None
    top = first.get("top_logprobs") if isinstance(first, dict) else None
    return [
        (entry["token"], min(float(entry["logprob"]), 0.0))
        for entry in (top if isinstance(top, list) else [])
        if isinstance(entry, dict)
        and isinstance(entry.get("token"), str)
        and isinstance(entry.get("logprob"), int | float)
        and math.isfinite(entry["logprob"])
    ]


def picked(text: str, choices: Sequence[str]) -> list[float]:
    """Log-probabilities from a picked choice, {"answer": choice} or the bare word: SURE for it, the rest shared.

    Refused when the answer is none of `choices`.
    """
    said = text.strip()
    try:
        said = json.loads(said)["answer"]
    except (ValueError, TypeError, KeyError, RecursionError):
        said = said.strip("\"'.`")  # a provider that ignores the schema answers in words
    if said not in choices:
        raise Refused(f"the model tells no probabilities and answered none of the choices: {text[:_SHOWN]!r}")
    rest = (1 - SURE) / max(len(choices) - 1, 1)
    return normalised([math.log(SURE if choice == said else rest) for choice in choices])


def _first(answer: Mapping[str, Any]) -> dict[str, Any]:
    choices = answer.get("choices")
    if not isinstance(choices, list) or not choices or not isinstance(choices[0], dict):
        raise Unavailable("the model's server sent no choices")
    return choices[0]


def _refuse_refusal(choice: Mapping[str, Any], message: Mapping[str, Any]) -> None:
    if message.get("refusal"):
        raise Refused(f"the model refuses: {str(message['refusal'])[:_SHOWN]}")
    if choice.get("finish_reason") == "content_filter":
        raise Refused("the provider's content filter cut the answer")


def _object(text: str) -> dict[str, Any]:
    try:
        found = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise Unavailable(f"the model's server sent no JSON but {text[:_SHOWN]!r}") from error
    if not isinstance(found, dict):
        raise Unavailable(f"the model's server sent no object but {text[:_SHOWN]!r}")
    if isinstance(found.get("error"), dict):
        raise Unavailable(f"the model's server: {str(found['error'].get('message'))[:_SHOWN]}")
    return found
