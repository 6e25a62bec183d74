"""Which items of the catalogue a text names, also by a part of the title or with slips of spelling.

Knows titles, years and how much an item is had; knows no person, no model and no store. What a text costs depends on
its length and hardly on the catalogue: titles are looked up, and only words that are in no title and no dictionary are
compared with the catalogue's words.
"""

from __future__ import annotations

import re
import unicodedata
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from typing import Literal

from rapidfuzz import process
from rapidfuzz.distance import OSA

from agent.features import STOPWORDS
from agent.types import Item

MOST_CHARS = 2_000
"""Characters of a text that are read."""
LONGEST = 12
"""Words of a title that are looked up."""
MOST_SLIPS = 8
"""Unknown words of a text that are compared with the catalogue's."""
MOST_MEANT = 10
"""Items that one mention may stand for at most."""
ORDINARY = 2
"""Descriptions in which a word stands uncapitalised before it counts as ordinary."""
READ_TEXTS, READ_CHARS = 20_000, 600
"""Descriptions, and characters of each, that are read for ordinary words."""
RARE = 2
"""A word of at most so many titles may stand for them alone, if it is long and not ordinary."""
YEARS_OFF = 1

How = Literal["title", "part", "spelling"]

WORD = re.compile(r"[\u3400-\u9fff\u3040-\u30ff\uac00-\ud7af]|&|[^\W_\u3400-\u9fff\u3040-\u30ff\uac00-\ud7af]+"
                  r"(?:['’.][^\W_\u3400-\u9fff\u3040-\u30ff\uac00-\ud7af]+)*")  # fmt: skip
WIDE = re.compile(r"[\u3400-\u9fff\u3040-\u30ff\uac00-\ud7af]")
YEAR = re.compile(r"\s*[(（\[]?\s*((?:18|19|20)\d\d)(?!\d)(?!['’]?s\b|年代)\s*[)）\]]?")
YEAR_IN_TITLE = re.compile(r"\s*[(（]((?:18|19|20)\d\d)(?:[-–]\d*)?[)）]\s*$")
BRACKETED = re.compile(r"\s*[(（]([^()（）]*)[)）]\s*$")
ARTICLE_BEHIND = re.compile(
    r"^(.*), (the|a|an|les|le|la|l'|los|las|el|il|lo|das|der|die|den|det|une|un)$", re.IGNORECASE
)
ARTICLES = frozenset({"the", "a", "an"})
SUBTITLE = re.compile(r"\s*(?::|：|\s[-–—]\s)\s*")
NUMERALS = {"ii": "2", "iii": "3", "iv": "4", "vi": "6", "vii": "7", "viii": "8", "ix": "9", "two": "2", "three": "3",
            "four": "4", "five": "5", "six": "6", "seven": "7", "eight": "8", "nine": "9", "ten": "10"}  # fmt: skip
