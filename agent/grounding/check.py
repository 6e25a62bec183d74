"""Holds a text against the facts it may use and names every problem; no problem means grounded.

The check is lexical and strict on purpose: what is neither in the facts nor in the list of harmless words fails, and a
template speaks instead. It cannot prove a sentence graceful, only that it claims nothing without a receipt.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache, lru_cache
from pathlib import Path

from agent.grounding.facts import NUMBER, Facts
from agent.types import Language

LONGEST = 1_000
"""A text of more characters is refused unread, so that no answer costs more to check than to refuse."""
LONGEST_NAME = 100
MARKUP = re.compile(r"[<>{}\[\]|\\`*#_~^=@$]|https?:|www\.|\w\.(?:com|org|net|io)\b|&\w+;", re.IGNORECASE)
# Refused even inside a title, because it could act where the text is shown. [REC] and M*A*S*H may be named.
ACTIVE = re.compile(
    r"[<>`{}\\|]|\]\(|\]\[|\bhttps?:|\bwww\.|\bjavascript:|\w\.(?:com|org|net|io)\b|\w@\w|&#?\w+;", re.IGNORECASE
)
PLAIN = re.compile(r"[^\W_]|[ \n.,;:!?'\"“”‘’()\-–—，。！？；：、《》（）「」·\ue100-\uf8ff]")
"""Letters, digits, and the punctuation of prose."""
CJK = re.compile(r"[\u4e00-\u9fff]")
CJK_RUN = re.compile(r"[\u4e00-\u9fff]+")
WORD = re.compile(r"[^\W\d_]+(?:['’-][^\W\d_]+)*")
MARK = re.compile("[\ue100-\uf8ff]")
"""A name or term of the facts stands in a masked text as one private character."""
FIRST_MARK, MOST_MARKS = 0xE100, 0xF8FF - 0xE100
PRIVATE = dict.fromkeys(range(0xE000, 0xF900), " ")
ENDINGS = (".", "!", "?", "。", "！", "？", '."', ".'", ".”", ".’", ".)", "。”", "。」", '!"', "!”", "?”")
DANGLING = re.compile(
    r"(?:\b(?:and|or|but|nor|the|a|an|of|by|from|with|in|into|than|as|because|which|your|their|is|are|has|very|more"
    r"|(?<!back\s)(?<!return\s)(?<!returns\s)(?<!turns\s)(?<!comes\s)(?<!listen\s)(?<!listened\s)to)|[和与及或但在于]|\.\.|,|:)"
    r"[\s.,;:!?\"'”。！？，；：]*$",
    re.IGNORECASE,
)
ECHO = re.compile(
    r"(?:^|[.!?。！？]\s*)(?:likes|favou?rites|dislikes|item|you liked|in common|about the person|asks for|options"
    r"|喜欢|最爱|不喜欢|推荐|您喜欢过|共同点|此人|选项)\s*[:：]",
    re.IGNORECASE,
)
PAIRS = (("(", ")"), ("（", "）"), ("“", "”"), ("《", "》"), ("「", "」"))
QUOTED = re.compile(r"[“\"「《]([^”\"」》]*)[”\"」》]")
SENTENCE = re.compile(r"(?<=[.!?])[\"'”’)]*\s+|(?<=[。！？])")
# A clause carries one attitude: after "but" a sentence may turn from what is liked to what is not.
CLAUSE = re.compile(
    r"[;:,，；、：—–]|\b(?:but|while|though|although|whereas|yet|however)\b"
    r"|\band\s+(?=(?:not|never|dislik\w*|avoid\w*|hat\w+|skip\w*|does|do|doesn't|isn't|tends?|lik(?:es?|ing)|lov\w+|enjoy\w*"
    r"|prefer\w*|ador\w+|admir\w+|favou?rs|appreciat\w+)\b)|(?=\b(?:rather than|more than|over)\b)"
    r"|(?:但是|不过|但|而|却)",
    re.IGNORECASE,
)
SHORTEST_STEM = 3
ES = re.compile(r"(?:s|x|z|ch|sh|o)es$")
"""Words that take "es" and not "s"."""
NAMED = re.compile(
    r"\b(?:i am|i['’]m|my name is|call me)\s+(?!(?:sorry|glad|happy|sure|afraid|here|not|done|back|ready|able)\b)"
    r"[^\W\d_]+\s*[,.!?]?\s*$",
    re.IGNORECASE,
)
"""Somebody is given a name, which may be an everyday word: "I am will"."""
ONLY = re.compile(r"\bnot (?:only|just)\b|\bnothing but\b|\bno less than\b|不妨|不仅|不只|不但", re.IGNORECASE)
"""Looks like a negation and is none."""
AGAINST = re.compile(
    r"\b(?:dislik\w*|hat(?:e|es|ed|ing)|avoid\w*|skip\w*|bor(?:ed|es|ing)|tir(?:e|es|ed|ing)|less|least|not|no|nor|never"
    r"|nothing|without|isn't|aren't|wasn't|don't|doesn't|didn't|won't|hasn't|haven't|unlike|away|low|lower|off|out"
    r"|used to|rather than|more than|over)\b"
    r"|不|没|讨厌|反感|避开|回避|厌烦|无感|较少|低分",
    re.IGNORECASE,
)
# "Never tires of", "does not avoid": against what is against is for.
TWICE = re.compile(
    r"\b(?:not|no|nor|never|nothing|without|\w+n't)\b(?:\s+\w+){0,2}?\s+"
    r"(?:dislik\w*|hat(?:e|es|ed|ing)|avoid\w*|skip\w*|bor(?:ed|es|ing)|tir(?:e|es|ed|ing)|less|without|away|low|off|out)\b"
    r"|(?:不|没)[^，。；]{0,3}(?:讨厌|反感|避开|回避|厌烦|无感|不喜欢|不爱|没有)",
    re.IGNORECASE,
)
# What a list goes on with: "not horror, war or noir films".
LISTED = re.compile(
    r"(?:\b(?:and|or|nor|also|the|of|by|from|in|work|works|made)\b|[和与及或的]|作品|\W)+", re.IGNORECASE
)
PAST = (
    r"(?:rated|gave|given|loved|liked|enjoyed|watched|saw|seen|read|played|bought|scored|reviewed|praised|adored|admired"
    r"|chose|chosen|preferred|appreciated|tried|used|listened|disliked|hated|avoided|skipped|favou?red|found|kept|picked|looked)"
)
EXPERIENCED = re.compile(
    rf"\b(?:you|they|he|she|who|i|we)(?:'ve|'d)?(?:\s+\w+){{0,2}}?\s+{PAST}\b|\b{PAST}\s+(?:\w+\s+)?by\s+you\b"
    r"|\b(?:your|their|his|her)\s+(?:\w+\s+)?(?:favou?rites?|ratings?|reviews?|stars|marks?|love)\b"
    rf"|\b(?:have|has|had|already)\s+{PAST}\b"
    r"|[你您他她](?:\S{0,2})(?:看过|听过|读过|买过|看完|给了|给过|给出|打了|打过|打出|评过|评为|最爱|高分|满分)",
    re.IGNORECASE,
)
BARE_PAST = re.compile(rf"\b(?:{PAST}|favou?rites?|highly)\b|看过|听过|读过|买过|高分|满分|最爱|心头好", re.IGNORECASE)
LIKES_NOW = re.compile(
    r"\b(?:you|they|he|she|who)\s+(?:(?:also|really|clearly|especially|particularly|tend to)\s+)?"
    r"(?:like|love|enjoy|prefer|adore|appreciate|admire|favou?r)s?\b"
    r"|(?<![请会])[你您他她](?:[很也都还更最]|比较|尤其|特别|一向)?(?:喜欢|喜爱|偏爱|钟爱|欣赏|热爱|爱)",
    re.IGNORECASE,
)
RATED = re.compile(
    r"\b(?:rated|rates?|rating|ratings|gave|given|scor\w+|stars?|marks)\b|给了|给过|给出|打|评为|评分|[高满低]分|星",
    re.IGNORECASE,
)
LIKED = re.compile(
    r"\b(?:lov\w+|lik(?:ed|es|ing)|enjoy\w*|favou?rite\w*|highly|high|ador\w+|admir\w+|prais\w+|appreciat\w+)\b"
    r"|(?<!不)(?:喜欢|喜爱|最爱|高分|满分|钟爱|偏爱|心头好)",
    re.IGNORECASE,
)
YOURS = re.compile(
    r"\b(?:you|they|he|she|who|fans?|lovers?)(?:'ve)?\s+(?:\w+\s+){0,2}?(?:like|love|enjoy|prefer|adore|favou?r|appreciat|admire)\w*"
    r"|\b(?:your|you're)\b|\b(?:fans?|lovers?|tastes?|fond|fondness|keen|passion|weakness|interest\w*|favou?rites?)\b"
    r"|[你您](?:\S{0,3})(?:喜欢|喜爱|偏爱|钟爱|欣赏|爱|口味|兴趣)|[你您]的",
    re.IGNORECASE,
)
LOOKS_BACK = re.compile(
    r"(?:\b(?:which|that|one|ones)|[,，])\W*$|(?:\b(?:is|was|are)\b[^.;\ue100-\uf8ff]{0,12}|是[你您]?的?)$",
    re.IGNORECASE,
)
STARS = re.compile(r"\s*(?:out of \d+(?:\.\d)?|/\s*\d+)?[\s-]*(?:stars?|points?|颗?星|分)", re.IGNORECASE)
OUT_OF = re.compile(r"\d\s*(?:stars?\s+)?(?:out of|/|of)\s*$|满分$", re.IGNORECASE)
STARS_AHEAD = re.compile(
    r"\s*(?:out of \d+\s*)?(?:-?\s*(?:stars?|points?)\s+(?:to|for)\s+|-stars?\s+|(?:颗?星|分)的?)"
    r"[《“\"]?([\ue100-\uf8ff])",
    re.IGNORECASE,
)
YEAR_AHEAD = re.compile(r"[\s年]*(?:的|(?:film|movie|book|album|classic)\s+)?[《“\"]?([\ue100-\uf8ff])", re.IGNORECASE)
APART = re.compile(
    r"\b(?:it|this|to|like|than|as|and|but|while|with|you|another|more|other|else)\b|[;:。；]", re.IGNORECASE
)
"""Between a title and what follows it: what follows belongs to something else."""
CREDIT = re.compile(
    r"(?:\b(?:by|from|of|directors?|authors?|artists?|creators?|makers?)|导演|出自|来自|属于|由|是|为)\s*(?:the\s+)?$",
    re.IGNORECASE,
)
MADE = re.compile(r"\s*(?:also\s+)?(?:directed|made|created|makes)\s+[“\"]?([\ue100-\uf8ff])", re.IGNORECASE)
MADE_ZH = re.compile(r"(?:所)?(?:执导|导演|创作|拍摄|制作)")
OWNS = re.compile(
    r"(?:'s|的|执导的|导演的|创作的|拍摄的|制作的)?\s*(?:(?:own|other|new|film|films|movie|album|book|work|product)\s+|[\ue100-\uf8ff]\s+){0,3}"
    r"[《“\"]?([\ue100-\uf8ff])",
    re.IGNORECASE,
)
PRAISE = re.compile(r"\b(?:good|great|strong|right|natural|safe|fine|special)\b(?!\s+(?:\w+\s+)?(?:{}))".format(
    "fit|fits|match|matches|choice|choices|pick|picks|next|chance|interest|interests|liking|preference|preferences|fondness"
    "|taste|pull|reason|reasons|suggestion|recommendation|appetite|leaning|weakness|passion|and"
), re.IGNORECASE)  # fmt: skip
"""Says that something is good, rather than that it suits."""


@dataclass(frozen=True, slots=True)
class Rules:
    """Bounds of form."""

    max_chars: int = 280
    language: Language = "en"


def check(text: str, facts: Facts, rules: Rules) -> list[str]:
    """Every problem of `text` in words; an empty list means that it says nothing beyond `facts`."""
    if not any(char.isalpha() for char in text[:LONGEST]):
        return ["empty"]
    if len(text) > max(rules.max_chars, LONGEST):
        return [f"longer than {rules.max_chars} characters"]
    return [*form(text, rules), *substance(text, facts, rules.language)]


def form(text: str, rules: Rules) -> list[str]:
    """Length, language, ending, and that nothing in it could act where it is shown."""
    problems = []
    if len(text) > rules.max_chars:
        problems.append(f"longer than {rules.max_chars} characters")
    if ACTIVE.search(text) or "\n" in text.strip():
        problems.append("markup, a link or several paragraphs")
    if any(unicodedata.category(char) in INVISIBLE for char in text if char != "\n"):
        problems.append("control or invisible characters")
    if not text.rstrip().endswith(ENDINGS):
        problems.append("does not end like a sentence")
    return problems


INVISIBLE = frozenset({"Cc", "Cf", "Co", "Cs", "Cn", "Zl", "Zp"})


def nameable(name: str) -> bool:
    """Whether a name from the catalogue can stand in a sentence: plain, visible, of a readable length."""
    return (
        0 < len(name) <= LONGEST_NAME
        and name == name.strip()
        and any(map(str.isalnum, name))
        and not (len(name) == 1 and name in harmless("zh"))
        and not ACTIVE.search(name)
        and not unicodedata.category(name[0]).startswith("M")
        and not any(unicodedata.category(char) in INVISIBLE for char in name)
    )


def quotable(text: str) -> bool:
    """Whether a sentence of an item's own text can be shown as a quotation: nothing in it could act."""
    return (
        any(map(str.isalnum, text))
        and not ACTIVE.search(text)
        and not any(unicodedata.category(char) in INVISIBLE for char in text)
    )


