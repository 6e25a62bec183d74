"""Tagging many people: threads take jobs, build profiles, and write each down together with the end of its job.

A kill at any moment loses no person and makes no profile twice. Stands on an opened Rapport; prints nothing.
"""

from __future__ import annotations

import threading
import time
import traceback
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from hashlib import blake2b
from pathlib import Path
from typing import cast, get_args

from agent.ask import chat_of, template_of
from agent.batch.budget import Budget, Spent
from agent.batch.jobs import Queue, presence, reclaim
from agent.batch.journal import Journal
from agent.batch.outage import DELAYS_S, Outage
from agent.batch.report import Progress, Report
from agent.errors import (
    BudgetSpent,
    CallRefused,
    CallUnavailable,
    Deferred,
    LLMError,
    RapportError,
    StaleLease,
    StoreBusy,
    Unavailable,
    UsageError,
)
from agent.history.jobs import Failure, Job, Jobs, inputs
from agent.history.store import Store
from agent.llm.base import LLM
from agent.persona.profiler import NO_MODEL
from agent.persona.reading import NOTHING
from agent.types import Call, Item, Language, Profile
from agent.wiring import Rapport

PROMPTS = ("sentiment", "tags", "persona", "repair")
"""Every prompt that a profile may be made with."""
TICK_S, LOOK_S, REFRESH_S, RENEW_S = 0.1, 1.0, 10.0, 30.0
"""How often: progress is told; the table is looked at when all that is left is with others; and when some is; our
leases are renewed."""
HEAD_START_S = 3.0
"""How long the first person is worked on alone at most. A model that runs here computes the beginning that all prompts
share for one instead of waiting for all, so that the first persona comes soon after every start."""
FAREWELL_S = 5.0
"""How long a stopped run waits for calls in flight."""
MESSAGE = 300
"""Characters of a failure's message that are kept."""


@dataclass(frozen=True)
class Order:
    """What is to be done, in which bounds, and who is told."""

    users: Sequence[str] | None = None
    """None = everybody."""
    limit: int | None = None
    """Only the first so many of them, by id."""
    workers: int = 16
    """People worked on at a time; enough to keep a local model's batch full."""
    retry_failed: bool = False
    """Also those that failed before on the same input."""
    budget: Budget | None = None
    before: Callable[[Sequence[str]], None] = lambda people: None
    """Called with the people to be tagged before the first of them is."""
    progress: Callable[[Progress], None] = lambda now: None
    """Called several times a second."""
    delays_s: Sequence[float] = DELAYS_S
    """Waits for a model that is away."""


def tag(
    rapport: Rapport, order: Order = Order(), *, engine: str = "local", journal: Callable[[str], LLM] | None = None
) -> Report:
    """Build or refresh the profiles that an order asks for, with threads of this process.

    Several processes may do this on one home at once. Ends well with failures, which the report lists, and with
    `stopped` in the report when the model stays away or the budget is spent. `journal`: the model for one person's
    profile, in place of the rapport's; it may raise Deferred, and then the person waits for a later run.
    Raises StoreError, SetupError, UsageError; KeyboardInterrupt with every lease given back.
    """
    if order.workers < 1:
        raise UsageError(f"workers is {order.workers}; at least one has to work")
    chosen, unknown = choose(rapport.store, order.users, order.limit)
    rapport.ready()
    folder = rapport.settings.home / "workers"
    with presence(folder) as owner:
        jobs = Jobs(rapport.store, work_of(rapport), owner)
        reclaim(jobs, folder)
        planned = jobs.plan(chosen, retry_failed=order.retry_failed)
        run = Run(rapport, jobs, folder, order, journal)
        if planned.open:
            order.before(planned.open)
            run.work_off(planned.open)
    if run.broken:
        raise run.broken
    ended = run.counts.tagged + len(run.failures) + run.left
    spent = run.spent
    return Report(
        model=rapport.llm.name,
        engine=engine,
        people=len(chosen),
        tagged=run.counts.tagged,
        unchanged=planned.unchanged + len(planned.open) - ended,
        failures=(*planned.failed, *run.failures),
        remaining=run.left,
        unknown=unknown,
        prompt_tokens=spent.prompt_tokens,
        completion_tokens=spent.completion_tokens,
        seconds=run.seconds,
        cost=spent.cost,
        stopped=advice(run.problem) if run.problem else "",
        notes=(f"profiles were made without guesses: {why}",)
        if planned.open and (why := rapport.without_index)
        else (),
    )


