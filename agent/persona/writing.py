"""The persona: the model words the evidence, the check holds it to the facts, a template writes it when that fails."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Literal

from agent.ask import Ask
from agent.errors import BadCompletion, LLMError
from agent.features import kind_of, value_of
from agent.grounding.check import Rules, check, nameable, plain
from agent.grounding.facts import Facts, numbers_in, stars, year
from agent.labels import called, calls, label, listing, miswritten, noun, plural, shown, spoken, title
from agent.persona.tally import Tally
from agent.types import Item, Language, Tag

MAX_CHARS = 320
"""What shops call things is long: three kinds and two titles alone can take 240."""
FEW_EVENTS = 5
FAVOURITE = 0.5
"""A liking of at least this is a favourite."""
MAX_TITLE = 60
DISAGREES = re.compile(
    r"\bis favou?rites\b|\bare an? favou?rite\b|\bfavou?rite: ■,? and ■"
    r"|, [^,.]* is a (?:fan )?favou?rite|■,? (?:and )?■ is a\b"
    r"|\bfavou?rites?, but (?:avoid|dislike|ha[sv]e? no|seem|stay|tend)"
    r"|\b(?:lead|their taste)\b[^.]*\band (?:loves?|enjoys?)\b"
    r"|\bfrom (?:the )?■|^A fan of (?:(?! (?:back|drawn) to )[^.])*(?:,| and) to ",
    re.IGNORECASE,
)
"""Slips of a small model that no fact forbids and every reader sees; ■ stands for a title."""
MISTAKEN = re.compile(r"\b(?:work of|brands?) ■|■;")
"""A title taken for somebody who makes things, or the facts' own list copied."""
FRAGMENT = re.compile(
    r"(?:^|[.!?] )"
    r"(?:■(?:(?:,| and|, and)? ■)*(?:, an? favou?rite| favou?rites?)?|(?:This|To|What it shares) [^.!?]*)"
    r"(?:[.!?](?= |$)|$)"
)
"""A sentence that only names titles, or points back at them."""
TRIES = (0.6, 0.7, 0.7, 0.3)
"""Temperatures, the later ones where the check refuses a text.

A small model's likeliest text begins alike for nearly everybody. Of 59 personas for people of MovieLens the first four
words were of 51 kinds at .45 and of 55 at .7, and 56 passed at either. Other people had more first tries pass at .3."""


@dataclass(frozen=True, slots=True)
class Portrait:
    """What a persona is written from: everything it may say, and no more."""

    likes: tuple[Tag, ...]
    dislikes: tuple[Tag, ...]
    favourites: tuple[Item, ...]
    events: int
    domain: str
    language: Language


@dataclass(frozen=True, slots=True)
class Written:
    """A text that passed the check, who wrote it, and what it took."""

    text: str
    by: Literal["model", "template"]
    prompts: tuple[str, ...] = ()
    prompt_tokens: int = 0
    completion_tokens: int = 0
    ms: float = 0.0
    problems: tuple[str, ...] = ()
    """Why the model's texts were refused, if they were."""


def portrait(tags: Sequence[Tag], tally: Tally, items: Mapping[str, Item], domain: str, language: Language) -> Portrait:
    """The strongest of each kind of like, so that one kind does not fill the text, two dislikes, two favourites."""
    likes: list[Tag] = []
    seen: dict[str, int] = {}
    room = {"category": 3, "creator": 2, "word": 2, "decade": 1, "language": 1, "price": 1, "minutes": 1, "": 3}
    tags = [tag for tag in tags if sayable(tag, language)]
    for tag in tags:
        kind = kind_of(tag.feature)
        if tag.polarity > 0 and tag.kind != "latent" and seen.get(kind, 0) < room.get(kind, 1):
            seen[kind] = seen.get(kind, 0) + 1
            likes.append(tag)
    dislikes = [tag for tag in tags if tag.polarity < 0]
    loved = sorted(
        (mark for mark in tally.marks.values() if mark.preference >= FAVOURITE and mark.item in items),
        # Newest first among those liked about as much: what somebody loves now says more than what they loved once.
        key=lambda mark: (-round(mark.preference, 1), -(mark.at.timestamp() if mark.at else 0.0)),
    )
    taken = {text.casefold() for text in terms_of(tags, language)}
    favourites = [
        item
        for mark in loved
        if len(name := called((item := items[mark.item]).title)) <= MAX_TITLE
        and nameable(name)
        and name.casefold() not in taken
    ]
    # Two items that are called the same would be told as one thing twice.
    apart = tuple({called(item.title).casefold(): item for item in reversed(favourites)}.values())[::-1]
    return Portrait(tuple(likes[:5]), tuple(dislikes[:2]), apart[:2], tally.events, domain, language)


