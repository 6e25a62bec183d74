"""What a batch may cost, what it has cost, and what it is going to cost; asks no model itself.

Tokens are counted as the provider reports them; what is not answered yet counts at its upper bound.
"""

from __future__ import annotations

import math
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from agent.errors import BudgetSpent, LLMError, SetupError, TimedOut
from agent.llm.base import LLM, Chat, Completion, Message, Schema
from agent.llm.tokens import MESSAGE_OVERHEAD
from agent.llm.wrapped import Unasked, Wrapped

if TYPE_CHECKING:
    from agent.wiring import Rapport

MILLION = 1_000_000
SAMPLE = 20
"""People whose prompts are counted for an estimate."""
USUAL_SHARE = 0.5
"""Of the tokens that an answer may have, how many it usually has."""
REPAIRED = 2000
"""Characters of a bad answer that are shown to the model again (agent/ask.py), a token each at most."""
_REASONABLE = 1000  # tokens for which a price is looked up: below every tier


@dataclass(frozen=True, slots=True)
class Price:
    """US dollars for a million tokens."""

    input: float
    output: float

    def of(self, prompt_tokens: float, completion_tokens: float) -> float:
        return (self.input * prompt_tokens + self.output * completion_tokens) / MILLION


@dataclass(frozen=True, slots=True)
class Spent:
    """What was used so far. `cost`: US dollars; None when the price is not known."""

    prompt_tokens: int = 0
    completion_tokens: int = 0
    cost: float | None = None


@dataclass(frozen=True, slots=True)
class Limits:
    """At most this much in one run; None = no limit. `cost` in US dollars, `tokens` of prompts and answers."""

    cost: float | None = None
    tokens: int | None = None


@dataclass(eq=False, slots=True)
class Reservation:
    """Tokens that a call in flight may take at most."""

    prompt_tokens: int
    completion_tokens: int


class Budget:
    """A ledger that calls at the same time may share: what is in flight counts as spent.

    SetupError when a cost is limited and the price is not known.
    """

    def __init__(self, price: Price | None = None, limits: Limits = Limits()) -> None:
        if limits.cost is not None and price is None:
            raise SetupError(
                "the price of the model is not known, so its cost cannot be limited: "
                "give it as price_in and price_out (US dollars for a million tokens), or limit the tokens"
            )
        self.price = price
        self.limits = limits
        self._spent = Spent()
        self._flying: set[Reservation] = set()
        self._lock = threading.Lock()

    @property
    def spent(self) -> Spent:
        with self._lock:
            done = self._spent
        return done if self.price is None else replace(done, cost=self._cost(done))

    def reserve(self, prompt_tokens: int, completion_tokens: int) -> Reservation:
        """Room for one call. Raises BudgetSpent when it could pass a limit together with all that is in flight."""
        wanted = Reservation(prompt_tokens, completion_tokens)
        with self._lock:
            prompt = self._spent.prompt_tokens + sum(one.prompt_tokens for one in self._flying) + prompt_tokens
            answer = self._spent.completion_tokens + sum(one.completion_tokens for one in self._flying)
            self._refuse(Spent(prompt, answer + completion_tokens))
            self._flying.add(wanted)
        return wanted

    def settle(self, reserved: Reservation, prompt_tokens: int, completion_tokens: int) -> None:
        """The call is over and took this much."""
        with self._lock:
            self._flying.discard(reserved)
            self._add(prompt_tokens, completion_tokens)

    def add(self, prompt_tokens: int, completion_tokens: int) -> None:
        """Count what was used without a reservation."""
        with self._lock:
            self._add(prompt_tokens, completion_tokens)

    def around(self, llm: LLM) -> Metered:
        """`llm`, whose every call is counted here and refused before it could cost too much."""
        return Metered(llm, self)

    def _add(self, prompt_tokens: int, completion_tokens: int) -> None:
        before = self._spent
        self._spent = Spent(before.prompt_tokens + prompt_tokens, before.completion_tokens + completion_tokens)

    def _cost(self, used: Spent) -> float:
        return self.price.of(used.prompt_tokens, used.completion_tokens) if self.price else 0.0

    def _refuse(self, used: Spent) -> None:
        tokens, cost = used.prompt_tokens + used.completion_tokens, self._cost(used)
        if self.limits.tokens is not None and tokens > self.limits.tokens:
            raise BudgetSpent(f"the next call could pass the limit of {self.limits.tokens} tokens")
        if self.limits.cost is not None and cost > self.limits.cost:
            raise BudgetSpent(f"the next call could pass the limit of ${self.limits.cost:g}")


