"""Many requests on one model context: sequences decoded together, prompt prefixes computed once.

Knows token ids and a decoder with numbered sequences; knows nothing of text, templates or llama.cpp. One thread of its
own is the only one that ever touches the decoder, because a native context serves one caller at a time (two abort the
process); every other thread hands in requests and reads their results from a queue.

Interactive requests go first: while one is waiting or computed, background requests stand still where they are. When an
interactive one lacks cells, background ones are set back, the youngest first: they give up their cells, wait at the
head of their queue, and later what they were asked and have answered is computed again, so nothing is said twice.

Space is counted on the high side and reserved before anything is computed: a kept prefix counts all of its tokens, a
running request what it adds to the prefix it stands on, and a prefix that a running request stands on is not shortened.
So the decoder never runs out of room in the middle of an answer.
"""

from __future__ import annotations

import queue
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Literal, Protocol

import numpy as np
from numpy.typing import NDArray

from agent.errors import LLMError, Refused, TimedOut, Unavailable
from agent.llm.decoder import Decoder, Logits, Row, Tokens
from agent.llm.prefixes import KEPT, WORTH_KEEPING, Prefix, Prefixes, common

Finish = Literal["stop", "length"]

RUNNING = 20
"""Requests that are decoded together: 16 personas at a time took 12 % less CPU an answer than 8 (measured)."""
HELD_BACK = 4
"""How many of them background requests leave to others, which then start at once."""
SCRATCH = 8
"""Sequences for the continuations of one `choose`."""
SEQUENCES = KEPT + RUNNING + SCRATCH
WAITING_MOST = 64
"""Requests of each kind, interactive and background, that wait; whoever has more waits for room with the next."""
BACKGROUND_ROWS = 128
"""Rows of a step in the background: half a second on two slow cores, which is what an interactive request waits for."""


class Cancel:
    """Ends requests from outside: every request that is asked under it fails with Unavailable once it is set."""

    def __init__(self) -> None:
        self._lock = threading.Lock()  # guards the two below
        self._is_set = False
        self._told: list[Callable[[], None]] = []

    @property
    def is_set(self) -> bool:
        return self._is_set

    def set(self) -> None:
        """From any thread and as often as one likes; those that wait for an answer are woken at once."""
        with self._lock:
            self._is_set = True
            told = list(self._told)
        for tell in told:
            tell()

    def subscribe(self, tell: Callable[[], None]) -> None:
        """Have `tell` called by `set`, in its thread; at once when it is set already."""
        with self._lock:
            self._told.append(tell)
        if self._is_set:
            tell()

    def unsubscribe(self, tell: Callable[[], None]) -> None:
        with self._lock:
            self._told.remove(tell)


@dataclass(frozen=True, slots=True)
class Terms:
    """How urgent the requests of a call are, and what ends them early.

    `background`: nobody waits for them; they stand still while any other request is waiting or computed. `timeout_s`:
    seconds until they end in TimedOut, counted from the call; in the background from the beginning of a request's own
    computation and only while the background is computed, so that no request runs out of time because of others.
    """

    background: bool = False
    timeout_s: float | None = None
    cancel: Cancel | None = None


class Picker(Protocol):
    """Decides the next token of one answer."""

    def pick(self, logits: Logits) -> int | None:
        """The next token, or None when the answer is complete."""
        ...

    def forced(self) -> Tokens:
        """Tokens that must come next, taken as picked; asked for before the first pick and after every one."""
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
    terms: Terms = Terms()
    results: queue.SimpleQueue[int | Finished | LLMError] = field(default_factory=queue.SimpleQueue)
    answered: list[int] = field(default_factory=list)
    """The tokens that were put into the results."""
    ends_at: float | None = None
    """When its time is over, on the clock that counts for it."""
    cancelled: bool = False

    @property
    def reserve(self) -> int:
        """Cells needed beyond the prompt."""
        if self.picker:
            return self.max_tokens
        return max((len(choice) - 1 for choice in self.choices), default=0) * min(len(self.choices), SCRATCH)

    def say(self, token: int) -> None:
        self.answered.append(token)
        self.results.put(token)