def substance(text: str, facts: Facts, language: Language) -> list[str]:
    """Names, numbers, words, attributions, opinions and attitudes that the facts do not carry."""
    spoken = Spoken.of(text, facts)
    return [
        *spoken.loose_ends(),
        *spoken.unknown_words(language),
        *spoken.wrong_numbers(),
        *spoken.wrong_makers(),
        *spoken.invented_experiences(),
        *spoken.wrong_attitudes(),
    ]


def fold(text: str) -> str:
    """One spelling of what looks the same; nothing private is left in it, so that a mark is always ours."""
    return unicodedata.normalize("NFC", text.translate(PRIVATE)).replace("’", "'")


def folded(titles: Mapping[str, frozenset[str]]) -> dict[str, frozenset[str]]:
    return {fold(name): values for name, values in titles.items()}


WIDE = re.compile("[\u3400-\u9fff]")
WORD_BEFORE, WORD_AFTER = r"(?<![^\W_])", r"(?![^\W_])"
WIDE_BEFORE, WIDE_AFTER = r"(?-i:(?<!(?![\u3400-\u9fff])[^\W_]))", r"(?-i:(?!(?![\u3400-\u9fff])[^\W_]))"


def mask(text: str, vocabulary: Sequence[str], names: Iterable[str] = ()) -> str:
    """`text` with every entry of `vocabulary` (earlier ones first) replaced by its mark, so that words inside a title
    are never read as claims. One pass: what is masked is not looked at again. `names` take no plural, and where they
    are made of everyday words ("Up") they must be written exactly."""
    proper = set(names)
    same: dict[str, list[int]] = {}
    for number, entry in enumerate(vocabulary):
        same.setdefault(entry.casefold(), []).append(number)
    patterns = [pattern(entry, entry in proper) for entry in vocabulary]
    # A Chinese character is a border to other scripts: it is seen as no letter by a pattern that does not ask for one.
    bare = WIDE.sub("\ue000", text)
    texts = [text if WIDE.search(one.pattern) else bare for one in patterns]
    ahead = {number: found for number, one in enumerate(patterns) if (found := one.search(texts[number]))}
    masked, done = [], 0
    while ahead:
        # Leftmost first, and of those that begin at the same place the first of the vocabulary.
        number = min(ahead, key=lambda one: (ahead[one].start(), one))
        match = ahead[number]
        alike = same[vocabulary[number].casefold()]
        exact = next((one for one in alike if match[0].startswith(vocabulary[one])), number)
        masked += [text[done : match.start()], chr(FIRST_MARK + exact)]
        done = match.end()
        for one in [one for one, found in ahead.items() if found.start() < done]:
            again = patterns[one].search(texts[one], done)
            if again:
                ahead[one] = again
            else:
                del ahead[one]
    return "".join([*masked, text[done:]])


