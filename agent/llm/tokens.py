"""How many tokens a text may take where the model's own tokenizer is not at hand; knows no model."""

from __future__ import annotations

import re
from collections.abc import Iterable

from agent.errors import Refused

_PIECE = re.compile(r"[A-Za-z]+|[0-9]|\n| {2,}|[^\sA-Za-z0-9]")
_LETTERS_PER_TOKEN = 3
MESSAGE_OVERHEAD = 8
"""Tokens that a chat template adds around one message: role, start and end marks, line breaks."""


def estimate_tokens(text: str) -> int:
    """Tokens of `text`, estimated on the high side for today's byte-level BPE vocabularies.

    A word costs a token for every three letters begun; digits and signs one each; what is not ASCII one per byte.
    """
    return sum(_cost(piece) for piece in _PIECE.findall(text))


def estimate_prompt(contents: Iterable[str]) -> int:
    """The same for the messages of one chat, with the template's marks."""
    return sum(estimate_tokens(content) + MESSAGE_OVERHEAD for content in contents) + MESSAGE_OVERHEAD


def refuse_overflow(prompt: int, answer: int, context: int) -> None:
    """Refused unless a prompt of `prompt` tokens and an answer of `answer` tokens fit into `context` together."""
    if answer < 1:
        raise Refused(f"max_tokens is {answer}; an answer needs at least one token")
    if prompt + answer > context:
        raise Refused(
            f"the prompt takes {prompt} tokens and the answer may take {answer}, "
            f"which is more than the context of {context}: shorten the prompt or raise the context"
        )


def _cost(piece: str) -> int:
    if piece.isascii():
        return -(-len(piece) // _LETTERS_PER_TOKEN) if piece.isalpha() else 1
    return len(piece.encode("utf-8", "surrogatepass"))
