"""History in, explained recommendations out: retrieve, rerank, diversify, explain; what fails has a substitute."""

from __future__ import annotations

import time
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import cached_property
from hashlib import blake2b

import numpy as np

from agent.ask import Ask
from agent.errors import LLMError, StoreError, UnknownItem, UnknownUser
from agent.history.explored import Explored
from agent.history.store import Store
from agent.llm.base import LLM
from agent.persona.profiler import Profiler
from agent.recommend.diversify import DiversifyConfig, Stored, diversify
from agent.recommend.explain import Explain, Reasons
from agent.recommend.explore import ExploreConfig, believed, explored, places, unlogged
from agent.recommend.fit import fitting_first
from agent.recommend.gate import Gate
from agent.recommend.known import Acquaintances, Known
from agent.recommend.rerank import Identity, Opinion, RerankConfig, Reranked, Share, choose_reranker, nobody_said
from agent.recommend.retrieve import rescored
from agent.types import Answer, Candidate, Event, Profile, Provenance, Query, Recommendation, Slot, Source

NEW_PERSON = "nobody by this name is known yet: what most people like"
LIKED = 4.0
"""Stars from which on an item counts as liked lately."""
RETRIEVED = "retrieval"
"""The source that tells an item's place before the model and diversity; no retriever is called that."""
FEW = 5
"""Up to this many events an answer says how little it rests on."""


@dataclass(frozen=True)
class Recommender:
    """The pipeline. `retrieve` is None while there is no index; `popular` answers then."""

    store: Store
    llm: LLM
    profiler: Profiler
    retrieve: Callable[[Query, Profile, Sequence[Event]], list[Candidate]] | None
    popular: Callable[[Query, Profile, Sequence[Event]], list[Candidate]]
    explain: Explain
    vectors: Callable[[Sequence[str]], Stored]
    """Stored vectors of items; raises StoreError."""
    without: str = ""
    """Why there is no `retrieve`, in words for the provenance."""
    gate: Gate = field(default_factory=Gate)
    rerank: RerankConfig = field(default_factory=RerankConfig)
    diversity: DiversifyConfig = field(default_factory=DiversifyConfig)
    explore: ExploreConfig = field(default_factory=ExploreConfig)
    others: Callable[[str], Share | None] = nobody_said
    """Item -> how many of those who judged it liked it."""

    def __call__(self, query: Query, *, allow_new: bool = False) -> Answer:
        """`query.n` recommendations, or fewer when the catalogue or the filters hold no more.

        Raises UnknownUser for somebody without any event unless `allow_new`; a model or index that fails degrades the
        answer and is named in its provenance.
        """
        started = time.perf_counter()
        known, notes = self._known(query.user, allow_new)
        profile = known.profile
        ask = Ask(self.llm, self.store.log_call, query.user)
        chosen, found_at, reranked, (missing, silent, alike) = self._chosen(query, profile, known.events, ask)
        log = self._log.of(query.user)
        chosen, slots = self._explored(query, profile, known.events, log, chosen, reranked.candidates)
        language = query.language or profile.language
        reasons = self.explain(chosen, profile, known.tally, known.events, ask, query.words, language)
        self._log.add(unlogged(slots, log, known.events))
        return Answer(
            user=query.user,
            items=recommendations(chosen, reasons, found_at, {one.item for one in slots}),
            degraded=bool(missing or silent or alike or reasons.silent),
            provenance=Provenance(
                model=self.llm.name,
                prompts=tuple(dict.fromkeys((*reranked.provenance.prompts, *reasons.prompts))),
                prompt_tokens=reranked.provenance.prompt_tokens + reasons.prompt_tokens,
                completion_tokens=reranked.provenance.completion_tokens + reasons.completion_tokens,
                ms=round((time.perf_counter() - started) * 1000, 1),
                profile_version=profile.version,
                notes=tuple(
                    dict.fromkeys((*notes, *missing, *silent, *alike, *reranked.provenance.notes, *reasons.notes))
                ),
            ),
        )

    def order(self, query: Query, profile: Profile) -> list[Candidate]:
        """What would be recommended to somebody with this profile, best first, without reasons; nothing is logged as
        shown."""
        ask = Ask(self.llm, self.store.log_call, query.user)
        events = self.store.events(query.user)
        chosen, _, reranked, _ = self._chosen(query, profile, events, ask)
        return self._explored(query, profile, events, self._log.of(query.user), chosen, reranked.candidates)[0]

    def why(self, user: str, item_id: str) -> Recommendation:
        """Why one item would, or would not, suit a person. Raises UnknownUser, UnknownItem."""
        known, _ = self._known(user, allow_new=False)
        item = self.store.item(item_id)
        if item is None or not item.title:
            raise UnknownItem(f"no item has the id {item_id!r}")
        candidate = Candidate(item, 0.0)
        ask = Ask(self.llm, self.store.log_call, user)
        reasons = self.explain(
            [candidate], known.profile, known.tally, known.events, ask, language=known.profile.language
        )
        return recommendations([candidate], reasons, {}, frozenset())[0]

    def _chosen(
        self, query: Query, profile: Profile, events: Sequence[Event], ask: Ask
    ) -> tuple[list[Candidate], Mapping[str, int], Reranked, tuple[tuple[str, ...], tuple[str, ...], tuple[str, ...]]]:
        """The items, their places as they were retrieved, how they were ordered, and in words what had to be done
        without: index, model, vectors."""
        candidates, missing = self._candidates(query, profile, events)
        candidates = rescored(fitting_first(candidates, profile, self.explain.features))
        reranked, silent = self._reranked(query, profile, candidates, events, ask)
        chosen, alike = self._diverse(reranked.candidates, query.n)
        found_at = {one.item.id: place for place, one in enumerate(candidates, 1)}
        return chosen, found_at, reranked, (missing, silent, alike)

    def _explored(
        self,
        query: Query,
        profile: Profile,
        events: Sequence[Event],
        log: Sequence[Slot],
        chosen: list[Candidate],
        pool: Sequence[Candidate],
    ) -> tuple[list[Candidate], list[Slot]]:
        """`chosen` with some places given to what is not known yet, and which; nothing of the kind for somebody who
        said what they want, or of whom nothing is known."""
        slots = places(len(chosen), query.surprise, self.explore.share)
        if not slots or query.words or query.like or not profile.events:
            return chosen, []
        beliefs = believed(profile, log, events, self.explore)
        # The list stays as it is until the person does something: seen again, or with a tag edited, nothing else moves.
        seed = blake2b(f"{len(events)} {query.user}".encode("utf-8", "replace"))
        random = np.random.default_rng(int.from_bytes(seed.digest()[:8], "big"))
        shown, given = explored(chosen, pool, slots, beliefs, self.explore, random)
        now = datetime.now(UTC)
        return shown, [Slot(query.user, now, *one) for one in given]

    def _known(self, user: str, allow_new: bool) -> tuple[Known, tuple[str, ...]]:
        try:
            known = self._acquaintances(user)
        except UnknownUser:
            if not allow_new:
                raise
            return self._acquaintances.unremembered(self.profiler.blank(user)), (NEW_PERSON,)
        events = known.profile.events
        return known, (few(events),) if events <= FEW else ()

    @cached_property
    def _log(self) -> Explored:
        return Explored(self.store)

    @cached_property
    def _acquaintances(self) -> Acquaintances:
        return Acquaintances(self.store, self.profiler)

    def _candidates(
        self, query: Query, profile: Profile, events: Sequence[Event]
    ) -> tuple[list[Candidate], tuple[str, ...]]:
        if self.retrieve is None:
            return self.popular(query, profile, events), (f"the popular list answers: {self.without or 'no index'}",)
        try:
            found = self.retrieve(query, profile, events)
            # Nothing is known of this person, and nobody has done anything yet: a new shop still has items to show.
            return (found if found or query.where else self.popular(query, profile, events)), ()
        except StoreError as error:
            return self.popular(query, profile, events), (f"the popular list answers: {error}",)

    def _reranked(
        self,
        query: Query,
        profile: Profile,
        candidates: Sequence[Candidate],
        events: Sequence[Event],
        ask: Ask,
    ) -> tuple[Reranked, tuple[str, ...]]:
        try:
            rerank = choose_reranker(ask, self.gate, self.rerank, self.others)
            return rerank(query, profile, candidates, self.opinions(events)), ()
        except LLMError as error:
            kept = Identity()(query, profile, candidates)
            return kept, (f"no vote of the model, retrieval order stands: {type(error).__name__}",)

    def opinions(self, events: Sequence[Event]) -> list[Opinion]:
        """What the person thought of what they had last, newest first, as far as the model is told. `events`: oldest
        first."""
        said: dict[str, bool] = {}
        for event in reversed(events):
            if sum(said.values()) >= self.rerank.recent and len(said) >= self.rerank.lately:
                break
            if (liked := approved(event)) is not None:
                said.setdefault(event.item, liked)
        items = self.explain.items(list(said))
        return [Opinion(items[id].title, liked) for id, liked in said.items() if id in items and items[id].title]

    def _diverse(self, candidates: Sequence[Candidate], n: int) -> tuple[list[Candidate], tuple[str, ...]]:
        pool = [one.item.id for one in candidates[: self.diversity.pool * n]]
        try:
            stored, notes = self.vectors(pool), ()
        except StoreError as error:
            stored, notes = {}, (f"how alike the items are was not looked at: {error}",)
        return diversify(candidates, stored, n, self.diversity)[:n], notes


