"""The scheduler over a decoder that is exact: what it answers depends on every token that a sequence holds."""

from __future__ import annotations

import threading
from collections.abc import Sequence

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from agent.errors import LLMError, Refused, Unavailable
from agent.llm.scheduler import KEPT, RUNNING, SEQUENCES, Finished, Logits, Request, Row, Scheduler, Tokens, log_softmax

VOCABULARY = 12
END = 0


def logits_after(tokens: Sequence[int]) -> Logits:
    seed = 7
    for token in tokens:
        seed = (seed * 1_000_003 + token + 1) % (2**31)
    return np.random.default_rng(seed).normal(size=VOCABULARY).astype(np.float32) * 3


class ExactDecoder:
    """Holds each sequence as a list of cells, and fails as a native context does, loudly, when they run out."""

    batch = 8
    outputs = 8

    def __init__(self, cells: int) -> None:
        self.cells = cells
        self.held: list[list[tuple[int, int]]] = [[] for _ in range(SEQUENCES)]
        self.computed = 0
        self.largest_batch = 0
        self.broken = False
        self.closed = False

    def decode(self, rows: Sequence[Row]) -> list[Logits]:
        assert 0 < len(rows) <= self.batch
        if self.broken:
            self.broken = False
            raise RuntimeError("the decoder broke")
        self.largest_batch = max(self.largest_batch, len({row.sequence for row in rows}))
        found = []
        for row in rows:
            held = self.held[row.sequence]
            assert row.position == len(held), "a token is computed where it does not belong"
            self.computed += 1
            held.append((row.token, self.computed))
            if row.wanted:
                found.append(logits_after([token for token, _ in held]))
        assert self.in_use() <= self.cells, "out of cells"
        return found

    def in_use(self) -> int:
        return len({cell for held in self.held for _, cell in held})

    def copy(self, source: int, target: int, length: int) -> None:
        assert len(self.held[source]) >= length
        assert self.held[target] == self.held[source][: len(self.held[target])]
        self.held[target] = self.held[source][:length]

    def cut(self, sequence: int, length: int) -> None:
        self.held[sequence] = self.held[sequence][:length]

    def clear(self) -> None:
        self.held = [[] for _ in range(SEQUENCES)]

    def close(self) -> None:
        self.closed = True


class Greedy:
    closed = False

    def pick(self, logits: Logits) -> int | None:
        token = int(logits.argmax())
        return None if token == END else token

    def complete(self) -> bool:
        return False

    def close(self) -> None:
        self.closed = True


def answer_alone(prompt: Tokens, max_tokens: int) -> tuple[list[int], str]:
    tokens: list[int] = []
    while len(tokens) < max_tokens:
        token = int(logits_after([*prompt, *tokens]).argmax())
        if token == END:
            return tokens, "stop"
        tokens.append(token)
    return tokens, "length"


def scores_alone(prompt: Tokens, choices: Sequence[Tokens]) -> list[float]:
    return [
        sum(float(log_softmax(logits_after([*prompt, *choice[:n]]))[token]) for n, token in enumerate(choice))
        for choice in choices
    ]


def collected(request: Request) -> tuple[list[int], Finished]:
    tokens = []
    while not isinstance(result := request.results.get(timeout=20), Finished):
        if isinstance(result, LLMError):
            raise result
        tokens.append(result)
    return tokens, result


@pytest.fixture
def opened():
    made: list[Scheduler] = []

    def make(cells: int = 400) -> tuple[Scheduler, ExactDecoder]:
        decoder = ExactDecoder(cells)
        made.append(Scheduler(decoder))
        return made[-1], decoder

    yield make
    for scheduler in made:
        scheduler.close()


token = st.integers(1, VOCABULARY - 1)
tail = st.one_of(st.just([5]), st.lists(token, min_size=1, max_size=30))  # the same prompt again must be frequent
choice = st.lists(token, min_size=1, max_size=4).map(tuple)
call = st.tuples(
    st.sampled_from([0, 1, 2]),  # which of three instructions the prompts of the call begin with
    st.integers(0, 40),  # how much of it
    st.lists(tail, min_size=1, max_size=12),
    st.one_of(st.integers(1, 12), st.lists(choice, min_size=1, max_size=10, unique=True)),
)
INSTRUCTIONS = [(n + 1, *np.random.default_rng(n).integers(1, VOCABULARY, 39).tolist()) for n in range(3)]


