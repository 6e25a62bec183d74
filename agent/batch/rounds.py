"""Tagging by batch files: all profiles run as far as their answers go, what is missing goes into one batch, and again.

What is in flight at the provider is written down in the home before it is sent, under a name that the batch carries,
so that a killed process takes up where it was and submits nothing twice. Stands on the runner; prints nothing.
"""

from __future__ import annotations

import time
import uuid
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TypeVar

from filelock import FileLock, Timeout
from pydantic import BaseModel

from agent.batch.batchfile import Collector, Deferring, Line, Outbox, Part, read_lines
from agent.batch.budget import Budget
from agent.batch.journal import Journal
from agent.batch.provider import Provider, Status, gone
from agent.batch.report import Progress, Report
from agent.batch.runner import Order, tag, work_of
from agent.errors import LLMError, Refused, SetupError, StoreBusy, Unavailable, UsageError
from agent.history.jobs import Failure, Jobs
from agent.history.store import Store
from agent.llm import openai_wire as wire
from agent.llm.base import LLM
from agent.llm.connect import HOSTED_TIMEOUT_S
from agent.llm.wrapped import Unasked
from agent.wiring import Rapport

KEY = "openai-batch"
ENGINE = "openai-batch"
POLL_S = 30.0
PATIENCE = 20
"""Failed looks in a row at a provider that is away, after which the run ends; what was sent stays sent."""
FRUITLESS = 2
"""Rounds in a row without one answer, after which the run ends."""

Tell = Callable[[str], None]
Result = TypeVar("Result")


class Sent(BaseModel, frozen=True):
    """One batch file at the provider, as the home remembers it; written before it is sent."""

    name: str
    at: float
    file: str = ""
    batch: str = ""
    collected: bool = False


class Flight(BaseModel, frozen=True):
    """What is at one provider for one model, and what was learnt about the model."""

    sent: tuple[Sent, ...] = ()
    left_out: tuple[str, ...] = ()
    answered: bool = False
    """The model has answered somebody."""


class Ledger:
    """The home's memory of what is in flight for the model that `spec` names. It holds nobody's words."""

    def __init__(self, store: Store, spec: str, left_out: Sequence[str]) -> None:
        self._store = store
        self._key = f"{KEY} {spec}"
        body = store.meta(self._key)
        flight = Flight.model_validate_json(body) if body else Flight(left_out=tuple(left_out))
        self.sent = {one.name: one for one in flight.sent}
        self.left_out = set(flight.left_out)
        self.answered = flight.answered

    def put(self, one: Sent) -> None:
        self.sent[one.name] = one
        self.keep()

    def drop(self, one: Sent) -> None:
        del self.sent[one.name]
        self.keep()

    def keep(self) -> None:
        sent, left_out = tuple(self.sent.values()), tuple(sorted(self.left_out))
        flight = Flight(sent=sent, left_out=left_out, answered=self.answered)
        self._store.set_meta(self._key, flight.model_dump_json())


def tag_by_batches(rapport: Rapport, order: Order, *, tell: Tell = lambda line: None, poll_s: float = POLL_S) -> Report:
    """As runner.tag, by batches at the provider that the rapport's model names; waits for them, hours if need be.

    A process that is killed meanwhile loses nothing: the next one waits for the same batches. `tell` hears one line
    for each step. When the provider stays away, refuses, or the budget is spent, the report says so in `stopped`.
    Raises SetupError, UsageError, StoreError; StoreBusy when another process does the same on this home.
    """
    base_url, chosen = url_of(rapport), rapport.settings
    with _alone(rapport):
        rounds = Rounds(rapport, order)
        provider = Provider(base_url, chosen.api_key or None, chosen.timeout_s or HOSTED_TIMEOUT_S)
        try:
            return Courier(rounds, provider, tell, poll_s).run()
        finally:
            provider.close()


