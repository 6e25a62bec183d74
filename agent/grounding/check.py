"""Holds a text against the facts it may use and names every problem; no problem means grounded.

The check is lexical and strict on purpose: what is neither in the facts nor in the list of harmless words fails, and a
template speaks instead. It cannot prove a sentence graceful, only that it claims nothing without a receipt.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from agent.grounding.facts import NUMBER, Facts
from agent.types import Language

MARKUP = re.compile(r"[<>{}\[\]|\\`*#_~^=@$]|https?:|www\.|\w\.(?:com|org|net|io)\b|&\w+;", re.IGNORECASE)
CJK = re.compile(r"[\u4e00-\u9fff]")
WORD = re.compile(r"[^\W\d_]+(?:['’-][^\W\d_]+)*")
ENDINGS = (".", "!", "?", "。", "！", "？", '."', ".'", "。”", "。」", '!"')
SENTENCE = re.compile(r"(?<=[.!?。！？])\s*")
# A clause carries one attitude: after "but" a sentence may turn from what is liked to what is not.
CLAUSE = re.compile(
    r"[;:,，；、—–]|\b(?:but|while|though|although|whereas|yet|however)\b|(?:但是|不过|但|而|却)", re.IGNORECASE
)
AGAINST = re.compile(
    r"\b(?:dislik\w*|hat(?:e|es|ed)|avoid\w*|skip\w*|bor(?:ed|es)|tires?|rarely|less|least|not|no|never|without|isn't"
    r"|aren't|don't|doesn't|won't|hasn't|haven't|unlike|away)\b"
    r"|不喜欢|不爱|不太|不大|讨厌|反感|避开|回避|厌烦|不感冒|无感|兴趣不大|较少",
    re.IGNORECASE,
)
EXPERIENCED = re.compile(
    r"\b(?:you|they|he|she|who)\s+(?:\w+\s+)?(?:rated|gave|loved|liked|enjoyed|watched|saw|read|played|bought|scored|reviewed"
    r"|praised|adored|admired|chose|mentioned)\b|\b(?:your|their|his|her)\s+(?:favou?rite|rating|review)"
    r"|\bhave\s+(?:seen|watched|read|loved|liked|enjoyed|given|rated)\b|[你您他她](?:看过|听过|读过|买过|给了|给过|打了|打出|评过|最爱)",
    re.IGNORECASE,
)
LIKED = re.compile(
    r"\b(?:lov\w+|lik(?:ed|es|ing)|enjoy\w*|favou?rite\w*|highly|ador\w+|admir\w+|prais\w+|best|top)\b"
    r"|喜欢|喜爱|最爱|高分|钟爱|偏爱|心头好",
    re.IGNORECASE,
)
YOURS = re.compile(
    r"\b(?:you|they|he|she)(?:'ve| have)?\s+(?:\w+\s+)?(?:like|love|enjoy|prefer|adore|favou?r)\w*|\byour\b"
    r"|[你您](?:喜欢|喜爱|偏爱|爱|最爱)",
    re.IGNORECASE,
)
MASK = "\ue000{}\ue001"
MASKED = re.compile("\ue000(\\d+)\ue001")


@dataclass(frozen=True, slots=True)
class Rules:
    """Bounds of form."""

    max_chars: int = 280
    language: Language = "en"


def check(text: str, facts: Facts, rules: Rules) -> list[str]:
    """Every problem of `text` in words; an empty list means that it says nothing beyond `facts`."""
    return [*form(text, rules), *substance(text, facts, rules.language)] if text.strip() else ["empty"]


def form(text: str, rules: Rules) -> list[str]:
    """Length, language, ending, and that it is plain text."""
    problems = []
    if len(text) > rules.max_chars:
        problems.append(f"longer than {rules.max_chars} characters")
    if MARKUP.search(text) or "\n" in text.strip():
        problems.append("markup, a link or several paragraphs")
    if any(unicodedata.category(char) in ("Cc", "Cf", "Co", "Cs", "Cn") for char in text if char != "\n"):
        problems.append("control or invisible characters")
    if not text.rstrip().endswith(ENDINGS):
        problems.append("does not end like a sentence")
    if rules.language == "zh" and len(CJK.findall(text)) < 0.3 * len(re.sub(r"\s", "", text)):
        problems.append("not in Chinese")
    return problems


def substance(text: str, facts: Facts, language: Language) -> list[str]:
    """Names, numbers, words, attributions, opinions and attitudes that the facts do not carry."""
    names = [*facts.titles, *facts.makers]
    terms = [term for term in (*facts.terms, *facts.traits, *facts.aversions) if term]
    vocabulary = sorted({*names, *terms}, key=lambda entry: (-len(entry), entry))
    masked = mask(text, vocabulary)
    spoken = Spoken(vocabulary, masked, facts)
    return [
        *spoken.unknown_words(language),
        *spoken.wrong_numbers(),
        *spoken.wrong_makers(),
        *spoken.invented_experiences(),
        *spoken.wrong_attitudes(),
    ]


def mask(text: str, vocabulary: Iterable[str]) -> str:
    """`text` with every entry of `vocabulary` (longest first) replaced by a numbered mark, so that words inside a title
    are never read as claims."""
    for number, entry in enumerate(vocabulary):
        if not entry.strip():
            continue
        boundary = r"(?<![^\W_]){}(?:'s|’s|s|es)?(?![^\W_])" if not CJK.search(entry) else "{}"
        text = re.sub(boundary.format(re.escape(entry)), MASK.format(number), text, flags=re.IGNORECASE)
    return text


@dataclass(frozen=True)
class Spoken:
    """A masked text and what its marks stand for."""

    vocabulary: list[str]
    text: str
    facts: Facts

    def marks(self, text: str) -> list[str]:
        return [self.vocabulary[int(number)] for number in MASKED.findall(text)]

    def unknown_words(self, language: Language) -> list[str]:
        bare = MASKED.sub(" ", self.text)
        carried = (*self.facts.terms, *self.facts.traits, *self.facts.aversions)
        allowed = harmless("en") | {part.lower() for entry in carried for part in WORD.findall(entry)}
        rest = without(CJK_RUN.findall(bare), harmless("zh")) if language == "zh" else CJK_RUN.findall(bare)
        words = [word for word in WORD.findall(CJK_RUN.sub(" ", bare)) if not known(word, allowed)]
        return [f"{word!r} is in no fact" for word in dict.fromkeys([*words, *rest])]

    def wrong_numbers(self) -> list[str]:
        """A number next to a title must be true of that title; elsewhere it must be among the facts' numbers."""
        problems = []
        for sentence in SENTENCE.split(self.text):
            titles = [name for name in self.marks(sentence) if name in self.facts.titles]
            for number in NUMBER.findall(MASKED.sub(" ", sentence)):
                true_of = {name for name in titles if number in self.facts.titles[name]}
                if number not in self.facts.numbers and not true_of:
                    problems.append(f"the number {number} is in no fact")
        for left, number in PAIR.findall(self.text):
            name = self.vocabulary[int(left)]
            if name in self.facts.titles and number not in self.facts.titles[name] | self.facts.numbers:
                problems.append(f"{number} is not true of {name!r}")
        return problems

    def wrong_makers(self) -> list[str]:
        problems = []
        for left, right in (*BY.findall(self.text), *((b, a) for a, b in OWNS.findall(self.text))):
            title, maker = self.vocabulary[int(left)], self.vocabulary[int(right)]
            if title in self.facts.titles and maker in self.facts.makers and title not in self.facts.makers[maker]:
                problems.append(f"{title!r} is not by {maker!r}")
        return problems

    def invented_experiences(self) -> list[str]:
        """ "Which you rated highly" about an item that is only offered, or praise for one that was not liked."""
        problems = []
        for sentence in SENTENCE.split(self.text):
            for match in EXPERIENCED.finditer(sentence):
                about = self.spoken_of(sentence, match.start(), match.end())
                if about is None and self.facts.offered:
                    problems.append("an experience of nothing that is named")
                elif about in self.facts.offered:
                    problems.append(f"{about!r} has not been experienced")
            for clause in CLAUSE.split(sentence):
                for name in self.marks(clause):
                    if name in self.facts.known and name not in self.facts.liked and LIKED.search(clause):
                        problems.append(f"{name!r} was not liked")
        return problems

    def spoken_of(self, sentence: str, start: int, end: int) -> str | None:
        """The title that an opinion is about: "X, which you loved" looks back, "you loved X" looks ahead."""
        before = [m for m in MASKED.finditer(sentence, 0, start) if self.title(m)]
        after = [m for m in MASKED.finditer(sentence, end) if self.title(m)]
        relative = re.search(r"\b(?:which|that|who|one|ones)\W*$|[，,]\W*$", sentence[:start], re.IGNORECASE)
        if before and (relative or not after):
            return self.title(before[-1])
        return self.title(after[0]) if after else None

    def title(self, match: re.Match[str]) -> str | None:
        name = self.vocabulary[int(match[1])]
        return name if name in self.facts.titles else None

    def wrong_attitudes(self) -> list[str]:
        """A liked thing in a clause against, or a disliked one in a clause in favour."""
        problems = []
        only_averse = {term.lower() for term in self.facts.aversions} - {term.lower() for term in self.facts.terms}
        only_liked = {term.lower() for term in self.facts.terms} - {term.lower() for term in self.facts.aversions}
        only_traits = {term.lower() for term in self.facts.traits} - {term.lower() for term in self.facts.terms}
        for sentence in SENTENCE.split(self.text):
            against = False
            for clause in CLAUSE.split(sentence):
                # "drama, comedy and horror less so": a list goes on with the attitude of its last verb.
                against = bool(AGAINST.search(clause)) or (against and not LIKED.search(clause))
                said = {name.lower() for name in self.marks(clause)}
                if said & only_traits and YOURS.search(clause):
                    problems.append(f"says that {min(said & only_traits)!r} is liked")
                if against and said & only_liked:
                    problems.append(f"says that {min(said & only_liked)!r} is disliked")
                if not against and said & only_averse:
                    problems.append(f"says that {min(said & only_averse)!r} is liked")
        return problems


