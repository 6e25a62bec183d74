"""Examples of wording facts: personas and reasons for invented people, in sentences of many plans, all checked.

The facts come from the product's own path: events are added up, what stands out becomes tags, and the portrait and
the cases of those are what its prompts are filled with. What does not pass its checks is no example.
"""

from __future__ import annotations

import random
import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cache, partial

from agent.ask import Ask
from agent.features import kind_of, value_of
from agent.grounding.check import Rules, check
from agent.labels import called, label, listing, plural, spoken
from agent.llm.scripted import NoModel
from agent.persona import naming, writing
from agent.persona.evidence import evidence
from agent.persona.tally import Tally, add
from agent.recommend import explain
from agent.recommend.explain import Case, Explain, stars_en
from agent.training.examples import ELSEWHERE, Example, Examples, mixed
from agent.training.grammar import Voice, chosen, filled, plans, sentence, usable, voiced
from agent.training.worlds import Domain, Person, World, domains, material, person, traits, world
from agent.types import Candidate, Item, Source, Tag

PEOPLE = 8
"""People of one catalogue."""
REASONS = 3
"""New items of each person that a reason is written for."""
UNLOVED = 0.3
"""Share of personas of people with no favourite: what is missing must not be filled in from the prompt's samples."""
TRIES = 12
"""Sentences that are tried for one set of facts before it is given up."""


TWICE = re.compile(
    r"\bas well\b.*\bas well\b|\btoo\b.*\btoo\b|\balso\b.*\balso\b|\btheme.*\. .*\btheme"
    r"|\bas well\b[^.]*\b(?:also|too)\b|\balso\b[^.]*\b(?:as well|too)\b|\bfavourites?\b.*\bfavourites?\b"
    r"|\b(?:and again|after time)\b(?=[^.])|\b(?:(?P<verb>lov|lik|enjoy)\w*)\b[^.;]*\b(?P=verb)\w*\b"
)
"""Slips that no fact forbids and every reader sees."""


@dataclass(frozen=True, slots=True)
class Known:
    """One invented person as the product knows them."""

    who: writing.Portrait
    tally: Tally
    tags: tuple[Tag, ...]
    person: Person


@dataclass
class Refused:
    """Sentences that did not pass, by plan: a plan that often fails is a bad one."""

    tried: Counter[str] = field(default_factory=Counter)
    refused: Counter[str] = field(default_factory=Counter)
    why: dict[str, str] = field(default_factory=dict)

    def note(self, used: Sequence[str], text: str, problems: Sequence[str]) -> None:
        self.tried.update(used)
        if problems:
            self.refused.update(used)
            self.why.update(dict.fromkeys(used, f"{text!r}: {problems[0]}"))


@cache
def book(name: str) -> dict[str, list[str]]:
    return material(name)


def examples(count: int, held: int, seed: int, refused: Refused | None = None) -> Examples:
    """`count` examples to train on, `held` to stop by, and as many of catalogues and plans that those never show."""
    noted = refused or Refused()
    shown = [one for one in domains() if not one.held]
    return Examples(
        taken(shown, count, seed, noted, held=False),
        taken(shown, held, seed + ELSEWHERE, noted, held=False),
        taken([one for one in domains() if one.held], held, seed, noted, held=True),
    )


