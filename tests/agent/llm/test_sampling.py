"""Picking a token: the short cut through the likeliest ones gives what masking the whole vocabulary gives."""

from __future__ import annotations

import numpy as np
import pytest

from agent.llm.sampling import Pick

VOCABULARY = 2000
END = 7


class Allowing:
    """A grammar that allows a fixed set of tokens."""

    def __init__(self, *tokens: int) -> None:
        self.tokens = np.array(tokens, dtype=int)
        self.accepted: list[int] = []

    def allowed(self, tokens: np.ndarray) -> np.ndarray:
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
@pytest.mark.parametrize("count", [1, 3, 40, 1500])
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
