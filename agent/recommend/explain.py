"""Why this item, for this person, in one short sentence with receipts: worded by the model, held to the facts by code.

What the model may use is found first: what item and person have in common, and which of the person's own items it is
close to. A sentence that says anything else is not shown; a template says it then. Titles and names that hold markup,
links or control characters are data like any other, but no sentence names them.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Hashable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any, Literal, Protocol

import numpy as np
from numpy.typing import NDArray

from agent.ask import Ask, Reply
from agent.errors import BadCompletion, LLMError, StoreError
from agent.features import Described, Population, kind_of, value_of
from agent.grounding.check import Rules, check, fold, nameable, plain
from agent.grounding.facts import Facts, numbers_in, stars, year
from agent.labels import called, calls, experienced, label, listing, miswritten, noun, plural, shown, spoken, title
from agent.persona import naming
from agent.persona.naming import receipt
from agent.persona.profiler import NO_MODEL
from agent.persona.tally import Mark, Tally
from agent.persona.writing import creators
from agent.recommend.catalogue import plain as one_line
from agent.recommend.fit import NEAR
from agent.recommend.retrieve import COLLABORATIVE
from agent.types import Candidate, Event, Item, Language, Profile, Receipt, Tag

MAX_CHARS = 220
FEW_PEOPLE = 3
"""Fewer people than this who had two items are not told of: they could be recognised."""
MAX_TITLE = 80
COMMON = 3
"""Features named at most."""
CLOSE = 2
"""Items of the person's own history named at most."""
SLIPS = re.compile(
    r"\bgave\b(?!.*\bstars?\b)|\bgave\b.*\bgave it\b|\bstars? to it\b|\band has\b|, like this\.?$",
    re.IGNORECASE | re.DOTALL,
)
"""Slips of a small model that no fact forbids and every reader sees: "you gave X", "X and has 5 stars from you"."""
TRIES = (0.8, 1.2)
"""Temperatures, the second where a sentence is refused or another of the list is the same.

A small model's likeliest sentence is the same for nearly everything. 77 reasons for people of MovieLens and 83 of
Amazon: at 0, 76 and 77 passed, of 8 and 17 kinds by their first words, 3 and 26 the same as another of their list; at
.8, 76 and 78, of 36 and 30 kinds, none and 4 the same, of which the second try leaves 1."""
LIKED = 0.25
"""Preference from which on an item may be called liked."""
AROUND = 50
"""Among this many nearest an item counts as closest to another, in a catalogue of any size."""
LOOKED = ("view", "click", "cart", "search")
"""Events after which an item can still be recommended: to look at something is not to have it."""


def nobody(one: str, other: str) -> int:
    """How many people had both, where that is not known."""
    return 0


def unplaced(ids: Sequence[str]) -> Mapping[str, NDArray[Any]]:
    """Vectors of items, where there is no index."""
    return {}


class Popularity(Protocol):
    @property
    def positive(self) -> int: ...


@dataclass(frozen=True, slots=True)
class Case:
    """Everything that may be said about one item and one person."""

    candidate: Candidate
    common: tuple[str, ...]
    """Features that the item has and the person is known to like."""
    against: tuple[str, ...]
    """Features that the item has and the person is known not to like."""
    guessed: str
    """The latent interest (feature) that it is here for; "" for an observed one."""
    close: tuple[tuple[Item, Mark], ...]
    """Liked items of the person's history that the item is close to."""
    together: tuple[Item | None, Mark, int] | None
    """The item of the person's history that others' histories led to it by (None: its title stands in no sentence), and
    how many are known to have had both; 0 where so few had that it is not told."""
    around: tuple[Item, Mark] | None
    """A liked item of the person's history among whose AROUND nearest it is."""
    nearest: tuple[Item | None, Mark] | None
    """Of all that the person liked, what comes closest to it, where nothing above is known. No item: its title stands
    in no sentence."""
    own: Mark | None
    """What the person did with this very item, if anything."""
    receipts: tuple[Receipt, ...]
    fans: int
    """Events of everybody that say yes to the item."""
    words: str
    """What the person asked for, if that found it."""
    stated: frozenset[str] = frozenset()
    """Those of `common` and `against` that the person said themselves; their word is what the reason rests on."""
    both: bool = False
    """The first of `close` has all of `common`."""

    @property
    def had(self) -> bool:
        """The person has had this very item."""
        return self.own is not None and self.own.kind not in LOOKED