class Metered(Wrapped[LLM]):
    """A model whose calls go on a Budget's account; raises BudgetSpent beside what the model raises.

    The tokens of `choose` are estimated: its answers do not tell them.
    """

    def __init__(self, llm: LLM, budget: Budget) -> None:
        super().__init__(llm)
        self._budget = budget

    def generate(
        self,
        chats: Sequence[Chat],
        *,
        schema: Schema | None = None,
        max_tokens: int = 256,
        temperature: float = 0.0,
        seed: int = 0,
    ) -> list[Completion]:
        with self._reserved(chats, max_tokens) as used:
            done = super().generate(chats, schema=schema, max_tokens=max_tokens, temperature=temperature, seed=seed)
            used.prompt_tokens = sum(one.prompt_tokens for one in done)
            used.completion_tokens = sum(one.completion_tokens for one in done)
        return done

    def stream(self, chat: Chat, *, max_tokens: int = 256, temperature: float = 0.0, seed: int = 0) -> Iterator[str]:
        # A stream that was left early may have been computed to its end: it counts in full.
        with self._reserved([chat], max_tokens):
            yield from super().stream(chat, max_tokens=max_tokens, temperature=temperature, seed=seed)

    def choose(self, chats: Sequence[Chat], choices: Sequence[str]) -> list[list[float]]:
        # Nothing is decoded beyond the one token whose probabilities are read.
        with self._reserved(chats, 1):
            return super().choose(chats, choices)

    @contextmanager
    def _reserved(self, chats: Sequence[Chat], max_tokens: int) -> Iterator[Used]:
        prompt = sum(prompt_tokens(self.llm, chat) for chat in chats)
        reserved = self._budget.reserve(prompt, max_tokens * len(chats))
        used = Used(prompt, max_tokens * len(chats))
        try:
            yield used
        except LLMError as error:
            if not may_be_billed(error, chats):
                used = Used()
            raise
        finally:
            self._budget.settle(reserved, used.prompt_tokens, used.completion_tokens)


@dataclass(slots=True)
class Used:
    """Tokens that a call took, as far as they are known yet."""

    prompt_tokens: int = 0
    completion_tokens: int = 0


def may_be_billed(error: LLMError, chats: Sequence[Chat]) -> bool:
    """Whether a failed call may have been computed: what was too slow for us, or one of several."""
    return isinstance(error, TimedOut) or len(chats) > 1


def prompt_tokens(llm: LLM, chat: Chat) -> int:
    """Tokens of a prompt with the marks around its messages, by the model's own count or estimate."""
    return sum(llm.count_tokens(message.content) + MESSAGE_OVERHEAD for message in chat) + MESSAGE_OVERHEAD


# -- prices


def price_of(
    spec: str, *, price_in: float | None = None, price_out: float | None = None, batch: bool = False
) -> Price | None:
    """What the model that `spec` (as in Settings.llm) names costs; None when that is not known here.

    `price_in` and `price_out` (US dollars for a million tokens) go before the table of genai-prices, which is looked
    up offline and may be older than the provider's page. `batch`: at the rate of batch files. Raises SetupError.
    """
    if (price_in is None) != (price_out is None):
        raise SetupError("give both prices or none: price_in for prompts, price_out for answers")
    if price_in is not None and price_out is not None:
        if not (math.isfinite(price_in) and math.isfinite(price_out) and price_in >= 0 and price_out >= 0):
            raise SetupError(f"prices are US dollars for a million tokens, not {price_in} and {price_out}")
        return Price(price_in, price_out)
    backend, _, model = spec.partition(":")
    if backend != "openai":
        return Price(0.0, 0.0)  # it runs here
    return _listed(model, batch=batch)