CJK_RUN = re.compile(r"[\u4e00-\u9fff]+")
PAIR = re.compile("\ue000(\\d+)\ue001[^\ue000.!?。]{0,24}?(\\d+(?:[.,]\\d+)*)")
BY = re.compile(
    "\ue000(\\d+)\ue001(?:\\s*\\(?\\d{4}\\)?)?,?\\s*(?:(?:directed|made|written|created|is|was)\\s+)*(?:by|from)\\s+\ue000(\\d+)\ue001"
)
OWNS = re.compile("\ue000(\\d+)\ue001(?:'s|’s|的)?\\s*[《\"“]?\ue000(\\d+)\ue001")


@cache
def harmless(language: Language) -> frozenset[str]:
    """The words that claim nothing."""
    text = (Path(__file__).parent / f"words.{language}.txt").read_text(encoding="utf-8")
    return frozenset(word for line in text.splitlines() if not line.startswith("#") for word in line.split())


def known(word: str, allowed: frozenset[str] | set[str]) -> bool:
    """Whether a word, or its singular, or the parts of a compound, may be said."""
    word = word.lower().replace("’", "'")
    forms = {word, word.removesuffix("'s"), word.removesuffix("s"), word.removesuffix("es"), word + "s"}
    return bool(forms & allowed) or ("-" in word and all(known(part, allowed) for part in word.split("-") if part))