@dataclass(frozen=True, slots=True)
class Reason:
    """One sentence that passed the check."""

    text: str
    by: Literal["model", "template"]
    receipts: tuple[Receipt, ...]
    explored: bool
    problems: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Reasons:
    """One Reason per candidate, in order, and what they took."""

    reasons: tuple[Reason, ...]
    prompts: tuple[str, ...] = ()
    prompt_tokens: int = 0
    completion_tokens: int = 0
    ms: float = 0.0
    notes: tuple[str, ...] = ()
    silent: bool = False
    """The model could not be asked."""


@dataclass(frozen=True)
class Explain:
    """candidates -> reasons. `items` finds catalogue entries; `domain` is the catalogue's word for an item."""

    items: Callable[[Sequence[str]], Mapping[str, Item]]
    popularity: Mapping[str, Popularity]
    population: Population
    domain: str = "item"
    people_with: Callable[[str, str], int] = nobody
    """How many people are known to have had two items, both of them."""
    vectors: Callable[[Sequence[str]], Mapping[str, NDArray[Any]]] = unplaced
    """Stored unit vectors of items; raises StoreError."""

    @cached_property
    def features(self) -> Described:
        """What an item is counted under."""
        return Described(self.population)

    def __call__(
        self,
        candidates: Sequence[Candidate],
        profile: Profile,
        tally: Tally,
        events: Sequence[Event],
        ask: Ask,
        words: str = "",
        language: Language = "en",
    ) -> Reasons:
        """A reason for every candidate. Never raises because of the model: the template speaks then.

        `events`: all of the person's; what is not among them is no receipt.
        """
        tags = naming.proven(profile.tags, {event.id: event for event in events})
        cases = self.cases(candidates, tags, proven(tally, events), words)
        written, cost = self._written(cases, ask, language)
        reasons = []
        for case in cases:
            text, problems = written.get(case.candidate.item.id, ("", ("not asked",)))
            explored = bool(case.guessed)
            if text and not problems:
                reasons.append(Reason(text, "model", case.receipts, explored))
            else:
                told = template(case, language, self.domain)
                reasons.append(Reason(told, "template", case.receipts, explored, tuple(problems)))
        return replace(cost, reasons=tuple(reasons))

    def cases(self, candidates: Sequence[Candidate], tags: Sequence[Tag], tally: Tally, words: str) -> list[Case]:
        """What may be said about each candidate, every one of this person alone."""
        tags = [tag for tag in tags if tag.feature and nameable(value_of(tag.feature))]
        likes = {tag.feature: tag for tag in tags if tag.polarity > 0 and tag.kind != "latent"}
        dislikes = {tag.feature: tag for tag in tags if tag.polarity < 0}
        guesses = {tag.feature: tag for tag in tags if tag.kind == "latent"}
        near = self.items([mark.item for mark in liked_marks(tally, likes.values(), candidates)])
        mine = {id: item for id, item in near.items() if nameable(item.title)}
        used: Counter[str] = Counter()
        found = []
        for one in candidates:
            case = self._case(one, likes, dislikes, guesses, mine, tally, words, used)
            used.update(item.id for item, _ in case.close[:1])
            found.append(case)
        return found

    def _case(
        self,
        candidate: Candidate,
        likes: Mapping[str, Tag],
        dislikes: Mapping[str, Tag],
        guesses: Mapping[str, Tag],
        mine: Mapping[str, Item],
        tally: Tally,
        words: str,
        used: Mapping[str, int],
    ) -> Case:
        own = self.features(candidate.item)
        # A maker called like the item (a band's first record) would read as the item itself.
        name = fold(candidate.item.title).casefold()
        shared = [f for f in own if f in likes and fold(value_of(f)).casefold() != name]
        common = sorted(shared, key=lambda f: (kind_of(f) == "decade", -likes[f].weight))[:COMMON]
        against = [f for f in own if f in dislikes][:2]
        voters = [source.retriever for source in candidate.sources]
        guessed = next((f for f in own if f in guesses and f"explore:{guesses[f].name}" in voters and not common), "")
        close = self._close(candidate, common, mine, tally, used)
        has = self.features(close[0][0]) if close and common else ()
        # What is told of two things has to hold of both.
        both = [f for f in common if f in has]
        common = both or common
        together = self._together(candidate, mine, tally)
        around = self._around(candidate, mine, tally)
        bare = not (common or guessed or close or together or around or against)
        nearest = self._nearest(candidate, tally) if bare else None
        receipts = [receipt(mark) for _, mark in close]
        if not receipts and (led := together or around or nearest) and not (guessed or common):
            receipts = [receipt(led[1])]
        if not receipts and (guessed or common):
            receipts = list((guesses[guessed] if guessed else likes[common[0]]).receipts[:2])
            receipts += [one for feature in common[1:] for one in likes[feature].receipts[:1]]
        receipts += [one for feature in against for one in dislikes[feature].receipts[:1]]
        own = tally.marks.get(candidate.item.id)
        if own is not None and (own.kind not in LOOKED or (bare and not nearest)):
            receipts.insert(0, receipt(own))
        stats = self.popularity.get(candidate.item.id)
        return Case(
            candidate=candidate,
            common=tuple(common),
            against=tuple(against),
            guessed=guessed,
            close=tuple(close),
            together=together,
            around=around,
            nearest=nearest,
            own=own,
            receipts=tuple(dict.fromkeys(receipts)),
            fans=stats.positive if stats else 0,
            # Asked for in words, or by an item that it should be like.
            words=words if "words" in voters else next((one for one in voters if one.startswith("like:")), ""),
            stated=frozenset(f for f in (*common, *against) if (likes.get(f) or dislikes[f]).kind == "stated"),
            both=bool(both),
        )

    def _close(
        self,
        candidate: Candidate,
        common: Sequence[str],
        mine: Mapping[str, Item],
        tally: Tally,
        used: Mapping[str, int],
    ) -> list[tuple[Item, Mark]]:
        """Liked items that retrieval found this one by, or that share most of what is in common; best liked first.

        `used`: how often each has been named in this list already; naming another tells the person more.
        """
        near = [one for one in candidate.sources if one.retriever.startswith("recent:") and one.rank <= NEAR]
        voted = {one.retriever.removeprefix("recent:") for one in near}
        scored = []
        for id, item in mine.items():
            had = self.features(item) if common else ()
            shared = sum([feature in had for feature in common])
            if (shared or id in voted) and len(item.title) <= MAX_TITLE and item.title != candidate.item.title:
                mark = tally.marks[id]
                scored.append((shared + (id in voted) - 0.6 * used.get(id, 0), mark.preference, item, mark))
        scored.sort(key=lambda entry: (-entry[0], -entry[1], entry[2].id))
        return [(item, mark) for _, _, item, mark in scored[:CLOSE]]

    def _together(
        self, candidate: Candidate, mine: Mapping[str, Item], tally: Tally
    ) -> tuple[Item | None, Mark, int] | None:
        """The own item behind a collaborative vote: the one it rests on most, if enough others had both that it
        describes nobody; else the liked one that most had with it; else the first again, without a number."""
        loudest = next(filter(None, (led_by(one.retriever) for one in candidate.sources)), "")
        if not loudest:
            return None
        told = {id: one for id, one in mine.items() if can_be_named(one, candidate.item)}
        people, most = self.people_with(loudest, candidate.item.id) if loudest in told else 0, loudest
        if people < FEW_PEOPLE:
            counted = [(self.people_with(id, candidate.item.id), id) for id in told if id in tally.marks]
            people, most = max((one for one in counted if one[0] >= FEW_PEOPLE), default=(0, loudest))
        if most in told:
            return told[most], tally.marks[most], people
        mark = tally.marks.get(loudest)
        return (None, mark, 0) if mark and mark.preference >= -LIKED else None

    def _around(self, candidate: Candidate, mine: Mapping[str, Item], tally: Tally) -> tuple[Item, Mark] | None:
        """The liked item among whose nearest it came first."""
        votes = [(one.rank, voted_by(one.retriever, "recent:")) for one in candidate.sources]
        near = [(n, id) for n, id in votes if n <= AROUND and id in mine and can_be_named(mine[id], candidate.item)]
        return (mine[min(near)[1]], tally.marks[min(near)[1]]) if near else None

    def _nearest(self, candidate: Candidate, tally: Tally) -> tuple[Item | None, Mark] | None:
        """Of everything liked, what is closest in the index; ties by id."""
        liked = sorted(id for id, mark in tally.marks.items() if mark.preference >= LIKED)
        try:
            vectors = self.vectors([candidate.item.id, *liked]) if liked else {}
        except StoreError:
            # What the list itself did without is told where it was made; a reason does with less.
            return None
        liked = [id for id in liked if id in vectors and id != candidate.item.id]
        if not liked or candidate.item.id not in vectors:
            return None
        best = liked[int(np.argmax(np.stack([vectors[id] for id in liked]) @ vectors[candidate.item.id]))]
        item = self.items([best]).get(best)
        told = item is not None and nameable(item.title) and can_be_named(item, candidate.item)
        return (item if told else None), tally.marks[best]

    def _written(
        self, cases: Sequence[Case], ask: Ask, language: Language
    ) -> tuple[dict[str, tuple[str, list[str]]], Reasons]:
        """item id -> (the model's sentence, what is wrong with it), where there is something for a model to say."""
        telling = [case for case in cases if case.both and not case.against and not case.had]
        if not telling:
            return {}, Reasons(())
        if ask.llm.name == NO_MODEL:
            return {}, cost_of((), ("reasons were written without a model: there is none",), silent=True)
        if language == "zh" and not ask.llm.capable:
            return {}, Reasons((), notes=("small models are not asked to write Chinese",))
        ids = [case.candidate.item.id for case in telling]
        good: list[Reply[str]] = []
        try:
            first = self._tried(0, dict(enumerate(telling)), ask, language, good)
        except LLMError as error:
            return {}, failed(good, error)
        refused = [at for at, (_, problems) in first.items() if problems]
        said = repeats([text for text, _ in first.values()])
        same = [at for at, (_, problems) in first.items() if said[at] and not problems]
        written = dict(first)
        try:
            second = self._tried(1, {at: telling[at] for at in sorted(refused + same)}, ask, language, good)
        except LLMError as error:
            return dict(zip(ids, written.values(), strict=True)), failed(good, error)
        # A sentence that another item's reason has already is better than none that holds.
        written |= {at: one for at, one in second.items() if at in refused or not one[1]}
        notes = [f"{len(refused)} of {len(telling)} reasons were refused at first"] if refused else []
        if left := sum(bool(problems) for _, problems in written.values()):
            notes.append(f"{left} of {len(telling)} reasons failed the check and were written by template")
        return dict(zip(ids, written.values(), strict=True)), cost_of(good, tuple(notes))

    def _tried(
        self, attempt: int, cases: Mapping[int, Case], ask: Ask, language: Language, good: list[Reply[str]]
    ) -> dict[int, tuple[str, list[str]]]:
        """What the model says of each, and what is wrong with it; its valid answers go to `good`. Raises LLMError.

        Cases with the very same facts are asked for with seeds of their own: with one they would be told alike.
        """
        facts = {at: inputs(case, language, self.domain) for at, case in cases.items()}
        before = dict(zip(facts, repeats([tuple(one.values()) for one in facts.values()]), strict=True))
        found = {}
        for nth in sorted(set(before.values())):
            asked = [at for at in cases if before[at] == nth]
            answers = ask.write(
                "reason",
                [facts[at] for at in asked],
                language=language,
                max_tokens=60,
                temperature=TRIES[attempt],
                seed=attempt + len(TRIES) * nth,
            )
            good += [answer for answer in answers if not isinstance(answer, BadCompletion)]
            found |= {at: self._judged(cases[at], one, language) for at, one in zip(asked, answers, strict=True)}
        return {at: found[at] for at in cases}

    def _judged(self, case: Case, answer: Reply[str] | BadCompletion, language: Language) -> tuple[str, list[str]]:
        if isinstance(answer, BadCompletion):
            return "", [str(answer)]
        text = plain(answer.value)
        return text, problems_of(text, case, language, self.domain)