def choose(store: Store, users: Sequence[str] | None, limit: int | None) -> tuple[list[str], tuple[str, ...]]:
    """Who is meant and known, and who is meant and not known."""
    if users is None:
        return store.users(limit), ()
    known = sorted(inputs(store, dict.fromkeys(users)))
    return known[:limit], tuple(sorted(set(users) - set(known)))


def work_of(rapport: Rapport) -> str:
    """What is done for each person, as a short text: another model, prompt or language is other work."""
    words = (rapport.llm.name, rapport.domain, rapport.settings.language, *sorted(prompts()))
    return blake2b("\n".join(words).encode(), digest_size=12).hexdigest()


def prompts() -> set[str]:
    """The ids of the prompts that a profile may be made with today."""
    return {template_of(name, language).id for name in PROMPTS for language in get_args(Language)}


def advice(problem: RapportError) -> str:
    """Why a run was stopped, and what to do."""
    if isinstance(problem, BudgetSpent):
        return f"{problem}; the others wait: allow more, and run the same command again"
    if isinstance(problem, Unavailable):
        return f"the model stays away: {problem}; the others wait: run the same command again when it is back"
    return f"the model refuses every request: {problem}; the others wait: `rapport doctor` may tell what is wrong"


class Kept:
    """The store, where saving a person's profile also ends the job that we hold, or writes nothing when we lost it.

    Calls are logged when the attempt is over: an answer that comes from the journal, as often as that may be, is
    logged with the attempt that it was of use to.
    """

    def __init__(self, store: Store, jobs: Jobs, job: Job) -> None:
        self._store = store
        self._jobs = jobs
        self._job = job
        self._calls: list[Call] = []
        self.saved: Profile | None = None

    def __getattr__(self, name: str) -> object:
        return getattr(self._store, name)

    def save_profile(self, profile: Profile, seq: int | None = None, tally: str | None = None) -> None:
        self._jobs.keep(self._job, profile, seq, tally)
        self.saved = profile

    def log_call(self, call: Call) -> None:
        self._calls.append(call)

    def log(self) -> None:
        """Write down the calls so far."""
        self._store.log_calls(self._calls)
        self._calls.clear()


class Neighbours:
    """`near` of a rapport, one thread at a time: the index is opened when it is first used, and owned by no thread."""

    def __init__(self, near: Callable[[Sequence[str], Sequence[str]], list[Item]]) -> None:
        self._near = near
        self._one = threading.Lock()

    def __call__(self, liked: Sequence[str], leave_out: Sequence[str]) -> list[Item]:
        with self._one:
            return self._near(liked, leave_out)


@dataclass
class Counts:
    """What this process did so far."""

    tagged: int = 0
    unchanged: int = 0
    prompt_tokens: int = 0
    completion_tokens: int = 0