@lru_cache(maxsize=4_096)
def pattern(entry: str, proper: bool) -> re.Pattern[str]:
    """How an entry is found. One by one rather than a whole vocabulary in one pattern: the same entries are looked for
    in many people's texts, and compiling takes a hundred times as long as searching."""
    spelled = spelling(entry, proper)
    if CJK.search(entry):
        return re.compile(spelled, re.IGNORECASE)
    # The range of Chinese characters takes milliseconds to compile, so it is left out where `mask` sees to them.
    before, after = (WIDE_BEFORE, WIDE_AFTER) if WIDE.search(spelled) else (WORD_BEFORE, WORD_AFTER)
    return re.compile(f"{before}(?:{spelled}){after}", re.IGNORECASE)


def spelling(entry: str, proper: bool) -> str:
    """A pattern of the ways in which an entry may be written."""
    if CJK.search(entry):
        # A name that is an everyday word (《不》) is one where it stands alone only.
        everyday = entry in harmless("zh") or (proper and not without(CJK_RUN.findall(entry), harmless("zh")))
        alone = rf"(?-i:(?<![\u3400-\u9fff])){re.escape(entry)}(?-i:(?![\u3400-\u9fff]))"
        return alone if everyday else re.escape(entry)
    body, tail = re.escape(entry), "(?:'s)?" if proper else "(?:'s|s|es)?"
    if not proper and entry[-1:] == "y":
        body = f"{re.escape(entry[:-1])}(?:y|ie(?=s))"
    if proper and entry[-1:] in ("?", "!") and len(entry) > 1:
        body = re.escape(entry[:-1]) + re.escape(entry[-1]) + "?"
    body = body.replace(r"\ \&\ ", r"\ (?:\&|and)\ ") if not proper else body
    if proper and all(word.lower() in harmless("en") for word in WORD.findall(entry)):
        body = f"(?-i:{body})"
    if not any(map(str.isalpha, entry)):
        tail = r"(?!\s*-?\s*(?:stars?|points?|times|events?|[星颗分次条]))"
    return body + tail