def repeats(these: Sequence[Hashable]) -> list[int]:
    """How many before each are the very same."""
    seen: Counter[Hashable] = Counter()
    found = []
    for one in these:
        found.append(seen[one])
        seen[one] += 1
    return found


def failed(good: Sequence[Reply[str]], error: LLMError) -> Reasons:
    return cost_of(good, (f"reasons were written without a model: {type(error).__name__}",), silent=True)


def cost_of(good: Sequence[Reply[str]], notes: tuple[str, ...], *, silent: bool = False) -> Reasons:
    return Reasons(
        (),
        tuple(dict.fromkeys(one.prompt for one in good)),
        sum(one.prompt_tokens for one in good),
        sum(one.completion_tokens for one in good),
        sum(one.ms for one in good),
        notes,
        silent,
    )


def proven(tally: Tally, events: Sequence[Event]) -> Tally:
    """`tally` with only the marks whose event exists, is about that item, and holds the quoted words."""
    found = {event.id: event for event in events}
    good = {
        id: mark
        for id, mark in tally.marks.items()
        if (event := found.get(mark.event)) and event.item == id and mark.quote in event.text
    }
    return tally.model_copy(update={"marks": good})


def liked_marks(tally: Tally, likes: Iterable[Tag], candidates: Sequence[Candidate]) -> list[Mark]:
    """The liked items that a reason may name: what the tags rest on, and what retrieval asked with."""
    wanted = {one.item for tag in likes for one in tag.receipts}
    wanted |= {item for tag in likes if tag.feature in tally.features for item in tally.features[tag.feature].items}
    voters = [source.retriever for one in candidates for source in one.sources]
    wanted |= {voted_by(voter, prefix) for voter in voters for prefix in ("recent:", f"{COLLABORATIVE}:")}
    led = {led_by(voter) for voter in voters}
    return [
        mark
        for id in sorted(wanted)
        if (mark := tally.marks.get(id)) and mark.preference >= (-LIKED if id in led else LIKED)
    ]


