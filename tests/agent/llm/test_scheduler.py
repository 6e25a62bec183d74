"""The scheduler over a decoder that is exact: what it answers depends on every token that a sequence holds."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Sequence

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from agent.errors import LLMError, Refused, TimedOut, Unavailable
from agent.llm.lanes import Lanes
from agent.llm.scheduler import (
    BACKGROUND_ROWS,
    HELD_BACK,
    KEPT,
    RUNNING,
    SEQUENCES,
    WAITING_MOST,
    Cancel,
    Finished,
    Logits,
    Request,
    Row,
    Scheduler,
    Terms,
    Tokens,
    log_softmax,
)

VOCABULARY = 12
END = 0
BACKGROUND = Terms(background=True)


def logits_after(tokens: Sequence[int]) -> Logits:
    seed = 7
    for token in tokens:
        seed = (seed * 1_000_003 + token + 1) % (2**31)
    return np.random.default_rng(seed).normal(size=VOCABULARY).astype(np.float32) * 3


class ExactDecoder:
    """Holds each sequence as a list of cells, and fails as a native context does, loudly, when they run out.

    `steps`: the rows of every call so far. `asked`: for every call, what stands in the sequences whose logits were
    wanted. `during`: what is done inside the call of that number, by the scheduler's own thread. `clock`: seconds, one
    for each call.
    """

    batch = 2 * RUNNING
    outputs = 8

    def __init__(self, cells: int) -> None:
        self.cells = cells
        self.steps: list[Sequence[Row]] = []
        self.asked: list[list[Tokens]] = []
        self.during: dict[int, Callable[[], object]] = {}
        self.clock = 0.0
        self.lent: list[Logits] = []
        self.held: list[list[tuple[int, int]]] = [[] for _ in range(SEQUENCES)]
        self.computed = 0
        self.largest_batch = 0
        self.broken = False
        self.closed = False

    def decode(self, rows: Sequence[Row]) -> list[Logits]:
        assert 0 < len(rows) <= self.batch
        for logits in self.lent:
            logits.fill(np.nan)  # they hold until the next call only
        self.clock += 1.0
        self.steps.append(rows)
        self.during.pop(len(self.steps) - 1, lambda: None)()
        if self.broken:
            self.broken = False
            raise RuntimeError("the decoder broke")
        self.largest_batch = max(self.largest_batch, len({row.sequence for row in rows}))
        found = []
        self.asked.append([])
        for row in rows:
            held = self.held[row.sequence]
            assert row.position == len(held), "a token is computed where it does not belong"
            self.computed += 1
            held.append((row.token, self.computed))
            if row.wanted:
                self.asked[-1].append(tuple(token for token, _ in held))
                found.append(logits_after(self.asked[-1][-1]))
        assert self.in_use() <= self.cells, "out of cells"
        self.lent = found
        return found

    def in_use(self) -> int:
        return len({cell for held in self.held for _, cell in held})

    def copy(self, source: int, into: int, length: int) -> None:
        assert len(self.held[source]) >= length
        assert self.held[into] == self.held[source][: len(self.held[into])]
        self.held[into] = self.held[source][:length]

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

    def forced(self) -> Tokens:
        return ()

    def complete(self) -> bool:
        return False

    def close(self) -> None:
        self.closed = True


class Turning(Greedy):
    """Never ends, and picks by how much it has picked, too, as a grammar does: it must not lose count."""

    def __init__(self) -> None:
        self.picked = 0

    def pick(self, logits: Logits) -> int | None:
        self.picked += 1
        return int(np.argsort(logits[1:])[-(self.picked % 3) - 1]) + 1


def answer_alone(prompt: Tokens, max_tokens: int, kind: type[Greedy] = Greedy) -> tuple[list[int], str]:
    picker, tokens = kind(), []
    while len(tokens) < max_tokens:
        token = picker.pick(logits_after([*prompt, *tokens]))
        if token is None:
            return tokens, "stop"
        tokens.append(token)
    return tokens, "length"


def scores_alone(prompt: Tokens, choices: Sequence[Tokens]) -> list[float]:
    return [
        sum(float(log_softmax(logits_after([*prompt, *choice[:n]]))[token]) for n, token in enumerate(choice))
        for choice in choices
    ]


def submit(scheduler: Scheduler, *requests: Request) -> None:
    for request in requests:
        scheduler.submit(request)


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
        made.append(Scheduler(decoder, now=lambda: decoder.clock))
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
    st.booleans(),  # in the background
)
INSTRUCTIONS = [(n + 1, *np.random.default_rng(n).integers(1, VOCABULARY, 39).tolist()) for n in range(3)]


@settings(deadline=None, max_examples=80)
@given(st.lists(call, min_size=1, max_size=6), st.sampled_from([110, 200, 1000]), st.booleans())
def test_together_and_after_each_other_gives_what_each_gives_alone(calls, cells, at_once):
    decoder = ExactDecoder(cells)
    scheduler = Scheduler(decoder)
    try:
        asked = []
        for which, length, tails, wanted, background in calls:
            prompts = [(*INSTRUCTIONS[which][:length], *rest) for rest in tails]
            shared = length if len(prompts) > 1 else 0
            terms = Terms(background=background)
            requests = [
                Request(prompt, wanted, Greedy(), shared=shared, terms=terms)
                if isinstance(wanted, int)
                else Request(prompt, choices=tuple(wanted), shared=shared, terms=terms)
                for prompt in prompts
            ]
            submit(scheduler, *requests)
            asked += requests
            if not at_once:
                assert_same_as_each_alone(requests)
        assert_same_as_each_alone(asked if at_once else [])
        assert not any(decoder.held[KEPT:]), "a finished request left something behind"
    finally:
        scheduler.close()
    assert decoder.closed


def assert_same_as_each_alone(requests: Sequence[Request]) -> None:
    for request in requests:
        tokens, finished = collected(request)
        if request.picker:
            assert (tokens, finished.reason) == answer_alone(request.prompt, request.max_tokens, type(request.picker))
        else:
            assert finished.scores == pytest.approx(scores_alone(request.prompt, request.choices))


def test_prompts_of_one_call_share_their_beginning_and_are_decoded_together(opened):
    scheduler, decoder = opened()
    head = INSTRUCTIONS[0]
    requests = [Request((*head, n + 1), 5, Greedy(), shared=len(head)) for n in range(RUNNING)]
    submit(scheduler, *requests)
    answers = [collected(request)[0] for request in requests]
    alone = len(head) + sum(1 + len(answer) for answer in answers)
    assert decoder.computed <= alone
    assert decoder.largest_batch == RUNNING


def test_a_prompt_that_begins_like_the_last_one_computes_only_what_is_new(opened):
    scheduler, decoder = opened()
    for end in (1, 2, 3):
        request = Request((*INSTRUCTIONS[0], end), choices=((1,),))
        submit(scheduler, request)
        collected(request)
    assert decoder.computed == len(INSTRUCTIONS[0]) + 3


def test_prompts_of_several_kinds_taking_turns_stay_computed(opened):
    scheduler, decoder = opened(1000)
    for _ in range(3):
        for head in INSTRUCTIONS:
            request = Request((*head, 1), choices=((1,),))
            submit(scheduler, request)
            collected(request)
    assert decoder.computed == 3 * (len(INSTRUCTIONS[0]) + 1) + 2 * 3  # all once, then the last token of each again


def test_many_threads_get_their_own_answers(opened):
    scheduler, _ = opened(150)
    wrong = []

    def ask(n: int) -> None:
        for turn in range(10):
            prompt = (*INSTRUCTIONS[n % 3][: 5 * turn], n % VOCABULARY or 1, turn + 1)
            request = Request(prompt, 6, Greedy())
            submit(scheduler, request)
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
    submit(scheduler, first)
    first.results.get(timeout=20)
    scheduler.cancel([first])
    other = Request((3, 4, 5), 50, Greedy())
    submit(scheduler, other)
    assert collected(other)[0] == answer_alone((3, 4, 5), 50)[0]
    assert picker.closed
    assert not any(decoder.held[KEPT:])


def test_a_broken_decoder_costs_the_requests_under_way_and_nothing_else(opened):
    scheduler, decoder = opened()
    decoder.broken = True
    request = Request((1, 2), 4, Greedy())
    submit(scheduler, request)
    with pytest.raises(Unavailable, match="broke"):
        collected(request)
    again = Request((1, 2), 4, Greedy())
    submit(scheduler, again)
    assert collected(again)[0] == answer_alone((1, 2), 4)[0]


def test_what_can_never_fit_is_refused(opened):
    scheduler, _ = opened(50)
    request = Request(tuple([1] * 40), 20, Greedy())
    submit(scheduler, request)
    with pytest.raises(Refused, match="do not fit"):
        collected(request)


def test_after_closing_nothing_is_taken(opened):
    scheduler, decoder = opened()
    scheduler.close()
    assert decoder.closed
    with pytest.raises(Refused, match="closed"):
        submit(scheduler, Request((1,), 1, Greedy()))


# -- interactive before background


PROMPTS = [(a, b) for a in range(1, 12) for b in range(1, 12)]


def prompts_in(step: Sequence[Tokens]) -> list[Tokens]:
    """Which prompts of two tokens are being answered."""
    return [tokens[:2] for tokens in step]


def test_the_background_stands_still_while_anything_else_is_computed(opened):
    scheduler, decoder = opened()
    background = [Request(prompt, 20, Turning(), terms=BACKGROUND) for prompt in PROMPTS[:3]]
    urgent = Request(PROMPTS[3], 10, Turning())
    decoder.during[5] = lambda: submit(scheduler, urgent)
    submit(scheduler, *background)
    assert_same_as_each_alone([urgent, *background])
    kinds = [set(prompts_in(step)) for step in decoder.asked]
    assert kinds == [set(PROMPTS[:3])] * 6 + [{PROMPTS[3]}] * 10 + [set(PROMPTS[:3])] * 14
    assert decoder.computed == 3 * (2 + 19) + (2 + 9), "what stood still was computed again"


def test_whoever_waits_is_computed_before_all_that_the_background_waits_with(opened):
    scheduler, decoder = opened(2000)
    background = [Request(prompt, 10, Turning(), terms=BACKGROUND) for prompt in PROMPTS[:20]]
    urgent = [Request(prompt, 3, Turning()) for prompt in PROMPTS[20 : 20 + HELD_BACK]]
    decoder.during[4] = lambda: submit(scheduler, *urgent)
    submit(scheduler, *background)
    assert_same_as_each_alone([*urgent, *background])
    assert [prompts_in(step) for step in decoder.asked[:5]] == [PROMPTS[: RUNNING - HELD_BACK]] * 5
    # All of them start at once, and none of the others goes on.
    assert [prompts_in(step) for step in decoder.asked[5:8]] == [PROMPTS[20 : 20 + HELD_BACK]] * 3


def test_the_background_gives_up_its_cells_the_youngest_first_and_says_nothing_twice(opened):
    scheduler, decoder = opened(100)
    background = [Request(prompt, 30, Turning(), terms=BACKGROUND) for prompt in PROMPTS[:3]]  # 96 cells
    urgent = Request(PROMPTS[3], 40, Turning())  # 42 cells: two of them must go
    decoder.during[9] = lambda: submit(scheduler, urgent)
    submit(scheduler, *background)
    assert_same_as_each_alone([urgent])
    assert_same_as_each_alone(background)
    assert all(request.results.empty() for request in background)
    once = 3 * (2 + 29) + (2 + 39)
    assert decoder.computed == once + 2 * (2 + 9)  # the oldest was kept; of the others, what they had so far
    assert prompts_in(decoder.asked[50]) == PROMPTS[:3], "the order of the background was lost"
    assert scheduler.usage().prompt_tokens == 4 * 2
    assert scheduler.usage().computed_tokens == 4 * 2 + 2 * 2


def test_the_background_computes_little_at_a_time(opened):
    scheduler, decoder = opened(2000)
    decoder.batch = 4 * BACKGROUND_ROWS
    prompt = tuple(np.random.default_rng(1).integers(1, VOCABULARY, 2 * BACKGROUND_ROWS + 5).tolist())
    for terms, most in ((BACKGROUND, BACKGROUND_ROWS), (Terms(), 2 * BACKGROUND_ROWS + 1)):
        request = Request((*prompt, 1) if terms.background else (2, *prompt), 4, Greedy(), terms=terms)
        decoder.steps.clear()
        submit(scheduler, request)
        collected(request)
        assert max(map(len, decoder.steps)) == (most if terms.background else len(prompt) + 1)


def test_a_beginning_that_is_being_computed_is_not_computed_beside_it(opened):
    scheduler, decoder = opened(1000)
    decoder.batch = 8
    head = INSTRUCTIONS[0]
    requests = [Request((*head, n + 1), 1, Greedy()) for n in range(5)]  # each asked by somebody else
    submit(scheduler, *requests)
    assert_same_as_each_alone(requests)
    assert decoder.computed == len(head) + 5


# -- ends


def test_time_is_over_for_an_answer_under_way(opened):
    scheduler, decoder = opened()
    late = Request(PROMPTS[0], 50, Turning(), terms=Terms(timeout_s=3))
    other = Request(PROMPTS[1], 50, Turning(), terms=Terms(timeout_s=60))
    decoder.during[0] = lambda: submit(scheduler, late, other)
    submit(scheduler, Request((1, 2), 1, Greedy()))
    with pytest.raises(TimedOut, match="3 s"):
        collected(late)
    assert late.answered == answer_alone(PROMPTS[0], 3, Turning)[0]  # one step a second
    assert late.picker.closed
    assert_same_as_each_alone([other])


class Timed(Turning):
    """Knows when it was closed."""

    def __init__(self, decoder: ExactDecoder) -> None:
        super().__init__()
        self._decoder = decoder

    def close(self) -> None:
        self.closed_at = self._decoder.clock


def test_time_is_over_for_a_request_that_waits(opened):
    scheduler, decoder = opened(60)
    first = Request(PROMPTS[0], 50, Turning())
    late = Request(PROMPTS[1], 50, Timed(decoder), terms=Terms(timeout_s=5))
    decoder.during[0] = lambda: submit(scheduler, late)
    submit(scheduler, first)
    with pytest.raises(TimedOut):
        collected(late)
    assert late.picker.closed_at == 5 + 1, "it had to wait for more than the step in progress"
    assert_same_as_each_alone([first])


def test_time_in_the_background_is_the_time_of_the_background(opened):
    scheduler, decoder = opened()
    terms = Terms(background=True, timeout_s=12)
    enough, too_little = (
        Request(PROMPTS[0], 11, Turning(), terms=terms),
        Request(PROMPTS[1], 20, Turning(), terms=terms),
    )
    decoder.during[3] = lambda: submit(scheduler, Request(PROMPTS[2], 80, Turning()))
    submit(scheduler, enough, too_little)
    assert_same_as_each_alone([enough])
    with pytest.raises(TimedOut):
        collected(too_little)
    assert decoder.clock > 80


def test_time_in_the_background_does_not_run_while_it_waits(opened):
    scheduler, decoder = opened(1000)
    terms = Terms(background=True, timeout_s=30)
    requests = [Request(prompt, 20, Turning(), terms=terms) for prompt in PROMPTS[: 3 * RUNNING]]
    submit(scheduler, *requests)
    assert_same_as_each_alone(requests)
    assert decoder.clock > 30


def test_who_is_cancelled_is_woken_at_once_and_its_place_is_free_before_the_next_step(opened):
    scheduler, decoder = opened(60)
    cancel = Cancel()
    terms = Terms(cancel=cancel)
    first = Request(PROMPTS[0], 50, Turning(), terms=terms)
    other = Request(PROMPTS[1], 50, Turning())
    reached, go_on = threading.Event(), threading.Event()

    def held() -> None:
        reached.set()
        assert go_on.wait(20)

    decoder.during[3] = held
    with Lanes([scheduler]).under_way([first], terms):
        submit(scheduler, other)
        assert reached.wait(20)
        cancel.set()
        with pytest.raises(Unavailable, match="cancelled"):  # while the step is still being computed
            collected(first)
        go_on.set()
        assert_same_as_each_alone([other])
    assert [row.position for row in decoder.steps[4]] == [0, 1]  # the other has its cells
    assert first.picker.closed


def test_what_waits_is_cancelled_too_and_what_is_asked_afterwards(opened):
    scheduler, decoder = opened(60)
    cancel = Cancel()
    terms = Terms(cancel=cancel)
    first, second = Request(PROMPTS[0], 50, Turning()), Request(PROMPTS[1], 50, Timed(decoder), terms=terms)
    decoder.during[3] = cancel.set
    submit(scheduler, first)
    with Lanes([scheduler]).under_way([second], terms), pytest.raises(Unavailable, match="cancelled"):
        collected(second)
    assert_same_as_each_alone([first])
    assert second.picker.closed_at == 4
    third = Request(PROMPTS[2], 50, Turning(), terms=terms)
    with pytest.raises(Unavailable, match="cancelled"), Lanes([scheduler]).under_way([third], terms):
        pytest.fail("it was taken")
    assert third.picker.closed


# -- the queue


def test_a_call_may_have_many_more_requests_than_may_wait(opened):
    scheduler, _ = opened(2000)
    made: list[Request] = []

    def requests() -> Iterator[Request]:
        for n in range(1000):
            assert sum(not request.picker.closed for request in made) <= WAITING_MOST + RUNNING
            made.append(Request((n % 11 + 1, n // 11 % 11 + 1, n % 7 + 1), 2, Greedy(), terms=BACKGROUND))
            yield made[-1]

    with Lanes([scheduler]).under_way(requests(), BACKGROUND) as submitted:
        assert_same_as_each_alone(submitted)
    assert len(made) == 1000


@pytest.fixture
def full(opened):
    """A scheduler whose queue is full, with a decoder that stands still until the event is set."""
    scheduler, decoder = opened(60)
    reached, go_on = threading.Event(), threading.Event()

    def held() -> None:
        reached.set()
        assert go_on.wait(20)

    decoder.during[0] = held
    submit(scheduler, Request(PROMPTS[0], 50, Turning()))
    assert reached.wait(20)
    submit(scheduler, *(Request((1, 2), 2, Greedy()) for _ in range(WAITING_MOST)))
    yield scheduler, go_on
    go_on.set()


def test_waiting_for_room_ends_with_the_time(full):
    scheduler, _ = full
    with pytest.raises(TimedOut):
        submit(scheduler, Request((1, 2), 2, Greedy(), terms=Terms(timeout_s=0)))


def test_waiting_for_room_ends_when_cancelled(full):
    scheduler, _ = full
    terms = Terms(cancel=Cancel())
    request = Request((1, 2), 2, Greedy(), terms=terms)
    threading.Timer(0.05, terms.cancel.set).start()
    with pytest.raises(Unavailable, match="cancelled"), Lanes([scheduler]).under_way([request], terms):
        pytest.fail("it was taken")
    assert request.picker.closed


def test_waiting_for_room_ends_when_the_model_is_closed(full):
    scheduler, go_on = full
    closing = threading.Timer(0.05, scheduler.close)
    closing.start()
    threading.Timer(0.1, go_on.set).start()
    with pytest.raises(Refused, match="closed"):
        submit(scheduler, Request((1, 2), 2, Greedy()))
    closing.join()


def test_the_background_may_wait_while_others_find_room(full):
    scheduler, go_on = full
    request = Request((3, 4, 5), 2, Greedy(), terms=BACKGROUND)
    submit(scheduler, request)
    go_on.set()
    assert_same_as_each_alone([request])


# -- what is kept


def test_what_is_kept_can_be_cleared(opened):
    scheduler, decoder = opened()
    for _ in range(2):
        request = Request(INSTRUCTIONS[0], 1, Greedy())
        submit(scheduler, request)
        collected(request)
        assert any(decoder.held)
        scheduler.clear()
        assert not any(decoder.held)
    assert decoder.computed == 2 * len(INSTRUCTIONS[0])


def test_what_is_in_use_is_cleared_with_its_last_user(opened):
    scheduler, decoder = opened()
    reached, go_on = threading.Event(), threading.Event()

    def held() -> None:
        reached.set()
        assert go_on.wait(20)

    request = Request((*INSTRUCTIONS[0], 3), 30, Turning())
    decoder.during[10] = held
    submit(scheduler, request)
    assert reached.wait(20)
    clearing = threading.Thread(target=scheduler.clear)
    clearing.start()
    go_on.set()
    clearing.join(20)
    assert_same_as_each_alone([request])
    again = Request(request.prompt, 1, Greedy())
    before = decoder.computed
    submit(scheduler, again)
    collected(again)
    assert decoder.computed == before + len(request.prompt)


def test_usage_is_what_was_done(opened):
    scheduler, decoder = opened()
    head = INSTRUCTIONS[0]
    requests = [Request((*head, 1, n), 5, Turning(), shared=len(head) + 1) for n in range(1, 4)]
    submit(scheduler, *requests)
    for request in requests:
        collected(request)
    chosen = Request((*head, 2), choices=((1, 2, 3), (4,)))
    submit(scheduler, chosen)
    collected(chosen)
    usage = scheduler.usage()
    assert usage.prompt_tokens == 3 * (len(head) + 2) + len(head) + 1 + 2
    assert usage.computed_tokens == len(head) + 1 + 3 + 1 + 2
    assert usage.sampled_tokens == 15
    assert usage.forced_tokens == 0
    assert usage.decode_s == decoder.clock


class Echoing(Greedy):
    """Has every answer begin with 2 3, and every odd token come as often again as its number says."""

    def __init__(self, *, whole: bool = False) -> None:
        self.owed: Tokens = (2, 3)
        self.whole = whole

    def pick(self, logits: Logits) -> int | None:
        token = super().pick(logits)
        self.owed = (token,) * token if token and token % 2 else ()
        return token

    def forced(self) -> Tokens:
        owed, self.owed = self.owed, ()
        return owed

    def complete(self) -> bool:
        return self.whole


def echoed_alone(prompt: Tokens, max_tokens: int) -> tuple[list[int], str]:
    picker = Echoing()
    tokens = [*picker.forced()]
    while len(tokens) < max_tokens:
        token = picker.pick(logits_after([*prompt, *tokens]))
        if token is None:
            return tokens, "stop"
        tokens += [token, *picker.forced()]
    return tokens[:max_tokens], "length"


@settings(deadline=None, max_examples=60)
@given(
    st.lists(st.tuples(tail, st.integers(1, 40), st.booleans()), min_size=1, max_size=20),
    st.sampled_from([110, 200, 1000]),
)
def test_what_is_forced_together_is_what_is_forced_alone(calls, cells):
    decoder = ExactDecoder(cells)
    scheduler = Scheduler(decoder)
    try:
        requests = [
            Request(tuple(prompt), most, Echoing(), terms=Terms(background=background))
            for prompt, most, background in calls
        ]
        submit(scheduler, *requests)
        for (prompt, most, _), request in zip(calls, requests, strict=True):
            tokens, finished = collected(request)
            assert (tokens, finished.reason) == echoed_alone(tuple(prompt), most)
        usage = scheduler.usage()
        assert usage.sampled_tokens + usage.forced_tokens == sum(len(request.answered) for request in requests)
        assert not any(decoder.held[KEPT:]), "a finished request left something behind"
    finally:
        scheduler.close()


def test_what_is_forced_costs_no_step_of_its_own(opened):
    scheduler, decoder = opened()
    request = Request((1, 2, 3), 40, Echoing())
    submit(scheduler, request)
    tokens, _ = collected(request)
    usage = scheduler.usage()
    assert usage.forced_tokens > usage.sampled_tokens > 1
    assert len(tokens) == usage.forced_tokens + usage.sampled_tokens
    assert len(decoder.steps) <= usage.sampled_tokens + 1
    assert [row.token for row in decoder.steps[0]] == [1, 2, 3, 2, 3]
    assert [row.wanted for row in decoder.steps[0]] == [False] * 4 + [True]


@pytest.mark.parametrize(("max_tokens", "whole", "answer"), [(1, True, [2]), (2, False, [2, 3]), (9, True, [2, 3])])
def test_an_answer_that_is_forced_from_end_to_end_computes_nothing(opened, max_tokens, whole, answer):
    scheduler, decoder = opened()
    picker = Echoing(whole=whole)
    request = Request((1, 2, 3), max_tokens, picker)
    submit(scheduler, request)
    assert collected(request) == (answer, Finished("stop" if len(answer) == 2 and whole else "length"))
    assert decoder.steps == []
    assert picker.closed