def taken(kinds: Sequence[Domain], count: int, seed: int, refused: Refused, *, held: bool) -> tuple[Example, ...]:
    """The first `count` examples of catalogues of `kinds` in turn: three fifths personas, half of them with dislikes.

    Saying what somebody does not like is what goes wrong most, and few invented people have much to dislike.
    """
    against: list[Example] = []
    plain: list[Example] = []
    reasons: list[Example] = []
    personas = -(-count * 3 // 5)
    wanted = -(-personas // 2)
    for number in range(10_000):
        if len(against) >= wanted and len(plain) >= personas - wanted and len(reasons) >= count - personas:
            break
        here = world(kinds[number % len(kinds)], seed * 10_000 + number // len(kinds))
        rng = random.Random(f"wording {seed} {number}")
        for one in range(PEOPLE):
            known = profiled(person(here, one), here)
            mine = against if known.who.dislikes else plain
            if len(mine) < wanted:
                mine += persona_example(known, here, rng, refused, held=held)
            if len(reasons) < count - personas:
                reasons += reason_examples(known, here, rng, refused, held=held)
    return mixed([against[:wanted], plain[: personas - wanted], reasons[: count - personas]], seed)


def profiled(one: Person, here: World) -> Known:
    """The tags and the portrait that the product makes of a history."""
    noun = here.domain.noun
    items = {event.item: here.items[event.item] for event in one.events}
    tally = add(Tally(), one.events, items, here.population, {}, {}, len(one.events))
    titles = {id: item.title for id, item in items.items()}
    tags = naming.name(evidence(tally, here.population), titles, Ask(NoModel()), "en", noun).tags
    return Known(writing.portrait(tags, tally, items, noun, "en"), tally, tags, one)


# Personas


def persona_example(known: Known, here: World, rng: random.Random, refused: Refused, *, held: bool) -> list[Example]:
    """A persona of somebody of whom there is something to say; none where no sentence passes."""
    who = known.who
    if not who.likes:
        return []
    if rng.random() < UNLOVED:
        who = replace(who, favourites=())
    facts = writing.facts_of(who, known.tally)

    def problems(text: str) -> list[str]:
        found = check(text, facts, Rules(writing.MAX_CHARS, "en"))
        return found or writing.incomplete(text, who) or writing.clumsy(text, who)

    for _ in range(TRIES):
        text, used = persona(who, rng, held=held)
        found = problems(text) or repeats(text)
        refused.note(used, text, found)
        if not found:
            return [Example("persona", writing.inputs_of(who), text, group=here.domain.noun, problems=problems)]
    return []


def persona(who: writing.Portrait, rng: random.Random, *, held: bool) -> tuple[str, list[str]]:
    """A persona in one of many plans, and the plans it is made of."""
    voice: Voice = rng.choice(("bare", "bare", "they"))
    pieces = interests(who, rng)
    split = rng.randint(1, len(pieces))
    first, rest = pieces[:split], pieces[split:]
    slots = {"np": joined(first, rng), "np2": joined(rest, rng) if rest else ""}
    slots |= {"nps": slots["np"] if several(first) else "", "nps2": slots["np2"] if several(rest) else ""}
    loved, hated = [called(item.title) for item in who.favourites], writing.phrases(who.dislikes, who)
    slots |= {"fav": listing(loved), "no": listing(hated)}
    slots["nos"] = slots["no"] if several(hated) else ""
    used: list[str] = []

    def say(*lists: str) -> str:
        found = [plan for name in lists for plan in plans(book("persona")[name], held=held)]
        plan = rng.choice(usable(found, slots))
        used.append(plan)
        return filled(voiced(chosen(plan, rng), voice), slots)

    of_person = rng.random() < 0.7
    lead = say("person" if of_person else "thing")
    if "~" not in used[0]:
        # "Drawn to war films" names nobody, so that what follows cannot say "they".
        voice = "bare"
    # A sentence that says what they do can go on with what they do not.
    told = {"rest": not rest, "fav": not loved, "no": not hated}
    if rest and rng.random() < 0.5:
        lead += say("more_any", "more_person") if of_person else say("more_any")
        told["rest"] = True
    elif loved and of_person and rng.random() < 0.3:
        lead += say("withs" if len(loved) > 1 else "with1")
        told["fav"] = True
    elif hated and of_person and not rest and rng.random() < 0.4:
        lead += say("but")
        told["no"] = True
    others = []
    if not told["rest"]:
        others.append(say("also"))
    closing = []
    if loved and hated and not told["fav"] and not told["no"] and rng.random() < 0.3:
        closing.append(say("boths" if len(loved) > 1 else "both1"))
        told["fav"] = told["no"] = True
    if not told["fav"]:
        closing.append(say("favs" if len(loved) > 1 else "fav1"))
    if not told["no"]:
        closing.append(say("against"))
    if len(closing) > 1 and rng.random() < 0.25:
        closing.reverse()
    if len(closing) == 1 and not told["fav"] and rng.random() < 0.2:
        return " ".join(map(sentence, (*closing, lead, *others))), used
    return " ".join(map(sentence, (lead, *others, *closing))), used


def repeats(text: str) -> list[str]:
    """What an editor would strike out."""
    return ["says a connective twice"] if TWICE.search(text) else []


def interests(who: writing.Portrait, rng: random.Random) -> list[str]:
    """What is liked, as things that can stand in a sentence, mostly in the order of the facts."""
    by_kind, things = writing.kinds(who.likes), plural(who.domain)
    named = label if who.domain == "product" else spoken
    found = [tag.name for tag in by_kind["stated"]]
    if genres := [named(tag.feature) for tag in by_kind["category"]]:
        found.append(writing.of_kind(genres, who.domain))
    found += [f"{label(tag.feature)} {things}" for tag in by_kind["language"]]
    found += writing.made_by(by_kind["creator"], who.domain)
    if themes := [value_of(tag.feature) for tag in by_kind["word"]]:
        found.append(theme(themes, rng))
    if decade := [spoken(tag.feature) for tag in by_kind["decade"]]:
        found.append(rng.choice((decade[0], f"{things} from {decade[0]}")))
    found += [spoken(tag.feature) for kind in ("price", "minutes") for tag in by_kind[kind]]
    if rng.random() < 0.25:
        rng.shuffle(found)
    return found


def theme(words: Sequence[str], rng: random.Random) -> str:
    quoted = listing([f"“{word}”" for word in words])
    if len(words) > 1:
        return rng.choice(
            (f"the themes {quoted}", f"the themes of {listing(words)}", f"themes such as {listing(words)}")
        )
    return rng.choice((f"the theme {quoted}", f"the theme of {quoted}", f"{quoted} as a theme"))


def joined(pieces: Sequence[str], rng: random.Random) -> str:
    """A list in one of several styles; pieces that are lists themselves are kept apart."""
    if len(pieces) == 1:
        return pieces[0]
    apart = any(" and " in one for one in pieces)
    last = rng.choice((", and ", ", as well as ", ", and also ") if apart else (" and ", " and ", " as well as "))
    return ", ".join(pieces[:-1]) + last + pieces[-1]


def several(pieces: Sequence[str]) -> bool:
    """Whether a verb after `pieces` is a plural."""
    return len(pieces) > 1 or any(" and " in one or one.endswith("s") for one in pieces)


# Reasons


def reason_examples(known: Known, here: World, rng: random.Random, refused: Refused, *, held: bool) -> list[Example]:
    """Reasons for a few new items that have something in common with what the person likes."""
    noun = here.domain.noun
    found = []
    for case in cases(known, here, rng):
        problems = partial(explain.problems_of, case=case, language="en", domain=noun)
        for _ in range(TRIES):
            text, used = reason(case, noun, rng, held=held)
            why = problems(text)
            refused.note(used, text, why)
            if not why:
                inputs = explain.inputs(case, "en", noun)
                found.append(Example("reason", inputs, text, group=noun, problems=problems))
                break
    return found


def cases(known: Known, here: World, rng: random.Random) -> list[Case]:
    """What the product finds that may be said of some new items, where a model is asked to say it."""
    met = {event.item for event in known.person.events}
    likes = {tag.feature for tag in known.tags if tag.polarity > 0}
    new = [one for one in here.items.values() if one.id not in met and likes & set(featured(one))]
    loved = [mark.item for mark in known.tally.marks.values() if mark.preference >= explain.LIKED]
    if not new or not loved:
        return []
    votes = (Source(f"recent:{rng.choice(loved)}", 1, 1.0),)
    candidates = [Candidate(one, 1.0, votes) for one in rng.sample(new, min(REASONS, len(new)))]
    found = Explain(lambda ids: {id: here.items[id] for id in ids}, {}, here.population, here.domain.noun).cases(
        candidates, known.tags, known.tally, ""
    )
    return [one for one in found if one.both and not one.against]


def featured(one: Item) -> list[str]:
    """Features that a tag can stand for, cheaply: what decades and numbers add is found by the product."""
    return [trait for trait in traits(one) if kind_of(trait) in ("category", "creator", "word")]


def reason(case: Case, domain: str, rng: random.Random, *, held: bool) -> tuple[str, list[str]]:
    """A reason in one of many plans, and the plan."""
    liked, mark = case.close[0]
    more, one = shared(case.common, domain, rng)
    slots = {
        "like": called(liked.title),
        "more": more,
        "is": one,
        "one": one.partition(" ")[2],
        "stars": stars_en(mark.stars) if mark.stars else "",
    }
    rated = bool(mark.stars) and rng.random() < 0.75
    plan = rng.choice(usable(plans(book("reason")["rated" if rated else "plain"], held=held), slots))
    return sentence(filled(voiced(chosen(plan, rng), "they"), slots)), [plan]


def shared(common: Sequence[str], domain: str, rng: random.Random) -> tuple[str, str]:
    """What two items share, as more of it and as what one of them is: "crime films by X", "a crime film by X"."""
    shop = domain == "product"
    kinds = listing([label(one) if shop else spoken(one) for one in common if kind_of(one) == "category"])
    tongue = "".join([f"{label(one)} " for one in common if kind_of(one) == "language"][:1])
    rest = [one for one in common if kind_of(one) not in ("category", "language")]
    tails = [one.replace("on the theme of", rng.choice(("on the theme of", "about"))) for one in explain.tails(rest)]
    if len(tails) > 1 and rng.random() < 0.3 and not tails[0].startswith("by"):
        tails.reverse()
    tail = "".join(f" {one}" for one in tails)
    if shop and kinds:
        return f"products in {kinds}{tail}", f"a product in {kinds}{tail}"
    single = f"{tongue}{kinds} {domain}" if kinds else f"{tongue}{domain}"
    article = "an" if single[:1].lower() in "aeiou" else "a"
    if kinds and domain in ("artist", "album") and rng.random() < 0.4:
        return f"{tongue}{kinds}{tail}", f"{article} {single}{tail}"
    return f"{single.removesuffix(domain)}{plural(domain)}{tail}", f"{article} {single}{tail}"


def told(refused: Mapping[str, int], tried: Mapping[str, int]) -> Iterator[tuple[float, str]]:
    """Share of sentences refused by plan, worst first."""
    return iter(sorted(((refused[plan] / tried[plan], plan) for plan in refused), reverse=True))
