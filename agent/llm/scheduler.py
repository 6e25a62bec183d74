"""Many requests on one model context: sequences decoded together, prompt prefixes computed once.

Knows token ids and a decoder with numbered sequences; knows nothing of text, templates or llama.cpp. One thread of its
own is the only one that ever touches the decoder, because a native context serves one caller at a time (two abort the
process); every other thread hands in requests and reads their results from a queue.

Space is counted on the high side and reserved before anything is computed: a kept prefix counts all of its tokens, a
running request what it adds to the prefix it stands on, and a prefix that a running request stands on is not shortened.
So the decoder never runs out of room in the middle of an answer.
"""

from __future__ import annotations

import queue
import threading
from collections import deque
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Literal, Protocol

import numpy as np
from numpy.typing import NDArray

from agent.errors import LLMError, Refused, Unavailable

Logits = NDArray[np.float32]
Tokens = tuple[int, ...]
Finish = Literal["stop", "length"]

KEPT = 4
"""Sequences that hold prompt prefixes between requests: about the number of prompts that take turns in a pipeline."""
RUNNING = 8
"""Requests that are decoded together."""
SCRATCH = 8
"""Sequences for the continuations of one `choose`."""
SEQUENCES = KEPT + RUNNING + SCRATCH
_WORTH_KEEPING = 16  # tokens; a shorter common beginning is cheaper to compute than to manage


@dataclass(frozen=True, slots=True)
class Row:
    """One token to compute: where it stands, in which sequence, and whether its logits are wanted."""

    token: int
    position: int
    sequence: int
    wanted: bool


class Decoder(Protocol):
    """A transformer's context: `cells` tokens of memory in all, shared by the numbered sequences 0 … SEQUENCES - 1."""

    @property
    def cells(self) -> int: ...

    @property
    def batch(self) -> int:
        """The most rows that one `decode` takes."""
        ...

    @property
    def outputs(self) -> int:
        """The most wanted rows that one `decode` takes."""
        ...

    def decode(self, rows: Sequence[Row]) -> list[Logits]:
        """Compute `rows`; the logits of the wanted ones, in order, as copies."""
        ...

    def copy(self, source: int, target: int, length: int) -> None:
        """Make the first `length` tokens of `source` the beginning of `target` as well, without taking cells."""
        ...

    def cut(self, sequence: int, length: int) -> None:
        """Forget what `sequence` holds beyond its first `length` tokens."""
        ...

    def clear(self) -> None:
        """Forget everything."""
        ...

    def close(self) -> None: ...


class Picker(Protocol):
    """Decides the next token of one answer."""

    def pick(self, logits: Logits) -> int | None:
        """The next token, or None when the answer is complete."""
        ...

    def complete(self) -> bool:
        """True when nothing may follow what was picked so far."""
        ...

    def close(self) -> None: ...


@dataclass(frozen=True, slots=True)
class Finished:
    """The last entry of a request's results."""

    reason: Finish
    scores: tuple[float, ...] = ()


@dataclass(eq=False, slots=True)
class Request:
    """A prompt and what is wanted of it: an answer of up to `max_tokens` from `picker`, or the scores of `choices`."""

    prompt: Tokens
    max_tokens: int = 0
    picker: Picker | None = None
    choices: tuple[Tokens, ...] = ()
    shared: int = 0
    """How many leading tokens of the prompt other requests of the same call begin with too."""
    results: queue.SimpleQueue[int | Finished | LLMError] = field(default_factory=queue.SimpleQueue)
    cancelled: bool = False

    @property
    def reserve(self) -> int:
        """Cells needed beyond the prompt."""
        if self.picker:
            return self.max_tokens
        return max((len(choice) - 1 for choice in self.choices), default=0) * min(len(self.choices), SCRATCH)


@dataclass(eq=False, slots=True)
class _Prefix:
    """Tokens that stay computed in a sequence of their own."""

    sequence: int
    tokens: Tokens = ()
    users: int = 0
    used_at: int = 0


@dataclass(eq=False, slots=True)
class _Run:
    """A request in progress."""

    request: Request
    sequence: int
    base: _Prefix | None
    shared: int
    """Leading tokens whose cells belong to the base."""
    cells: int
    """Reserved beyond the base."""
    pending: Tokens
    """Known tokens that are not computed yet."""
    length: int
    """Tokens computed."""
    answered: int = 0


