"""The profile of one person: built from their history, kept, and updated from the events since the last one."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from hashlib import blake2b

from agent.ask import Ask
from agent.errors import TimedOut, UnknownUser
from agent.features import Population
from agent.history.store import Store
from agent.llm.base import LLM
from agent.persona import naming, reading, writing
from agent.persona.evidence import evidence
from agent.persona.tally import Mark, Tally, add
from agent.types import Event, Item, Language, Profile, Provenance, Sentiment, Tag, TagEdit

SAID = re.compile(r"(['\"]).*\1|\d[\d.,]*", re.DOTALL)
"""The words and numbers of a refused text that a problem cites."""
NO_MODEL = "none"
PART = 500
"""Events that are read at a time, so that a history of any length fits into memory and model."""
LIKED = 0.3
"""A liking of more than this is a clear one."""
ROOTS = 20
"""Best-liked items around which guesses are looked for."""

Neighbours = Callable[[Sequence[str], Sequence[str]], list[Item]]
"""(liked item ids, ids to leave out) -> items close to them."""


def no_neighbours(liked: Sequence[str], leave_out: Sequence[str]) -> list[Item]:
    """What a profile without an index knows of unseen items: nothing."""
    return []


@dataclass(frozen=True)
class Profiler:
    """history -> profile. `domain` is the catalogue's word for an item, e.g. "film"."""

    store: Store
    llm: LLM
    population: Population
    domain: str = "item"
    language: Language = "en"
    """For people who write nothing themselves."""
    near: Neighbours = no_neighbours
    late: Callable[[str], None] = lambda user: None
    """Is told of somebody whose profile shows that the model was too late for it: see `again`."""

    def __call__(self, user: str, *, rebuild: bool = False) -> Profile:
        """The profile as of the last event: the kept one if nothing happened since, else updated and kept.

        Raises UnknownUser for somebody who has no events and whom nobody has described.
        """
        kept = None if rebuild else self.store.profile(user)
        seq = self.store.last_seq(user)
        edits = self.store.edits(user)
        if not seq and not edits and not self.store.has_user(user):
            raise UnknownUser(f"nobody is called {user!r} in the history; `rapport import` brings people in")
        if kept and self._without_model(kept):
            # A model answers now that did not when this was written: everything is read anew.
            kept = None
            rebuild = True
        tally = None if rebuild else self._tally(user)
        if not (kept and tally and self.store.profile_seq(user) == seq and tally.edits == digest(edits)):
            # Without what was counted there is nothing to add to: all is read again.
            kept, tally = self._build(user, seq, tally or Tally(), edits, kept if tally else None)
            self.store.save_profile(kept, tally.seq, tally.model_dump_json())
        if was_late(kept):
            self.late(user)
        return kept

    def again(self, user: str) -> bool:
        """Build the profile anew where the model was too late for the kept one; says whether the new one is kept.

        It is not where the model was late again, and where anything happened to the person meanwhile: whoever saw that
        has built another one.
        """
        kept, before = self.store.profile(user), self.store.stamp(user)
        if kept is None or not was_late(kept):
            return False
        profile, tally = self._build(user, self.store.last_seq(user), Tally(), self.store.edits(user), kept=None)
        if was_late(profile) or self.store.stamp(user) != before:
            return False
        self.store.save_profile(profile, tally.seq, tally.model_dump_json())
        return True

    def as_if(self, kept: Profile, edits: Sequence[TagEdit]) -> Profile:
        """What would become of a profile with `edits` for all that the person said; kept nowhere, no model is asked.

        A persona that a model wrote stays as it is: what it would write is not known.
        """
        user = kept.user
        tags = naming.edited(kept.tags, edits)
        tags = naming.proven(tags, self._receipts(user, tags))
        tally = self._tally(user) or Tally()
        if kept.persona_by == "model":
            return replace(kept, tags=tags, questions=questions(tags, kept.language))
        items = self.store.items({one.item for tag in tags for one in tag.receipts} | set(tally.marks))
        who = writing.portrait(tags, tally, items, self.domain, kept.language)
        return replace(kept, tags=tags, persona=writing.template(who), questions=questions(tags, kept.language))

    def blank(self, user: str) -> Profile:
        """Of somebody about whom nothing is known; it is not kept."""
        who = writing.Portrait((), (), (), 0, self.domain, self.language)
        return Profile(user=user, persona=writing.template(who), language=self.language)

    def _without_model(self, kept: Profile) -> bool:
        return kept.provenance.model == NO_MODEL != self.llm.name

    def _tally(self, user: str) -> Tally | None:
        body = self.store.tally(user)
        return Tally.model_validate_json(body) if body else None

    def _build(
        self, user: str, seq: int, tally: Tally, edits: Sequence[TagEdit], kept: Profile | None
    ) -> tuple[Profile, Tally]:
        ask = Ask(self.llm, self.store.log_call, user)
        events = sorted(self.store.events_after(user, tally.seq, seq), key=when)
        letters, chinese = reading.letters_of(events)
        letters, chinese = letters + tally.letters, chinese + tally.chinese
        language = reading.language_by(letters, chinese, self.language)
        feelings = kept.sentiment if kept else Sentiment()
        read_parts = []
        items: dict[str, Item] = {}
        for start in range(0, len(events), PART):
            part = events[start : start + PART]
            read = reading.read(part, ask, language)
            read_parts.append(read)
            said = reading.sentiment(part, read.feelings)
            feelings = Sentiment(
                feelings.positive + said.positive, feelings.neutral + said.neutral, feelings.negative + said.negative
            )
            items = self.store.items({event.item for event in part})
            tally = add(tally, part, items, self.population, read.feelings, read.quotes, seq)
        tally = tally.model_copy(update={"letters": letters, "chinese": chinese, "edits": digest(edits), "seq": seq})
        found = evidence(tally, self.population)
        liked = best_liked(tally)
        wanted = {mark.item for one in found for mark in one.marks} | {mark.item for mark in liked[:40]}
        # Most people's history is one part, and then nothing is left to be read.
        items = {id: items[id] for id in wanted & items.keys()} | self.store.items(wanted - items.keys())
        titles = {id: item.title for id, item in items.items()}
        named = naming.name(found, titles, ask, language, self.domain)
        guesses = self.guesses(tally, named.tags, language)
        tags = naming.edited((*named.tags, *guesses), edits)
        tags = naming.proven(tags, self._receipts(user, tags))
        who = writing.portrait(tags, tally, items, self.domain, language)
        persona = writing.write(who, tally, ask)
        version = (kept.version if kept else self._last_version(user)) + 1
        profile = Profile(
            user=user,
            tags=tags,
            persona=persona.text,
            persona_by=persona.by,
            sentiment=feelings,
            language=language,
            questions=questions(tags, language),
            version=version,
            events=tally.events,
            as_of=tally.at,
            provenance=Provenance(
                model=self.llm.name,
                prompts=tuple(
                    dict.fromkeys((*(p for r in read_parts for p in r.prompts), *named.prompts, *persona.prompts))
                ),
                prompt_tokens=sum(r.tokens for r in read_parts) + named.prompt_tokens + persona.prompt_tokens,
                completion_tokens=named.completion_tokens + persona.completion_tokens,
                ms=round(sum(r.ms for r in read_parts) + named.ms + persona.ms, 1),
                profile_version=version,
                notes=notes_of(read_parts, named, persona),
            ),
        )
        return profile, tally

    def guesses(self, tally: Tally, tags: Sequence[Tag], language: Language) -> list[Tag]:
        """What somebody with these tags may like without having had it: what lies around their best-liked items."""
        liked = [mark.item for mark in best_liked(tally)[:ROOTS]]
        near = self.near(liked, list(tally.marks)) if liked else []
        return naming.latent(tally, near, tags, self.population, language)

    def _receipts(self, user: str, tags: Sequence[Tag]) -> dict:
        wanted = {receipt.event for tag in tags for receipt in tag.receipts}
        return {event.id: event for event in self.store.events_by_id(user, wanted)}

    def _last_version(self, user: str) -> int:
        known = self.store.profile(user)
        return known.version if known else 0