def can_be_named(own: Item, item: Item) -> bool:
    return len(own.title) <= MAX_TITLE and own.title != item.title


def led_by(retriever: str) -> str:
    """The own item that a collaborative vote is named after."""
    return voted_by(retriever, f"{COLLABORATIVE}:")


def voted_by(retriever: str, prefix: str) -> str:
    """The own item that a vote is named after, e.g. 318 of "recent:318"; "" for another kind of vote."""
    return retriever.removeprefix(prefix) if retriever.startswith(prefix) else ""


def inputs(case: Case, language: Language, domain: str) -> dict[str, str]:
    """The facts as the model sees them: one liked item, its stars, and what the two share."""
    liked, mark = case.close[0]
    zh = language == "zh"
    return {
        "liked": one_line(title(called(liked.title), language), MAX_TITLE + 2),
        "stars": "" if mark.stars is None else f"{mark.stars:g}",
        "common": listing([label(f, "zh") for f in case.common], "zh") if zh else things_en(case.common, domain),
    }


def facts_of(case: Case, language: Language, domain: str) -> Facts:
    item = case.candidate.item
    own = [*(one for one, _ in case.close), item]
    makers = {maker for one in own for maker in creators(one)}
    named = (*case.common, *filter(None, [case.guessed]))
    common = {text for feature in named for text in (label(feature, language), spoken(feature, language))}
    traits = {text for name in item.categories for text in (name, spoken(f"category:{name}", language))}
    return Facts(
        known={
            name: stars(mark.stars) | year(one.attributes.get("year"))
            for one, mark in case.close
            for name in calls(one.title)
        },
        offered={item.title: year(item.attributes.get("year"))},
        liked=frozenset(name for one, _ in case.close for name in calls(one.title)),
        makers={
            maker: frozenset(name for one in own if maker in creators(one) for name in calls(one.title))
            for maker in makers
        },
        terms=frozenset(common),
        nouns=frozenset({noun(domain, language), plural(noun(domain))}),
        traits=frozenset(traits),
        numbers=numbers_in(*common, str(case.fans)),
    )


