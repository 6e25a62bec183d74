"""Evidence to tags: a name, a weight and receipts for everything that stands out, and the person's own word over all.

A capable model words the names; a small one copies titles into them (measured: SmolLM2-135M named 0 of 8 lines
rightly), so there the name is what was counted. Either way the receipts are the evidence's, checked again by code.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Annotated

from pydantic import BaseModel, Field

from agent.ask import Ask
from agent.errors import BadCompletion, LLMError
from agent.features import Population, listed, value_of
from agent.grounding.check import CJK_RUN, MARKUP, WORD, known, without
from agent.grounding.facts import NUMBER
from agent.labels import label, noun, shown
from agent.persona.evidence import Evidence, log_odds_z
from agent.persona.tally import Mark, Tally
from agent.types import Event, Item, Language, Receipt, Tag, TagEdit

RECEIPTS = 4
"""Receipts kept for each tag."""
LATENT = 2
"""Hypotheses kept for each profile."""
FEWEST_NEAR, LEAST_Z, HARDLY = 4, 2.0, 0.1
"""What makes a hypothesis: neighbours that have the feature, how clearly they have it more often than the catalogue
(z-score), and the largest share of the history that has it: `rapport eval run guesses` says what they are worth."""
GLUE = {
    "en": frozenset(
        """a an and at by for from in of on or the to with film films movie movies cinema book books music album albums
        song songs show shows series item items product products title titles work works kind style genre theme themes
        era""".split()  # noqa: SIM905
    ),
    "zh": frozenset(
        "的 与 和 类 片 电影 影片 作品 书 书籍 音乐 专辑 歌曲 商品 产品 题材 主题 风格 类型 年代".split()  # noqa: SIM905
    ),
}
"""What a name may hold beside what was counted: nothing that says more."""


class Name(BaseModel, extra="forbid"):
    evidence: int
    name: Annotated[str, Field(max_length=48)]


class Names(BaseModel, extra="forbid"):
    tags: Annotated[list[Name], Field(max_length=20)]


@dataclass(frozen=True, slots=True)
class Named:
    """Tags and what naming them took."""

    tags: tuple[Tag, ...]
    prompts: tuple[str, ...] = ()
    prompt_tokens: int = 0
    completion_tokens: int = 0
    ms: float = 0.0
    notes: tuple[str, ...] = ()


def name(found: Sequence[Evidence], titles: Mapping[str, str], ask: Ask, language: Language, domain: str) -> Named:
    """One tag for each of `found`, in order; a name that the evidence does not carry gives way to what was counted."""
    computed = {number: shown(label(one.feature, language)) for number, one in enumerate(found, 1)}
    counted = merged(tag_of(one, computed[number]) for number, one in enumerate(found, 1))
    if not ask.llm.capable or not found:
        return Named(counted)
    lines = ask.fit([line(n, one, titles, language) for n, one in enumerate(found, 1)], ask.llm.context // 2)
    if not lines:
        return Named(counted, notes=("tags were named without a model: the evidence does not fit into its context",))
    try:
        (answer,) = ask.answer(
            "tags", [{"evidence": lines, "noun": noun(domain, language)}], Names, language=language, max_tokens=600
        )
    except LLMError as error:
        return Named(counted, notes=(f"tags were named without a model: {type(error).__name__}",))
    if isinstance(answer, BadCompletion):
        return Named(counted, notes=(f"tags were named without a model: {type(answer).__name__}",))
    proposed = {one.evidence: " ".join(one.name.split()) for one in reversed(answer.value.tags)}
    chosen = {
        number: proposed[number] if supported(proposed.get(number, ""), one, language) else computed[number]
        for number, one in enumerate(found, 1)
    }
    dropped = sum(chosen[number] != proposed.get(number) for number in chosen)
    return Named(
        merged(tag_of(one, chosen[number]) for number, one in enumerate(found, 1)),
        (answer.prompt,),
        answer.prompt_tokens,
        answer.completion_tokens,
        answer.ms,
        (f"{dropped} of {len(found)} tag names failed the check",) if dropped else (),
    )


def line(number: int, one: Evidence, titles: Mapping[str, str], language: Language) -> str:
    """One numbered line of evidence as a model sees it."""
    examples = "; ".join(" ".join(titles.get(mark.item, "").split())[:60] for mark in one.marks[:3])
    side = {"en": ("likes", "dislikes"), "zh": ("喜欢", "不喜欢")}[language][one.polarity < 0]
    return f"[{number}] {side} {label(one.feature, language)}: {one.support}/{one.of} ({examples})"


def supported(proposed: str, one: Evidence, language: Language) -> bool:
    """Whether a name says what was counted, and nothing that was not."""
    if not 2 <= len(proposed) <= 48 or MARKUP.search(proposed) or not proposed.isprintable():
        return False
    names = (label(one.feature, language), value_of(one.feature))
    counted = {piece.lower() for text in names for part in WORD.findall(text) for piece in (part, *part.split("-"))}
    own = CJK_RUN.findall(" ".join(names))
    said = {part.lower() for part in WORD.findall(CJK_RUN.sub(" ", proposed))}
    if set(NUMBER.findall(proposed)) - set(NUMBER.findall(" ".join(names))):
        return False
    if without(CJK_RUN.findall(proposed), {*own, *GLUE["zh"]} if language == "zh" else ()):
        return False
    names_it = any(known(word, counted) for word in said) or any(run in proposed for run in own)
    return names_it and all(known(word, counted | GLUE["en"]) for word in said)


def tag_of(one: Evidence, called: str) -> Tag:
    times = [mark.at for mark in one.marks if mark.at]
    return Tag(
        name=called,
        polarity=one.polarity,
        weight=one.weight,
        kind="observed",
        feature=one.feature,
        receipts=tuple(receipt(mark) for mark in one.marks[:RECEIPTS]),
        first_seen=min(times, default=None),
        last_seen=max(times, default=None),
    )


def receipt(mark: Mark) -> Receipt:
    return Receipt(mark.event, mark.item, mark.at, mark.quote)


def merged(tags: Iterable[Tag]) -> tuple[Tag, ...]:
    """Tags of the same name and polarity as one, with the stronger weight and the receipts of both."""
    kept: dict[tuple[str, int], Tag] = {}
    for tag in tags:
        key = (tag.name.casefold(), tag.polarity)
        if (tag.name.casefold(), -tag.polarity) in kept:
            # Two features of one name, one liked and one not: the name says nothing of that, so the first stands.
            continue
        if key in kept:
            first = kept[key]
            both = tuple(dict.fromkeys((*first.receipts, *tag.receipts)))[:RECEIPTS]
            kept[key] = replace(
                first,
                weight=max(first.weight, tag.weight),
                receipts=both,
                first_seen=min((at for at in (first.first_seen, tag.first_seen) if at), default=None),
                last_seen=max((at for at in (first.last_seen, tag.last_seen) if at), default=None),
            )
        else:
            kept[key] = tag
    return tuple(kept.values())


def latent(
    tally: Tally, near: Sequence[Item], tags: Sequence[Tag], population: Population, language: Language
) -> list[Tag]:
    """Hypotheses to explore: what the unseen neighbours of liked items have in common and the history hardly has.

    `near`: items close to what the person likes, none of them seen. The receipts are the likes that led there.
    """
    roots = [receipt for tag in tags if tag.polarity > 0 for receipt in tag.receipts[:1]][:RECEIPTS]
    taken = {tag.feature for tag in tags}
    counts: dict[str, int] = {}
    for item in near:
        for feature in listed(item, population):
            counts[feature] = counts.get(feature, 0) + 1
    scored = [
        (log_odds_z(count, len(near), population.listed_share(feature)), feature)
        for feature, count in counts.items()
        if count >= FEWEST_NEAR
        and feature not in taken
        and (feature not in tally.features or tally.features[feature].met <= HARDLY * len(tally.marks))
    ]
    best = sorted((pair for pair in scored if pair[0] >= LEAST_Z), key=lambda pair: (-pair[0], pair[1]))[:LATENT]
    if not roots:
        return []
    return [
        Tag(
            name=shown(label(feature, language)),
            polarity=1,
            weight=round(min(0.5, 0.15 + z / 10), 3),
            kind="latent",
            feature=feature,
            receipts=tuple(roots),
        )
        for z, feature in best
    ]


def edited(tags: Sequence[Tag], edits: Sequence[TagEdit]) -> tuple[Tag, ...]:
    """The tags with the person's own word over them: what they removed or muted is gone, what they stated is first."""

    valid = last_words(edits)
    kept = [tag for tag in tags if tag.kind != "stated" and not any(about(edit, tag) for edit in valid)]
    spoken = [
        Tag(
            name=edit.name,
            polarity=edit.polarity,
            weight=1.0,
            kind="stated",
            feature=edit.feature,
            receipts=next((tag.receipts for tag in tags if about(edit, tag) and tag.polarity == edit.polarity), ()),
            first_seen=edit.at,
            last_seen=edit.at,
        )
        for edit in valid
        if edit.action == "add"
    ]
    return (*spoken, *kept)


def about(edit: TagEdit, tag: Tag) -> bool:
    """Whether a person's word is about a tag: the same feature or, in either language, the same name."""
    names = {tag.name.casefold(), *(label(tag.feature, language).casefold() for language in ("en", "zh"))}
    return (bool(edit.feature) and tag.feature == edit.feature) or edit.name.casefold() in names


def last_words(edits: Sequence[TagEdit]) -> list[TagEdit]:
    """Of edits about the same thing (oldest first), the last."""
    kept: list[TagEdit] = []
    for edit in reversed(edits):
        same = [
            one
            for one in kept
            if one.name.casefold() == edit.name.casefold() or (edit.feature and one.feature == edit.feature)
        ]
        if not same:
            kept.append(edit)
    return kept[::-1]


def proven(tags: Iterable[Tag], events: Mapping[int, Event]) -> tuple[Tag, ...]:
    """Only the tags that still have a receipt: the event exists, is about that item, and holds the quoted words."""
    kept = []
    for tag in tags:
        good = tuple(
            one
            for one in tag.receipts
            if (event := events.get(one.event)) and event.item == one.item and one.quote in event.text
        )
        if good or tag.kind == "stated":
            kept.append(replace(tag, receipts=good))
    return tuple(kept)