def best_liked(tally: Tally) -> list[Mark]:
    """What somebody clearly likes, most first."""
    return sorted((mark for mark in tally.marks.values() if mark.preference > LIKED), key=lambda mark: -mark.preference)


def was_late(profile: Profile) -> bool:
    """Whether the model did not answer in time while this was written, so that rules and templates did its part."""
    return any(TimedOut.__name__ in note for note in profile.provenance.notes)


def when(event: Event) -> float:
    """Oldest first; what has no time comes before what has one, in the order it was added."""
    return event.at.timestamp() if event.at else float("-inf")


def digest(edits: Sequence[TagEdit]) -> str:
    """Changes whenever what a person said about their tags changes."""
    return blake2b(repr(edits).encode("utf-8", "surrogatepass"), digest_size=8).hexdigest() if edits else ""


def questions(tags: Sequence[Tag], language: Language) -> tuple[str, ...]:
    """What would be worth asking: whether a guess is right."""
    ask = {"en": "Would you like to see more of “{}”?", "zh": "想多看看“{}”吗？"}[language]
    return tuple(ask.format(tag.name) for tag in tags if tag.kind == "latent")


def notes_of(read: Sequence[reading.Reading], named: naming.Named, persona: writing.Written) -> tuple[str, ...]:
    notes = [note for one in read for note in one.notes] + list(named.notes)
    if persona.problems:
        # What the model said stays out: it may be another person's.
        refused = "; ".join(dict.fromkeys(SAID.sub("…", problem) for problem in persona.problems))[:300]
        notes.append(f"{'persona by template' if persona.by == 'template' else 'first persona refused'}: {refused}")
    return tuple(dict.fromkeys(notes))