PARTS = frozenset({"part", "episode", "chapter", "vol", "volume"})
OPENING, CLOSING = "\"“”'‘’「『《〈*_", "\"“”'‘’」』》〉*_"
CUE = re.compile(
    r"(?:\b(?:movie|film|series|book|album|game|show|called|named|titled|title)(?:\s+(?:is|was|like|called|named))?"
    r"|\b(?:movies|films)\s+(?:like|called|named)"
    r"|\b(?:seen|saw|watch(?:ed|ing)?|rewatch(?:ed|ing)?)(?:\s+(?:the|a|an|both))?|看过|看了|电影|片子|喜欢|讨厌|类似|像)"
    r"\s*[:,]?\s*$",
    re.IGNORECASE,
)
"""Before a title made of everyday words: what follows is a title."""
TASTE_CUE = re.compile(
    r"\b(?:like|liked|loved?|enjoy(?:ed)?|hated?|disliked?|similar to|such as|than|recommend(?:ed)?|about"
    r"|is|was|and|or|,)"
    r"(?:\s+(?:the|a|an))?\s*$",
    re.IGNORECASE,
)
BORDER = re.compile(
    r"\s*(?:$|[.,;:!?)\]\"”’。，！？；]|(?:and|or|but|too|as well|also|because|with|again|yet|before|recently"
    r"|last|yesterday|tonight)\b)"
)
LIKE_CUE = re.compile(
    r"\b(?:like|liked|loved?|enjoy(?:ed)?|hated?|disliked?|similar to|such as|more like)(?:\s+(?:the|a|an))?\s*$",
    re.IGNORECASE,
)
ARTICLE_BEFORE = re.compile(r"\b(?:an?|my|your|his|her|their|some|any)\s+$", re.IGNORECASE)
NUMBERED_ON = re.compile(
    r"\s+(?:[2-9]|ii|iii|iv|vi|part\s+\w+)\b(?!\s*(?:times|stars?|hours?|days|weeks|months|years|x\b|of|out|or|and|/|films|movies))",
    re.IGNORECASE,
)
"""Another part of a series, which is not in the catalogue if it was not found as a whole."""
SERIES = 3
"""Items that share two words of their titles before "a … movie" means one of them: "a star wars movie"."""
OF_SERIES = re.compile(r"\s+(?:movie|film|flick|book|novel|comic|game|album|episode)s?\b", re.IGNORECASE)
OUR = re.compile(r"(?<=[a-z]{3})our(?=(?:s|ed|ing|ful|hood|ites?)?$)")
"""How the British end "color" and "neighbor": in titles and messages both are one word."""
COPULA = re.compile(r"\s+(?:is|was|were|looks|sounds|seems|has|had|scared|made)\b")
GENERIC = re.compile(
    r"[\s-]*(?:movies|films|flicks|type|types|genre|stuff|stories|shows|books|songs|music|invasion|style)\b"
)


@dataclass(frozen=True, slots=True)
class Mention:
    """A place in a text that names an item."""

    start: int
    end: int
    """Characters of the text, end exclusive; a year behind the title belongs to it."""
    items: tuple[str, ...]
    """Ids, likeliest first. More than one: a series, or remakes, and the text does not say which."""
    how: How

    @property
    def item(self) -> str:
        """The likeliest."""
        return self.items[0]

    @property
    def sure(self) -> bool:
        """Whether it can only be this one."""
        return len(self.items) == 1


@dataclass(frozen=True, slots=True)
class Token:
    text: str
    start: int
    end: int


@dataclass(frozen=True, slots=True)
class Entry:
    """One item under one of its names."""

    number: int
    """Its place in the catalogue's order, the most had first."""
    whole: bool
    """The name is the whole title."""


