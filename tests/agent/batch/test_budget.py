"""What a batch may cost is a promise, also when many calls are made at the same time."""

from __future__ import annotations

import builtins
import math
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from agent.batch import budget as module
from agent.batch.budget import Budget, Limits, Price, Spent, estimate, price_of
from agent.errors import BudgetSpent, LLMError, Refused, SetupError, TimedOut, Unavailable
from agent.llm.base import Chat, Completion, Message
from agent.llm.scripted import Scripted
from agent.sample import events, films
from agent.settings import Settings
from agent.types import Event
from agent.wiring import Rapport

CHAT = [Message("system", "Answer."), Message("user", "What do I like, and why?")]


def told(prompt: int, answer: int) -> Scripted:
    """A model whose every answer reports these tokens."""
    return Scripted(lambda chat: Completion("x", "stop", prompt, answer, 0.0))


def test_what_the_answers_report_is_what_is_counted():
    budget = Budget(Price(2.0, 10.0))
    budget.around(told(100, 7)).generate([CHAT, CHAT], max_tokens=50)
    assert budget.spent == Spent(200, 14, pytest.approx((200 * 2 + 14 * 10) / 1e6))


def test_without_a_price_tokens_are_counted_and_no_cost_is_told():
    budget = Budget()
    budget.around(told(100, 7)).generate([CHAT])
    assert budget.spent == Spent(100, 7, None)


def test_choosing_is_counted_by_estimate():
    budget = Budget(Price(1.0, 1.0))
    llm = told(0, 0)
    budget.around(llm).choose([CHAT], ["yes", "no"])
    assert sum(llm.count_tokens(one.content) for one in CHAT) < budget.spent.prompt_tokens < 60
    assert budget.spent.completion_tokens == 1


@pytest.mark.parametrize("limits", [Limits(tokens=1000), Limits(cost=0.001), Limits(cost=5.0, tokens=1000)], ids=repr)
def test_a_call_that_could_pass_the_limit_is_not_made(limits):
    budget = Budget(Price(1.0, 1.0), limits)
    llm = told(500, 100)
    metered = budget.around(llm)
    metered.generate([CHAT], max_tokens=100)
    with pytest.raises(BudgetSpent, match="limit of") as caught:
        metered.generate([CHAT], max_tokens=500)
    assert not isinstance(caught.value, LLMError)
    assert len(llm.calls) == 1
    metered.generate([CHAT], max_tokens=100)
    assert len(llm.calls) == 2


def test_a_cost_cannot_be_limited_without_a_price():
    with pytest.raises(SetupError, match="price_in and price_out"):
        Budget(None, Limits(cost=1.0))
    Budget(None, Limits(tokens=1))


BILLED = {
    "refused is free": (Refused("x"), 1, False),
    "away is free": (Unavailable("x"), 1, False),
    "late may have been computed": (TimedOut("x"), 1, True),
    "of several some may have been": (Unavailable("x"), 3, True),
}


@pytest.mark.parametrize(("error", "chats", "billed"), BILLED.values(), ids=BILLED.keys())
def test_a_call_that_fails_counts_where_it_may_be_billed(error, chats, billed):
    def fail(chat: Chat) -> str:
        raise error

    budget = Budget()
    with pytest.raises(LLMError):
        budget.around(Scripted(fail)).generate([CHAT] * chats, max_tokens=40)
    assert budget.spent.completion_tokens == (40 * chats if billed else 0)
    assert bool(budget.spent.prompt_tokens) == billed
    # Nothing stays reserved.
    assert budget.around(told(1, 1)).generate([CHAT])


def test_a_metered_model_looks_like_the_model():
    llm = Scripted(lambda chat: "some words", name="m", capable=True, context=999)
    budget = Budget()
    metered = budget.around(llm).in_background()
    assert (metered.name, metered.capable, metered.context) == ("m", True, 999)
    assert metered.count_tokens("some words") == llm.count_tokens("some words")
    assert "".join(metered.stream(CHAT, max_tokens=30)) == "some words"
    assert budget.spent.completion_tokens == 30
    metered.clear()
    metered.close()


@settings(max_examples=25, deadline=None)
@given(
    limit=st.integers(0, 4000),
    calls=st.lists(st.tuples(st.integers(1, 300), st.floats(0, 1)), min_size=8, max_size=40),
)
def test_eight_at_a_time_cannot_overshoot_together(limit, calls):
    """Whatever is asked in whatever order: at no moment is more in flight and spent than is allowed."""
    budget = Budget(Price(0.0, 1.0), Limits(cost=limit / 1e6))
    gate = threading.Barrier(8)
    lock = threading.Lock()
    flying, most, done = 0, 0, 0

    class Slow(Scripted):
        def generate(self, chats, *, max_tokens=256, **how):
            nonlocal flying, most, done
            share = float(chats[0][0].content)
            with lock:
                flying += max_tokens
                most = max(most, done + flying)
            time.sleep(0.001)  # the others reserve meanwhile
            used = int(max_tokens * share)
            with lock:
                flying -= max_tokens
                done += used
            return [Completion("x", "stop", 5, used, 0.0)]

    metered = budget.around(Slow(lambda chat: ""))

    def worker(number: int) -> None:
        gate.wait(10)
        for room, share in calls[number::8]:
            try:
                metered.generate([[Message("user", repr(share))]], max_tokens=room)
            except BudgetSpent:
                continue

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(worker, range(8)))
    assert most <= limit
    assert budget.spent.completion_tokens == done


# -- prices


def test_a_price_that_is_given_goes_before_the_table():
    assert price_of("openai:gpt-4o-mini", price_in=1.0, price_out=2.0) == Price(1.0, 2.0)