def tag_by_files(
    rapport: Rapport,
    order: Order,
    *,
    write: Path | None = None,
    collect: Sequence[Path] = (),
    tell: Tell = lambda line: None,
) -> Report:
    """One round without a server: takes in the answers in the files `collect`, finishes whom they finish, and writes
    the requests that are missing then into `write`, for `vllm run-batch` or another machine.

    Raises SetupError for a file that cannot be read or written, UsageError, StoreBusy, StoreError.
    """
    url_of(rapport)  # before the model is opened, which may take long and be the wrong one
    with _alone(rapport):
        rounds = Rounds(rapport, order)
        if rounds.ledger.sent:
            raise UsageError("batches are at the provider: collect them first, without --write and --collect")
        outbox = rounds.go()
        try:
            if collect:
                collector = rounds.collector(outbox)
                for path in collect:
                    collector.take(_lines_of(path))
                tell(told(collector))
                if refused := rounds.learn(collector):
                    return rounds.report(refused)
                outbox.close()
                outbox = rounds.go()
            paths = outbox.write(write) if write else []
            for path in paths:
                tell(f"requests written to {path}")
            if write and not paths:
                tell(f"nothing is left to be asked: {write} was not written")
            return rounds.report(spent(outbox))
        finally:
            outbox.close()


def url_of(rapport: Rapport) -> str | None:
    """The address of the model's API, None for OpenAI's own. Raises UsageError when the model is not behind one."""
    backend, _, model = rapport.settings.llm.partition(":")
    if backend != "openai":
        raise UsageError(
            f"batch files are for models behind an API, such as openai:MODEL, not {rapport.settings.llm!r}"
        )
    return model.rpartition("#")[0] or None


@contextmanager
def _alone(rapport: Rapport) -> Iterator[None]:
    """Two processes would ask, and pay for, the same questions."""
    rapport.settings.home.mkdir(parents=True, exist_ok=True)
    lock = FileLock(rapport.settings.home / "batches.lock", timeout=0)
    try:
        lock.acquire()
    except Timeout as error:
        raise StoreBusy("another process tags this home by batches: wait for it, or end it") from error
    try:
        yield
    finally:
        lock.release()


def _lines_of(path: Path) -> Iterator[Line | None]:
    try:
        with path.open("rb") as lines:
            yield from read_lines(lines)
    except OSError as error:
        raise SetupError(f"the answers in {path} cannot be read: {error.strerror or error}") from error


def told(collector: Collector) -> str:
    """What came back, in words."""
    counts = {
        "answered": len(collector.answered),
        "to be asked again": len(collector.unsettled),
        "lines about nobody here": collector.unknown,
        "lines repeated": collector.repeated,
        "lines torn": collector.torn,
    }
    return ", ".join(f"{count} {what}" for what, count in counts.items() if count) or "nothing came back"


def spent(outbox: Outbox) -> str:
    """Why requests were left out of a round; "" when none was."""
    if not outbox.unpaid:
        return ""
    return f"{outbox.unpaid} requests could pass the limit; allow more, and run the same command again"