class Titles:
    """The catalogue's titles, ready to be looked up."""

    def __init__(self, items: Iterable[Item], order: Sequence[str] = ()) -> None:
        """`order`: ids, the most popular first; among items of the same name the first is meant, without
        an order the newest."""
        place = {id: number for number, id in enumerate(order)}
        known = [item for item in items if item.title]
        known.sort(key=lambda item: (place.get(item.id, len(place)), -(_year(item) or 0), item.id))
        self._ids = [item.id for item in known]
        self._titles = {item.id: item.title for item in known}
        self._years = [_year(item) for item in known]
        self._ordinary = _ordinary(known)
        self._names: dict[str, list[Entry]] = {}
        self._loose: dict[str, list[Entry]] = {}
        self._initials: dict[str, list[Entry]] = {}
        self._words: set[str] = set()
        self._build([_spellings(item) for item in known])
        self._dictionary = sorted(self._words | lexicon().everyday)

    def __len__(self) -> int:
        return len(self._ids)

    def name(self, item: str) -> str:
        """The title of an item that `find` named."""
        return self._titles[item]

    def names(self) -> Iterable[str]:
        """Every title."""
        return self._titles.values()

    def find(self, text: str) -> list[Mention]:
        """Every mention in the first MOST_CHARS characters of `text`, in order; none overlaps another."""
        text = text[:MOST_CHARS]
        tokens = list(tokenised(text))
        shouted = _shouted(text, tokens)
        taken = [False] * len(tokens)
        found = [*self._scan(text, tokens, taken, shouted, parts=False)]
        found += self._slips(text, tokens, taken, shouted)
        found += self._scan(text, tokens, taken, shouted, parts=True)
        found.sort(key=lambda one: one.start)
        return [replace(one, items=one.items[:MOST_MEANT]) for one in self._joined(text, found)]

    # what is looked up

    def _build(self, spellings: Sequence[Sequence[str]]) -> None:
        holders: defaultdict[str, list[int]] = defaultdict(list)
        siblings: defaultdict[str, list[int]] = defaultdict(list)
        for number, names in enumerate(spellings):
            for name in names:
                words = plain_words(name)
                if not words:
                    continue
                self._words.update(word for word in words if len(word) > 3 and not word.isdigit())
                self._add(words, number, whole=True)
                main, *rest = [plain_words(part) for part in SUBTITLE.split(name)]
                if rest and main:
                    self._add(main, number, whole=False, always=len(main) > 1)
                    self._add([word for part in rest for word in part], number, whole=False)
                for length in range(2, min(len(words), 6)):
                    self._add(words[:length], number, whole=False)
                    self._add(words[-length:], number, whole=False)
                initials = [token.text[0] for token in tokenised(SUBTITLE.split(name)[0])]
                initials = initials[1:] if words and name.lower().startswith("the ") else initials
                if len(initials) >= 4:
                    _insert(self._initials, "".join(initials), Entry(number, whole=False))
                    if rest:
                        self._add(["".join(initials), *(word for part in rest for word in part)], number, whole=False)
                if len(words) >= 2 and words[-1].isdigit() and len(words[-1]) == 1:
                    siblings["".join(words[:-1])].append(number)
                for word in set(words):
                    if len(word) >= 6 and word not in self._ordinary:
                        holders[word].append(number)
        for word, numbers in holders.items():
            if len(set(numbers)) <= RARE and word not in self._names:
                for number in dict.fromkeys(numbers):
                    _insert(self._names, word, Entry(number, whole=False))
        for base in siblings:
            # Who has a second part is "part 1" when somebody counts.
            for entry in [one for one in self._names.get(base, ()) if one.whole]:
                _insert(self._names, f"{base}1", entry)

    def _add(self, words: Sequence[str], number: int, *, whole: bool, always: bool = False) -> None:
        while not whole and len(words) > 1 and words[-1] in ("of", "and", "in"):
            words = words[:-1]
        key = "".join(words)
        if not (whole or always) and (len(key) < 4 or all(word in self._ordinary or len(word) < 3 for word in words)):
            return
        _insert(self._names, key, Entry(number, whole))
        if len(key) >= 8:
            _insert(self._loose, "".join(_loose(word) for word in words), Entry(number, whole))

    # how a text is read

    def _scan(
        self, text: str, tokens: Sequence[Token], taken: list[bool], shouted: bool, *, parts: bool
    ) -> Iterator[Mention]:
        for length in range(min(LONGEST, len(tokens)), 0, -1):
            for first in range(len(tokens) - length + 1):
                span = range(first, first + length)
                if any(taken[place] for place in span):
                    continue
                words = [tokens[place].text for place in span]
                mention = self._named(text, tokens, first, words, shouted)
                if mention and (parts or mention.how != "part"):
                    for place in span:
                        taken[place] = True
                    yield mention

    def _named(
        self, text: str, tokens: Sequence[Token], first: int, words: Sequence[str], shouted: bool
    ) -> Mention | None:
        said = _folded(words)
        if not said or (len(words) > 1 and (words[0] in ARTICLES or words[-1] in ARTICLES)):
            return None
        key = "".join(said)
        entries = self._names.get(key)
        loose = False
        if entries is None and len(words) == 1 and key not in self._ordinary:
            entries = self._initials.get(key)
        if entries is None and len(key) >= 8 and not all(word in lexicon().everyday for word in said):
            entries, loose = self._loose.get("".join(map(_loose, said))), True
        if entries is None:
            return None
        start, end = tokens[first].start, tokens[first + len(words) - 1].end
        year = YEAR.match(text, end)
        chosen, dated = self._of_year(entries, int(year[1]) if year else None)
        if not chosen or NUMBERED_ON.match(text, end):
            return None
        whole = chosen[0].whole and not loose
        if len(words) > 1 and len({one.number for one in entries}) >= SERIES and OF_SERIES.match(text, end):
            return Mention(start, end, tuple(self._ids[one.number] for one in entries), "part")
        if not (dated or self._meant(text, start, end, said, whole=chosen[0].whole, shouted=shouted)):
            return None
        if len(said) == 1 and not dated and not quoted(text, start, end) and self._of_a_person(text, tokens, first):
            return None
        if year and dated:
            end = year.end()
        before = tokens[first - 1] if first else None
        if before and before.text in ARTICLES and not text[before.end : start].strip():
            start = before.start
        ids = tuple(self._ids[one.number] for one in chosen)
        return Mention(start, end, ids[:1] if chosen[0].whole else ids, "title" if whole else "part")

    def _of_year(self, entries: Sequence[Entry], year: int | None) -> tuple[list[Entry], bool]:
        """The entries that are meant, and whether the year says so. A whole title goes before a part of one."""
        if year is not None:
            near = [one for one in entries if (own := self._years[one.number]) and abs(own - year) <= YEARS_OFF]
            if near:
                exact = [one for one in near if self._years[one.number] == year] or near
                best = [one for one in exact if one.whole] or exact
                return best, True
            undated = [one for one in entries if self._years[one.number] is None]
            return [one for one in undated if one.whole] or undated, False
        return [one for one in entries if one.whole] or list(entries), False

    def _meant(self, text: str, start: int, end: int, words: Sequence[str], *, whole: bool, shouted: bool) -> bool:
        """Whether words that could be a title are one here."""
        common, pronouns = lexicon().everyday, lexicon().pronouns
        written, before = text[start:end], text[:start]
        if quoted(text, start, end):
            return True
        bounded = bool(BORDER.match(text, end))
        cued = bounded and bool(CUE.search(before))
        if WIDE.search(written):
            # One or two characters are too often part of another word.
            return whole and (len(written) >= 3 or cued)
        capital = _capitals(written) and not shouted and not (written.isupper() and len(written) <= 3)
        special = [word for word in words if word not in common and not word.isdigit() and len(word) > 2]
        if len(words) > 1 and special:
            # "A taxi driver" is somebody's work.
            return capital or not ARTICLE_BEFORE.search(before) or "".join(words).startswith("a")
        alone = not (before + text[end:]).strip(" .,!?\n")
        liked = bounded and bool(LIKE_CUE.search(before))
        if special and not all(word in self._ordinary for word in words):
            return whole or capital or alone or (bounded and bool(cued or TASTE_CUE.search(before)))
        if not whole:
            return len(words) > 1 and (cued or liked or alone or (capital and not before))
        if alone:
            return bool(special) or len(words) > 1
        if GENERIC.match(text, end):
            return len(words) > 1 and capital
        if len(words) >= 4 and not all(word in pronouns for word in words):
            return True
        pronoun = all(word in pronouns for word in words)
        tasted = cued or (bounded and bool(TASTE_CUE.search(before)))
        if all(word.isdigit() for word in words):
            return cued or liked
        if capital and words[0] != "i":
            opens = not before.rstrip(" \"“'‘(") or before.rstrip(" \"“'‘(")[-1] in ".!?…\n。！？"
            if len(words) > 1 and not pronoun:
                return not opens or all(part[:1].isupper() for part in written.split())
            if special:
                return not opens or bool(COPULA.match(text, end))
            return tasted and not opens
        if pronoun or all(word in lexicon().genres for word in words):
            return False
        return cued or (tasted and bool(special)) or (liked and len(words) > 1)

    def _of_a_person(self, text: str, tokens: Sequence[Token], place: int) -> bool:
        """Whether a single word stands beside a name: "Bruce" of "Bruce Willis"."""
        if place + 1 < len(tokens):
            after = tokens[place + 1]
            if text[tokens[place].end : after.start] == " " and text[after.start].isupper():
                return after.text not in lexicon().everyday or (
                    after.text in self._ordinary and text[after.start :][1:2].islower()
                )
        if place:
            before = tokens[place - 1]
            if text[before.end : tokens[place].start] == " " and text[before.start].isupper():
                return before.text not in lexicon().everyday or before.text in lexicon().names
        return False

    def _slips(self, text: str, tokens: Sequence[Token], taken: list[bool], shouted: bool) -> Iterator[Mention]:
        unknown = [
            place
            for place, token in enumerate(tokens)
            if not taken[place]
            and len(token.text) >= 5
            and token.text.isalpha()
            and token.text not in self._ordinary
            and token.text not in self._words
            and not WIDE.search(token.text)
        ]
        for place in unknown[:MOST_SLIPS]:
            if taken[place]:
                continue
            for meant in self._corrected(tokens[place].text):
                if mention := self._respelled(text, tokens, taken, place, meant, shouted):
                    for other in range(len(tokens)):
                        if mention.start <= tokens[other].start < mention.end:
                            taken[other] = True
                    yield mention
                    break

    def _corrected(self, word: str) -> list[str]:
        """Words of titles that this could be a slip of, the nearest first; none for a slip of an everyday word."""
        allowed = 1 if len(word) <= 7 else 2
        near = process.extract(word, self._dictionary, scorer=OSA.distance, score_cutoff=allowed, limit=6)
        if not near or (near[0][0] in lexicon().everyday and near[0][0] not in self._words):
            return []
        return [found for found, _, _ in near if found in self._words]

    def _respelled(
        self, text: str, tokens: Sequence[Token], taken: Sequence[bool], place: int, meant: str, shouted: bool
    ) -> Mention | None:
        for length in range(min(LONGEST, len(tokens)), 0, -1):
            for first in range(max(0, place - length + 1), min(place, len(tokens) - length) + 1):
                span = range(first, first + length)
                if any(taken[other] for other in span):
                    continue
                words = [meant if other == place else tokens[other].text for other in span]
                found = self._named(text, tokens, first, words, shouted)
                if found is None or len("".join(words)) < 6:
                    continue
                lone = length == 1
                start, end = found.start, found.end
                dated = bool(YEAR.search(text[tokens[place].end : end]))
                if lone and not dated:
                    # One word with a slip is a title only where a title is expected.
                    if found.how != "title" or meant in self._ordinary:
                        continue
                    capital = text[start:end][:1].isupper() and not shouted
                    if not (capital or CUE.search(text[:start]) or TASTE_CUE.search(text[:start])):
                        continue
                return replace(found, how="spelling")
        return None

    def _joined(self, text: str, found: Sequence[Mention]) -> list[Mention]:
        """Neighbours that can mean the same item are one mention: "lotr two towers", "Terminator 2: Judgment Day"."""
        joined: list[Mention] = []
        for one in found:
            last = joined[-1] if joined else None
            if last and not text[last.end : one.start].strip(" :-–,'\""):
                both = tuple(id for id in one.items if id in last.items)
                if both:
                    joined[-1] = Mention(last.start, one.end, both, one.how if one.sure else last.how)
                    continue
            joined.append(one)
        return joined