class Scheduler:
    """Owns `decoder` and the thread that drives it."""

    def __init__(self, decoder: Decoder) -> None:
        self._decoder = decoder
        self._prefixes = [_Prefix(sequence) for sequence in range(KEPT)]
        self._free = list(range(KEPT, KEPT + RUNNING))
        self._runs: list[_Run] = []
        self._clock = 0
        self._waiting: deque[Request] = deque()
        self._closing = False
        self._wake = threading.Condition()  # guards _waiting and _closing, the only things other threads touch
        self._thread = threading.Thread(target=self._serve, name="llm-decoder", daemon=True)
        self._thread.start()

    def submit(self, requests: Sequence[Request]) -> None:
        """Queue `requests` in order; each one's results arrive in its own queue. Refused after `close`."""
        with self._wake:
            if self._closing:
                raise Refused("the model is closed")
            self._waiting.extend(requests)
            self._wake.notify()

    def cancel(self, requests: Sequence[Request]) -> None:
        """Give up `requests`: those in progress are dropped before the next token."""
        for request in requests:
            request.cancelled = True

    def close(self) -> None:
        """Stop after the token in progress and free the decoder; requests under way end in Unavailable."""
        with self._wake:
            self._closing = True
            self._wake.notify()
        if threading.current_thread() is not self._thread:
            self._thread.join()

    def _serve(self) -> None:
        while self._wait_for_work():
            try:
                self._drop_cancelled()
                self._admit()
                self._step()
            except Exception as error:  # noqa: BLE001 - whatever broke, those who wait must be told and the rest go on
                self._fail_all(error)
        self._fail_all(Unavailable("the model was closed"))
        self._decoder.close()

    def _wait_for_work(self) -> bool:
        with self._wake:
            while not (self._waiting or self._runs or self._closing):
                self._wake.wait()
            return not self._closing

    # -- admission

    def _admit(self) -> None:
        """Start waiting requests, first come first served, while there are sequences and cells for them."""
        while self._free and (request := self._first_waiting()):
            if not self._start(request):
                if self._runs:
                    return  # what they hold will be free
                request.results.put(Refused(f"{len(request.prompt)} tokens do not fit into {self._decoder.cells}"))
                _discard(request)
            with self._wake:
                self._waiting.popleft()

    def _first_waiting(self) -> Request | None:
        with self._wake:
            while self._waiting and self._waiting[0].cancelled:
                _discard(self._waiting.popleft())
            return self._waiting[0] if self._waiting else None

    def _start(self, request: Request) -> bool:
        prompt = request.prompt
        if request.shared >= _WORTH_KEEPING:
            self._keep_shared(prompt[: min(request.shared, len(prompt) - 1)])
        # The last token is always computed anew: its logits begin the answer.
        base, have = self._longest(prompt[:-1])
        cells = len(prompt) - have + request.reserve
        if not self._make_room(cells, base, have):
            return False
        sequence = self._free.pop()
        if base:
            self._decoder.copy(base.sequence, sequence, have)
            base.users += 1
            base.used_at = self._tick()
        self._runs.append(_Run(request, sequence, base, have, cells, prompt[have:], have))
        return True

    def _longest(self, tokens: Tokens) -> tuple[_Prefix | None, int]:
        """The prefix that has most in common with the beginning of `tokens`, and how much."""
        have, base = max(
            ((common(prefix.tokens, tokens), prefix) for prefix in self._prefixes), key=lambda found: found[0]
        )
        return (base, have) if have else (None, 0)

    def _keep_shared(self, tokens: Tokens) -> None:
        """Compute the common beginning of several prompts once, if there is room for it now."""
        base, have = self._longest(tokens)
        if have == len(tokens):
            return
        target = self._target(base, have)
        if target is None or not self._make_room(len(tokens) if target is not base else len(tokens) - have, base, have):
            return
        if target is base:
            self._forget(target, have)
        else:
            self._forget(target, 0)
            if base:
                self._decoder.copy(base.sequence, target.sequence, have)
        rows = [Row(token, have + n, target.sequence, False) for n, token in enumerate(tokens[have:])]
        for start in range(0, len(rows), self._decoder.batch):
            self._decoder.decode(rows[start : start + self._decoder.batch])
        target.tokens = tokens
        target.used_at = self._tick()

    def _target(self, base: _Prefix | None, have: int) -> _Prefix | None:
        """Where to keep a prefix that shares `have` tokens with `base`: over it when they are kin, else the oldest."""
        if base and have >= _WORTH_KEEPING and not base.users:
            return base
        idle = [prefix for prefix in self._prefixes if not prefix.users and prefix is not base]
        return min(idle, key=lambda prefix: prefix.used_at, default=None)

    def _make_room(self, cells: int, base: _Prefix | None, have: int) -> bool:
        """Forget idle prefixes, oldest first, until `cells` more fit; of `base` the first `have` tokens stay."""
        for prefix in sorted(self._prefixes, key=lambda prefix: prefix.used_at):
            if self._used() + cells <= self._decoder.cells:
                return True
            if not prefix.users and prefix is not base:
                self._forget(prefix, 0)
        if base and not base.users and self._used() + cells > self._decoder.cells:
            self._forget(base, have)
        return self._used() + cells <= self._decoder.cells

    def _used(self) -> int:
        return sum(len(prefix.tokens) for prefix in self._prefixes) + sum(run.cells for run in self._runs)

    def _forget(self, prefix: _Prefix, length: int) -> None:
        self._decoder.cut(prefix.sequence, length)
        prefix.tokens = prefix.tokens[:length]

    def _tick(self) -> int:
        self._clock += 1
        return self._clock

    # -- decoding

    def _step(self) -> None:
        """Compute one batch: a token for every answer in progress, then as much of the new prompts as fits."""
        rows: list[Row] = []
        asked: list[_Run] = []
        for run in sorted(self._runs, key=lambda run: len(run.pending)):
            taken = run.pending[: self._decoder.batch - len(rows)]
            if not taken:
                break
            run.pending = run.pending[len(taken) :]
            last = len(taken) - 1
            rows += [
                Row(token, run.length + n, run.sequence, n == last and not run.pending) for n, token in enumerate(taken)
            ]
            run.length += len(taken)
            if not run.pending:
                asked.append(run)
        if not rows:
            return
        for run, logits in zip(asked, self._decoder.decode(rows), strict=True):
            if not run.answered:
                self._keep_prompt(run)
            self._advance(run, logits)

    def _advance(self, run: _Run, logits: Logits) -> None:
        request = run.request
        if request.picker is None:
            self._end(run, Finished("stop", self._scores(run, logits)))
            return
        token = request.picker.pick(logits)
        if token is None:
            self._end(run, Finished("stop"))
            return
        request.results.put(token)
        run.answered += 1
        if request.picker.complete():
            self._end(run, Finished("stop"))
        elif run.answered == request.max_tokens:
            self._end(run, Finished("length"))
        else:
            run.pending = (token,)

    def _scores(self, run: _Run, logits: Logits) -> tuple[float, ...]:
        """Log-probability of each choice as the continuation of the prompt."""
        choices = run.request.choices
        first = log_softmax(logits)
        scores = [float(first[choice[0]]) for choice in choices]
        longer = [n for n, choice in enumerate(choices) if len(choice) > 1]
        for start in range(0, len(longer), SCRATCH):
            group = longer[start : start + SCRATCH]
            for n, more in zip(group, self._continuations(run, [choices[n] for n in group]), strict=True):
                scores[n] += more
        return tuple(scores)

    def _continuations(self, run: _Run, choices: Sequence[Tokens]) -> list[float]:
        """Log-probability of all but the first token of each choice, given the prompt and those before it."""
        rows = []
        for n, choice in enumerate(choices):
            sequence = KEPT + RUNNING + n
            self._decoder.copy(run.sequence, sequence, run.length)
            rows += [Row(token, run.length + at, sequence, True) for at, token in enumerate(choice[:-1])]
        step = min(self._decoder.batch, self._decoder.outputs)
        logits: Iterator[Logits] = (
            found for start in range(0, len(rows), step) for found in self._decoder.decode(rows[start : start + step])
        )
        totals = [sum(float(log_softmax(next(logits))[token]) for token in choice[1:]) for choice in choices]
        for n in range(len(choices)):
            self._decoder.cut(KEPT + RUNNING + n, 0)
        return totals

    def _keep_prompt(self, run: _Run) -> None:
        """Keep the prompt that was just computed, for the next one that begins like it."""
        request = run.request
        if request.shared or len(request.prompt) < _WORTH_KEEPING:
            return  # the shared beginning is kept already; the rest is of no use to anyone
        if run.base and run.shared >= _WORTH_KEEPING and run.base.users == 1:
            target = run.base
            self._forget(target, run.shared)
        else:
            target = self._target(run.base, 0)
            if target is None or self._used() - len(target.tokens) + run.shared > self._decoder.cells:
                return
            self._forget(target, 0)
            if run.base:
                run.base.users -= 1
            target.users += 1
            run.base = target
        # The cells of the prompt go over from the run to the prefix.
        run.cells -= len(request.prompt) - run.shared
        run.shared = len(request.prompt)
        self._decoder.copy(run.sequence, target.sequence, len(request.prompt))
        target.tokens = request.prompt
        target.used_at = self._tick()

    # -- ending

    def _drop_cancelled(self) -> None:
        for run in [run for run in self._runs if run.request.cancelled]:
            self._end(run, Unavailable("cancelled"))

    def _end(self, run: _Run, result: Finished | LLMError) -> None:
        self._decoder.cut(run.sequence, 0)
        self._free.append(run.sequence)
        self._runs.remove(run)
        if run.base:
            run.base.users -= 1
        _discard(run.request)
        run.request.results.put(result)

    def _fail_all(self, error: Exception) -> None:
        told = error if isinstance(error, LLMError) else Unavailable(f"the model failed: {error!r}")
        with self._wake:
            requests = [*(run.request for run in self._runs), *self._waiting]
            self._waiting.clear()
        self._runs.clear()
        self._decoder.clear()
        self._prefixes = [_Prefix(sequence) for sequence in range(KEPT)]
        self._free = list(range(KEPT, KEPT + RUNNING))
        for request in requests:
            _discard(request)
            request.results.put(told)


def common(one: Sequence[int], other: Sequence[int]) -> int:
    """How many leading tokens two sequences share."""
    shorter = min(len(one), len(other))
    return next((n for n in range(shorter) if one[n] != other[n]), shorter)


def log_softmax(logits: Logits) -> NDArray[np.float64]:
    shifted = logits.astype(np.float64) - float(logits.max())
    return shifted - np.log(np.exp(shifted).sum())


def _discard(request: Request) -> None:
    if request.picker:
        request.picker.close()
