"""What was answered once is not asked again, and a failing model is never mistaken for one that wrote nothing."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from pydantic import BaseModel

from agent.ask import Ask
from agent.batch.journal import Journal, key
from agent.errors import (
    BadCompletion,
    CallFailed,
    CallRefused,
    CallUnavailable,
    LLMError,
    RapportError,
    Refused,
    TimedOut,
    Unavailable,
)
from agent.history.store import Store
from agent.llm.base import Chat, Completion, Message
from agent.llm.scripted import NoModel, Scripted
from agent.sample import events, films
from agent.settings import Settings
from agent.types import Profile
from agent.wiring import Rapport

SCHEMA = {"type": "object", "properties": {"tag": {"type": "string"}}}


def said(text: str) -> Chat:
    return [Message("system", "Answer."), Message("user", text)]


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    with Store.open(f"sqlite:///{tmp_path}/store.db") as opened:
        yield opened


def echo(name: str = "scripted") -> Scripted:
    return Scripted(
        lambda chat: f"you said {chat[-1].content}",
        lambda chat, choices: [len(chat[-1].content) / 7, 0.1, -math.inf],
        name,
    )


def test_the_second_process_asks_nothing(store):
    first, second = echo(), echo()
    before = Journal(first, store, "ann")
    chats = [said("one"), said("two")]
    completions = before.generate(chats, schema=SCHEMA, max_tokens=20, temperature=0.7, seed=3)
    scores = before.choose(chats, ["a", "b", "c"])
    after = Journal(second, store, "ann")
    assert after.generate(chats, schema=SCHEMA, max_tokens=20, temperature=0.7, seed=3) == completions
    assert after.choose(chats, ["a", "b", "c"]) == scores
    assert len(first.calls) == 4
    assert second.calls == []


def test_a_completion_comes_back_to_the_last_field(store):
    answer = Completion("naïve 好 \ud800 \u2028", "length", 12, 34, 5.25)
    Journal(Scripted(lambda chat: answer), store, "ann").generate([said("x")])
    assert Journal(echo(), store, "ann").generate([said("x")]) == [answer]


def test_only_what_is_missing_is_asked_in_one_call_and_every_question_once(store):
    sizes = []

    class Counted(Scripted):
        def generate(self, chats, **how):
            sizes.append(len(chats))
            return super().generate(chats, **how)

    llm = Counted(lambda chat: chat[-1].content.upper())
    journal = Journal(llm, store, "ann")
    journal.generate([said("b")])
    done = journal.generate([said("a"), said("b"), said("c"), said("a")])
    assert [one.text for one in done] == ["A", "B", "C", "A"]
    assert sizes == [1, 2]


OTHER = {
    "words": {"chat": said("two")},
    "roles": {"chat": [Message("user", "Answer."), Message("user", "one")]},
    "schema": {"schema": None},
    "length": {"max_tokens": 21},
    "temperature": {"temperature": 0.0},
    "seed": {"seed": 4},
    "model": {"model": "another"},
    "person": {"user": "bob"},
}


@pytest.mark.parametrize("change", OTHER.values(), ids=OTHER.keys())
def test_another_question_is_asked(store, change):
    asked = {
        "chat": said("one"),
        "schema": SCHEMA,
        "max_tokens": 20,
        "temperature": 0.7,
        "seed": 3,
        "model": "scripted",
        "user": "ann",
    }

    def ask(chat, schema, max_tokens, temperature, seed, model, user) -> int:
        llm = echo(model)
        Journal(llm, store, user).generate(
            [chat], schema=schema, max_tokens=max_tokens, temperature=temperature, seed=seed
        )
        return len(llm.calls)

    assert ask(**asked) == 1
    assert ask(**asked) == 0
    assert ask(**asked | change) == 1


def test_other_choices_are_another_question(store):
    llm = echo()
    journal = Journal(llm, store, "ann")
    journal.choose([said("one")], ["a", "b", "c"])
    journal.choose([said("one")], ["a", "c", "b"])
    assert len(llm.calls) == 2


def test_a_key_is_the_same_on_every_machine():
    assert key("m", said("x"), {"method": "choose", "choices": ["a"]}) == "27b1fa347e6d1f024ba0f1c43c3599a5ea784eb2"


FAILURES = {
    "away": (Unavailable("x"), CallUnavailable, "Unavailable"),
    "late": (TimedOut("x"), CallUnavailable, "TimedOut"),
    "refused": (Refused("x"), CallRefused, "Refused"),
    "else": (LLMError("x"), CallFailed, "LLMError"),
}


@pytest.mark.parametrize(("error", "kind", "reason"), FAILURES.values(), ids=FAILURES.keys())
@pytest.mark.parametrize("method", ["generate", "choose"])
def test_a_failing_model_is_no_llm_error_any_more(store, error, kind, reason, method):
    def fail(*_: object) -> str:
        raise error

    journal = Journal(Scripted(fail, fail), store, "ann")  # type: ignore[arg-type]
    with pytest.raises(kind) as caught:
        journal.generate([said("x")]) if method == "generate" else journal.choose([said("x")], ["a"])
    assert type(caught.value) is kind
    assert caught.value.reason == reason
    assert not isinstance(caught.value, LLMError)
    assert caught.value.__cause__ is error


def test_what_is_no_error_of_the_model_goes_through(store):
    def fail(chat: Chat) -> str:
        raise RapportError("something else")

    with pytest.raises(RapportError, match="something else") as caught:
        Journal(Scripted(fail), store, "ann").generate([said("x")])
    assert type(caught.value) is RapportError


def test_no_model_counts_no_tokens(store):
    with pytest.raises(CallUnavailable):
        Journal(NoModel(), store, "ann").count_tokens("x")


def test_it_looks_like_the_model(store):
    llm = Scripted(lambda chat: "x", name="m", capable=True, context=999)
    journal = Journal(llm, store, "ann").in_background()
    assert (journal.name, journal.capable, journal.context) == ("m", True, 999)
    assert journal.count_tokens("some words") == llm.count_tokens("some words")
    assert list(journal.stream(said("x"))) == ["x"]
    journal.close()


class Size(BaseModel):
    size: int


def test_a_repair_that_does_not_fit_leaves_the_first_answer_here_too(store):
    """As without a journal: what was said counts as bad, and no profile fails for it."""
    logged = []
    ask = Ask(Journal(Scripted(lambda chat: "x " * 600, context=700), store, "ann"), logged.append)
    (answer,) = ask.answer("sentiment", [{"sentence": "Good."}], Size, max_tokens=300)
    assert type(answer) is BadCompletion
    assert [one.outcome for one in logged] == ["BadCompletion", "Refused"]


class Killed(BaseException):
    """The process ends here."""


class Mortal(Scripted):
    """Dies once, when a call is paid for and before its answer is there."""

    def __init__(self, dies_at: int) -> None:
        super().__init__(persona, lambda chat, choices: [len(chat[-1].content) % 5, 1.0, 2.0])
        self.dies_at = dies_at
        self.paid = 0

    def generate(self, chats, **how):
        return self._pay(super().generate(chats, **how))

    def choose(self, chats, choices):
        return self._pay(super().choose(chats, choices))

    def _pay(self, answer):
        self.paid += 1
        if self.paid == self.dies_at:
            raise Killed
        return answer


def persona(chat: Chat) -> str:
    likes = next(line for line in chat[-1].content.splitlines() if line.startswith("likes "))
    return f"A fan of {likes.removeprefix('likes ')}."


def profiled(home: Path, dies_at: int = 0) -> tuple[Profile, int]:
    """A profile in the end, however often its process dies; and how many calls that took."""
    llm = Mortal(dies_at)
    settings = Settings(home=home, llm="none", embedder="hashing", domain="film")
    with Rapport(settings, llm) as rapport:
        rapport.store.add_items(films())
        rapport.store.add_events(events())
        while True:
            try:
                made = replace(rapport.profiler, llm=Journal(llm, rapport.store, "bram"))("bram")
            except Killed:
                continue
            return replace(made, provenance=replace(made.provenance, ms=0.0)), llm.paid


def test_a_kill_costs_the_call_in_flight_and_changes_nothing(tmp_path):
    whole, calls = profiled(tmp_path / "whole")
    assert calls > 1
    assert whole.persona_by == "model"
    for dies_at in range(1, calls + 1):
        again, paid = profiled(tmp_path / f"dies{dies_at}", dies_at)
        assert again == whole
        assert paid == calls + 1
