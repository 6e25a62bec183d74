"""Talking with Rapport: a message in, parts of an answer out as they are made, and everything learned written down.

The one entrance of this package. Whoever calls has checked who the person is: no message can name another.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime

from agent.ask import Ask
from agent.chat import phrases
from agent.chat.guided import Guided, Means, Turn, asked_for
from agent.chat.memory import Body, Card, Exchange, InForce, Learned, Memory, card, receipts, saved
from agent.chat.noting import Verdict, as_event, note
from agent.chat.opinions import ORDINAL, Opinion, attitude, numbered
from agent.chat.parts import Cards, Chip, Done, Part, Question, Understood, Words
from agent.chat.phrases import say
from agent.chat.understand import Context, Taste, Understand, Understanding, language_of
from agent.chat.wishes import Wish, shown
from agent.errors import UsageError
from agent.labels import label
from agent.llm.base import LLM
from agent.recommend.catalogue import plain
from agent.types import Answer, Event, Language, Query, Recommendation, Source, TagEdit

MOST_TEXT = 2_000
"""Characters of a message that are read."""
MOST_ID = 200
BUTTON = ""
"""What stands in place of a message where a button was pressed."""
TURNS_LED = 4
"""Earlier exchanges that a model which leads the turn is shown."""
MOST_CHIPS = 8
"""Things written down of one message at most, where a model proposes them."""
TOLD = 60
"""Items shown lately that are not shown again."""
Driver = Callable[[Turn], Iterator[Part]]


@dataclass(frozen=True)
class Chat:
    """Conversations with everybody, over one opened home."""

    means: Means
    understand: Understand
    memory: Memory
    llm: LLM
    driver: Driver | None = None
    """None = guided."""
    language: Language = "en"
    now: Callable[[], datetime] = lambda: datetime.now(UTC)

    def reply(self, user: str, conversation: str, text: str, *, n: int = 5) -> Iterator[Part]:
        """Parts as they are made: Words, then Cards, perhaps a Question, then Understood, then Done.

        What is learned is written down before the first part, so closing the iterator loses none of it; the turn is
        then kept as aborted. `conversation` may be new: the first message makes it. `n`: cards at most. Raises
        UsageError for an empty message.
        """
        started = time.perf_counter()
        text = plain(text, MOST_TEXT)
        if not text:
            raise UsageError("there is nothing to answer: the message is empty")
        if not user or not conversation or max(len(user), len(conversation)) > MOST_ID:
            raise UsageError(f"a person and a conversation have names of 1 to {MOST_ID} characters")
        now = self.now()
        earlier = self.memory.turns(user, conversation)
        context, last = self._context(earlier, self.memory.wishes(user, now))
        body = Body(ended="aborted")
        number = self.memory.keep(user, conversation, now, text, body)
        found = self.understand(text, context, Ask(self.llm, self.means.store.log_call, user), self._language(earlier))
        found = self._chosen(text, found, last)
        chips = self._learn(user, conversation, number, text, now, found, body, earlier)
        turn = self._turn(user, conversation, number, text, now, found, chips, earlier, n)
        turn.remember = lambda taste, likes: self._remembered(user, text, taste, likes, found, chips, body, now)
        turn.steer = lambda words: self._steered(user, conversation, number, text, words, found, chips, body, now)
        body.intent, body.by = found.intent, found.by
        try:
            for part in (self.driver or Guided(self.means))(turn):
                self._remember(part, body)
                yield part
            in_force = [self.chip(one, found.language) for one in self.memory.wishes(user, now)]
            yield Understood(found.intent, found.by, tuple(chips), tuple(in_force))
            body.ended = "done"
        finally:
            body.chips = [{"kind": one.kind, "text": one.text, "key": one.key} for one in chips]
            body.focus, body.choices = list(turn.focus), list(turn.choices)
            if turn.choices and found.unclear:
                body.opinion, body.quote = self._doubtful(text, found)
            body.ms = round((time.perf_counter() - started) * 1000, 1)
            self.memory.change(user, conversation, Exchange(number, now, text, body))
        yield Done(conversation, number, body.ms)

    # what buttons and pages call

    def wishes(self, user: str, language: Language = "en") -> list[Chip]:
        """The wishes in force, with their expiry and the words they rest on."""
        return [self.chip(one, language) for one in self.memory.wishes(user, self.now())]

    def in_force(self, user: str) -> list[InForce]:
        """The wishes in force as they were understood, oldest first."""
        return self.memory.wishes(user, self.now())

    def want(self, user: str, wish: Wish, conversation: str = "") -> None:
        """A wish that was said by a button; in force for as long as one that was said in words."""
        self.memory.wish(user, conversation, 0, wish, BUTTON, self.now())

    def asked(self, user: str, n: int = 10, *, language: Language | None = None, without: Sequence[str] = ()) -> Query:
        """What the wishes in force ask for."""
        wishes = [one.wish for one in self.in_force(user)]
        return asked_for(user, wishes, n, language=language, without=without)

    def listed(
        self, user: str, n: int = 10, *, language: Language | None = None, without: Sequence[str] = ()
    ) -> Answer:
        """What the wishes in force bring, without words around it; also for somebody who is new."""
        return self.means.answer(self.asked(user, n, language=language, without=without))

    def revoke(self, user: str, slot: str | None = None) -> list[Chip]:
        """Take one wish back, or all of them; returns what was taken back."""
        gone = self.memory.revoke(user, None if slot is None else [slot], self.now())
        return [self.chip(one, "en") for one in gone]

    def opinion(
        self, user: str, item: str, verdict: Verdict, *, conversation: str = "", language: Language = "en"
    ) -> Event:
        """Write down what a person says of an item by a button. `conversation`: where it was pressed, so that `undo`
        there takes it back. Raises UnknownItem."""
        event, known = note(self.means.store, user, item, verdict, self.now())
        if last := self.memory.turns(user, conversation, 1):
            said = say(verdict, language, what=phrases.named([known], language))
            body = Body(intent="tell", chips=[{"kind": verdict, "text": said, "key": item}])
            body.learned.events = [event.id]
            body.cards, body.focus = last[0].body.cards, [item]
            self.memory.keep(user, conversation, self.now(), BUTTON, body)
        return event

    def showing(self, user: str, conversation: str, items: Sequence[Recommendation]) -> None:
        """What stands there now, after a button moved the list: from here on "number 2" is the second of these."""
        if last := self.memory.turns(user, conversation, 1):
            last[0].body.cards = [card(one) for one in items]
            self.memory.change(user, conversation, last[0])

    def undo(self, user: str, conversation: str) -> list[str]:
        """Take back what the last turn that learned something wrote down; returns that in words."""
        return self._undo(user, conversation, self.memory.turns(user, conversation), self.now())

    def rewind(self, user: str, conversation: str, number: int) -> None:
        """Take back what the turns after this one taught, newest first, and drop them."""
        turns = self.memory.turns(user, conversation, None)
        beyond = [one for one in turns if one.number > number]
        while any(one.body.learned and not one.body.undone for one in beyond):
            self._undo(user, conversation, beyond, self.now())
        if beyond:
            self.memory.drop(user, conversation, number)

    def history(self, user: str, conversation: str) -> list[Exchange]:
        """Every turn, oldest first."""
        return self.memory.turns(user, conversation, None)

    def openings(self, user: str) -> dict[str, str]:
        """What each conversation began with."""
        return self.memory.rows.openings(user)

    def shown_again(self, cards: Sequence[Card]) -> list[Recommendation]:
        """What was shown, with the items as they are in the catalogue now; without those that are gone."""
        items = self.means.store.items([one.item for one in cards])
        return [
            Recommendation(
                rank=one.rank,
                item=items[one.item],
                score=one.score,
                reason=one.reason,
                receipts=tuple(receipts(one)),
                grounded=True,
                written_by=one.written_by,
                explored=one.explored,
                sources=tuple(Source(name, rank, score) for name, rank, score in one.sources),
            )
            for one in cards
            if one.item in items
        ]

    def conversations(self, user: str) -> list[tuple[str, datetime, int]]:
        """(id, last turn, number of turns), the newest first."""
        return self.memory.rows.known(user)

    def chip(self, one: InForce, language: Language) -> Chip:
        titles = {id: item.title for id, item in self.means.store.items(one.wish.like).items()}
        return Chip("wish", shown(one.wish, language, titles), one.wish.slot, one.quote, one.expires)

    # what was going on

    def _context(self, earlier: Sequence[Exchange], in_force: Sequence[InForce]) -> tuple[Context, Body | None]:
        last = earlier[-1].body if earlier else None
        listed = next((one.body for one in reversed(earlier) if one.body.cards), None)
        shown_ids = tuple(each.item for each in listed.cards) if listed else ()
        focus = tuple(last.focus) if last else ()
        if last and last.choices:
            shown_ids = tuple(last.choices)
        about = self.means.store.items(focus or shown_ids)
        asked = bool(last and (last.asked or last.choices))
        conditions = [one.wish.condition for one in in_force if one.wish.condition]
        wanted = tuple(str(one.value) for one in conditions if one.field == "categories" and one.op == "has")
        return Context(shown_ids, focus, tuple(about.values()), asked, wanted), last

    def _language(self, earlier: Sequence[Exchange]) -> Language:
        """Of a message without letters: as the one before."""
        return language_of(earlier[-1].text, self.language) if earlier else self.language

    def _chosen(self, text: str, found: Understanding, last: Body | None) -> Understanding:
        """The answer to "which one do you mean?"."""
        if last is None or not last.choices or not last.opinion:
            return found
        places = [place for one in ORDINAL.finditer(text) if (place := numbered(one, len(last.choices))) is not None]
        if not places and text.strip(" .#").isdigit():
            places = [int(text.strip(" .#")) - 1]
        named = [one.item for one in found.mentions if one.item in last.choices]
        item = next(iter([*named, *(last.choices[place] for place in places if 0 <= place < len(last.choices))]), "")
        if not item:
            return found
        stance: Verdict = "liked" if last.opinion == "liked" else "disliked"
        said = Opinion(item, stance, last.quote)
        return replace(found, intent="tell", opinions=(said,), wishes=(), unclear=())

    def _doubtful(self, text: str, found: Understanding) -> tuple[str, str]:
        doubtful = [one for one in found.opinions if not one.sure]
        stance = doubtful[0].stance if doubtful else attitude(text)
        return (stance if stance in ("liked", "disliked") else ""), text

    def _turn(
        self,
        user: str,
        conversation: str,
        number: int,
        text: str,
        now: datetime,
        found: Understanding,
        chips: Sequence[Chip],
        earlier: Sequence[Exchange],
        n: int,
    ) -> Turn:
        listed = next((one.body.cards for one in reversed(earlier) if one.body.cards), [])
        cards = {one.item.id: one for one in self.shown_again(listed)}
        told = [] if found.intent in ("refine", "undo") else [each.item for one in earlier for each in one.body.cards]
        return Turn(
            user=user,
            conversation=conversation,
            number=number,
            text=text,
            now=now,
            found=found,
            in_force=self.memory.wishes(user, now),
            told=list(dict.fromkeys(told))[-TOLD:],
            card_of=cards,
            asked=[one.body.asked for one in earlier if one.body.asked],
            known=len(self.means.store.events(user)),
            noted=[one.text for one in chips if one.kind in ("liked", "disliked", "seen", "taste")],
            taken_back=[one.text for one in chips if one.kind == "undone"],
            n=n,
            history=[(one.text, one.body.words) for one in earlier if one.text][-TURNS_LED:],
        )

    def _remembered(
        self,
        user: str,
        text: str,
        taste: str,
        likes: bool,
        found: Understanding,
        chips: list[Chip],
        body: Body,
        now: datetime,
    ) -> str:
        """A driver's word for a lasting taste, written down if the message itself says so; "" otherwise."""
        heard = self.understand.taste(taste)
        said = attitude(text)
        if heard is None or taste.casefold() not in text.casefold() or len(chips) >= MOST_CHIPS:
            return ""
        if said != ("liked" if likes else "disliked"):
            return ""
        if any(one.feature == heard.feature for one in found.tastes):
            # The rules have understood it: what they wrote down stands.
            return ""
        one = self._stated(user, replace(heard, polarity=1 if likes else -1, quote=text[:200]), now, found.language)
        if one.key not in body.learned.tags:
            chips.append(one)
            body.learned.tags.append(one.key)
        return one.text

    def _steered(
        self,
        user: str,
        conversation: str,
        number: int,
        text: str,
        words: str,
        found: Understanding,
        chips: list[Chip],
        body: Body,
        now: datetime,
    ) -> list[InForce]:
        """A driver's words for what is wanted now, as wishes: what the rules make of them, and no more."""
        for wish in self.understand.wanted(words)[: max(MOST_CHIPS - len(chips), 0)]:
            before = self.memory.wish(user, conversation, number, wish, text, now)
            body.learned.before += [saved(before)] if before else []
            body.learned.slots.append(wish.slot)
            chips.extend(
                self.chip(one, found.language) for one in self.memory.wishes(user, now) if one.wish.slot == wish.slot
            )
        return self.memory.wishes(user, now)

    def _remember(self, part: Part, body: Body) -> None:
        if isinstance(part, Words):
            body.words += part.text
        elif isinstance(part, Cards):
            body.cards = [card(one) for one in part.items]
        elif isinstance(part, Question):
            body.asked, body.question, body.options = part.slot, part.text, list(part.options)

    # what is learned

    def _learn(
        self,
        user: str,
        conversation: str,
        number: int,
        text: str,
        now: datetime,
        found: Understanding,
        body: Body,
        earlier: Sequence[Exchange],
    ) -> list[Chip]:
        """Everything that the message says, written down with the message as its receipt."""
        if found.intent == "undo":
            if found.revoked:
                slots = None if "*" in found.revoked else found.revoked
                gone = self.memory.revoke(user, slots, now)
                body.learned.before = [saved(one) for one in gone]
                return [Chip("undone", self.chip(one, found.language).text, one.wish.slot) for one in gone]
            return [Chip("undone", one) for one in self._undo(user, conversation, earlier, now)]
        said = [one for one in found.opinions if one.sure] if not found.unclear else []
        items = self.means.store.items([one.item for one in said])
        said = [one for one in said if one.item in items]
        chips = [
            Chip(
                one.stance,
                say(one.stance, found.language, what=phrases.named([items[one.item]], found.language)),
                one.item,
                one.quote,
            )
            for one in said
            if one.stance in ("liked", "disliked", "seen")
        ]
        events = [
            as_event(user, one.item, one.stance, now, one.quote)
            for one in said
            if one.stance in ("liked", "disliked", "seen")
        ]
        spoken_of, asked = self._spoken_of(user, found, now), {id for one in found.wishes for id in one.like}
        events += spoken_of
        chips += [
            Chip("named", say("named", found.language, what=phrases.named([item], found.language)), one.item, one.text)
            for one in spoken_of
            if one.item not in asked and (item := self.means.store.item(one.item))
        ]
        self.means.store.add_events(events)
        chips += [self._stated(user, one, now, found.language) for one in found.tastes]
        self._clear_way(user, found, body.learned, now)
        for wish in found.wishes:
            before = self.memory.wish(user, conversation, number, self._merged(user, wish, found, now), text, now)
            body.learned.before += [saved(before)] if before else []
        in_force = {one.wish.slot: one for one in self.memory.wishes(user, now)}
        chips += [self.chip(in_force[one.slot], found.language) for one in found.wishes]
        body.learned.events = [one.id for one in events]
        body.learned.tags = [one.key for one in chips if one.kind == "taste"]
        body.learned.slots = [one.slot for one in found.wishes]
        return chips

    def _spoken_of(self, user: str, found: Understanding, now: datetime) -> list[Event]:
        """Titles of which the message only speaks, as events: what others had with them counts from now on. Whoever
        asks for the like of something knows it. What the person has said more of already is left out."""
        if not found.named:
            return []
        held = {one.item for one in self.means.store.events(user)} | {one.item for one in found.opinions}
        new = [one for one in found.named if one.item not in held]
        known = self.means.store.items([one.item for one in new])
        return [
            as_event(user, one.item, "seen" if one.stance == "like_it" else "named", now, one.quote)
            for one in new
            if one.item in known
        ]

    def _stated(self, user: str, one: Taste, now: datetime, language: Language) -> Chip:
        """A taste becomes a stated tag, which no model overrides."""
        name = label(one.feature, language)
        self.means.store.add_edit(TagEdit(user, name, one.feature, "add", one.polarity, now))
        return Chip("taste", say("liked" if one.polarity > 0 else "disliked", language, what=name), name, one.quote)

    def _clear_way(self, user: str, found: Understanding, learned: Learned, now: datetime) -> None:
        """Take back what the new wishes contradict, and on a new request what the last one was about."""
        old = self.memory.wishes(user, now)
        slots = {one.slot for one in found.wishes}
        gone = [
            one for one in old if one.wish.slot not in slots and any(contradicts(new, one.wish) for new in found.wishes)
        ]
        if found.intent in ("ask", "more"):
            gone += [
                one for one in old if one not in gone and one.wish.slot not in slots and is_subject(one.wish, found)
            ]
        if gone:
            self.memory.revoke(user, [one.wish.slot for one in gone], now)
            learned.before += [saved(one) for one in gone]

    def _merged(self, user: str, wish: Wish, found: Understanding, now: datetime) -> Wish:
        """On a refinement new words are added to those of the request."""
        if not wish.words or found.intent != "refine":
            return wish
        old = next((one.wish.words for one in self.memory.wishes(user, now) if one.wish.slot == "words"), "")
        return replace(wish, words=plain(f"{old} {wish.words}".strip(), MOST_TEXT))

    def _undo(self, user: str, conversation: str, earlier: Sequence[Exchange], now: datetime) -> list[str]:
        """Take back what the last turn that learned something wrote down."""
        turn = next((one for one in reversed(earlier) if one.body.learned and not one.body.undone), None)
        if turn is None:
            return []
        learned = turn.body.learned
        self.means.store.remove_events(user, learned.events)
        for edit in self.means.store.edits(user):
            if edit.name in learned.tags:
                self.means.store.remove_edit(user, edit.name, edit.feature)
        self.memory.revoke(user, learned.slots, now)
        self.memory.restore(user, conversation, learned.before)
        turn.body.undone = True
        self.memory.change(user, conversation, turn)
        return [one["text"] for one in turn.body.chips if one["kind"] != "undone"] or [
            one["text"] for one in turn.body.chips
        ]


def contradicts(new: Wish, old: Wish) -> bool:
    """Whether both cannot be wanted: "from 1994" after "before 1980"."""
    a, b = new.condition, old.condition
    if a is None or b is None or a.field != b.field:
        return False
    if a.field == "language":
        return True
    if isinstance(a.value, str) or isinstance(b.value, str):
        return False
    if "=" in (a.op, b.op):
        return True
    low, high = (a, b) if a.op in (">", ">=") else (b, a)
    return low.op in (">", ">=") and high.op in ("<", "<=") and float(low.value) > float(high.value)


def is_subject(old: Wish, found: Understanding) -> bool:
    """Whether an older wish is what the last request was about, which a new request replaces; exclusions stay."""
    subject = any(one.words or one.like or (one.condition and one.condition.op == "has") for one in found.wishes)
    if not subject:
        return False
    if old.words or old.like:
        return True
    return found.intent == "ask" and old.condition is not None and old.condition.op == "has"