def test_the_table_knows_models_by_name_and_halves_for_batches():
    pytest.importorskip("genai_prices")
    assert price_of("openai:gpt-4o-mini") == Price(0.15, 0.6)
    assert price_of("openai:gpt-4o-mini", batch=True) == Price(0.075, 0.3)
    assert price_of("openai:https://api.openai.com/v1#gpt-4o-mini") == Price(0.15, 0.6)


@pytest.mark.parametrize("spec", ["openai:no-such-model", "openai:http://127.0.0.1:8000/v1#gpt-4o-mini"])
def test_an_unknown_price_is_none(spec):
    assert price_of(spec) is None


@pytest.mark.parametrize("spec", ["builtin", "gguf:/m.gguf", "hf:a/b:c", "none"])
def test_what_runs_here_costs_nothing(spec):
    assert price_of(spec) == Price(0.0, 0.0)


def test_without_the_table_no_price_is_known(monkeypatch):
    real = builtins.__import__

    def missing(name, *rest):
        if name == "genai_prices":
            raise ImportError(name)
        return real(name, *rest)

    monkeypatch.setattr(builtins, "__import__", missing)
    assert price_of("openai:gpt-4o-mini") is None


@pytest.mark.parametrize(
    "given",
    [{"price_in": 1.0}, {"price_out": 1.0}, {"price_in": -1.0, "price_out": 1.0}]
    + [{"price_in": 1.0, "price_out": odd} for odd in (math.inf, math.nan)],
)
def test_half_a_price_and_no_price_are_refused(given):
    with pytest.raises(SetupError, match="price"):
        price_of("openai:gpt-4o-mini", **given)


# -- before the start


@pytest.fixture
def rapport(tmp_path: Path) -> Iterator[Rapport]:
    opened = Rapport(Settings(home=tmp_path, llm="none", embedder="hashing", domain="film"), talker())
    with opened:
        opened.store.add_items(films())
        opened.store.add_events(events())
        yield opened


def talker(*, refused: int = 0, longest: bool = False) -> Scripted:
    """Personas that pass the check from the try number `refused` on; as long as they may be, or as usual."""
    asked: dict[str, int] = {}

    def reply(chat: Chat) -> Completion:
        facts = chat[-1].content
        likes = next((line for line in facts.splitlines() if line.startswith("likes ")), "likes films")
        number = asked[facts] = asked.get(facts, -1) + 1
        text = f"A fan of {likes.removeprefix('likes ')}." if number >= refused else "No."
        prompt = sum(llm.count_tokens(one.content) + module.MESSAGE_OVERHEAD for one in chat) + module.MESSAGE_OVERHEAD
        return Completion(text, "stop", prompt, 110 if longest else 55, 0.0)

    llm = Scripted(reply, lambda chat, choices: [1.0, 0.5, 0.0])
    return llm


def test_an_estimate_asks_nothing_and_keeps_nothing(rapport):
    before = estimate(rapport, rapport.store.users())
    assert rapport.llm.calls == []
    assert [rapport.store.profile(user) for user in rapport.store.users()] == [None] * 12
    assert rapport.store.calls(10) == []
    assert (before.people, before.sampled) == (12, 12)
    assert before.cost is None
    assert 0 < before.prompt_tokens < before.most_prompt_tokens
    assert 0 < before.completion_tokens < before.most_completion_tokens


def tagged(rapport: Rapport, llm: Scripted) -> Spent:
    budget = Budget(Price(1.0, 1.0))
    twin = rapport.with_llm(budget.around(llm))
    for user in rapport.store.users():
        twin.profile(user, rebuild=True)
    return budget.spent


def test_the_expected_figures_are_about_those_of_good_answers_of_usual_length(rapport):
    before = estimate(rapport, rapport.store.users(), Price(1.0, 1.0))
    # The check refuses two of the first texts that are written here, so a little more is spent.
    spent = tagged(rapport, talker())
    assert before.prompt_tokens <= spent.prompt_tokens <= 1.05 * before.prompt_tokens
    assert before.completion_tokens <= spent.completion_tokens <= 1.25 * before.completion_tokens
    assert spent.prompt_tokens < before.most_prompt_tokens
    assert spent.cost is not None
    assert before.cost == pytest.approx(spent.cost, rel=0.06)


def test_the_most_is_what_the_worst_model_takes(rapport):
    before = estimate(rapport, rapport.store.users(), Price(1.0, 1.0))
    spent = tagged(rapport, talker(refused=99, longest=True))
    assert spent.prompt_tokens == before.most_prompt_tokens
    assert spent.completion_tokens == before.most_completion_tokens
    assert spent.cost == pytest.approx(before.most_cost)


def test_many_people_are_estimated_from_a_few(rapport, monkeypatch):
    whole = estimate(rapport, rapport.store.users())
    monkeypatch.setattr(module, "SAMPLE", 4)
    part = estimate(rapport, rapport.store.users())
    assert (part.people, part.sampled) == (12, 4)
    assert part.prompt_tokens == pytest.approx(whole.prompt_tokens, rel=0.5)


def test_nobody_costs_nothing(rapport):
    nobody = estimate(rapport, [], Price(1.0, 1.0))
    assert (nobody.people, nobody.prompt_tokens, nobody.most_cost) == (0, 0, 0.0)


def test_who_cannot_be_profiled_is_left_to_the_run(rapport, monkeypatch):
    users = rapport.store.users()
    real = rapport.store.events_after

    def damaged(user: str, *rest: int) -> list[Event]:
        if user == users[0]:
            raise ValueError("a damaged row")
        return real(user, *rest)

    monkeypatch.setattr(rapport.store, "events_after", damaged)
    assert estimate(rapport, users[:2]).sampled == 1