def problems_of(text: str, case: Case, language: Language, domain: str) -> list[str]:
    """Why a model's sentence cannot stand: what it claims without a receipt, else what it leaves out or says twice."""
    found = check(text, facts_of(case, language, domain), Rules(MAX_CHARS, language))
    return found or incomplete(text, case, language, domain)


def incomplete(text: str, case: Case, language: Language, domain: str) -> list[str]:
    """A reason says what is shared: that something else was liked is not yet why."""
    said = text.casefold()
    if SLIPS.search(text):
        return ["does not say how many stars were given, or ends in half a sentence"]
    if len(re.findall(rf"\b{re.escape(plural(domain))}\b", said)) > 1:
        return [f"says {plural(domain)!r} twice"]
    if wrong := miswritten(text, (one.title for one, _ in case.close)):
        return [f"writes {wrong[0]!r} in other letters"]
    names = {name for f in case.common for name in (spoken(f, language), label(f, language))}
    return [] if any(name.casefold() in said for name in names) else ["names nothing that the two share"]


def template(case: Case, language: Language, domain: str) -> str:
    """The reason in the project's own grammar: true by construction."""
    zh = language == "zh"
    text = (template_zh if zh else template_en)(case, domain)
    if case.own is None:
        return text
    own = own_zh(case.own) if zh else own_en(case.own, domain)
    return f"{own}{'' if zh or not text else ' '}{text}" if case.had or not text else text