def sayable(tag: Tag, language: Language) -> bool:
    """Whether a tag can stand in a sentence: catalogues, and people, may call things as they like."""
    return all(nameable(text) and len(text) <= MAX_TITLE for text in (tag.name, *terms_of([tag], language)))


def write(who: Portrait, tally: Tally, ask: Ask) -> Written:
    """The persona of `who`. Never raises because of the model: the template speaks then."""
    if not who.likes:
        # There is little to word, and a model would fill the gap.
        return Written(template(who), "template")
    if who.language == "zh" and not ask.llm.capable:
        return Written(template(who), "template", problems=("small models are not asked to write Chinese",))
    facts, rules = facts_of(who, tally), Rules(MAX_CHARS, who.language)
    problems: list[str] = []
    prompt, asked, answered, ms = (), 0, 0, 0.0
    evidence = inputs_of(who)
    for attempt, temperature in enumerate(TRIES):
        try:
            (answer,) = ask.write(
                "persona",
                [evidence],
                language=who.language,
                max_tokens=110,
                temperature=temperature,
                seed=attempt,
            )
        except LLMError as error:
            problems.append(type(error).__name__)
            break
        if isinstance(answer, BadCompletion):
            problems.append(str(answer))
            continue
        prompt = (answer.prompt,)
        asked, answered, ms = asked + answer.prompt_tokens, answered + answer.completion_tokens, ms + answer.ms
        text = plain(answer.value)
        found = check(text, facts, rules) or incomplete(text, who) or clumsy(text, who)
        if not found:
            text = " ".join([*few_known(who), text])
            return Written(text, "model", prompt, asked, answered, ms, tuple(problems))
        problems += found
    return Written(template(who), "template", prompt, asked, answered, ms, tuple(problems))


def few_known(who: Portrait) -> list[str]:
    """What has to be said first of somebody who is hardly known."""
    if who.events > FEW_EVENTS:
        return []
    if who.language == "zh":
        return [f"了解还不多（{who.events}条记录）。"]
    return [f"Little is known yet ({who.events} event{'s' * (who.events != 1)})."]


def clumsy(text: str, who: Portrait) -> list[str]:
    """A true text that says the same thing twice is not worth reading."""
    if wrong := miswritten(text, (item.title for item in who.favourites)):
        return [f"writes {wrong[0]!r} in other letters"]
    titles, text = repeated(text, (name for item in who.favourites for name in calls(item.title)))
    # A title may hold the word for an interest: "Fatal Attraction" is no second "action".
    tastes, _ = repeated(text, (spoken(tag.feature, who.language) for tag in who.likes))
    if twice := titles + tastes:
        return [f"says {min(twice)!r} twice"]
    if DISAGREES.search(text):
        return ["one and many disagree"]
    if MISTAKEN.search(text):
        return ["takes a title for a maker, or copies a list of titles"]
    return ["a sentence without a verb"] if FRAGMENT.search(text) else []


def repeated(text: str, names: Iterable[str]) -> tuple[list[str], str]:
    """Those of `names` that stand in `text` more than once, and the text without any of them; a name within a longer
    one is not counted: "Dragon Ball and Dragon Ball Z" says neither twice."""
    twice = []
    for name in sorted(filter(None, set(names)), key=lambda name: (-len(name), name)):
        # No word boundary: between Chinese characters there is none.
        whole = rf"(?<![A-Za-z0-9]){re.escape(name)}(?![A-Za-z0-9])"
        text, times = re.subn(whole, "■", text, flags=re.IGNORECASE)
        if times > 1 and len(name) > 3:
            twice.append(name)
    return twice, text