class Rounds:
    """Passes over the people to be tagged, and what became of them in all passes together."""

    def __init__(self, rapport: Rapport, order: Order) -> None:
        self.budget = order.budget or Budget()
        self._store = rapport.store
        self._work = work_of(rapport)
        self._llm = rapport.llm
        # The runner's own questions go to nobody: whether the provider is there is for the courier to see.
        self._rapport = rapport.with_llm(Unasked(rapport.llm))
        # The budget is for what is sent, which the outbox sees.
        self._order = replace(order, budget=None, progress=self._with_cost(order.progress))
        left_out = () if url_of(rapport) else sorted(wire.OPENAIS_OWN)
        self.ledger = Ledger(rapport.store, rapport.settings.llm, left_out)
        self._last: Report | None = None
        self._failures: dict[str, Failure] = {}
        self._tagged = 0
        self._began = time.monotonic()

    def go(self) -> Outbox:
        """Every profile as far as the answers go; what they lack."""
        outbox, self._last = self._pass(self._order)
        # Once is enough: in a later pass it would be the failures of this run that are tried again.
        self._order = replace(self._order, retry_failed=False, before=_nothing)
        return outbox

    def go_with_all_that_wait(self) -> Outbox:
        """The same for everybody whose job is open, whoever is meant now: what is in flight may be for any of them."""
        known = self._store.users()
        over = Jobs(self._store, self._work, "").ended(known)
        open_ = [user for user in known if user not in over]
        outbox, _ = self._pass(replace(self._order, users=open_, limit=None, retry_failed=False, before=_nothing))
        return outbox

    def collector(self, outbox: Outbox) -> Collector:
        return Collector(outbox.askers, self._store, self.budget, self.ledger.left_out, self.ledger.answered)

    def learn(self, collector: Collector) -> str:
        """What the round told about the model is kept; why no other round makes sense, or ""."""
        self.ledger.answered = collector.trusted
        self.ledger.keep()
        return f"the model refuses every request: {collector.why}" if collector.all_refused else ""

    def report(self, stopped: str = "") -> Report:
        assert self._last is not None
        used = self.budget.spent
        return replace(
            self._last,
            tagged=self._tagged,
            # Those who were waited for without being meant now are among the tagged.
            unchanged=max(0, self._last.people - self._tagged - len(self._failures) - self._last.remaining),
            failures=tuple(self._failures.values()),
            prompt_tokens=used.prompt_tokens,
            completion_tokens=used.completion_tokens,
            cost=used.cost,
            seconds=time.monotonic() - self._began,
            stopped=self._last.stopped or stopped,
        )

    def _pass(self, order: Order) -> tuple[Outbox, Report]:
        outbox = Outbox(self.budget)

        def journal(user: str) -> LLM:
            llm = Deferring(
                self._llm.name, self._llm.context, self._llm.capable, self._store, user, outbox, self.ledger.left_out
            )
            return Journal(llm, self._store, user)

        try:
            report = tag(self._rapport, order, engine=ENGINE, journal=journal)
        except BaseException:
            outbox.close()
            raise
        self._tagged += report.tagged
        self._failures.update((one.user, one) for one in report.failures)
        return outbox, report

    def _with_cost(self, progress: Callable[[Progress], None]) -> Callable[[Progress], None]:
        return lambda now: progress(replace(now, cost=self.budget.spent.cost))


def _nothing(people: Sequence[str]) -> None:
    """The people of a later pass are those of the first."""