def template_en(case: Case, domain: str) -> str:
    close = listing([one.title + said_en(mark, domain) for one, mark in case.close[:1]])
    common = phrase_en(case.common, domain)
    if case.against:
        said = case.stated.issuperset(case.against)
        text = f"You {'said that you do' if said else 'tend'} not {'' if said else 'to '}like "
        text += listing([spoken(f) for f in case.against])
        if common:
            return f"{text}, though it shares {common} with what you like."
        if close:
            return f"{text}, but this is close to {close}."
        return f"{text}, but {others_en(case.together, domain)}." if case.together else f"{text}."
    if case.guessed:
        return f"Something new to try: {spoken(case.guessed)}, a guess from what you like."
    if common and close:
        return f"{shown(common)}, close to {close}."
    if common:
        said = case.stated.issuperset(case.common)
        return f"{shown(common)}, which you {'said that you' if said else 'tend to'} like."
    if close:
        return f"Close to {close}."
    if case.together:
        return f"{shown(others_en(case.together, domain))}."
    if case.words:
        asked = "One of the closest matches to what you asked for"
        return f"{asked}; of {closest_en(*case.nearest, domain)}." if case.nearest else f"{asked}."
    if case.around:
        liked, mark = case.around
        return f"Among those closest to {liked.title}{said_en(mark, domain)}."
    if case.nearest:
        crowd = f"Liked {case.fans} times here; of" if case.fans > 1 else "Of"
        return f"{crowd} {closest_en(*case.nearest, domain)}."
    if case.own:
        return ""
    if case.fans > 1:
        return f"Liked {case.fans} times here; nothing in your history speaks for it yet."
    return "Nothing in your history speaks for it or against it yet."