@dataclass(frozen=True, slots=True)
class Lexicon:
    """What words of English are when they are not a title."""

    everyday: frozenset[str]
    pronouns: frozenset[str]
    """Those of them that no cue makes a title: it, her, up …"""
    ordinary: frozenset[str]
    names: frozenset[str]
    genres: frozenset[str]
    chatter: frozenset[str]
    running: frozenset[str]


@cache
def lexicon() -> Lexicon:
    lists: dict[str, set[str]] = {}
    text = (Path(__file__).parent / "words.en.txt").read_text(encoding="utf-8")
    words: set[str] = set()
    for line in text.splitlines():
        if line.startswith("@"):
            words = lists.setdefault(line[1:].split()[0], set())
        elif not line.startswith("#"):
            words.update(line.split())
    everyday: set[str] = lists["pronouns"] | lists["everyday"] | lists["names"] | STOPWORDS
    return Lexicon(
        everyday=frozenset(everyday),
        pronouns=frozenset(lists["pronouns"]),
        ordinary=frozenset(everyday | lists["ordinary"]),
        names=frozenset(lists["names"]),
        genres=frozenset(lists["genres"]),
        chatter=frozenset(lists["chatter"]),
        running=frozenset(lists["running"]),
    )


def tokenised(text: str) -> Iterator[Token]:
    """Words of `text` in one spelling each, with their places; a Chinese character is a word."""
    for match in WORD.finditer(text):
        if word := fold(match[0]):
            yield Token(word, match.start(), match.end())