class Courier:
    """Takes rounds to a provider and brings their answers back."""

    def __init__(self, rounds: Rounds, provider: Provider, tell: Tell, poll_s: float) -> None:
        self._rounds = rounds
        self._ledger = rounds.ledger
        self._provider = provider
        self._tell = tell
        self._poll_s = poll_s
        self._told: dict[str, str] = {}

    def run(self) -> Report:
        try:
            return self._rounds.report(self._all_rounds())
        except LLMError as error:
            outbox = self._rounds.go()
            outbox.close()
            return self._rounds.report(f"{error}; nothing is lost: run the same command again")

    def _all_rounds(self) -> str:
        """Until nobody lacks an answer; why it ended before that, or ""."""
        self._recover()
        if self._ledger.sent:
            self._tell(f"{len(self._ledger.sent)} batches are in flight already")
            with closing(self._rounds.go_with_all_that_wait()) as outbox:
                collector = self._rounds.collector(outbox)
                if problem := self._bring(collector).problem or self._rounds.learn(collector):
                    self._tell(problem)
        fruitless = 0
        while True:
            with closing(self._rounds.go()) as outbox:
                if not len(outbox):
                    return spent(outbox)
                known = set(self._ledger.left_out)
                self._submit(outbox.parts)
                collector = self._rounds.collector(outbox)
                brought = self._bring(collector)
                if brought.completed:
                    collector.count_silence()
            if brought.problem:
                return f"the provider turned a batch down: {brought.problem}"
            if refused := self._rounds.learn(collector):
                return refused
            fruitful = collector.answered or known != self._ledger.left_out
            fruitless = 0 if fruitful else fruitless + 1
            if fruitless == FRUITLESS:
                return f"{FRUITLESS} batches in a row brought no answer: {brought.crowded or collector.why}"

    # -- there

    def _submit(self, parts: Sequence[Part]) -> None:
        round = uuid.uuid4().hex[:12]
        for number, part in enumerate(parts, 1):
            one = Sent(name=f"rapport-{round}-{number}", at=time.time())
            self._ledger.put(one)
            file = self._patiently(lambda one=one, part=part: self._provider.upload(one.name, part.file))
            one = one.model_copy(update={"file": file})
            self._ledger.put(one)
            batch = self._create(one)
            self._ledger.put(one.model_copy(update={"batch": batch}))
            self._tell(f"{part.requests} requests sent as {batch}")

    def _create(self, one: Sent) -> str:
        try:
            return self._provider.create(one.name, one.file)
        except Unavailable:
            # The answer was lost, the batch perhaps not: it is looked for before it is begun again.
            def again() -> str:
                return self._provider.find(one.name, one.at) or self._provider.create(one.name, one.file)

            return self._patiently(again)

    def _recover(self) -> None:
        """What a killed process had begun to send: found again by its name, or as if it had never been."""
        for one in list(self._ledger.sent.values()):
            if one.batch:
                continue
            found = self._patiently(lambda one=one: self._provider.find(one.name, one.at))
            if found:
                self._ledger.put(one.model_copy(update={"batch": found}))
                continue
            for file in self._patiently(lambda one=one: self._provider.uploads(one.name, one.at)):
                self._delete(file)
            self._ledger.drop(one)

    # -- and back

    def _bring(self, collector: Collector) -> Brought:
        """Wait for every batch in flight, and take in what it says."""
        brought = Brought()
        while self._ledger.sent:
            for one in list(self._ledger.sent.values()):
                self._look(one, collector, brought)
            if self._ledger.sent:
                time.sleep(self._poll_s)
        self._tell(told(collector))
        return brought

    def _look(self, one: Sent, collector: Collector, brought: Brought) -> None:
        try:
            status = self._patiently(lambda: self._provider.status(one.batch))
        except Refused as error:
            if not gone(error):
                raise
            self._tell(f"{one.batch} is gone: its requests will be asked again")
            brought.completed = False
            self._ledger.drop(one)
            return
        self._tell_once(one.batch, f"{one.batch}: {status.word}, {status.done} of {status.total} requests done")
        if not status.ended:
            return
        if not one.collected:
            for file in status.files:
                self._take(file, collector)
            brought.add(status)
            # From here on the answers are ours: what follows is tidying up.
            self._ledger.put(one.model_copy(update={"collected": True}))
        for file in (one.file, *status.files):
            self._delete(file)
        self._ledger.drop(one)

    def _take(self, file: str, collector: Collector) -> None:
        def take() -> None:
            with self._provider.download(file) as lines:
                collector.take(read_lines(lines))

        try:
            self._patiently(take)
        except Refused as error:
            if not gone(error):
                raise
            self._tell(f"{file} is gone: what it answered will be asked again")

    def _delete(self, file: str) -> None:
        try:
            self._patiently(lambda: self._provider.delete(file))
        except Refused as error:
            self._tell(f"{file} stays at the provider: {error}")

    def _patiently(self, step: Callable[[], Result]) -> Result:
        """`step`, tried again while the provider is away. Raises Refused, and Unavailable in the end."""
        for _ in range(PATIENCE - 1):
            try:
                return step()
            except Unavailable as error:
                self._tell_once("away", f"the provider is away: {error}")
                time.sleep(self._poll_s)
        return step()

    def _tell_once(self, about: str, line: str) -> None:
        if self._told.get(about) != line:
            self._told[about] = line
            self._tell(line)


@dataclass
class Brought:
    """How the batches of a round ended."""

    completed: bool = True
    """Each of them to its end."""
    problem: str = ""
    """Why one of them was turned down."""
    crowded: str = ""
    """The same, where waiting helps."""

    def add(self, status: Status) -> None:
        self.completed = self.completed and status.completed
        if status.crowded:
            self.crowded = status.problem
        else:
            self.problem = self.problem or status.problem