def phrase_en(common: Sequence[str], domain: str) -> str:
    """ "crime by Billy Wilder from the 1940s", with theme words named as such."""
    # A shop's categories are proper names, "Toys & Games"; a genre is a word, "drama".
    kinds = [label(f) if domain == "product" else spoken(f) for f in common if kind_of(f) == "category"]
    tongues = [label(f) for f in common if kind_of(f) == "language"][:1]
    rest = [f for f in common if kind_of(f) not in ("category", "language")]
    one = f"{'an' if domain[:1] in 'aeiou' else 'a'} {domain}"
    parts = []
    if kinds or tongues or any(kind_of(f) == "creator" for f in rest):
        parts.append(" ".join([*tongues, listing(kinds) if kinds else domain if tongues else one]))
    elif any(kind_of(f) == "decade" for f in rest):
        parts.append(one)
    return " ".join([*parts, *tails(rest)])


def things_en(common: Sequence[str], domain: str) -> str:
    """What two items both are, with the noun that a model cannot know: "crime films by Billy Wilder"."""
    kinds = [one for one in common if kind_of(one) == "category"]
    tongues = [label(one) for one in common if kind_of(one) == "language"][:1]
    rest = [one for one in common if kind_of(one) not in ("category", "language")]
    if domain == "product":
        named = listing([label(one) for one in kinds])
        things = f"products in {named}" if named else "products"
    else:
        things = " ".join(filter(None, [*tongues, listing([spoken(one) for one in kinds]), plural(domain)]))
    return " ".join([things, *tails(rest)])


def tails(features: Sequence[str]) -> list[str]:
    """What follows the noun: by whom, from when, on which theme, at what price, of what length."""
    by_kind: dict[str, list[str]] = {}
    for feature in features:
        by_kind.setdefault(kind_of(feature), []).append(feature)
    found = []
    if makers := by_kind.get("creator"):
        found.append(f"by {listing([spoken(one) for one in makers])}")
    if decade := by_kind.get("decade"):
        found.append(f"from {spoken(decade[0])}")
    if words := by_kind.get("word"):
        quoted = listing([f"“{spoken(one)}”" for one in words])
        found.append(f"on the theme of {quoted}")
    if price := by_kind.get("price"):
        found.append(f"at {spoken(price[0])}")
    if length := by_kind.get("minutes"):
        found.append(f"with a {'short' if length[0].endswith('low') else 'long'} running time")
    return found


def own_en(mark: Mark, domain: str) -> str:
    """What the person did with the item itself, as a sentence."""
    if mark.stars is not None:
        return f"You gave it {stars_en(mark.stars)}."
    return {
        "like": "You liked it already.",
        "dislike": "You said that you do not like it.",
        "purchase": "You bought it already.",
        "play": f"You {experienced(domain)} it already.",
        "cart": "You put it in your basket before.",
        "skip": "You skipped it.",
        "review": "You reviewed it already.",
    }.get(mark.kind, "You looked at it before.")


def own_zh(mark: Mark) -> str:
    if mark.stars is not None:
        return f"您给了它{mark.stars:g}星。"
    return {
        "like": "您已表示喜欢它。",
        "dislike": "您表示过不喜欢它。",
        "purchase": "您已买过它。",
        "play": "您已经体验过它。",
        "cart": "您曾把它放进购物车。",
        "skip": "您跳过了它。",
        "review": "您已评论过它。",
    }.get(mark.kind, "您曾看过它的介绍。")


