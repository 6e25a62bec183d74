"""Which lane a request is computed in, and what ends with it."""

from __future__ import annotations

import threading

import numpy as np
import pytest

from agent.errors import Unavailable
from agent.llm.lanes import Lanes
from agent.llm.scheduler import Cancel, Finished, Request, Scheduler, Terms
from agent.llm.threads import MOST_LANES, SMALL, shared_out

BACKGROUND = Terms(background=True)
HEAD = tuple(range(1, 41))


class Gated:
    """A decoder that stands still until it is let go, and always answers with token 1."""

    cells, batch, outputs = 400, 64, 64

    def __init__(self) -> None:
        self.go_on = threading.Event()
        self.begun = threading.Event()
        self.prompts: list[tuple[int, ...]] = []

    def decode(self, rows):
        self.prompts.append(tuple(row.token for row in rows))
        self.begun.set()
        assert self.go_on.wait(20)
        return [np.array([0.0, 1.0, *[0.0] * 60], np.float32) for row in rows if row.wanted]

    def copy(self, source, into, length): ...

    def cut(self, sequence, length): ...

    def clear(self): ...

    def close(self): ...


class Ones:
    """Picks the likeliest token and never ends by itself."""

    def pick(self, logits):
        return int(logits.argmax())

    def forced(self):
        return ()

    def complete(self):
        return False

    def close(self): ...


@pytest.fixture
def two():
    decoders = Gated(), Gated()
    lanes = Lanes([Scheduler(decoder) for decoder in decoders])
    yield lanes, decoders
    for decoder in decoders:
        decoder.go_on.set()
    lanes.close()


def asked(*tokens: int, terms: Terms = Terms()) -> Request:  # noqa: B008 - frozen
    return Request(tokens, 2, Ones(), terms=terms)


def answered(request: Request) -> list[int]:
    tokens = []
    while not isinstance(result := request.results.get(timeout=20), Finished):
        if isinstance(result, Exception):
            raise result
        tokens.append(result)
    return tokens


def test_requests_go_where_fewest_are_before_them(two):
    lanes, decoders = two
    with lanes.under_way([asked(n) for n in (2, 3, 4, 5)], Terms()) as submitted:
        for decoder in decoders:
            assert decoder.begun.wait(20)
            decoder.go_on.set()
        assert [answered(request) for request in submitted] == [[1, 1]] * 4
    assert [sorted({token for step in one.prompts for token in step} - {1}) for one in decoders] == [[2, 4], [3, 5]]


def test_who_waits_for_an_answer_is_not_put_behind_what_nobody_waits_for(two):
    lanes, decoders = two
    with lanes.under_way([asked(n, terms=BACKGROUND) for n in (2, 3, 4)], BACKGROUND):
        for decoder in decoders:
            assert decoder.begun.wait(20)
        # The first lane has two in the background, the second one: for an urgent request both are free.
        assert [lane.ahead_of(asked(9)) for lane in lanes._lanes] == [0, 0]
        assert [lane.ahead_of(asked(9, terms=BACKGROUND)) for lane in lanes._lanes] == [2, 1]
        for decoder in decoders:
            decoder.go_on.set()


def test_among_idle_lanes_the_one_that_knows_the_beginning(two):
    lanes, decoders = two
    for decoder in decoders:
        decoder.go_on.set()
    lanes._lanes[1].submit(known := asked(*HEAD, 50))
    answered(known)
    with lanes.under_way([asked(*HEAD, 51)], Terms()) as (again,):
        answered(again)
    assert not decoders[0].prompts
    assert lanes.usage().computed_tokens == len(HEAD) + 1 + 1
    lanes.clear()
    assert [lane.kept_of(HEAD) for lane in lanes._lanes] == [0, 0]


def test_cancelling_ends_what_was_asked_under_it_in_every_lane(two):
    lanes, decoders = two
    cancel = Cancel()
    terms = Terms(cancel=cancel)
    with lanes.under_way([asked(n, terms=terms) for n in (2, 3)], terms) as submitted:
        for decoder in decoders:
            assert decoder.begun.wait(20)
        cancel.set()
        for request in submitted:
            with pytest.raises(Unavailable, match="cancelled"):
                answered(request)


def test_what_was_computed_is_counted_in_all_lanes(two):
    lanes, decoders = two
    for decoder in decoders:
        decoder.go_on.set()
    with lanes.under_way([asked(2), asked(3)], Terms()) as submitted:
        for request in submitted:
            answered(request)
    usage = lanes.usage()
    assert (usage.prompt_tokens, usage.computed_tokens, usage.sampled_tokens) == (2, 2, 4)
    assert usage.decode_s == pytest.approx(sum(lane.usage().decode_s for lane in lanes._lanes) / 2)


@pytest.mark.parametrize(
    ("threads", "parameters", "lanes", "each"),
    [
        (1, SMALL - 1, 1, 1),
        (2, SMALL - 1, 2, 1),
        (8, SMALL - 1, MOST_LANES, 2),
        (2, SMALL, 1, 2),
        (8, SMALL * 10, 1, 8),
    ],
)
def test_small_models_are_computed_side_by_side_and_large_ones_by_all_threads(threads, parameters, lanes, each):
    assert shared_out(threads, parameters) == (lanes, each)