def _listed(model: str, *, batch: bool) -> Price | None:
    try:
        from genai_prices import Usage, calc_price  # pyright: ignore[reportMissingImports]  an extra
    except ImportError:
        return None
    usage = Usage(input_tokens=_REASONABLE, output_tokens=_REASONABLE)
    rate = {"processing": "batch"} if batch else None
    url, _, name = model.rpartition("#")
    try:
        if url:
            found = calc_price(usage, name, provider_api_url=url, price_context=rate)
        else:
            found = calc_price(usage, name, provider_id="openai", price_context=rate)
    except LookupError:
        return None
    scale = MILLION / _REASONABLE
    return Price(round(float(found.input_price) * scale, 6), round(float(found.output_price) * scale, 6))


# -- before the start


@dataclass(frozen=True, slots=True)
class Estimate:
    """What tagging `people` is going to take, scaled from `sampled` of them.

    The expected figures suppose that every first answer is good and half as long as it may be; the `most` suppose
    that every answer is as long as it may be and refused, until no further try is made.
    """

    people: int
    sampled: int
    prompt_tokens: int
    completion_tokens: int
    most_prompt_tokens: int
    most_completion_tokens: int
    price: Price | None = None

    @property
    def cost(self) -> float | None:
        """US dollars; None when the price is not known."""
        return self.price.of(self.prompt_tokens, self.completion_tokens) if self.price else None

    @property
    def most_cost(self) -> float | None:
        return self.price.of(self.most_prompt_tokens, self.most_completion_tokens) if self.price else None


def estimate(rapport: Rapport, users: Sequence[str], price: Price | None = None) -> Estimate:
    """What tagging `users` from nothing takes, from the prompts of at most SAMPLE of them.

    Asks no model and keeps nothing. Who cannot be profiled at all is left out: the run will name them.
    """
    sample = users[:: max(1, math.ceil(len(users) / SAMPLE))]
    counted = [one for user in sample if (one := _counted(rapport, user))]
    scale = len(users) / len(counted) if counted else 0.0
    return Estimate(
        people=len(users),
        sampled=len(counted),
        prompt_tokens=round(scale * sum(one.prompt for one in counted)),
        completion_tokens=round(scale * sum(one.answer for one in counted)),
        most_prompt_tokens=round(scale * sum(one.most_prompt for one in counted)),
        most_completion_tokens=round(scale * sum(one.most_answer for one in counted)),
        price=price,
    )


def _counted(rapport: Rapport, user: str) -> Counting | None:
    counting = Counting(rapport.llm)
    try:
        with rapport.store.trial():
            replace(rapport.profiler, llm=counting)(user, rebuild=True)
    except Exception:  # noqa: BLE001  a damaged history costs its own profile, not everybody's estimate
        return None
    return counting


class Counting(Unasked):
    """Answers nothing, so that every try is made, and counts what it would have been asked."""

    def __init__(self, llm: LLM) -> None:
        super().__init__(llm)
        self.prompt = self.answer = 0
        self.most_prompt = self.most_answer = 0
        self._asked: set[tuple[Message, ...]] = set()

    def generate(
        self,
        chats: Sequence[Chat],
        *,
        schema: Schema | None = None,
        max_tokens: int = 256,
        temperature: float = 0.0,
        seed: int = 0,
    ) -> list[Completion]:
        for chat in chats:
            self._count(tuple(chat), max_tokens, round(USUAL_SHARE * max_tokens))
        return super().generate(chats)

    def choose(self, chats: Sequence[Chat], choices: Sequence[str]) -> list[list[float]]:
        for chat in chats:
            self._count(tuple(chat), 1, 1)
        return super().choose(chats, choices)

    def _count(self, chat: tuple[Message, ...], most: int, usual: int) -> None:
        prompt = prompt_tokens(self.llm, chat)
        # A question that was asked before, or follows one up, is only asked when the first answer was no good.
        followed = any(chat[:length] in self._asked for length in range(1, len(chat) + 1))
        shown = REPAIRED if followed and chat not in self._asked else 0
        self._asked.add(chat)
        self.most_prompt += prompt + shown
        self.most_answer += most
        if not followed:
            self.prompt += prompt
            self.answer += usual