def stars_en(value: float) -> str:
    return f"{value:g} star{'s' * (value != 1)}"


def said_en(mark: Mark, domain: str) -> str:
    if mark.stars is not None:
        return f", which you gave {stars_en(mark.stars)}"
    return {
        "like": ", which you liked",
        "purchase": ", which you bought",
        "play": f", which you {experienced(domain)}",
        "view": ", which you looked at",
        "click": ", which you looked at",
        "cart": ", which you put in your basket",
        "review": ", which you reviewed",
    }.get(mark.kind, "")


def called_en(one: Item | None, mark: Mark, domain: str) -> str:
    """An own item and what was done with it; without its title where that stands in no sentence."""
    said = said_en(mark, domain)
    if one is None:
        return f"something{said.removeprefix(',').replace(' which', '')}" if said else "something in your history"
    return f"{one.title}{said}"


def closest_en(one: Item | None, mark: Mark, domain: str) -> str:
    return f"what you like, the closest to it is {called_en(one, mark, domain)}"


def closest_zh(one: Item | None, mark: Mark) -> str:
    return f"在您喜欢的内容中，与它最接近的是{liked_zh(one, mark)}。"


def liked_zh(one: Item | None, mark: Mark) -> str:
    how = f"给了{mark.stars:g}星" if mark.stars is not None else "喜欢"
    return f"您{how}的{'作品' if one is None else title(one.title, 'zh')}"


def others_en(together: tuple[Item | None, Mark, int], domain: str) -> str:
    """What everybody's histories say for an item, without a full stop."""
    liked, mark, people = together
    if not people or liked is None:
        return f"others' histories suggest it beside {called_en(liked, mark, domain)}"
    said = said_en(mark, domain)
    return f"{people} people have this and {liked.title}{said}{',' if said else ''} in their history"


def others_zh(together: tuple[Item | None, Mark, int]) -> str:
    liked, mark, people = together
    if not people:
        return f"大家的记录由{liked_zh(liked, mark)}推及它"
    return f"有{people}人的记录中同时有它和{liked_zh(liked, mark)}"


def template_zh(case: Case, domain: str) -> str:
    common = listing([label(feature, "zh") for feature in case.common], "zh")
    close = "".join(liked_zh(one, mark) for one, mark in case.close[:1])
    if case.against:
        said = "您说过不喜欢" if case.stated.issuperset(case.against) else "您不太喜欢"
        text = f"{said}{listing([label(f, 'zh') for f in case.against], 'zh')}"
        if common:
            return f"{text}，不过它与您的喜好有共同点：{common}。"
        if close:
            return f"{text}，不过它与{close}相近。"
        return f"{text}，不过{others_zh(case.together)}。" if case.together else f"{text}。"
    if case.guessed:
        return f"换个口味试试{label(case.guessed, 'zh')}，这是根据您的喜好推测的。"
    if common and close:
        return f"同样是{common}，与{close}相近。"
    if common:
        return f"属于您{'说过' if case.stated.issuperset(case.common) else ''}喜欢的{common}。"
    if close:
        return f"与{close}相近。"
    if case.together:
        return f"{others_zh(case.together)}。"
    if case.words:
        asked = "与您要找的内容最接近的之一"
        return f"{asked}；{closest_zh(*case.nearest)}" if case.nearest else f"{asked}。"
    if case.around:
        return f"与{liked_zh(*case.around)}较为接近。"
    if case.nearest:
        crowd = f"这里有{case.fans}次好评；" if case.fans > 1 else ""
        return f"{crowd}{closest_zh(*case.nearest)}"
    if case.own:
        return ""
    if case.fans > 1:
        return f"这里有{case.fans}次好评；您的记录中暂无相关内容。"
    return "您的记录中暂无相关内容。"