@dataclass(frozen=True)
class Spoken:
    """A masked text and what its marks stand for."""

    vocabulary: Sequence[str]
    text: str
    facts: Facts
    known: Mapping[str, frozenset[str]]
    offered: Mapping[str, frozenset[str]]
    liked: frozenset[str]
    makers: Mapping[str, frozenset[str]]

    @staticmethod
    def of(text: str, facts: Facts) -> Spoken:
        known, offered = folded(facts.known), folded(facts.offered)
        makers = {fold(name): frozenset(map(fold, titles)) for name, titles in facts.makers.items()}
        names = {*known, *offered, *makers}
        terms = {fold(term) for term in (*facts.terms, *facts.traits, *facts.aversions, *facts.nouns)}
        entries = {entry for entry in names | terms if any(map(str.isalnum, entry))}
        vocabulary = sorted(entries, key=lambda entry: (-len(entry), entry))[:MOST_MARKS]
        proper = names - {term for term in terms if term not in {*known, *offered}}
        liked = frozenset(map(fold, facts.liked))
        return Spoken(vocabulary, mask(fold(text), vocabulary, proper), facts, known, offered, liked, makers)

    @property
    def titles(self) -> dict[str, frozenset[str]]:
        return {**self.known, **self.offered}

    def sentences(self) -> Iterator[str]:
        return (part for part in SENTENCE.split(self.text) if part.strip())

    def name(self, mark: str) -> str:
        return self.vocabulary[ord(mark) - FIRST_MARK]

    def names(self, text: str) -> list[str]:
        return [self.name(mark) for mark in MARK.findall(text)]

    def last_title(self, sentence: str, end: int) -> re.Match[str] | None:
        found = [match for match in MARK.finditer(sentence, 0, end) if self.name(match[0]) in self.titles]
        return found[-1] if found else None

    def next_title(self, sentence: str, start: int) -> re.Match[str] | None:
        return next((m for m in MARK.finditer(sentence, start) if self.name(m[0]) in self.titles), None)

    def attached(self, sentence: str, start: int) -> str | None:
        """The title that what stands at `start` belongs to: the last one before it, if nothing comes between."""
        title = self.last_title(sentence, start)
        if title is None or APART.search(sentence, title.end(), start):
            return None
        return self.name(title[0])

    def loose_ends(self) -> list[str]:
        """Unusual signs, brackets left open, quoted words that are no name, a last word that ends nothing, an echo."""
        problems = []
        if odd := {char for char in self.text if not PLAIN.match(char) and char != "/"}:
            problems.append(f"unusual characters {''.join(sorted(odd))!r}")
        if re.search(r"/(?!\s*\d)", self.text):
            problems.append("unusual characters '/'")
        if any(self.text.count(left) != self.text.count(right) for left, right in PAIRS) or self.text.count('"') % 2:
            problems.append("a bracket or quotation mark is left open")
        if any(WORD.search(quoted) for quoted in QUOTED.findall(self.text)):
            problems.append("quotes what is in no fact")
        if DANGLING.search(self.text):
            problems.append("does not end like a sentence")
        if ECHO.search(self.text):
            problems.append("repeats the question")
        if any(NAMED.search(sentence) for sentence in self.sentences()):
            problems.append("gives somebody a name")
        if PRAISE.search(self.text):
            problems.append("says how good something is")
        return problems

    def unknown_words(self, language: Language) -> list[str]:
        bare = MARK.sub(" ", ONLY.sub(" ", self.text))
        # A person's name is said whole or not at all: parts of two names would make a third person.
        common = [term for term in (*self.facts.terms, *self.facts.nouns) if term not in self.facts.makers]
        carried = {part.lower() for term in common for part in WORD.findall(fold(term))}
        parts = carried | {piece for word in carried for piece in word.split("-")}
        own = of_domain(language, self.facts.nouns)
        rest = without(CJK_RUN.findall(bare), harmless("zh") | own if language == "zh" else frozenset())
        allowed = parts if language == "zh" else harmless("en") | own | parts
        words = [
            word
            for word in WORD.findall(CJK_RUN.sub(" ", bare))
            if not known(word, allowed) and not ("-" in word and all(known(one, parts) for one in word.split("-")))
        ]
        if language == "en":
            words += self.foreign_names(parts)
        problems = [f"{word!r} is in no fact" for word in dict.fromkeys([*words, *rest])]
        if language == "zh" and 2 * len(CJK.findall(bare)) < sum(map(str.isalpha, bare)) + 1:
            problems.append("not in Chinese")
        return problems

    def foreign_names(self, parts: Iterable[str]) -> list[str]:
        """Everyday words with a capital inside a sentence: a title that the facts do not have, such as "Up"."""
        return [
            word[0]
            for sentence in self.sentences()
            for word in WORD.finditer(sentence)
            if word[0][0].isupper()
            and word[0].lower() not in {*parts, "i", "i'd", "i'll"}
            and re.search(r"[^\s\"“‘'(:]", re.sub(r".*:", "", sentence[: word.start()]))
        ]

    def wrong_numbers(self) -> list[str]:
        """A rating must be that of the title it is about, a number beside a title true of it, others in the facts."""
        problems = []
        for sentence in self.sentences():
            for match in NUMBER.finditer(sentence):
                number, before, after = match[0], sentence[: match.start()], sentence[match.end() :]
                if OUT_OF.search(before):
                    if number not in ("5", "5.0"):
                        problems.append(f"the number {number} is in no fact")
                elif STARS.match(after):
                    if not self.is_rating(number, sentence, match):
                        problems.append(f"{number} stars are in no fact")
                elif not self.is_true(number, sentence, match):
                    problems.append(f"the number {number} is in no fact")
        return problems

    def is_rating(self, number: str, sentence: str, match: re.Match[str]) -> bool:
        ahead, behind = STARS_AHEAD.match(sentence, match.end()), self.last_title(sentence, match.start())
        mark = ahead[1] if ahead else behind[0] if behind else ""
        return bool(mark) and number in self.known.get(self.name(mark), ())

    def is_true(self, number: str, sentence: str, match: re.Match[str]) -> bool:
        ahead = YEAR_AHEAD.match(sentence, match.end())
        about = self.name(ahead[1]) if ahead else None
        about = about if about in self.titles else self.attached(sentence, match.start())
        if about is not None:
            return number in self.titles[about]
        return number in self.facts.numbers or any(number in numbers for numbers in self.offered.values())

    def wrong_makers(self) -> list[str]:
        problems = []
        for sentence in self.sentences():
            for match in MARK.finditer(sentence):
                maker = self.name(match[0])
                if maker not in self.makers:
                    continue
                for title in self.credited(sentence, match):
                    if title not in self.makers[maker]:
                        problems.append(f"{title!r} is not by {maker!r}")
        return problems

    def credited(self, sentence: str, match: re.Match[str]) -> Iterator[str]:
        """The titles that a sentence says are by the maker at `match`."""
        for ahead in (OWNS.match(sentence, match.end()), MADE.match(sentence, match.end())):
            if ahead and self.name(ahead[1]) in self.titles:
                yield self.name(ahead[1])
        before, after = sentence[: match.start()], sentence[match.end() :]
        if not CREDIT.search(before) and not MADE_ZH.match(after) and not before.rstrip().endswith(("(", "（")):
            return
        title = self.attached(sentence, match.start())
        if title is not None:
            yield title
        elif self.last_title(sentence, match.start()) is None or re.search(r"\b(?:it|this)\b", before, re.IGNORECASE):
            # No title is named: the sentence speaks of what is offered.
            yield from (list(self.offered) if not OWNS.match(sentence, match.end()) else ())

    def invented_experiences(self) -> list[str]:
        """ "Which you rated highly" about an item that is only offered, or praise for one that was not liked."""
        problems = []
        for sentence in self.sentences():
            found = list(EXPERIENCED.finditer(sentence))
            for match in found:
                about = self.spoken_of(sentence, match.start(), match.end())
                if about is None and self.offered:
                    problems.append("an experience of nothing that is named")
                elif about in self.offered:
                    problems.append(f"{about!r} has not been experienced")
                elif about is not None and RATED.search(match[0]) and not self.has_stars(about):
                    problems.append(f"{about!r} was not rated")
            for match in BARE_PAST.finditer(sentence):
                if any(other.start() <= match.start() < other.end() for other in found):
                    continue
                about = self.spoken_of(sentence, match.start(), match.end())
                if about in self.offered:
                    problems.append(f"{about!r} has not been experienced")
            for match in LIKES_NOW.finditer(sentence):
                about = self.object_of(sentence, match.start(), match.end())
                if about in self.offered and about not in self.facts.terms:
                    problems.append(f"{about!r} has not been experienced")
            for clause in CLAUSE.split(sentence):
                if LIKED.search(clause):
                    problems += [f"{name!r} was not liked" for name in self.names(clause) if self.unloved(name)]
            for match in LIKED.finditer(sentence):
                if self.unloved(about := self.spoken_of(sentence, match.start(), match.end())):
                    problems.append(f"{about!r} was not liked")
        return problems

    def unloved(self, name: str | None) -> bool:
        return name in self.known and name not in self.liked

    def has_stars(self, title: str) -> bool:
        return any(float(number.replace(",", ".")) <= 5 for number in self.known[title] if number.count(".") <= 1)

    def spoken_of(self, sentence: str, start: int, end: int) -> str | None:
        """The title that an opinion is about: "X, which you loved" looks back, "you loved X" looks ahead."""
        before, after = self.last_title(sentence, start), self.next_title(sentence, end)
        if after and re.match(r"[^，。]{0,8}的《?$", sentence[end : after.start()]):
            return self.name(after[0])
        if before and (looks_back(sentence[:start]) or not after):
            return self.name(before[0])
        return self.name(after[0]) if after else None

    def object_of(self, sentence: str, start: int, end: int) -> str | None:
        """What is liked: the nearest name or term, before "which you like" or after "you like"."""
        before, after = list(MARK.finditer(sentence, 0, start)), MARK.search(sentence, end)
        if before and (re.search(r"\b(?:which|that)\W*$", sentence[:start], re.IGNORECASE) or not after):
            return self.name(before[-1][0])
        return self.name(after[0]) if after else None

    def wrong_attitudes(self) -> list[str]:
        """A liked thing in a clause against, or a disliked one in a clause in favour."""
        liked, averse, traits, nouns = (
            {fold(term).casefold() for term in terms}
            for terms in (self.facts.terms, self.facts.aversions, self.facts.traits, self.facts.nouns)
        )
        titles = {title.casefold() for title in self.titles}
        only_averse, only_liked = averse - liked - nouns, liked - averse - nouns - titles
        makers = {maker.casefold() for maker in self.makers}
        only_traits = (traits | makers) - liked - nouns - titles
        # "Avoids electronics" of somebody who likes All Electronics: a part of a term takes its side as well.
        parts = words_of(only_liked) - words_of(averse | nouns) - harmless("en")
        problems = []
        for sentence in self.sentences():
            against, so_far, heard = False, list[str](), set[str]()
            for clause in CLAUSE.split(ONLY.sub(" ", sentence)):
                names = self.names(clause)
                said = {name.casefold() for name in names}
                against = attitude(clause, against)
                # "Horror, which you love" speaks of the clause before, up to the last title there.
                yours = said if said & (liked | traits) else said | {name.casefold() for name in so_far}
                if any(name in self.titles for name in names):
                    # "Ridley Scott's Alien is a favourite": the film is, not all that its maker made.
                    yours -= makers
                heard |= said
                for name in names:
                    so_far = [] if name in self.titles else [*so_far, name]
                if yours & only_traits and YOURS.search(clause):
                    problems.append(f"says that {min(yours & only_traits)!r} is liked")
                # "Drama and crime, though good company, are not for them": the denial stands alone behind its commas.
                denied = (said or heard if DENIED.search(clause) else said) if against else set()
                denied |= parts & words_of([MARK.sub(" ", clause)]) if against else set()
                if denied & (only_liked | parts):
                    problems.append(f"says that {min(denied & (only_liked | parts))!r} is disliked")
                if not against and said & only_averse:
                    problems.append(f"says that {min(said & only_averse)!r} is liked")
        return problems


