"""A model's own chat template, rendered so that markup and data stay apart; knows nothing of tokens or weights.

The template is untrusted (it comes with the weights): it runs in a sandbox and never sees the messages. In their place
it gets placeholders, so nothing that a message says can be taken for markup.
"""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, NoReturn

from jinja2 import BaseLoader, TemplateError
from jinja2.sandbox import ImmutableSandboxedEnvironment

from agent.errors import Refused, SetupError
from agent.llm.base import Chat, Message

# Private-use characters: no template's markup holds them, and no `trim` filter removes them.
_PLACEHOLDER = "\ue0f0{}\ue0f1"
_PLACEHOLDERS = re.compile("\ue0f0([0-9]+)\ue0f1")


@dataclass(frozen=True, slots=True)
class Span:
    """A piece of a rendered chat, either the template's markup or somebody's words."""

    text: str
    is_data: bool


class ChatTemplate:
    """Renders chats with the Jinja2 template `source`, as the model was trained on it, the answer's turn opened."""

    def __init__(self, source: str, *, bos: str = "", eos: str = "") -> None:
        environment = ImmutableSandboxedEnvironment(
            loader=BaseLoader(), trim_blocks=True, lstrip_blocks=True, extensions=["jinja2.ext.loopcontrols"]
        )
        environment.filters["tojson"] = _tojson
        environment.globals.update(raise_exception=_raise, strftime_now=_today, bos_token=bos, eos_token=eos)
        try:
            self._template = environment.from_string(source)
        except TemplateError as error:
            raise SetupError(f"the model's chat template cannot be read: {error}") from error
        self._frames: dict[tuple[str, ...], tuple[str | int, ...]] = {}

    def spans(self, chat: Chat) -> list[Span]:
        """`chat` as markup and data in order; Refused when the template cannot express it."""
        if not chat:
            raise Refused("a chat needs at least one message")
        try:
            return self._fill(chat)
        except TemplateError:
            if chat[0].role != "system" or len(chat) == 1:
                raise _unfit(chat) from None
        # Templates without a system role (Gemma, early Mistral) raise on it: its text opens the next message instead.
        try:
            return self._fill(_folded(chat))
        except TemplateError:
            raise _unfit(chat) from None

    def _fill(self, chat: Sequence[Message]) -> list[Span]:
        roles = tuple(message.role for message in chat)
        if roles not in self._frames:
            self._frames[roles] = self._frame(roles)
        return [
            Span(chat[part].content, True) if isinstance(part, int) else Span(part, False)
            for part in self._frames[roles]
        ]

    def _frame(self, roles: tuple[str, ...]) -> tuple[str | int, ...]:
        """Markup strings and message numbers in the order in which the template puts them."""
        messages = [{"role": role, "content": _PLACEHOLDER.format(n)} for n, role in enumerate(roles)]
        rendered = self._template.render(messages=messages, add_generation_prompt=True, tools=None)
        pieces = _PLACEHOLDERS.split(rendered)
        parts = tuple(int(piece) if n % 2 else piece for n, piece in enumerate(pieces) if piece)
        if missing := set(range(len(roles))) - set(parts):
            raise Refused(f"the model's chat template drops the {roles[min(missing)]!r} message")
        return parts


def _folded(chat: Sequence[Message]) -> list[Message]:
    system, following, *rest = chat
    return [Message(following.role, f"{system.content}\n\n{following.content}"), *rest]


def _unfit(chat: Sequence[Message]) -> Refused:
    return Refused(f"the model's chat template does not take the roles {[message.role for message in chat]}")


def _raise(message: str) -> NoReturn:
    raise TemplateError(message)


def _today(form: str) -> str:
    return datetime.now(UTC).strftime(form)


def _tojson(value: Any, indent: int | None = None) -> str:
    return json.dumps(value, ensure_ascii=False, indent=indent)