def fold(word: str) -> str:
    """Lower case, without accents and apostrophes."""
    if word == "&":
        return "and"
    if word.isascii():
        return OUR.sub("or", word.casefold().replace("'", "").replace(".", ""))
    bare = "".join(char for char in unicodedata.normalize("NFKD", word) if not unicodedata.combining(char))
    return OUR.sub("or", "".join(char for char in bare.casefold() if char.isalnum()))


def plain_words(title: str) -> list[str]:
    return _folded([token.text for token in tokenised(title)])


def _folded(words: Sequence[str]) -> list[str]:
    """With numbers in one spelling, without articles, and without the word that introduces a number: "Part II" is 2."""
    numbers = [NUMERALS.get(word, word) for word in words if word not in ARTICLES] or list(words)
    following = [*numbers[1:], ""] if numbers else []
    return [word for word, after in zip(numbers, following, strict=True) if not (word in PARTS and after.isdigit())]


def _loose(word: str) -> str:
    return word[:-1] if len(word) > 3 and word.endswith("s") else word


def _insert(names: dict[str, list[Entry]], key: str, entry: Entry) -> None:
    held = names.setdefault(key, [])
    if len(held) >= 4 * MOST_MEANT or any(one.number == entry.number and one.whole >= entry.whole for one in held):
        return
    held.append(entry)


