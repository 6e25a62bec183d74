"""The Batch file format, which OpenAI's Batch API and `vllm run-batch` share: requests out, answers in; sends nothing.

A request's id is a hash of what is asked, so that two people's same question is asked once and any process knows its
answer again. Requests and answers hold people's words: they go into files that are gone with the process, unless
somebody asks for a file.
"""

from __future__ import annotations

import json
import tempfile
import threading
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from hashlib import blake2b
from pathlib import Path
from typing import IO, Any, Literal, NoReturn, TypeVar

from agent.batch.budget import Budget, Reservation
from agent.errors import BudgetSpent, Deferred, Refused, SetupError, Unavailable
from agent.history.store import Store
from agent.llm import openai_wire as wire
from agent.llm.base import Chat, Completion, Schema
from agent.llm.tokens import estimate_prompt, estimate_tokens

Found = TypeVar("Found")

URL = "/v1/chat/completions"
MOST_REQUESTS = 50_000
MOST_BYTES = 200_000_000
"""Of one file; what OpenAI takes."""
TRIES = 3
"""Times that a request is sent before a person's profile fails for want of its answer."""
AT_ONCE = 200
"""Answers that are written down together."""
_PASSING = (408, 409, 425, 429)
"""Statuses below 500 that say nothing about the request itself."""


# -- requests


def request_id(body: Mapping[str, Any]) -> str:
    """The same for the same request, on every machine; at most 64 characters, as OpenAI demands."""
    return blake2b(json.dumps(body, sort_keys=True).encode(), digest_size=20).hexdigest()


def request_line(body: Mapping[str, Any]) -> bytes:
    # Lone surrogates are gone from messages, and a schema is ours: this is UTF-8.
    line = {"custom_id": request_id(body), "method": "POST", "url": URL, "body": body}
    return json.dumps(line, ensure_ascii=False).encode() + b"\n"


@dataclass
class Part:
    """Requests that fit into one file. `file` vanishes when it is closed, or with the process."""

    file: IO[bytes]
    requests: int = 0
    bytes: int = 0


@dataclass
class Outbox:
    """What is to be asked in the next round, each question once, and for whom.

    A request that `budget` has no room for stays out, and is counted in `unpaid`.
    """

    budget: Budget
    most_requests: int = MOST_REQUESTS
    most_bytes: int = MOST_BYTES
    parts: list[Part] = field(default_factory=list)
    askers: dict[str, list[str]] = field(default_factory=dict)
    """request id -> the people who wait for its answer."""
    unpaid: int = 0
    _reserved: list[Reservation] = field(default_factory=list)
    _left: set[str] = field(default_factory=set)
    _adding: threading.Lock = field(default_factory=threading.Lock)

    def __len__(self) -> int:
        return sum(part.requests for part in self.parts)

    def add(self, user: str, body: Mapping[str, Any]) -> None:
        with self._adding:
            self._add(user, request_id(body), body)

    def _add(self, user: str, asked: str, body: Mapping[str, Any]) -> None:
        if asked in self.askers:
            if user not in self.askers[asked]:
                self.askers[asked].append(user)
            return
        if asked in self._left or not self._affordable(body):
            self.unpaid += asked not in self._left
            self._left.add(asked)
            return
        self.askers[asked] = [user]
        line = request_line(body)
        part = self._part(len(line))
        part.file.write(line)
        part.requests += 1
        part.bytes += len(line)

    def release(self) -> None:
        """The round is over: what was reserved for it is free again."""
        for reserved in self._reserved:
            self.budget.settle(reserved, 0, 0)
        self._reserved.clear()

    def close(self) -> None:
        self.release()
        for part in self.parts:
            part.file.close()

    def _part(self, more: int) -> Part:
        last = self.parts[-1] if self.parts else None
        if last is None or last.requests == self.most_requests or last.bytes + more > self.most_bytes:
            self.parts.append(Part(tempfile.TemporaryFile()))  # noqa: SIM115 - closed with the outbox
        return self.parts[-1]

    def _affordable(self, body: Mapping[str, Any]) -> bool:
        prompt = estimate_prompt(message["content"] for message in body["messages"])
        try:
            self._reserved.append(self.budget.reserve(prompt, answer_room(body)))
        except BudgetSpent:
            return False
        return True

    def write(self, path: Path) -> list[Path]:
        """The requests in `path`, and in path-2, path-3… where they are too many for one file. Raises SetupError."""
        paths = [
            path.with_stem(f"{path.stem}-{number}") if number > 1 else path for number in range(1, 1 + len(self.parts))
        ]
        try:
            for part, to in zip(self.parts, paths, strict=True):
                part.file.seek(0)
                with to.open("wb") as out:
                    out.writelines(part.file)
        except OSError as error:
            raise SetupError(f"the requests cannot be written to {path}: {error.strerror or error}") from error
        return paths