def incomplete(text: str, who: Portrait) -> list[str]:
    """A persona that leaves out the strongest interest is true and useless."""
    said = text.casefold()
    if any(
        tag.name.casefold() in said or spoken(tag.feature, who.language).casefold() in said for tag in who.likes[:3]
    ):
        return []
    return ["names none of the three strongest interests"] if who.likes else []


def facts_of(who: Portrait, tally: Tally) -> Facts:
    likes, dislikes = terms_of(who.likes, who.language), terms_of(who.dislikes, who.language)
    makers = [value_of(tag.feature) for tag in (*who.likes, *who.dislikes) if kind_of(tag.feature) == "creator"]
    return Facts(
        known={
            name: year_of(item) | stars(tally.marks[item.id].stars)
            for item in who.favourites
            for name in calls(item.title)
        },
        liked=frozenset(name for item in who.favourites for name in calls(item.title)),
        makers={
            maker: frozenset(name for item in who.favourites if maker in creators(item) for name in calls(item.title))
            for maker in makers
        },
        terms=likes,
        aversions=dislikes,
        nouns=frozenset({noun(who.domain, who.language), plural(noun(who.domain))}),
        numbers=numbers_in(*likes, *dislikes, str(who.events)),
    )


def terms_of(tags: Sequence[Tag], language: Language) -> frozenset[str]:
    """Every way in which the interests may be called."""
    return frozenset(
        text
        for tag in tags
        for text in (tag.name, label(tag.feature, language), spoken(tag.feature, language), value_of(tag.feature))
        if text
    )


def year_of(item: Item) -> frozenset[str]:
    return year(item.attributes.get("year"))


def creators(item: Item) -> tuple[str, ...]:
    made = item.attributes.get("creator", ())
    return (made,) if isinstance(made, str) else tuple(made) if isinstance(made, tuple) else ()


def inputs_of(who: Portrait) -> dict[str, str]:
    """The evidence as the model sees it, strongest first."""
    joint = "、" if who.language == "zh" else ", "
    return {
        "likes": joint.join(phrases(who.likes, who)) or ("暂无" if who.language == "zh" else "nothing known"),
        # Titles hold commas themselves.
        "favourites": ("、" if who.language == "zh" else "; ").join(
            title(called(item.title), who.language) for item in who.favourites
        ),
        "dislikes": joint.join(phrases(who.dislikes, who)),
    }


def phrases(tags: Sequence[Tag], who: Portrait) -> list[str]:
    """Interests as they are said in a sentence, those of one kind joined: "drama and war films", "the 1950s"."""
    if who.language == "zh":
        return [spoken(tag.feature, "zh") or tag.name for tag in tags]
    by_kind, things = kinds(tags), plural(who.domain)
    named = label if who.domain == "product" else spoken
    said = [tag.name for tag in by_kind["stated"]]
    if genres := [named(tag.feature) for tag in by_kind["category"]]:
        said.append(of_kind(genres, who.domain))
    said += [f"{label(tag.feature)} {things}" for tag in by_kind["language"]]
    said += made_by(by_kind["creator"], who.domain)
    # A bare word would be read as somebody's name.
    if themes := [f"“{value_of(tag.feature)}”" for tag in by_kind["word"]]:
        said.append(f"the {'themes' if len(themes) > 1 else 'theme'} {listing(themes)}")
    return [*said, *(spoken(tag.feature) for kind in ("decade", "price", "minutes") for tag in by_kind[kind])]


def template(who: Portrait) -> str:
    """The persona in the project's own grammar: true by construction, bounded in length."""
    text = (template_zh if who.language == "zh" else template_en)(who)
    if len(text) > MAX_CHARS and len(who.likes) > 1:
        return template(replace(who, likes=who.likes[:-1]))
    return text