@settings(deadline=None, max_examples=60)
@given(st.lists(call, min_size=1, max_size=6), st.sampled_from([110, 200, 1000]))
def test_together_and_after_each_other_gives_what_each_gives_alone(calls, cells):
    decoder = ExactDecoder(cells)
    scheduler = Scheduler(decoder)
    try:
        for which, length, tails, wanted in calls:
            head = INSTRUCTIONS[which][:length]
            prompts = [(*head, *rest) for rest in tails]
            shared = length if len(prompts) > 1 else 0
            if isinstance(wanted, int):
                requests = [Request(prompt, wanted, Greedy(), shared=shared) for prompt in prompts]
            else:
                requests = [Request(prompt, choices=tuple(wanted), shared=shared) for prompt in prompts]
            scheduler.submit(requests)
            for prompt, request in zip(prompts, requests, strict=True):
                tokens, finished = collected(request)
                if isinstance(wanted, int):
                    assert (tokens, finished.reason) == answer_alone(prompt, wanted)
                else:
                    assert finished.scores == pytest.approx(scores_alone(prompt, wanted))
        assert not any(decoder.held[KEPT:]), "a finished request left something behind"
    finally:
        scheduler.close()
    assert decoder.closed


def test_prompts_of_one_call_share_their_beginning_and_are_decoded_together(opened):
    scheduler, decoder = opened()
    head = INSTRUCTIONS[0]
    requests = [Request((*head, n + 1), 5, Greedy(), shared=len(head)) for n in range(RUNNING)]
    scheduler.submit(requests)
    answers = [collected(request)[0] for request in requests]
    alone = len(head) + sum(1 + len(answer) for answer in answers)
    assert decoder.computed <= alone
    assert decoder.largest_batch == RUNNING


def test_a_prompt_that_begins_like_the_last_one_computes_only_what_is_new(opened):
    scheduler, decoder = opened()
    for end in (1, 2, 3):
        request = Request((*INSTRUCTIONS[0], end), choices=((1,),))
        scheduler.submit([request])
        collected(request)
    assert decoder.computed == len(INSTRUCTIONS[0]) + 3


def test_prompts_of_several_kinds_taking_turns_stay_computed(opened):
    scheduler, decoder = opened(1000)
    for _ in range(3):
        for head in INSTRUCTIONS:
            request = Request((*head, 1), choices=((1,),))
            scheduler.submit([request])
            collected(request)
    assert decoder.computed == 3 * (len(INSTRUCTIONS[0]) + 1) + 2 * 3  # all once, then the last token of each again


def test_many_threads_get_their_own_answers(opened):
    scheduler, _ = opened(150)
    wrong = []

    def ask(n: int) -> None:
        for turn in range(10):
            prompt = (*INSTRUCTIONS[n % 3][: 5 * turn], n % VOCABULARY or 1, turn + 1)
            request = Request(prompt, 6, Greedy())
            scheduler.submit([request])
            if collected(request)[0] != answer_alone(prompt, 6)[0]:
                wrong.append(prompt)

    threads = [threading.Thread(target=ask, args=[n]) for n in range(12)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(timeout=30)
    assert wrong == []


def test_a_cancelled_request_leaves_the_room_to_others(opened):
    scheduler, decoder = opened(60)
    endless = next(
        p for p in ((a, b) for a in range(1, 12) for b in range(1, 12)) if answer_alone(p, 50)[1] == "length"
    )
    picker = Greedy()
    first = Request(endless, 50, picker)
    scheduler.submit([first])
    first.results.get(timeout=20)
    scheduler.cancel([first])
    other = Request((3, 4, 5), 50, Greedy())
    scheduler.submit([other])
    assert collected(other)[0] == answer_alone((3, 4, 5), 50)[0]
    assert picker.closed
    assert not any(decoder.held[KEPT:])


def test_a_broken_decoder_costs_the_requests_under_way_and_nothing_else(opened):
    scheduler, decoder = opened()
    decoder.broken = True
    request = Request((1, 2), 4, Greedy())
    scheduler.submit([request])
    with pytest.raises(Unavailable, match="broke"):
        collected(request)
    again = Request((1, 2), 4, Greedy())
    scheduler.submit([again])
    assert collected(again)[0] == answer_alone((1, 2), 4)[0]


def test_what_can_never_fit_is_refused(opened):
    scheduler, _ = opened(50)
    request = Request(tuple([1] * 40), 20, Greedy())
    scheduler.submit([request])
    with pytest.raises(Refused, match="do not fit"):
        collected(request)


def test_after_closing_nothing_is_taken(opened):
    scheduler, decoder = opened()
    scheduler.close()
    assert decoder.closed
    with pytest.raises(Refused, match="closed"):
        scheduler.submit([Request((1,), 1, Greedy())])
