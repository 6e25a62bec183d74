"""The guided driver: a fixed plan for each intent, which cannot loop; each word is a template over checked facts.

The model is asked only where it was measured to help: reasons (inside the recommender) and what the rules leave open.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Protocol

from agent.chat import phrases, question
from agent.chat.memory import InForce
from agent.chat.opinions import attitude
from agent.chat.parts import Cards, Part, Question, Words
from agent.chat.phrases import say
from agent.chat.understand import Understanding
from agent.chat.wishes import FAMILIAR, Wish, shown
from agent.errors import UnknownItem, UnknownUser
from agent.history.store import Store
from agent.labels import listing
from agent.recommend.catalogue import matches, plain
from agent.types import Answer, Condition, Language, Profile, Provenance, Query, Recommendation

SURPRISE = 0.2
FEW_EVENTS = 5
"""Below so many events a question is worth asking."""
MOST_QUESTIONS = 2
"""In one conversation."""
CANDIDATES = 300
"""Popular items that a question is chosen over."""
BELIEFS = 5
"""Of each kind, told to somebody who asks what is known of them."""
AFTER_TELLING = 3
"""Cards behind something that was told, rather than asked."""


class Recommend(Protocol):
    """As Rapport.recommend."""

    def __call__(
        self,
        user: str,
        n: int = 10,
        *,
        words: str = "",
        where: Sequence[str | Condition] = (),
        surprise: float = SURPRISE,
        language: Language | None = None,
        allow_new: bool = False,
        like: Sequence[str] = (),
        without: Sequence[str] = (),
    ) -> Answer: ...


@dataclass(frozen=True, slots=True)
class Means:
    """What a conversation needs of the rest."""

    store: Store
    recommend: Recommend
    explain: Callable[[str, str], Recommendation]
    """(user, item) -> why; raises UnknownUser, UnknownItem."""
    popular: Sequence[str] = ()
    """Every item's id, the most popular first."""
    domain: str = "item"
    """The catalogue's word for one item."""
    find: Callable[[str], Sequence[str]] = lambda words: ()
    """Ids of items whose titles the words name, also misspelt."""
    profile: Callable[[str], Profile | None] = lambda user: None
    """What is believed about somebody; None of whom nothing is known."""

    def answer(self, query: Query) -> Answer:
        """What `query` asks for; also for somebody who is new."""
        return self.recommend(
            query.user,
            query.n,
            words=query.words,
            where=query.where,
            surprise=query.surprise,
            language=query.language,
            allow_new=True,
            like=query.like,
            without=query.without,
        )


def asked_for(
    user: str, wishes: Sequence[Wish], n: int, *, language: Language | None, without: Sequence[str] = ()
) -> Query:
    """What `wishes` ask for, as a query."""
    return Query(
        user,
        n,
        words=" ".join(one.words for one in wishes if one.words),
        where=tuple(one.condition for one in wishes if one.condition),
        surprise=next((one.surprise for one in wishes if one.surprise is not None), SURPRISE),
        language=language,
        like=tuple(id for one in wishes for id in one.like),
        without=tuple(without),
    )


@dataclass
class Turn:
    """One message on its way to an answer."""

    user: str
    conversation: str
    number: int
    text: str
    now: datetime
    found: Understanding
    in_force: Sequence[InForce]
    """The wishes, those of this message among them."""
    told: Sequence[str] = ()
    """Items shown earlier in this conversation."""
    card_of: Mapping[str, Recommendation] = field(default_factory=dict)
    """Items of the last list, as they were shown."""
    asked: Sequence[str] = ()
    """Slots of the questions asked in this conversation."""
    known: int = 0
    """Events of this person."""
    noted: Sequence[str] = ()
    """What was written down of this message, in words."""
    taken_back: Sequence[str] = ()
    n: int = 5
    history: Sequence[tuple[str, str]] = ()
    """What was said and what was answered before, oldest first, the newest few."""
    remember: Callable[[str, bool], str] = lambda taste, likes: ""
    """Writes down a lasting taste that the message states; says what, "" where the message states none."""
    steer: Callable[[str], Sequence[InForce]] = lambda words: ()
    """Adds wishes for now to those in force; returns what is in force then."""
    focus: list[str] = field(default_factory=list)
    """Left by the driver: items that "it" means from now on."""
    choices: list[str] = field(default_factory=list)
    """Left by the driver: items of which one was meant."""

    @property
    def language(self) -> Language:
        return self.found.language