@dataclass(frozen=True, slots=True)
class Usage:
    """What a scheduler has done since it was made."""

    prompt_tokens: int = 0
    """Submitted: of the prompts that were begun, and of choices beyond their first token."""
    computed_tokens: int = 0
    """Of these, what was really computed; also what was computed again after a set-back."""
    sampled_tokens: int = 0
    forced_tokens: int = 0
    decode_s: float = 0.0
    """Seconds inside the decoder."""


@dataclass(eq=False, slots=True)
class _Run:
    """A request in progress."""

    request: Request
    sequence: int
    base: Prefix | None
    shared: int
    """Leading tokens whose cells belong to the base."""
    cells: int
    """Reserved beyond the base."""
    pending: Tokens
    """Known tokens that are not computed yet."""
    length: int
    """Tokens computed."""
    keep: int
    """At this length its beginning is kept for others; 0 for never."""

    @property
    def background(self) -> bool:
        return self.request.terms.background


class Scheduler:
    """Owns `decoder` and the thread that drives it. `now`: its clock, in seconds."""

    def __init__(self, decoder: Decoder, now: Callable[[], float] = time.monotonic) -> None:
        self._decoder = decoder
        self.now = now
        self._background_s = 0.0  # the clock of background requests: it runs only while they are computed
        self._usage = Usage()
        self._prefixes = Prefixes(decoder)
        self._free = list(range(KEPT, KEPT + RUNNING))
        self._runs: list[_Run] = []
        self._interactive: deque[Request] = deque()
        self._background: deque[Request] = deque()
        self._clears: list[threading.Event] = []
        self._closing = False
        self._wake = threading.Condition()  # guards the four above, the only things that several threads touch
        self._thread = threading.Thread(target=self._serve, name="llm-decoder", daemon=True)
        self._thread.start()

    def submit(self, request: Request, asked_at: float | None = None) -> None:
        """Queue `request` as soon as there is room; its results arrive in its own queue. `asked_at`: when its time
        began to run, by the clock; None = now.

        Raises Refused after `close`, TimedOut when its time is over before there is room, Unavailable when cancelled.
        """
        try:
            self._queue(request, self.now() if asked_at is None else asked_at)
        except LLMError:
            _discard(request)
            raise

    def ahead_of(self, request: Request) -> int:
        """How many requests are computed or waiting now that `request` would not go before.

        From any thread; a moment later it may be different.
        """
        background = request.terms.background
        with self._wake:
            waiting = len(self._interactive) + (len(self._background) if background else 0)
        return waiting + sum(background or not run.background for run in list(self._runs))

    def kept_of(self, prompt: Tokens) -> int:
        """How many leading tokens of `prompt` need not be computed; from any thread, as `ahead_of`."""
        return self._prefixes.longest(prompt)[1]

    def cancel(self, requests: Sequence[Request]) -> None:
        """Give up `requests`: who waits for one is woken now, and its place is free before the next step."""
        for request in requests:
            request.cancelled = True
            request.results.put(Unavailable("cancelled"))
        with self._wake:
            self._wake.notify_all()

    def usage(self) -> Usage:
        return self._usage

    def clear(self) -> None:
        """Forget the prompts that are kept: idle ones before this returns, others when their last user ends."""
        done = threading.Event()
        with self._wake:
            if self._closing:
                return
            self._clears.append(done)
            self._wake.notify_all()
        done.wait()

    def close(self) -> None:
        """Stop after the token in progress and free the decoder; requests under way end in Unavailable."""
        with self._wake:
            self._closing = True
            self._wake.notify_all()
        if threading.current_thread() is not self._thread:
            self._thread.join()

    def _queue(self, request: Request, asked_at: float) -> None:
        terms = request.terms
        if terms.timeout_s is not None and not terms.background:
            request.ends_at = asked_at + terms.timeout_s
        waiting = self._background if terms.background else self._interactive
        with self._wake:
            while not (ended := self._refusal(request)) and len(waiting) >= WAITING_MOST:
                self._wake.wait(None if request.ends_at is None else request.ends_at - self.now())
            if ended:
                raise ended
            waiting.append(request)
            self._wake.notify_all()

    def _refusal(self, request: Request) -> LLMError | None:
        return Refused("the model is closed") if self._closing else self._over(request)

    def _over(self, request: Request) -> LLMError | None:
        """What ends `request` before its answer is complete, if anything does."""
        cancel = request.terms.cancel
        if request.cancelled or (cancel and cancel.is_set):
            return Unavailable("cancelled")
        clock = self._background_s if request.terms.background else self.now()
        if request.ends_at is not None and clock >= request.ends_at:
            return TimedOut(f"no complete answer within {request.terms.timeout_s:g} s")
        return None

    def _serve(self) -> None:
        while self._wait_for_work():
            try:
                self._forget_kept()
                self._drop_ended()
                self._admit()
                self._step()
            except Exception as error:  # noqa: BLE001 - whatever broke, those who wait must be told and the rest go on
                self._fail_all(error)
        self._fail_all(Unavailable("the model was closed"))
        self._forget_kept()
        self._decoder.close()

    def _wait_for_work(self) -> bool:
        with self._wake:
            while not (self._interactive or self._background or self._runs or self._clears or self._closing):
                self._wake.wait()
            return not self._closing

    # -- admission

    def _admit(self) -> None:
        """Start waiting requests, each kind in its order; those in the background only when nothing else is to do."""
        self._admit_from(self._interactive, leave=0)
        if not self._interactive and all(run.background for run in self._runs):
            self._admit_from(self._background, leave=HELD_BACK)

    def _admit_from(self, waiting: deque[Request], leave: int) -> None:
        while waiting and len(self._free) > leave and not self._will_be_kept(waiting[0]):
            request = waiting[0]
            if not self._start(request):
                if self._runs:
                    return  # what they hold will be free
                request.results.put(Refused(f"{len(request.prompt)} tokens do not fit into {self._decoder.cells}"))
                _discard(request)
            with self._wake:
                waiting.popleft()
                self._wake.notify_all()

    def _will_be_kept(self, request: Request) -> bool:
        """Whether a run of the same kind is about to compute a beginning that `request` then need not compute."""
        computing = [run for run in self._runs if run.keep and run.background == request.terms.background]
        if not computing:
            return False
        enough = self._prefixes.longest(request.prompt)[1] + WORTH_KEEPING
        return any(min(run.keep, common(run.request.prompt, request.prompt)) >= enough for run in computing)

    def _start(self, request: Request) -> bool:
        known = (*request.prompt, *request.answered)
        # The last token is always computed anew: its logits begin the answer.
        base, have = self._prefixes.longest(known[:-1])
        cells = len(request.prompt) + request.reserve - have
        if not self._make_room(cells, base, have, urgent=not request.terms.background):
            return False
        sequence = self._free.pop()
        if base:
            self._prefixes.lend(base, sequence, have)
        # Beyond what its prompt shares with the others of a call, it is of no use to anyone.
        keep = min(request.shared, len(request.prompt) - 1) if request.shared else len(request.prompt)
        if keep < WORTH_KEEPING or keep <= have:
            keep = 0
        run = _Run(request, sequence, base, have, cells, known[have:], have, keep)
        self._runs.append(run)
        if request.terms.background and request.terms.timeout_s is not None:
            request.ends_at = self._background_s + request.terms.timeout_s
        if not request.answered:
            self._count(prompt_tokens=len(request.prompt))
            if request.picker:
                self._say(run, request.picker, ())
        return True

    def _make_room(self, cells: int, base: Prefix | None, have: int, *, urgent: bool) -> bool:
        """Make `cells` more fit, beside the first `have` tokens of `base`: forget idle prefixes, then, when it is
        `urgent`, set back background runs."""
        while not self._forget_idle(cells, base, have):
            youngest = next((run for run in reversed(self._runs) if run.background), None)
            if not urgent or youngest is None:
                return False
            self._set_back(youngest)
        return True

    def _forget_idle(self, cells: int, base: Prefix | None, have: int) -> bool:
        """Forget idle prefixes, oldest first, until `cells` more fit; of `base` the first `have` tokens stay."""
        idle = self._prefixes.idle()
        for prefix in sorted(idle, key=lambda prefix: prefix is base):  # the base at last
            if self._used() + cells > self._decoder.cells:
                self._prefixes.cut(prefix, have if prefix is base else 0)
        return self._used() + cells <= self._decoder.cells

    def _set_back(self, run: _Run) -> None:
        self._release(run)
        run.request.ends_at = None
        if not run.request.answered:
            self._count(prompt_tokens=-len(run.request.prompt))  # it will be begun once more
        with self._wake:
            self._background.appendleft(run.request)

    def _used(self) -> int:
        return self._prefixes.cells + sum(run.cells for run in self._runs)

    def _forget_kept(self) -> None:
        """Do what `clear` asks for."""
        with self._wake:
            clears, self._clears = self._clears, []
        if not clears:
            return
        for run in self._runs:
            run.keep = 0
        self._prefixes.drop()
        if not self._runs:
            self._decoder.clear()  # the cells themselves, too
        for done in clears:
            done.set()

    # -- decoding

    def _step(self) -> None:
        """Compute one batch: a token for every answer in progress, then as much of the new prompts as fits."""
        interactive = [run for run in self._runs if not run.background]
        runs = sorted(interactive or self._runs, key=lambda run: len(run.pending))
        most = self._decoder.batch if interactive else min(self._decoder.batch, BACKGROUND_ROWS)
        rows: list[Row] = []
        asked: list[_Run] = []
        for run in runs:
            taken = run.pending[: most - len(rows)]
            if not taken:
                break
            run.pending = run.pending[len(taken) :]
            last = len(taken) - 1
            rows += [
                Row(token, run.length + n, run.sequence, n == last and not run.pending) for n, token in enumerate(taken)
            ]
            self._count(computed_tokens=max(0, min(len(taken), len(run.request.prompt) - run.length)))
            run.length += len(taken)
            if not run.pending:
                asked.append(run)
        if not rows:
            return
        started = self.now()
        found = self._decode(rows)
        for run in runs:
            if run.keep and run.length >= run.keep:
                self._keep(run)
        scored = []
        for run, logits in zip(asked, found, strict=True):
            if picker := run.request.picker:
                self._advance(run, picker, logits)
            else:
                scored.append((run, log_softmax(logits)))  # the continuations are decoded, and overwrite the logits
        for run, first in scored:
            self._end(run, Finished("stop", self._scores(run, first)))
        if not interactive:
            self._background_s += self.now() - started

    def _decode(self, rows: Sequence[Row]) -> list[Logits]:
        started = self.now()
        logits = self._decoder.decode(rows)
        self._count(decode_s=self.now() - started)
        return logits

    def _count(
        self,
        *,
        prompt_tokens: int = 0,
        computed_tokens: int = 0,
        sampled_tokens: int = 0,
        forced_tokens: int = 0,
        decode_s: float = 0.0,
    ) -> None:
        so_far = self._usage
        self._usage = Usage(
            so_far.prompt_tokens + prompt_tokens,
            so_far.computed_tokens + computed_tokens,
            so_far.sampled_tokens + sampled_tokens,
            so_far.forced_tokens + forced_tokens,
            so_far.decode_s + decode_s,
        )

    def _advance(self, run: _Run, picker: Picker, logits: Logits) -> None:
        token = picker.pick(logits)
        if token is None:
            self._end(run, Finished("stop"))
            return
        self._count(sampled_tokens=1)
        self._say(run, picker, (token,))

    def _say(self, run: _Run, picker: Picker, picked: Tokens) -> None:
        """Add to the answer what was picked and what must follow it; both are computed next, in one go."""
        request = run.request
        room = request.max_tokens - len(request.answered)
        tokens = (*picked, *picker.forced())
        for token in tokens[:room]:
            request.say(token)
        self._count(forced_tokens=len(tokens[:room]) - len(picked))
        if len(tokens) <= room and picker.complete():
            self._end(run, Finished("stop"))
        elif len(tokens) >= room:
            self._end(run, Finished("length"))
        else:
            run.pending += tokens

    def _scores(self, run: _Run, first: NDArray[np.float64]) -> tuple[float, ...]:
        """Log-probability of each choice as the continuation of the prompt, after which come tokens like `first`."""
        choices = run.request.choices
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
            found for start in range(0, len(rows), step) for found in self._decode(rows[start : start + step])
        )
        self._count(prompt_tokens=len(rows), computed_tokens=len(rows))
        totals = [sum(float(log_softmax(next(logits))[token]) for token in choice[1:]) for choice in choices]
        for n in range(len(choices)):
            self._decoder.cut(KEPT + RUNNING + n, 0)
        return totals

    def _keep(self, run: _Run) -> None:
        """Keep what `run` has computed of its prompt, as far as it is for others too, if there is room for it."""
        length, run.keep = run.keep, 0
        if run.base and run.shared >= WORTH_KEEPING and run.base.users == 1 and not run.base.dropped:
            target = run.base
            self._prefixes.cut(target, run.shared)
        else:
            target = next(iter(self._prefixes.idle()), None)
            if target is None or self._used() - len(target.tokens) + run.shared > self._decoder.cells:
                return
            self._prefixes.cut(target, 0)
            self._leave(run)
            target.users += 1
            run.base = target
        # The cells go over from the run to the prefix.
        run.cells -= length - run.shared
        run.shared = length
        self._prefixes.keep(target, run.sequence, run.request.prompt[:length])

    # -- ending

    def _drop_ended(self) -> None:
        """End what was cancelled or is out of time, under way or waiting."""
        for run in list(self._runs):
            if error := self._over(run.request):
                self._end(run, error)
        ended: list[tuple[Request, LLMError]] = []
        with self._wake:
            for waiting in (self._interactive, self._background):
                found = [(request, error) for request in waiting if (error := self._over(request))]
                for request, _ in found:
                    waiting.remove(request)
                ended += found
            if ended:
                self._wake.notify_all()
        for request, error in ended:
            _discard(request)
            request.results.put(error)

    def _end(self, run: _Run, result: Finished | LLMError) -> None:
        self._release(run)
        _discard(run.request)
        run.request.results.put(result)

    def _release(self, run: _Run) -> None:
        """Take from `run` its place and its cells."""
        self._decoder.cut(run.sequence, 0)
        self._free.append(run.sequence)
        self._runs.remove(run)
        self._leave(run)

    def _leave(self, run: _Run) -> None:
        """Let `run` no longer stand on its base."""
        if run.base:
            self._prefixes.give_back(run.base)
            run.base = None

    def _fail_all(self, error: Exception) -> None:
        told = error if isinstance(error, LLMError) else Unavailable(f"the model failed: {error!r}")
        with self._wake:
            requests = [*(run.request for run in self._runs), *self._interactive, *self._background]
            self._interactive.clear()
            self._background.clear()
            self._wake.notify_all()
        self._runs.clear()
        self._decoder.clear()
        self._prefixes = Prefixes(self._decoder)
        self._free = list(range(KEPT, KEPT + RUNNING))
        for request in requests:
            _discard(request)
            request.results.put(told)


def log_softmax(logits: Logits) -> NDArray[np.float64]:
    shifted = logits.astype(np.float64) - float(logits.max())
    return shifted - np.log(np.exp(shifted).sum())


def _discard(request: Request) -> None:
    if request.picker:
        request.picker.close()