def without(runs: Iterable[str], words: Iterable[str]) -> list[str]:
    """What is left of `runs` of Chinese text after the longest words of `words` are taken out, left to right."""
    lexicon = set(words)
    longest = max(map(len, lexicon))
    rest = []
    for run in runs:
        place, unknown = 0, ""
        while place < len(run):
            length = next((n for n in range(longest, 0, -1) if run[place : place + n] in lexicon), 0)
            if not length:
                unknown += run[place]
            place += length or 1
        if unknown:
            rest.append(unknown)
    return rest


def plain(text: str) -> str:
    """A model's text as one paragraph of NFC text without surrounding quotes or a leading label."""
    text = unicodedata.normalize("NFC", " ".join(text.split()))
    text = re.sub(r"^(?:persona|reason|answer|sentence|理由|画像)\s*[:：]\s*", "", text, flags=re.IGNORECASE)
    return text.strip("\"“”'` ") if text[:1] in "\"“'`" and text[-1:] in "\"”'`" else text.strip()


def merge(*parts: Mapping[str, frozenset[str]]) -> dict[str, frozenset[str]]:
    """Several name -> set mappings as one; sets of the same name are joined."""
    joined: dict[str, frozenset[str]] = {}
    for part in parts:
        for name, values in part.items():
            joined[name] = joined.get(name, frozenset()) | values
    return joined
