"""The exact text that a model would be sent for a real person, without calling one and without keeping anything.

A model that is never there records what it is asked; the steps then run as they always do.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import NoReturn

from agent.ask import Ask
from agent.errors import Unavailable, UsageError
from agent.llm.base import Chat, Message, Schema
from agent.llm.tokens import estimate_tokens
from agent.recommend.rerank import Each, Letters, ModelReranker, Structured
from agent.types import Profile, Query
from agent.wiring import Rapport

FOR_CAPABLE = ("tags", "rerank-order")
"""Prompts that only a capable model is asked."""
RERANKING = ("rerank", "rerank-order", "liking")
KNOWN = ("persona", "reason", "rerank", "liking", "sentiment", *FOR_CAPABLE)
EXAMPLES = 3
"""Chats shown of a kind of which there are many."""


class Recorder:
    """A model that answers nothing and remembers what it was asked."""

    name = "rehearsal"
    context = 4096

    def __init__(self, *, capable: bool) -> None:
        self.capable = capable
        self.asked: list[Sequence[Chat]] = []

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
    ) -> NoReturn:
        self._record(chats)

    def stream(self, chat: Chat, *, max_tokens: int = 256, temperature: float = 0.0, seed: int = 0) -> Iterator[str]:
        self._record([chat])

    def choose(self, chats: Sequence[Chat], choices: Sequence[str]) -> NoReturn:
        self._record(chats)

    def _record(self, chats: Sequence[Chat]) -> NoReturn:
        self.asked.append(chats)
        raise Unavailable("this is a rehearsal")

    def in_background(self) -> Recorder:
        return self

    def clear(self) -> None:
        """Nothing is kept for other prompts: what was asked is what it is for."""

    def close(self) -> None:
        """Nothing to free."""


def rendered(rapport: Rapport, prompt: str, user: str, item: str = "") -> list[list[Message]]:
    """The chats of `prompt` for `user`, at most EXAMPLES. Raises UsageError when this person gives no cause for it."""
    if prompt not in KNOWN:
        raise UsageError(f"{prompt!r} is not asked about a person; these are: {', '.join(KNOWN)}")
    # What is asked of whom depends on the model: what a small one is not asked may be asked of a capable one.
    for capable in (True,) if prompt in FOR_CAPABLE else (False, True):
        if chats := asked(rapport, prompt, user, item, capable=capable):
            return chats[:EXAMPLES]
    raise UsageError(f"nothing in the history of {user!r} gives cause to ask {prompt!r}")


def asked(rapport: Rapport, prompt: str, user: str, item: str, *, capable: bool) -> list[list[Message]]:
    """Every chat of `prompt` that a model of this kind would be sent."""
    recorder = Recorder(capable=capable)
    twin = rapport.with_llm(recorder)
    with rapport.store.trial():
        profile = twin.profile(user, rebuild=True)
        if prompt == "reason":
            twin.explain(user, item) if item else twin.recommend(user, 20)
        elif prompt in RERANKING:
            rerank_anyway(twin, recorder, profile, prompt)
        calls = rapport.store.calls(len(recorder.asked), user) if recorder.asked else []
    return [
        list(chat)
        for call, chats in zip(reversed(calls), recorder.asked, strict=True)
        if call.prompt.partition(".")[0] == prompt
        for chat in chats
    ]


def rerank_anyway(rapport: Rapport, recorder: Recorder, profile: Profile, prompt: str) -> None:
    """The question for the first candidates, whatever the gate says about its format and the weight of its answer."""
    query, steps = Query(profile.user), rapport.recommender
    events = rapport.store.events(profile.user)
    candidates = (steps.retrieve or steps.popular)(query, profile, events)
    ask = Ask(recorder, rapport.store.log_call, profile.user)
    kinds: dict[str, ModelReranker] = {
        "rerank": Letters(ask, config=steps.rerank),
        "rerank-order": Structured(ask, config=steps.rerank),
        "liking": Each(ask, config=steps.rerank, others=steps.others),
    }
    try:
        kinds[prompt].vote(query, profile, candidates, steps.opinions(events))
    except Unavailable:
        return
