"""Picking a token: the short cut through the likeliest ones gives what masking the whole vocabulary gives."""

from __future__ import annotations

import numpy as np
import pytest

from agent.llm.sampling import Pick

VOCABULARY = 8000  # more than are asked about at once
END = 7


class Allowing:
    """A grammar that allows a fixed set of tokens."""

    def __init__(self, *tokens: int) -> None:
        self.tokens = np.array(tokens, dtype=int)
        self.accepted: list[int] = []
        self.asked = 0

    def allowed(self, tokens: np.ndarray) -> np.ndarray:
        self.asked += len(tokens)
        return np.isin(tokens, self.tokens)

    def accept(self, token: int) -> None:
        self.accepted.append(token)


def pick(logits, *allowed, temperature=0.0, seed=0):
    grammar = Allowing(*allowed)
    picker = Pick(
        ends=frozenset([END]),
        piece=lambda token: b"}" if token == 1 else b"x",
        temperature=temperature,
        seed=seed,
        grammar=grammar,  # type: ignore[arg-type]
    )
    return picker.pick(logits), grammar, picker


@pytest.mark.parametrize("seed", range(8))
@pytest.mark.parametrize("count", [1, 3, 40, 1500, 7000])
def test_greedy_is_the_likeliest_of_what_is_allowed(seed, count):
    random = np.random.default_rng(seed)
    logits = random.normal(size=VOCABULARY).astype(np.float32)
    allowed = random.choice(np.arange(8, VOCABULARY), count, replace=False)
    token, grammar, _ = pick(logits, *allowed)
    assert token == max(allowed, key=lambda one: logits[one])
    assert grammar.accepted == [token]


def test_sampling_keeps_to_the_grammar_and_leaves_out_the_tail():
    logits = np.zeros(VOCABULARY, np.float32)
    logits[[20, 21, 22]] = [5.0, 4.5, 1.0]  # 22 is 0.02 times as likely as 20
    logits[23] = 9.0
    drawn = {pick(logits, 20, 21, 22, temperature=1.0, seed=seed)[0] for seed in range(60)}
    assert drawn == {20, 21}


def drawn_from_all(logits, allowed, temperature, seed):
    """What sampling means: every allowed token weighed, the tail left out."""
    candidates = np.sort(allowed)
    scaled = logits[candidates].astype(np.float64) / temperature
    likelihood = np.exp(scaled - scaled.max())
    likelihood[likelihood < 0.1] = 0.0
    return int(np.random.default_rng(seed).choice(candidates, p=likelihood / likelihood.sum()))


@pytest.mark.parametrize("seed", range(8))
@pytest.mark.parametrize("count", [1, 3, 40, 1500, 7000])
@pytest.mark.parametrize("temperature", [0.3, 1.0, 20.0])
def test_sampling_draws_what_weighing_the_whole_vocabulary_draws(seed, count, temperature):
    random = np.random.default_rng(seed)
    logits = random.normal(size=VOCABULARY).astype(np.float32) * 3
    allowed = random.choice(np.arange(8, VOCABULARY), count, replace=False)
    assert pick(logits, *allowed, temperature=temperature, seed=seed)[0] == drawn_from_all(
        logits, allowed, temperature, seed
    )


@pytest.mark.parametrize("temperature", [0.0, 0.7])
def test_a_likely_token_that_is_allowed_costs_few_questions(temperature):
    logits = np.random.default_rng(3).normal(size=VOCABULARY).astype(np.float32)
    logits[[40, 41]] = 20.0, 19.0
    token, grammar, _ = pick(logits, 41, *range(100, 200), temperature=temperature)
    assert token == 41
    assert grammar.asked <= 257


@pytest.mark.parametrize("temperature", [0.0, 1.0])
def test_the_end_and_nothing_allowed_both_end_the_answer(temperature):
    logits = np.zeros(VOCABULARY, np.float32)
    assert pick(logits, END, temperature=temperature)[0] is None
    assert pick(logits, temperature=temperature)[0] is None


def test_complete_after_a_closing_bracket_with_which_the_grammar_may_end():
    logits = np.zeros(VOCABULARY, np.float32)
    assert pick(logits, 1, END)[0] in (1, None)
    logits[1] = 3.0
    assert pick(logits, 1, END)[2].complete()
    assert not pick(logits, 1)[2].complete()
    assert not pick(logits, 2, END)[2].complete()


class Forcing:
    """Finds that the bracket must come next."""

    def forced(self, grammar: Allowing) -> tuple[int, ...]:
        return (3, 1)


def test_what_is_forced_may_complete_the_answer():
    grammar = Allowing(3, 1, END)
    settings = {"ends": frozenset([END]), "piece": lambda token: b"}" if token == 1 else b"x", "temperature": 0.0}
    picker = Pick(**settings, seed=0, grammar=grammar, forcer=Forcing())  # type: ignore[arg-type]
    assert not picker.complete()
    assert picker.forced() == (3, 1)
    assert picker.complete()


def test_without_a_grammar_nothing_is_forced():
    picker = Pick(ends=frozenset([END]), piece=lambda _: b"}", temperature=0.0, seed=0)
    assert picker.forced() == ()
    assert picker.pick(np.eye(VOCABULARY, dtype=np.float32)[5]) == 5
    assert not picker.complete()