@dataclass(frozen=True)
class Guided:
    """turn -> parts."""

    means: Means

    def __call__(self, turn: Turn) -> Iterator[Part]:
        plans = {
            "ask": self._ask,
            "refine": self._ask,
            "more": self._ask,
            "why": self._why,
            "about": self._about,
            "me": self._me,
            "compare": self._compare,
            "tell": self._told,
            "correct": self._told,
            "undo": self._undo,
            "chat": self._chat,
        }
        for one in turn.found.notes:
            yield Words(say("note", turn.language, what=phrases.note(one, turn.language)) + " ")
        yield from plans[turn.found.intent](turn)

    # plans

    def _ask(self, turn: Turn) -> Iterator[Part]:
        if turn.noted:
            yield Words(self.noted(turn) + " ")
        yield Words(self.opening(turn))
        yield from self._list(turn, turn.n)
        yield from self._question(turn)

    def _told(self, turn: Turn) -> Iterator[Part]:
        if turn.found.unclear:
            yield from self._which(turn)
            return
        if turn.noted:
            yield Words(self.noted(turn) + " " + say("then", turn.language))
        else:
            yield Words(self.opening(turn))
        yield from self._list(turn, min(turn.n, AFTER_TELLING))
        yield from self._question(turn)

    def _why(self, turn: Turn) -> Iterator[Part]:
        language = turn.language
        if not turn.found.meant:
            yield Words(say("why_none", language))
            return
        item = turn.found.meant[0]
        one = turn.card_of.get(item) or self._explained(turn, item)
        if one is None:
            yield Words(say("why_none", language))
            return
        turn.focus.append(item)
        titles = self._titles(
            [*(each.item for each in one.receipts), *(_value(each.retriever) for each in one.sources)]
        )
        told = [f"{phrases.named([one.item], language)}{'：' if language == 'zh' else ': '}{one.reason}"]
        for receipt in one.receipts:
            title = phrases.title(plain(titles.get(receipt.item, receipt.item), 80), language)
            told.append(f"⤷ {title}" + (f": “{plain(receipt.quote, 200)}”" if receipt.quote else ""))
        if origin := phrases.origin(one.sources, titles, language):
            told.append(say("found_by", language, what=origin))
        yield Words("\n".join(told))

    def _about(self, turn: Turn) -> Iterator[Part]:
        """What the catalogue says: its facts, and the beginning of its own text in quotation marks."""
        language = turn.language
        items = self.means.store.items(turn.found.meant)
        if not items:
            yield Words(say("why_none", language))
            return
        turn.focus += items
        yield Words("\n".join(phrases.described(one, self.means.domain, language) for one in items.values()))

    def _me(self, turn: Turn) -> Iterator[Part]:
        """What is believed of the person, each strongest interest with what it rests on; no model is asked."""
        language, found = turn.language, self.means.profile(turn.user)
        if found is None or not found.tags:
            yield Words(say("me_none", language, domain=self.means.domain))
            yield from self._question(turn)
            return
        kinds = {
            "me_likes": [one for one in found.tags if one.polarity > 0 and one.kind != "latent"],
            "me_dislikes": [one for one in found.tags if one.polarity < 0],
            "me_guesses": [one for one in found.tags if one.polarity > 0 and one.kind == "latent"],
        }
        receipts = [one.receipts[0] for tags in kinds.values() for one in tags[:BELIEFS] if one.receipts]
        titles = self._titles([one.item for one in receipts])
        told = [
            say(
                kind,
                language,
                what=listing([phrases.belief(one, titles, language) for one in tags[:BELIEFS]], language),
            )
            for kind, tags in kinds.items()
            if tags
        ]
        yield Words("\n".join([*told, say("me_wrong", language)]))

    def _compare(self, turn: Turn) -> Iterator[Part]:
        language = turn.language
        items = list(self.means.store.items(turn.found.meant[:2]).values())
        if len(items) < 2:
            yield Words(say("compare_none", language, domain=self.means.domain))
            return
        turn.focus += [one.id for one in items]
        yield Words(phrases.compared(items, self.means.domain, language))
        cards = [card for one in items if (card := turn.card_of.get(one.id) or self._explained(turn, one.id))]
        yield Cards(tuple(cards), False, Provenance())

    def _undo(self, turn: Turn) -> Iterator[Part]:
        language = turn.language
        if not turn.taken_back:
            yield Words(say("not_asked" if turn.found.revoked else "nothing_to_undo", language))
            return
        name = "revoked" if turn.found.revoked else "undone"
        yield Words(say(name, language, what=listing(list(turn.taken_back), language)) + " " + self.opening(turn))
        yield from self._list(turn, min(turn.n, AFTER_TELLING))

    def _chat(self, turn: Turn) -> Iterator[Part]:
        language, domain = turn.language, self.means.domain
        if THANKS.search(turn.text):
            yield Words(say("thanks", language))
        elif BYE.search(turn.text):
            yield Words(say("bye", language))
        elif ABLE.search(turn.text):
            yield Words(say("able", language, domain=domain))
        elif not HELLO.search(turn.text):
            heard = attitude(turn.text) != "open"
            yield Words(say("heard" if heard else "unknown", language, domain=domain))
        elif turn.known:
            yield Words(say("hello_known", language, domain=domain))
        else:
            yield Words(say("hello", language, domain=domain))
            yield from self._question(turn)

    # steps

    def _which(self, turn: Turn) -> Iterator[Part]:
        items = self.means.store.items(turn.found.unclear)
        turn.choices += list(items)
        turn.focus += list(items)
        options = tuple(plain(one.title, 80) for one in items.values())
        yield Words(say("which", turn.language))
        yield Question("item", say("which", turn.language), options)

    def noted(self, turn: Turn) -> str:
        return say("noted", turn.language, what=listing(list(turn.noted), turn.language))

    def opening(self, turn: Turn) -> str:
        language = turn.language
        alike = [id for one in turn.in_force for id in one.wish.like]
        rest = [one.wish for one in turn.in_force if not one.wish.like and one.wish.surprise is None]
        # What is not wanted comes last: "Comedy and no Horror".
        rest.sort(key=lambda one: one.condition is not None and one.condition.op == "!=")
        said = listing([shown(one, language) for one in rest], language)
        if alike:
            what = phrases.named(list(self.means.store.items(alike).values()), language)
            return say("more_with", language, what=what, rest=said) if said else say("more", language, what=what)
        surprise = next((one.wish.surprise for one in turn.in_force if one.wish.surprise is not None), None)
        if surprise is not None:
            how = "familiar" if surprise <= FAMILIAR else "surprising"
            return say(f"fits_{how}" if said else how, language, what=said)
        if said:
            return say("fits", language, what=said)
        return say("for_you" if turn.known else "new", language)

    def _list(self, turn: Turn, n: int) -> Iterator[Part]:
        """Cards, or words that say why there are none. Wishes that nothing fulfils are left out one by one, the oldest
        first, and named."""
        wishes = [one.wish for one in turn.in_force]
        answer = self._recommended(turn, wishes, n, turn.told)
        if not answer.items and turn.told:
            answer = self._recommended(turn, wishes, n, ())
        if not answer.items:
            for wish in [one for one in wishes if one.condition]:
                left = [one for one in wishes if one is not wish]
                answer = self._recommended(turn, left, n, ())
                if answer.items:
                    yield Words(" " + say("relaxed", turn.language, what=shown(wish, turn.language)))
                    break
        if not answer.items:
            yield Words(" " + say("nothing" if wishes else "nothing_left", turn.language))
            return
        yield Cards(answer.items, answer.degraded, answer.provenance)

    def _recommended(self, turn: Turn, wishes: Sequence[Wish], n: int, without: Sequence[str]) -> Answer:
        return self.means.answer(asked_for(turn.user, wishes, n, language=turn.language, without=without))

    def _question(self, turn: Turn) -> Iterator[Part]:
        """One question in return, where little is known and an answer would help."""
        if turn.known >= FEW_EVENTS or len(turn.asked) >= MOST_QUESTIONS:
            return
        conditions = [one.wish.condition for one in turn.in_force if one.wish.condition]
        known = set(turn.asked) | {SLOTS[one.field] for one in conditions if one.field in SLOTS}
        items = self.means.store.items(self.means.popular[:CANDIDATES]).values()
        left = [one for one in items if all(matches(one, condition) for condition in conditions)]
        asking = question.best(left, known, turn.language)
        if asking:
            text = say(f"ask_{asking.slot}", turn.language)
            yield Question(asking.slot, text, tuple(one.text for one in asking.options))

    def _explained(self, turn: Turn, item: str) -> Recommendation | None:
        try:
            return self.means.explain(turn.user, item)
        except (UnknownUser, UnknownItem):
            return None

    def _titles(self, ids: Sequence[str]) -> dict[str, str]:
        return {id: item.title for id, item in self.means.store.items(ids).items()}


SLOTS = {"categories": "category", "year": "decade", "language": "language"}
THANKS = re.compile(r"\b(?:thanks?|thank you|thx|ty|great|perfect|awesome|cool|nice)\b|谢", re.IGNORECASE)
BYE = re.compile(r"\b(?:bye|goodbye|good night|see you)\b|再见", re.IGNORECASE)
ABLE = re.compile(
    r"\b(?:who are you|what are you|what can you|about yourself|introduce yourself|help|are you (?:a|an))\b"
    r"|你是谁|帮助|能做什么",
    re.IGNORECASE,
)
HELLO = re.compile(
    r"^\W*(?:hi+|hello+|hey+|howdy|greetings|good (?:morning|evening|afternoon|day)|你好|您好|嗨)"
    r"|\b(?:how are you|how(?:'s| is) it going|i(?:'m| am|m) (?:good|fine|great|well|ok(?:ay)?|doing \w+))\b"
    r"|^\W*good,? (?:and )?(?:you|u|yourself)\b",
    re.IGNORECASE,
)


def _value(retriever: str) -> str:
    return retriever.partition(":")[2]