class Run:
    """One run of this process: its threads, what they share, and why it ended."""

    def __init__(
        self, rapport: Rapport, jobs: Jobs, folder: Path, order: Order, journal: Callable[[str], LLM] | None
    ) -> None:
        self.jobs = jobs
        self.folder = folder
        self._order = order
        self._store = rapport.store
        llm = rapport.llm.in_background()
        self._llm = order.budget.around(llm) if order.budget else llm
        self._journal = journal or self._journalled
        self._profiler = replace(rapport.profiler, near=Neighbours(rapport.profiler.near))
        self._prompts = prompts()
        trial = chat_of(template_of("sentiment", "en"), {"sentence": NOTHING["en"]})
        self._stopping = threading.Event()
        self._under_way = threading.Event()
        self._outage = Outage(self._llm, trial, self._stopping.wait, order.delays_s)
        self._counting = threading.Lock()
        self.counts = Counts()
        self.failures: list[Failure] = []
        self.seconds = 0.0
        self.left = 0
        self.problem: RapportError | None = None
        self.broken: BaseException | None = None
        """What ended a thread: never a person's history, but the store, or a bug."""

    def work_off(self, people: Sequence[str]) -> None:
        """Until nothing is left for `people`, or the run is stopped. Raises KeyboardInterrupt, StoreError."""
        queue = Queue(self.jobs, people)
        started = time.monotonic()
        # Daemons: a call that hangs in a library must not keep a stopped process alive.
        threads = [
            threading.Thread(target=self._work, args=(queue,), name=f"tag-{number}", daemon=True)
            for number in range(min(self._order.workers, len(people)))
        ]
        threads[0].start()
        looked = refreshed = renewed = started
        try:
            self._under_way.wait(HEAD_START_S)
            for thread in threads[1:]:
                thread.start()
            while any(thread.is_alive() for thread in threads):
                time.sleep(TICK_S)
                now = time.monotonic()
                if now - looked >= LOOK_S:
                    looked = now
                    if queue.idle or (now - refreshed >= REFRESH_S and self.jobs.others()):
                        refreshed = now
                        self._look_around(queue)
                if now - renewed >= RENEW_S:
                    renewed = now
                    self.jobs.renew()
                self._order.progress(self._progress(len(people), queue, now - started))
        finally:
            # Also after Ctrl-C: whoever comes next finds the jobs waiting, and what is still in flight writes nothing.
            self._stopping.set()
            queue.stop()
            self.jobs.give_back_all()
            for thread in filter(threading.Thread.is_alive, threads):
                thread.join(FAREWELL_S / len(threads))
            self.seconds = time.monotonic() - started
            self.left = queue.left + queue.aside
        self._order.progress(self._progress(len(people), queue, self.seconds))

    def _look_around(self, queue: Queue) -> None:
        """Jobs that others lost, gave up or ended: only they change what this process has not done itself."""
        reclaim(self.jobs, self.folder)
        failed = queue.refresh()
        with self._counting:
            self.failures += failed

    def _work(self, queue: Queue) -> None:
        try:
            while not self._stopping.is_set() and (job := queue.take()):
                self._one(queue, job)
                self._under_way.set()
        except LLMError as error:
            self._end(queue, error)
        except BaseException as error:  # noqa: BLE001  the job of a thread that is gone would be waited for without end
            self.broken = self.broken or error
            self._stop(queue)
        finally:
            self._under_way.set()

    def _one(self, queue: Queue, job: Job) -> None:
        """One attempt at a job, and what becomes of it. Raises StoreError."""
        since = self._outage.moment
        try:
            self._profile(job)
            queue.leave(job, ended=True)
        except StaleLease:
            self._forgotten(job.user)
            queue.leave(job, ended=False)
        except Deferred:
            self.jobs.give_back(job)
            queue.set_aside(job)
        except BudgetSpent as error:
            self._end(queue, error)
        except StoreBusy:
            raise
        except CallUnavailable as error:
            try:
                innocent = self._outage.over(since)
            except LLMError as gone:
                self._end(queue, gone)
                return
            if innocent:
                self._once_more(queue, job)
            else:
                self._failed(queue, job, error.reason, str(error))
        except CallRefused as error:
            if refused := self._outage.refuses():
                self._end(queue, refused)
                return
            self._failed(queue, job, error.reason, str(error))
        except RapportError as error:
            self._failed(queue, job, getattr(error, "reason", type(error).__name__), str(error))
        except Exception as error:  # noqa: BLE001  one person's bug must not cost the others their profiles
            self._failed(queue, job, type(error).__name__, place_of(error))

    def _profile(self, job: Job) -> None:
        """The person's profile as it should be, and the job done. Raises StaleLease, and what a profile may raise."""
        kept = Kept(self._store, self.jobs, job)
        profiler = replace(self._profiler, llm=self._journal(job.user), store=cast(Store, kept))
        try:
            profile = profiler(job.user, rebuild=job.rebuild or not self._ours(self._store.profile(job.user)))
        except Deferred:
            raise
        except Exception:
            kept.log()
            raise
        kept.log()
        if kept.saved is None:
            self.jobs.finish(job, profile.version)
        elif profile.provenance.prompt_tokens:
            self._outage.answered()
        with self._counting:
            now = self.counts
            self.counts = Counts(
                now.tagged + (kept.saved is not None),
                now.unchanged + (kept.saved is None),
                now.prompt_tokens + (profile.provenance.prompt_tokens if kept.saved else 0),
                now.completion_tokens + (profile.provenance.completion_tokens if kept.saved else 0),
            )

    def _journalled(self, user: str) -> LLM:
        # Without a model there is nothing to write down: templates answer.
        return self._llm if self._llm.name == NO_MODEL else Journal(self._llm, self._store, user)

    def _ours(self, kept: Profile | None) -> bool:
        """Whether a profile, whoever made it, was made with our model and today's prompts."""
        return kept is None or (
            kept.provenance.model == self._llm.name and self._prompts.issuperset(kept.provenance.prompts)
        )

    def _failed(self, queue: Queue, job: Job, reason: str, message: str) -> None:
        """Count an attempt; the job waits for the next one behind the others, or has failed for good."""
        if self._stopping.is_set():
            # A stopped run closes what its calls need: that is nobody's fault, and the lease is given back.
            return
        words = message.encode("utf-8", "replace").decode()[:MESSAGE]
        try:
            last = self.jobs.fail(job, reason, words)
        except StaleLease:
            self._forgotten(job.user)
            queue.leave(job, ended=False)
            return
        if last:
            with self._counting:
                self.failures.append(Failure(job.user, reason, words, job.attempts + 1))
            queue.leave(job, ended=True)
        else:
            queue.again(job)

    def _once_more(self, queue: Queue, job: Job) -> None:
        try:
            self.jobs.give_back(job)
        except StaleLease:
            queue.leave(job, ended=False)
        else:
            queue.again(job)

    def _forgotten(self, user: str) -> None:
        """Of somebody who was erased while we worked on them, nothing that we wrote meanwhile may stay."""
        if not self._store.has_user(user):
            self._store.erase_user(user)

    def _end(self, queue: Queue, error: RapportError) -> None:
        with self._counting:
            self.problem = self.problem or error
        self._stop(queue)

    def _stop(self, queue: Queue) -> None:
        self._stopping.set()
        queue.stop()

    def _progress(self, total: int, queue: Queue, seconds: float) -> Progress:
        with self._counting:
            counts, failed = self.counts, len(self.failures)
        return Progress(
            total=total,
            done=total - queue.left - queue.aside,
            tagged=counts.tagged,
            failed=failed,
            tokens=self.spent.prompt_tokens + self.spent.completion_tokens,
            seconds=seconds,
            cost=self.spent.cost,
        )

    @property
    def spent(self) -> Spent:
        """By the budget's account where there is one: it also knows what failed attempts took."""
        if self._order.budget:
            return self._order.budget.spent
        return Spent(self.counts.prompt_tokens, self.counts.completion_tokens)


def place_of(error: Exception) -> str:
    """Where a bug is, without its words: they may hold what a person wrote."""
    frame = traceback.extract_tb(error.__traceback__)[-1]
    return f"a bug: {Path(frame.filename).name}, line {frame.lineno}, {frame.name}"