def answer_room(body: Mapping[str, Any]) -> int:
    """Tokens that the answer may have."""
    return body.get("max_tokens") or body["max_completion_tokens"]


# -- a model that answers from what was collected


@dataclass(frozen=True)
class Deferring:
    """An OpenAI model for one person's profile that answers what is there and puts all else into `outbox`.

    Raises Deferred when an answer is still to come, and what agent.llm.openai.OpenAI raises over the same answer.
    `left_out`: parameters that the model was found not to take; grows.
    """

    name: str
    context: int
    capable: bool
    store: Store
    user: str
    outbox: Outbox
    left_out: set[str]

    def count_tokens(self, text: str) -> int:
        return estimate_tokens(text)

    def generate(
        self,
        chats: Sequence[Chat],
        *,
        schema: Schema | None = None,
        max_tokens: int = 256,
        temperature: float = 0.0,
        seed: int = 0,
    ) -> list[Completion]:
        bodies = [
            wire.question(
                self.name, chat, self.context, schema=schema, max_tokens=max_tokens, temperature=temperature, seed=seed
            )
            for chat in chats
        ]
        answers = [self._found(body) for body in bodies]
        return [wire.completion(answer, body, 0.0) for answer, body in zip(self._all(answers), bodies, strict=True)]

    def stream(self, chat: Chat, *, max_tokens: int = 256, temperature: float = 0.0, seed: int = 0) -> Iterator[str]:
        yield self.generate([chat], max_tokens=max_tokens, temperature=temperature, seed=seed)[0].text

    def choose(self, chats: Sequence[Chat], choices: Sequence[str]) -> list[list[float]]:
        wire.refuse_choices(choices)
        if not choices:
            return [[] for _ in chats]
        return self._all(
            [self._chosen(wire.question(self.name, chat, self.context, max_tokens=1), choices) for chat in chats]
        )

    def in_background(self) -> Deferring:
        return self

    def clear(self) -> None:
        """Nothing is kept of prompts."""

    def close(self) -> None:
        """Nothing to free."""

    def _chosen(self, body: dict[str, Any], choices: Sequence[str]) -> list[float] | None:
        def answer(asked: Mapping[str, Any]) -> Mapping[str, Any]:
            found = self._found(asked)
            if found is None:
                _defer()
            return found

        try:
            return wire.choose(body, choices, answer, self.left_out)
        except Deferred:
            return None

    def _found(self, body: Mapping[str, Any]) -> dict[str, Any] | None:
        """What was answered to `body`; None after putting it into the outbox. Raises Refused."""
        sent = wire.accepted(body, self.left_out)
        kept = self.store.answer(self.user, request_id(sent))
        found = json.loads(kept) if kept else {}
        if "refused" in found:
            raise Refused(found["refused"])
        if found.get("tries", 0) >= TRIES:
            raise Refused(f"no answer in {TRIES} batches, the last time because: {found['last']}")
        if "choices" in found:
            return found
        self.outbox.add(self.user, sent)
        return None

    @staticmethod
    def _all(answers: Sequence[Found | None]) -> list[Found]:
        """`answers` when none is missing. All were looked for first, so that one round asks for all of them."""
        if any(one is None for one in answers):
            _defer()
        return [one for one in answers if one is not None]


def _defer() -> NoReturn:
    raise Deferred("the answer comes with the next batch")


# -- answers


@dataclass(frozen=True, slots=True)
class Line:
    """What became of one request."""

    id: str
    kind: Literal["answer", "refused", "parameter", "failed", "unsent"]
    """parameter: refused because of a parameter that can be done without. unsent: the batch ended before its turn."""
    body: Mapping[str, Any] = field(default_factory=dict)
    """Of an answer: what the provider would have sent over HTTP."""
    message: str = ""
    """Why there is no answer; of kind parameter: its name."""


def read_lines(lines: Iterable[bytes]) -> Iterator[Line | None]:
    """What an output or error file says, line by line; None for a line that cannot be read."""
    for raw in lines:
        if raw.strip():
            yield read_line(raw)


def read_line(raw: bytes) -> Line | None:
    if len(raw) > wire.LARGEST_ANSWER:
        return None
    try:
        line = json.loads(raw.decode("utf-8", "replace"))
    except (ValueError, RecursionError):
        return None
    if not isinstance(line, dict) or not isinstance(line.get("custom_id"), str):
        return None
    asked = line["custom_id"]
    response = mapping(line.get("response"))
    # vLLM before 0.5 put the completion where the response with its status is.
    body = mapping(response.get("body")) or (response if "choices" in response else {})
    error = error_of(body, line.get("error"))
    status = response.get("status_code", 200)
    if not error and body and status in (200, None):
        return Line(asked, "answer", body) if usable(body) else Line(asked, "failed", message="an answer without text")
    message = wire.sendable(str(error.get("message") or error.get("code") or f"status {status}"))[:200]
    if not response and error.get("code") in ("batch_expired", "batch_cancelled"):
        return Line(asked, "unsent", message=message)
    if error.get("param") in wire.OPTIONAL:
        return Line(asked, "parameter", message=error["param"])
    if isinstance(status, int) and 400 <= status < 500 and status not in _PASSING:
        return Line(asked, "refused", message=message)
    return Line(asked, "failed", message=message)