def template_en(who: Portrait) -> str:
    things = plural(who.domain)
    if not who.likes and not who.dislikes:
        return f"Too little is known yet: {who.events or 'no'} event{'s' * (who.events != 1)}, and nothing stands out."
    by_kind = kinds(who.likes)
    named = label if who.domain == "product" else spoken
    tastes = [named(tag.feature) for tag in by_kind["category"]]
    tongue = [f"{label(tag.feature)} {things}" for tag in by_kind["language"]]
    makers = made_by(by_kind["creator"], who.domain)
    themes = [value_of(tag.feature) for tag in by_kind["word"]]
    decade = [spoken(tag.feature) for tag in by_kind["decade"]]
    openings = ("Mostly drawn to {}", "Keeps coming back to {}", "Has a clear liking for {}")
    opening = openings[sum(map(ord, "".join(tastes + makers))) % len(openings)]
    main = [tag.name for tag in by_kind["stated"]]
    main += [of_kind(tastes, who.domain)] if tastes else []
    main += tongue
    main += makers
    main += [f"{things} from {decade[0]}"] if decade else []
    sentences = [opening.format(listing(main))] if main else []
    if themes:
        sentences.append(f"{'Recurring themes' if len(themes) > 1 else 'A recurring theme'}: {listing(themes)}")
    if scales := [label(tag.feature) for tag in (*by_kind["price"], *by_kind["minutes"])]:
        sentences.append(f"Tends towards {listing(scales)}")
    if who.favourites:
        names = [called(item.title) for item in who.favourites]
        sentences.append(f"{listing(names)} {'are favourites' if len(names) > 1 else 'is a favourite'}")
    if who.dislikes:
        genres = [named(tag.feature) for tag in who.dislikes if kind_of(tag.feature) == "category"]
        rest = [spoken(tag.feature) or tag.name for tag in who.dislikes if kind_of(tag.feature) != "category"]
        sentences.append(f"Tends not to like {listing([*([of_kind(genres, who.domain)] if genres else []), *rest])}")
    return bounded([*few_known(who), *(f"{shown(one)}." for one in sentences)], " ")


def of_kind(tastes: Sequence[str], domain: str) -> str:
    """ "drama and crime films", "products in toys and games"."""
    if domain == "product":
        return f"products in {listing(tastes)}"
    return f"{listing(tastes)} {plural(domain)}"


def made_by(makers: Sequence[Tag], domain: str) -> list[str]:
    """ "the work of John Coltrane and Miles Davis", "the brand Elm": nothing where there are no makers. A bare name
    would be taken for a title, and a title for a name."""
    names = [value_of(tag.feature) for tag in makers]
    if not names:
        return []
    if domain == "product":
        return [f"the {'brands' if len(names) > 1 else 'brand'} {listing(names)}"]
    return [f"the work of {listing(names)}"]


def template_zh(who: Portrait) -> str:
    if not who.likes and not who.dislikes:
        return f"了解还太少：只有{who.events}条记录，暂无突出的偏好。"
    by_kind = kinds(who.likes)
    tastes = [label(tag.feature, "zh") or tag.name for tag in (*by_kind["stated"], *by_kind["category"])]
    tastes += [
        label(tag.feature, "zh")
        for tag in (*by_kind["language"], *by_kind["decade"], *by_kind["price"], *by_kind["minutes"])
    ]
    makers = [value_of(tag.feature) for tag in by_kind["creator"]]
    sentences = []
    if tastes:
        sentences.append(
            f"主要喜欢{listing(tastes, 'zh')}" + (f"，偏爱{listing(makers, 'zh')}的作品" if makers else "")
        )
    elif makers:
        sentences.append(f"偏爱{listing(makers, 'zh')}的作品")
    if by_kind["word"]:
        sentences.append(f"常见主题：{listing([value_of(tag.feature) for tag in by_kind['word']], 'zh')}")
    if who.favourites:
        sentences.append(f"最爱{listing([title(called(item.title), 'zh') for item in who.favourites], 'zh')}")
    if who.dislikes:
        sentences.append(f"不太喜欢{listing([label(tag.feature, 'zh') or tag.name for tag in who.dislikes], 'zh')}")
    return bounded([*few_known(who), *(f"{one}。" for one in sentences)], "")


def kinds(tags: Sequence[Tag]) -> dict[str, list[Tag]]:
    sorted_out: dict[str, list[Tag]] = {
        kind: [] for kind in ("stated", "category", "creator", "word", "decade", "language", "price", "minutes")
    }
    for tag in tags:
        sorted_out.get(kind_of(tag.feature), sorted_out["stated"]).append(tag)
    return sorted_out


def bounded(sentences: Sequence[str], joint: str) -> str:
    """As many of the first sentences as MAX_CHARS hold."""
    text = sentences[0]
    for sentence in sentences[1:]:
        if len(text) + len(joint) + len(sentence) <= MAX_CHARS:
            text += joint + sentence
    return text
