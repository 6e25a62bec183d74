"""A typed question to a model: render, constrain, validate, repair once, raise.

The only module that joins a prompt to a model. It knows neither people nor items; every call leaves a Call row.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Any, Generic, TypeVar

from pydantic import BaseModel, ValidationError

from agent.errors import BadCompletion, CallFailed, CallRefused, LLMError, PromptError, Refused, Truncated
from agent.llm.base import LLM, Completion, Message, Schema
from agent.types import Call, Language
from prompts import library

Inputs = Mapping[str, Any]
Answer = TypeVar("Answer", bound=BaseModel)
Value = TypeVar("Value")


@dataclass(frozen=True, slots=True)
class Reply(Generic[Value]):
    """A model's valid answer and what it took."""

    value: Value
    prompt: str
    prompt_tokens: int = 0
    completion_tokens: int = 0
    ms: float = 0.0


@dataclass(frozen=True)
class Ask:
    """Questions to one model, in one person's name (`user` goes into the call log, never into a prompt)."""

    llm: LLM
    record: Callable[[Call], None] = lambda call: None
    user: str = ""

    def write(
        self,
        prompt: str,
        inputs: Sequence[Inputs],
        *,
        language: Language = "en",
        max_tokens: int = 160,
        temperature: float = 0.0,
        seed: int = 0,
    ) -> list[Reply[str] | BadCompletion]:
        """Free text, one per inputs, in order; what was cut off comes back as Truncated. Raises LLMError."""
        template = template_of(prompt, language)
        done = self._generate(template, inputs, None, max_tokens, temperature, seed)
        return [
            Truncated("the answer was cut off", completion.text)
            if completion.finish == "length"
            else reply(template, completion, completion.text.strip())
            for completion in done
        ]

    def answer(
        self,
        prompt: str,
        inputs: Sequence[Inputs],
        kind: type[Answer],
        *,
        schemas: Sequence[Schema] | None = None,
        language: Language = "en",
        max_tokens: int = 256,
    ) -> list[Reply[Answer] | BadCompletion]:
        """A value of `kind` per inputs, decoded under its JSON schema (or a narrower one of `schemas`) and validated.

        An invalid answer is shown to the model once with the reason; what is invalid then comes back as BadCompletion,
        what was cut off as Truncated. Raises LLMError.
        """
        template = template_of(prompt, language)
        narrow = list(schemas) if schemas else [kind.model_json_schema()] * len(inputs)
        return [
            self._answer_one(template, one, kind, schema, max_tokens)
            for one, schema in zip(inputs, narrow, strict=True)
        ]

    def choose(
        self, prompt: str, inputs: Sequence[Inputs], choices: Sequence[str], *, language: Language = "en"
    ) -> list[Reply[list[float]]]:
        """Log-probabilities of `choices` per inputs (exp sums to 1), from one prompt pass. Raises LLMError."""
        template = template_of(prompt, language)
        chats = [chat_of(template, one) for one in inputs]
        if not chats:
            return []
        started = datetime.now(UTC)
        try:
            scores = self.llm.choose(chats, choices)
        except (LLMError, CallFailed) as error:
            self._record(template, started, name_of(error))
            raise
        tokens = sum(self.llm.count_tokens(message.content) for chat in chats for message in chat)
        ms = self._record(template, started, "ok", prompt_tokens=tokens)
        share = len(inputs)
        return [Reply(row, template.id, tokens // share, 0, ms / share) for row in scores]

    def fit(self, lines: Sequence[str], budget: int) -> list[str]:
        """As many of the first `lines` as `budget` tokens hold, counted by the model's own tokenizer."""
        kept: list[str] = []
        for line in lines:
            budget -= self.llm.count_tokens(line) + 1
            if budget < 0:
                break
            kept.append(line)
        return kept

    def _answer_one(
        self, template: library.Prompt, inputs: Inputs, kind: type[Answer], schema: Schema, max_tokens: int
    ) -> Reply[Answer] | BadCompletion:
        chat = chat_of(template, inputs)
        (asked,) = self._call(template, [chat], schema, max_tokens, kind=kind)
        first = read(template, asked, kind)
        if not isinstance(first, BadCompletion) or isinstance(first, Truncated):
            return first
        repair = chat_of(
            template_of("repair", "zh" if template.language == "zh" else "en"), {"reason": str(first)[:500]}
        )
        again = [*chat, Message("assistant", asked.text[:2000]), *repair]
        try:
            (repaired,) = self._call(template, [again], schema, max_tokens, kind=kind)
        except (Refused, CallRefused):
            # The first question fitted into the context, this longer one does not: the first answer stands, bad.
            return first
        return spent(read(template, repaired, kind), asked)

    def _generate(
        self,
        template: library.Prompt,
        inputs: Sequence[Inputs],
        schema: Schema | None,
        max_tokens: int,
        temperature: float,
        seed: int,
    ) -> list[Completion]:
        return self._call(template, [chat_of(template, one) for one in inputs], schema, max_tokens, temperature, seed)

    def _call(
        self,
        template: library.Prompt,
        chats: Sequence[Sequence[Message]],
        schema: Schema | None,
        max_tokens: int,
        temperature: float = 0.0,
        seed: int = 0,
        *,
        kind: type[BaseModel] | None = None,
    ) -> list[Completion]:
        if not chats:
            return []
        started = datetime.now(UTC)
        try:
            done = self.llm.generate(chats, schema=schema, max_tokens=max_tokens, temperature=temperature, seed=seed)
        except (LLMError, CallFailed) as error:
            self._record(template, started, name_of(error))
            raise
        self._record(
            template,
            started,
            next((bad for one in done if (bad := outcome(template, one, kind)) != "ok"), "ok"),
            sum(one.prompt_tokens for one in done),
            sum(one.completion_tokens for one in done),
        )
        return done

    def _record(
        self, template: library.Prompt, started: datetime, outcome: str, prompt_tokens: int = 0, answer_tokens: int = 0
    ) -> float:
        ms = (datetime.now(UTC) - started).total_seconds() * 1000
        self.record(
            Call(started, template.id, self.llm.name, prompt_tokens, answer_tokens, round(ms, 1), outcome, self.user)
        )
        return ms


def template_of(name: str, language: Language, version: int | None = None) -> library.Prompt:
    try:
        return library.load(name, language, version)
    except library.PromptError as error:
        raise PromptError(str(error)) from error


def outdated(ids: Iterable[str]) -> list[str]:
    """Those of some prompts' ids that another version has taken the place of, or that are gone."""
    found = []
    for id in ids:
        name, _, rest = id.partition(".")
        language = "zh" if rest.startswith("zh@") else "en"
        try:
            newest = template_of(name, language).id
        except PromptError:
            newest = ""
        if newest != id:
            found.append(id)
    return found


def chat_of(template: library.Prompt, inputs: Inputs) -> list[Message]:
    """The exact messages that are sent for `inputs`."""
    try:
        return [Message(part.role, part.text) for part in template.render(inputs)]
    except library.PromptError as error:
        raise PromptError(str(error)) from error


def read(template: library.Prompt, completion: Completion, kind: type[Answer]) -> Reply[Answer] | BadCompletion:
    """Validate one completion; `finish` is looked at first, because a cut-off answer can still be valid JSON."""
    if completion.finish == "length":
        return Truncated("the answer was cut off", completion.text)
    try:
        # A lone surrogate cannot be JSON; pydantic would raise something of its own over it.
        return reply(template, completion, kind.model_validate_json(completion.text.encode("utf-8", "replace")))
    except ValidationError as error:
        problem = error.errors(include_url=False, include_input=False)[0]
        where = ".".join(str(part) for part in problem["loc"])
        return BadCompletion(f"{problem['msg']}{f' at {where}' if where else ''}", completion.text)


def name_of(error: LLMError | CallFailed) -> str:
    """What the call log says of a call that failed: the name of the model's error."""
    return error.reason if isinstance(error, CallFailed) else type(error).__name__


def outcome(template: library.Prompt, completion: Completion, kind: type[BaseModel] | None) -> str:
    """What the call log says of a completion: "ok", or the name of the error."""
    if completion.finish == "length":
        return Truncated.__name__
    answer = read(template, completion, kind) if kind else None
    return type(answer).__name__ if isinstance(answer, BadCompletion) else "ok"


def spent(answer: Reply[Answer] | BadCompletion, before: Completion) -> Reply[Answer] | BadCompletion:
    """`answer` with what the question before it took counted too."""
    if isinstance(answer, BadCompletion):
        return answer
    return replace(
        answer,
        prompt_tokens=answer.prompt_tokens + before.prompt_tokens,
        completion_tokens=answer.completion_tokens + before.completion_tokens,
        ms=answer.ms + before.ms,
    )


def reply(template: library.Prompt, completion: Completion, value: Value) -> Reply[Value]:
    return Reply(value, template.id, completion.prompt_tokens, completion.completion_tokens, completion.ms)