def approved(event: Event) -> bool | None:
    """Whether an event says that its item was liked; None where it says neither."""
    if event.kind in ("like", "purchase", "dislike"):
        return event.kind != "dislike"
    if event.kind in ("rating", "review") and event.value is not None:
        return event.value >= LIKED
    return None


def few(events: int) -> str:
    """How little is known, in words."""
    known = {0: "no event is", 1: "only one event is"}.get(events, f"only {events} events are")
    return f"{known} known: much of this is what many people like"


def recommendations(
    chosen: Sequence[Candidate], reasons: Reasons, found_at: Mapping[str, int], explored: Collection[str]
) -> tuple[Recommendation, ...]:
    """`found_at`: where retrieval had put an item, before the model's vote and before the list was made diverse; it is
    told among the sources as RETRIEVED. `explored`: ids of the items that took a place for exploration."""
    return tuple(
        Recommendation(
            rank=rank,
            item=one.item,
            score=round(one.score, 5),
            reason=reason.text,
            receipts=reason.receipts,
            # A template is grounded by construction; a model's sentence only gets here when the check passed it.
            grounded=True,
            written_by=reason.by,
            explored=one.item.id in explored,
            sources=(*one.sources, *retrieved(one, found_at)),
        )
        for rank, (one, reason) in enumerate(zip(chosen, reasons.reasons, strict=True), 1)
    )


def retrieved(one: Candidate, places: Mapping[str, int]) -> tuple[Source, ...]:
    place = places.get(one.item.id)
    return () if place is None else (Source(RETRIEVED, place, one.score),)