DENIED = re.compile(r"\b(?:are|is|was|were|do|does)\s*(?:not\b|never\b|n't\b|n’t\b)", re.IGNORECASE)


def words_of(texts: Iterable[str]) -> set[str]:
    return {word.casefold() for text in texts for word in WORD.findall(text)}


def looks_back(before: str) -> bool:
    return bool(LOOKS_BACK.search(before))


def attitude(clause: str, against: bool) -> bool:
    """Whether a clause is against what it names. A bare list goes on with the attitude of the clause before it."""
    if TWICE.search(clause):
        return False
    if AGAINST.search(clause):
        return True
    return against and bool(LISTED.fullmatch(clause))


@cache
def lexicon(language: Language) -> tuple[frozenset[str], dict[str, frozenset[str]]]:
    """The words that claim nothing, and those that do so only where an item is called by one of them."""
    text = (Path(__file__).parent / f"words.{language}.txt").read_text(encoding="utf-8")
    plain: set[str] = set()
    own: dict[str, frozenset[str]] = {}
    for line in text.splitlines():
        if line.startswith("@"):
            noun, *words = line[1:].split()
            own[noun] = frozenset(words)
        elif not line.startswith("#"):
            plain.update(line.split())
    return frozenset(plain), own


def harmless(language: Language) -> frozenset[str]:
    """The words that claim nothing."""
    return lexicon(language)[0]