def _spellings(item: Item) -> list[str]:
    """The ways in which a title is written: without its year, its article in front, and its other names."""
    title = YEAR_IN_TITLE.sub("", " ".join(item.title.split()))
    names = []
    while match := BRACKETED.search(title):
        other = re.sub(r"^a\.?k\.?a\.?\s*", "", match[1], flags=re.IGNORECASE)
        if any(map(str.isalpha, other)):
            names.append(other)
        title = title[: match.start()]
    names.insert(0, title)
    return [ARTICLE_BEHIND.sub(r"\2 \1", name.strip()) for name in names if name.strip()]


def _year(item: Item) -> int | None:
    year = item.attributes.get("year")
    if isinstance(year, int | float) and 1000 <= year < 10_000:
        return int(year)
    match = YEAR_IN_TITLE.search(item.title)
    return int(match[1]) if match else None


def _ordinary(items: Sequence[Item]) -> frozenset[str]:
    """Words that say nothing special: the everyday ones, and those that descriptions use uncapitalised."""
    seen: Counter[str] = Counter()
    for item in items[:READ_TEXTS]:
        seen.update(set(re.findall(r"\b[a-z]{3,}\b", item.text[:READ_CHARS])))
    used = {word for word, count in seen.items() if count >= ORDINARY}
    named = {fold(word) for item in items for category in item.categories for word in re.findall(r"\w+", category)}
    return lexicon().ordinary | used | named


def _capitals(written: str) -> bool:
    """Written like a name: every longer word with a capital."""
    words = re.findall(r"[^\W\d_]+", written)
    return bool(words) and words[0][0].isupper() and all(word[0].isupper() for word in words if len(word) > 3)


def _shouted(text: str, tokens: Sequence[Token]) -> bool:
    """Whether capitals say nothing in this text, because nearly everything has them."""
    letters = [text[token.start] for token in tokens if text[token.start].isalpha()]
    return len(letters) >= 4 and sum(map(str.isupper, letters)) > 0.6 * len(letters)


def quoted(text: str, start: int, end: int) -> bool:
    """Whether exactly this stands in quotation marks, or is marked as a title."""
    before, after = text[:start].rstrip(), text[end:].lstrip()
    article = re.search(r"\b(?:the|an?)$", before, re.IGNORECASE)
    before = before[: article.start()].rstrip() if article else before
    after = YEAR.sub("", after, count=1) if YEAR.match(after) else after
    return before[-1:] != "" and before[-1:] in OPENING and after[:1] != "" and after[:1] in CLOSING