def mapping(found: Any) -> dict[str, Any]:
    return found if isinstance(found, dict) else {}


def error_of(body: Mapping[str, Any], beside: Any) -> dict[str, Any]:
    """The error of a line: in the body (OpenAI), beside it as an object, nested, or a mere text (vLLM)."""
    if isinstance(beside, str) and beside:
        return {"message": beside}
    return mapping(body.get("error")) or mapping(mapping(beside).get("error")) or mapping(beside)


def usable(answer: Mapping[str, Any]) -> bool:
    """Whether something can be read from an answer, if only that the model refuses."""
    try:
        if not wire.tells(answer):
            wire.content(answer)
    except Refused:
        return True
    except Unavailable:
        return False
    return True


@dataclass
class Collector:
    """Takes in what came back for the questions of `askers`, and keeps it in `store` for those who asked.

    A good answer stands, whatever other lines say. Taking the same lines in again changes nothing but the counts.
    """

    askers: Mapping[str, Sequence[str]]
    store: Store
    budget: Budget
    left_out: set[str]
    trusted: bool = True
    """The model has answered somebody. Until it has, a refusal says more about it, or the key, than about a person,
    and is not kept."""
    answered: set[str] = field(default_factory=set)
    """Requests that have their answer now, or never will because they were refused."""
    unsettled: set[str] = field(default_factory=set)
    """Requests about which a line says that there is no answer."""
    torn: int = 0
    """Lines that cannot be read."""
    unknown: int = 0
    """Lines that answer no question of these people."""
    repeated: int = 0
    """Lines about requests of which all was known."""
    why: str = ""
    """Why the last request has no answer."""
    _known: dict[str, bool] = field(default_factory=dict)
    _bodies: dict[tuple[str, str], str] = field(default_factory=dict)
    _held: list[Line] = field(default_factory=list)

    def take(self, lines: Iterable[Line | None]) -> None:
        self._known.clear()  # hours may lie between two files
        for line in lines:
            if line is None:
                self.torn += 1
            elif line.id not in self.askers:
                self.unknown += 1
            elif line.id in self.answered or (line.id in self.unsettled and line.kind != "answer"):
                self.repeated += 1
            else:
                self._take(line)
        self._write()

    @property
    def all_refused(self) -> bool:
        """Nobody was ever answered, and what came back are refusals."""
        return not self.trusted and bool(self._held)

    def count_silence(self) -> None:
        """The batch was completed: what it said nothing of counts as tried."""
        for asked in self.askers.keys() - self.answered - self.unsettled:
            self._take(Line(asked, "failed", message="the batch says nothing of it"))
        self._write()

    def _take(self, line: Line) -> None:
        self.budget.add(wire.usage(line.body, "prompt_tokens"), wire.usage(line.body, "completion_tokens"))
        if line.kind in ("answer", "refused"):
            self.answered.add(line.id)
        else:
            self.unsettled.add(line.id)
        if line.kind == "parameter":
            self.left_out.add(line.message)
        self.why = line.message or self.why
        if line.kind == "answer" and not self.trusted:
            self.trusted = True
            for held in self._held:
                self._keep(held)
        if line.kind == "refused" and not self.trusted:
            self._held.append(line)
        else:
            self._keep(line)

    def _keep(self, line: Line) -> None:
        for user in self.askers[line.id]:
            # Whoever was forgotten in the meantime is not written down again.
            if self._known.setdefault(user, self.store.has_user(user)) and (body := self._body(user, line)):
                self._bodies[user, line.id] = json.dumps(body)
        if len(self._bodies) >= AT_ONCE:
            self._write()

    def _body(self, user: str, line: Line) -> dict[str, Any]:
        if line.kind == "answer":
            return {"choices": line.body["choices"][:1], "usage": line.body.get("usage")}
        if line.kind == "refused":
            return {"refused": line.message}
        before = json.loads(self.store.answer(user, line.id) or "{}")
        if line.kind != "failed" or "choices" in before:
            return {}
        return {"tries": before.get("tries", 0) + 1, "last": line.message}

    def _write(self) -> None:
        self.store.keep_answers(self._bodies)
        self._bodies.clear()