def of_domain(language: Language, nouns: Iterable[str]) -> frozenset[str]:
    """The words that claim nothing in a catalogue of these: to watch a film, to read a book."""
    own = lexicon(language)[1]
    return frozenset().union(*(own.get(noun, frozenset()) for noun in nouns))


def known(word: str, allowed: frozenset[str] | set[str]) -> bool:
    """Whether a word or its singular may be said."""
    word = word.lower().replace("’", "'")
    forms = {word, word.removesuffix("'s"), word + "s"}
    stem = word.removesuffix("s")
    # "Ines" is not the plural of "in".
    forms |= {stem} if len(stem) >= SHORTEST_STEM else set()
    forms |= {word[:-2]} if ES.search(word) else set()
    return bool((forms - {""}) & allowed)


def without(runs: Iterable[str], words: Iterable[str]) -> list[str]:
    """What is left of `runs` of Chinese text after the longest words of `words` are taken out, left to right."""
    lexicon = set(words)
    longest = max(map(len, lexicon), default=0)
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


TOO_LITTLE_OF_AN = re.compile(
    r"\b([Aa](?= (?!eu|ew|one\b|once\b)[aeio])|a(?= (?!Eu|One\b)[AEIO])|A(?= [AEIO][A-Z]+\b))"
)
TOO_MUCH_OF_AN = re.compile(r"\b([Aa])n(?= [bcdfgjklmnpqrstvwyz][a-z]*[aeiouy])")


def plain(text: str) -> str:
    """A model's text as one paragraph of NFC text without surrounding quotes or a leading label, "a" and "an" as the
    next word wants them."""
    text = unicodedata.normalize("NFC", " ".join(text[: 2 * LONGEST].split()))
    text = re.sub(r"^(?:persona|reason|answer|sentence|理由|画像)\s*[:：]\s*", "", text, flags=re.IGNORECASE)
    text = text.strip("\"“”'` ") if text[:1] in "\"“'`" and text[-1:] in "\"”'`" else text.strip()
    return TOO_MUCH_OF_AN.sub(r"\1", TOO_LITTLE_OF_AN.sub(r"\1n", text))
