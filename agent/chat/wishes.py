"""What somebody wants right now: filters, words, items to be close to, how familiar. Rules over the catalogue's fields.

Knows the catalogue's fields, categories and makers; knows no person, no model and no store. Every filter is built here
from a field that exists: nothing that a message says becomes a filter as it stands.
"""

from __future__ import annotations

import itertools
import re
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal

from rapidfuzz.distance import OSA

from agent.chat.titles import Mention, lexicon
from agent.features import STOPWORDS, creators, number
from agent.labels import CATEGORIES_ZH, LANGUAGES, LANGUAGES_ZH, label, listing, title
from agent.recommend.catalogue import FieldKind, fields_of, plain
from agent.types import Condition, Item, Language

MOST_WORDS = 200
"""Characters of a request's own words that are searched with."""
CLASSIC, RECENT = 0.2, 0.8
"""Shares of the catalogue, by year, below and above which an item is called old or new."""
SHORT, LONG = 0.25, 0.75
FAMILIAR, SURPRISING = 0.0, 0.9
FULL_NAME = 2
"""Words of a maker's name from which on it is recognised anywhere, and not only behind "by"."""

LEAST_SLIPPED = 6
"""Letters of a kind's name from which on a slip in it is forgiven; shorter ones are too near to other words."""
ROM_COM = re.compile(r"rom[- ]?coms?\b", re.IGNORECASE)
LENGTHS = ("minutes", "runtime", "duration", "length")
"""What catalogues call the field that says how many minutes an item takes."""

Slot = str
"""What a newer wish takes the place of, e.g. "year", "category:Horror", "words"."""

SYNONYMS: Mapping[str, tuple[str, ...]] = {
    "science fiction": ("sci-fi", "sci fi", "scifi", "science-fiction", "science fiction", "sf", "space opera", "科幻"),
    "sci-fi": ("sci-fi", "sci fi", "scifi", "science-fiction", "science fiction", "sf", "space opera", "科幻"),
    "horror": ("horror", "horrors", "scary", "spooky", "creepy", "恐怖", "吓人"),
    "comedy": ("comedy", "comedies", "funny", "comedic", "喜剧", "搞笑"),
    "romance": (
        "romance",
        "romances",
        "romantic",
        "love story",
        "love stories",
        "rom com",
        "rom coms",
        "rom-com",
        "rom-coms",
        "romcom",
        "romcoms",
        "爱情",
        "浪漫",
    ),
    "thriller": ("thriller", "thrillers", "suspense", "suspenseful", "惊悚"),
    "animation": ("animation", "animations", "animated", "cartoon", "cartoons", "动画", "卡通"),
    "documentary": ("documentary", "documentaries", "纪录片", "纪录"),
    "film-noir": ("film noir", "film-noir", "noir", "黑色电影"),
    "film noir": ("film noir", "film-noir", "noir", "黑色电影"),
    "children": ("children's", "kids", "for children", "for the kids", "儿童"),
    "family": ("family", "kids", "children", "for the kids", "for the whole family", "家庭", "合家欢"),
    "war": ("war", "wars", "战争"),
    "musical": ("musical", "musicals", "歌舞"),
    "mystery": ("mystery", "mysteries", "whodunit", "detective story", "悬疑", "推理"),
    "western": ("western", "westerns", "西部"),
    "crime": ("crime", "gangster", "犯罪"),
    "action": ("action", "动作"),
    "drama": ("drama", "dramas", "剧情"),
    "fantasy": ("fantasy", "奇幻", "魔幻"),
    "history": ("history", "historical", "历史"),
    "biography": ("biography", "biographies", "biographical", "biopic", "biopics", "传记"),
    "sport": ("sport", "sports", "体育"),
}
NO = (
    r"(?:\b(?:no|not|without|except|excluding|avoid|avoiding|skip|hate|minus|nothing|less|neither|nor"
    r"|never|isn't|aren't"
    r"|don't (?:want|like|need|show me|recommend)|do not (?:want|like)|anything but|other than|instead of"
    r"|rather than|enough of|(?:way )?too? (?:much|many)"
    r"|sick of|tired of|fed up with|not in the mood for|can't stand|dislike|rather not|no more"
    r"|stop (?:showing|recommending) me)"
    r"|n't|(?:不要|别|不想看|不看|讨厌|不喜欢|没有|除了|不是|不带|不|没))"
)
NOT_BEFORE = re.compile(
    rf"{NO}(?:[\s,]+(?:any|a|an|the|of|more|too|so|very|much|that|is|with|see|watch|any more|another|in"
    rf"|mood|for|like|films?|movies?|about"
    r"|想|太|看|什么|很|那么))*(?:\s+(?P<narrower>(?!but\b)[a-z-]+))?[\s,的]*$",
    re.IGNORECASE,
)
TRAILING = re.compile(r"[\s,]+(?:and|or)$", re.IGNORECASE)
NAMED = re.compile(r"《([^》]{1,60})》")
"""A title by its marks."""
NARROWED = re.compile(
    r"[\s-]*(?:(?:films?|movies?|ones?|books?)\s+)?"
    r"(?:with|about|for(?! (?:me|us|now|tonight|today)\b)|by|from|starring|that|where|in which|set|like)\s[^.,;!?]+",
    re.IGNORECASE,
)
"""What follows a kind that is not wanted, and says which of that kind: "no comedies about sports"."""
WITHOUT = re.compile(
    r"\b(?:without|nothing (?:with|about|too)|(?:not|n't) (?:about|with)|(?:way )?too? (?:much|many)|avoid(?:ing)?"
    r"|excluding|minus"
    r"|no(?! (?:idea|problem|preference|clue|matter|worr|doubt|way|one|need|thank|question|offen|rush|reason|specific"
    r"|particular|longer|more|less|fewer|big|real|such)))\s+(?:any\s+|the\s+|an?\s+|too much\s+)*"
    r"(?P<what>(?:(?!(?:but|please|just|only|that|which|something|i)\b)[a-z'’-]+\s*){1,4})"
    r"|(?:不要|不带|(?<!有)没有(?!看|听|读|什么|问题))(?P<zh>(?:(?![的片])[\u4e00-\u9fff]){1,6})",
    re.IGNORECASE,
)
"""Words for what should not be in it, once all that is a filter has been taken out."""
CONNECTED = re.compile(r"^[\s,、/]*(?:(?:and|or|nor|no|not|any|films?|movies?|和|或|也|不要)[\s,]*)*$", re.IGNORECASE)
DECADE_WORDS = {
    "twenties": 1920,
    "thirties": 1930,
    "forties": 1940,
    "fifties": 1950,
    "sixties": 1960,
    "seventies": 1970,
    "eighties": 1980,
    "nineties": 1990,
}
DECADE = re.compile(
    r"\b(?:(?:early|mid|late)[\s-]+)?(?:the\s+)?(?:((?:18|19|20)\d0)['’]?s|['’]?(\d0)['’]?s|("
    + "|".join(DECADE_WORDS)
    + r"))\b|((?:19|20)?\d0)年代",
    re.IGNORECASE,
)
YEAR = r"((?:18|19|20)\d\d)"
AFTER = re.compile(
    rf"\b(?:after|since|newer than|later than|post|from|past)[\s-]+{YEAR}(\s*(?:on|onwards?|or later|\+))?"
    rf"|{YEAR}年?(?:以后|之后|后)",
    re.IGNORECASE,
)
BEFORE = re.compile(
    rf"\b(?:before|older than|earlier than|pre|until|up to)[\s-]+{YEAR}|{YEAR}年?(?:以前|之前|前)", re.IGNORECASE
)
BETWEEN = re.compile(
    rf"\b(?:between|from)\s+{YEAR}\s*(?:and|to|-|–)\s*{YEAR}|{YEAR}\s*[-–到至]\s*{YEAR}", re.IGNORECASE
)
IN_YEAR = re.compile(rf"\b(?:in|of|from)\s+{YEAR}\b|{YEAR}年(?!代|以|之|前|后)", re.IGNORECASE)
HOURS = {
    "one": 1.0,
    "an": 1.0,
    "a": 1.0,
    "two": 2.0,
    "three": 3.0,
    "two and a half": 2.5,
    "一": 1.0,
    "两": 2.0,
    "二": 2.0,
    "三": 3.0,
}
LENGTH = re.compile(
    r"\b(under|less than|shorter than|below|at most|max(?:imum)?|no (?:more|longer) than|not (?:more"
    r"|longer) than|over|more than|longer"
    r" than|at least|about|around)\s+((?:\d+(?:\.\d+)?)|two and a half|one|an|a|two|three)\s*(minutes?"
    r"|mins?|hours?|hrs?|h)\b"
    r"|(\d+|一|两|二|三)(?:个)?(分钟|小时)(以内|以下|之内|以上)",
    re.IGNORECASE,
)
PRICE = re.compile(
    r"\b(under|less than|below|at most|cheaper than|max(?:imum)?|no more than|over|more than"
    r"|at least)\s+[$€£¥]?\s*(\d+(?:\.\d+)?)"
    r"\s*(?:dollars?|bucks|euros?|pounds?|usd|eur|yuan|元|块)?(?!\s*(?:min|hour|hr|h\b))",
    re.IGNORECASE,
)
SHORTER = re.compile(
    r"\b(?:shorter|not (?:so|too|that|as) long(?! (?:ago|since))|less long"
    r"|short(?! (?:story|stories|film)\b))\b|短一点|短些|别太长|不要太长|不太长|更短",
    re.IGNORECASE,
)
NOT_LONG = re.compile(
    r"\b(?:not|n't|no)\s+(?:a|an|too|so|very|such a)?\s*long\b(?!\s+(?:ago|time|since))", re.IGNORECASE
)
LONGER = re.compile(r"\b(?:longer(?! than)|epic length|long(?= (?:film|movie|one|book)))\b|长一点|更长", re.IGNORECASE)
NEWER = re.compile(
    r"\b(?:newer(?! than)|(?:not (?:so|too|that|as|very)|nothing(?: so| too| that)?) old\b(?! (?:enough|time))|less old"
    r"|more recent|recent|recently (?:made|released)|latest|newest|new(?! (?:york|zealand|orleans"
    r"|year|ground|to)\b)|modern|this year)\b|新一点|更新的|(?:别|不要|不)太老|最近|新片|新的",
    re.IGNORECASE,
)
OLDER = re.compile(
    r"\b(?:older(?! than)|(?<!year )(?<!years )(?<!year-)old|vintage|classics(?! (?:is|are|was|were)\b)|golden age"
    r"|(?:(?<=\ba )classic\b|classic(?= [a-z]))(?! (?:is|are|was|were)\b)"
    r"|old[- ]?(?:school|fashioned))\b|老一点|老片|经典|老电影",
    re.IGNORECASE,
)
PRAISED = re.compile(
    r"\b(?:is|was|are|were|'s|thats|its|such|mine|favou?rite|of (?:the|my))\s+(?:an?\s+|the\s+|my\s+)?(?:\w+\s+)?"
    r"classics?$|\b(?:total|true|real|absolute|instant|such an?) classics?$",
    re.IGNORECASE,
)
"""Says how good something is, not how old it should be: "that is a true classic"."""
CHEAPER = re.compile(r"\b(?:cheaper(?! than)|cheap|less expensive|budget|affordable)\b|便宜", re.IGNORECASE)
SURPRISE = re.compile(
    r"\b(?:surpris\w*|something (?:completely |totally |very "
    r"|really )?(?:different|unusual|unexpected|fresh)|new ground|out of my comfort|comfort zone|adventurous"
    r"|weird|off the beaten|less (?:obvious|popular|mainstream)|hidden gems?|obscure)\b|惊喜|意想不到|冷门|换个口味"
    r"|没想到",
    re.IGNORECASE,
)
SAFE = re.compile(
    r"\b(?:familiar|safe(?: bet| choice)?|the usual|as (?:always|usual)|comfort (?:watch|film|movie)"
    r"|(?:what|something) i (?:usually|always) (?:like|watch)|less surprising|no surprises|no experiments)\b"
    r"|熟悉|稳妥|老样子|平时",
    re.IGNORECASE,
)
BY = re.compile(
    r"\b(?:by|directed by|from (?:the )?director|director|written by|author|artist"
    r"|made by)\s+((?:[A-Z][\w.'’-]+\s?){1,4})|([\u4e00-\u9fff·]{2,8})(?:导演|执导|的(?:电影|片子|作品))"
)
TONGUE = re.compile(
    r"\b(" + "|".join(sorted(set(LANGUAGES.values()))) + r")(?:[\s-]+(?:language|speaking|films?|movies?|cinema|ones?"
    r"|comed\w+|dramas?|thrillers?|horror|noir|animation|classics?|books?|music|documentar\w+|crime"
    r"|romance\w*))|\bin ("
    + "|".join(sorted(set(LANGUAGES.values())))
    + r")\b|\b(foreign)\b|("
    + "|".join(sorted(set(LANGUAGES_ZH.values()), key=lambda name: (-len(name), name)))
    + r"|法国|德国|日本|韩国|意大利|西班牙|印度|俄国|国产|香港)",
    re.IGNORECASE,
)
COUNTRIES_ZH = {
    "法国": "fr",
    "德国": "de",
    "日本": "ja",
    "韩国": "ko",
    "意大利": "it",
    "西班牙": "es",
    "印度": "hi",
    "俄国": "ru",
    "国产": "zh",
    "香港": "cn",
}
LEAD = re.compile(
    r"\b(?:i(?:'d| would| am|'m| was|'ve| have)?|we(?:'d)?|you|me|us|my|can|could|would|will|please|pls"
    r"|hi|hello|hey|ok|okay|so|well|yes|no|not|and|but|or|then|also"
    r"|want|wants|like[sd]?|lov(?:e|es|ed)|hate[sd]?|dislike[sd]?|enjoy(?:ed)?|need|nothing|looking|look"
    r"|search|searching|seek|seeking|find|show|give|get|recommend\w*|suggest\w*|watch\w*|see|seen|read|mood|feel(?:ing)?"
    r"|something|anything|somewhat|some|any|a|an|the|of|for|to|in|on|at|with|from|by|that|this|these"
    r"|those|it|is|are|be|do|does|have|has|there|what|which"
    r"|film|films|movie|movies|flick|book|books|item|items|product|products|song|songs|one|ones|more|less"
    r"|another|other|others|else|similar|too|very|really|quite|bit|little|please|tonight|today|now|good|great"
    r"|nice|best|maybe|perhaps|just|only"
    r"|all|tell|tells|told|yourself|myself|about|kind|sort|type|stuff|things?|genre|know|think|try|should|might|next|again|instead|than|as|if"
    r"|because|did|second|third|first|saw|like|hours?|minutes?|thanks|thank|out|up|let|lets|let's|how|got"
    r"|where|who|when|whats|what's|i'm|im|i'd|id|don't|dont|doesn't|set|rather"
    r"|o+h*|a+h|h*m+|u+m+|lol|haha+|hell|yeah?|yep|nope|nah|wow|awesome|sweet|cool|was|were|been|had|havent|haven't|isn't"
    r"|aren't|doesnt|didn't|didnt|isnt|ive|ill|wanna|gonna|though|totally|kinda|definitely|absolutely|honestly|mostly"
    r"|along|lines?|interested|interesting|starring|stars|favou?rites?|personal|either|both|open|help|hear|heard|hearing"
    r"|check|checked|couple|sorts?|into|yet|ideas?|recommend?ations?|reccomend\w*|recom?end\w*|guess|say|said|agree|mind"
    r"|preferably|basically|usually|involving|involves?|guys?|guess|u|ur|ya)\b",
    re.IGNORECASE,
)
LEAD_ZH = re.compile(
    r"推荐|没看过|没听说过|看过|换一批|换一换|有没有|什么|一部|一些|一个|几部|可以|电影|片子|东西|类似|今晚|今天|现在|最近|不要|喜欢|想看|想听|想读|想要|给我|帮我"
)
PUNCTUATION = ",:;-–'\"“”‘’()#"
EDGES_ZH = "我想要看听读找给来有的吗呢吧请帮你能书像更再点些个部好别不但和或了是这那种类片，、"
"""Characters that mean nothing at the edge of a request, and may be part of a word inside it."""


@dataclass(frozen=True, slots=True)
class Wish:
    """One thing that is wanted until it expires or is taken back."""

    slot: Slot
    condition: Condition | None = None
    words: str = ""
    """To be searched with."""
    like: tuple[str, ...] = ()
    """Ids of items to be close to."""
    surprise: float | None = None


@dataclass(frozen=True, slots=True)
class Heard:
    """What was found in a message."""

    wishes: tuple[Wish, ...] = ()
    notes: tuple[str, ...] = ()
    """What was understood but cannot be done with this catalogue, in words."""


@dataclass(frozen=True, slots=True)
class Catalogue:
    """What can be wished for in one catalogue."""

    fields: Mapping[str, FieldKind] = field(default_factory=dict)
    categories: Mapping[str, int] = field(default_factory=dict)
    """category -> items that have it."""
    makers: Mapping[str, str] = field(default_factory=dict)
    """name or surname, lower case -> the maker as the catalogue spells it."""
    languages: Mapping[str, int] = field(default_factory=dict)
    quantiles: Mapping[str, tuple[float, ...]] = field(default_factory=dict)
    """numeric field -> its values at 0, 0.05, … 1."""

    @staticmethod
    def of(items: Iterable[Item]) -> Catalogue:
        known = [item for item in items if item.title]
        fields = fields_of(known)
        made = Counter(maker for item in known for maker in creators(item) if maker.strip())
        makers: dict[str, str] = {}
        for name, count in sorted(made.items(), key=lambda pair: (pair[1], pair[0])):
            # Of several with one surname the one with the most items is meant, if he has most of them.
            surname = name.split()[-1].casefold()
            rival = made.get(makers.get(surname, ""), 0)
            if count >= 2 * rival:
                makers[surname] = name
            else:
                makers.pop(surname, None)
        makers |= {name.casefold(): name for name in made}
        values = {
            name: sorted(value for item in known if (value := number(item, name)) is not None)
            for name, kind in fields.items()
            if kind == "number"
        }
        return Catalogue(
            fields=fields,
            categories=Counter(category for item in known for category in item.categories),
            makers=makers,
            languages=Counter(str(item.attributes["language"]) for item in known if "language" in item.attributes),
            quantiles={
                name: tuple(held[min(len(held) - 1, len(held) * step // 20)] for step in range(21))
                for name, held in values.items()
                if held
            },
        )

    def quantile(self, name: str, share: float) -> float | None:
        held = self.quantiles.get(name)
        return None if held is None else held[round(share * (len(held) - 1))]

    def category(self, name: str) -> str:
        """A category as the catalogue writes it; "" where there is none of that name."""
        return next((one for one in self.categories if one.casefold() == name), "")

    @property
    def length(self) -> str:
        """The field that says how long an item takes; "" where there is none."""
        return next((name for name in LENGTHS if self.fields.get(name) == "number"), "")


@dataclass
class Reading:
    """A message while wishes are taken out of it: what has been understood is blanked, the rest are its own words."""

    text: str
    catalogue: Catalogue
    wanted: frozenset[str] = frozenset()
    """Categories that were asked for before."""
    titles: Sequence[int] = ()
    """Where titles began."""
    wishes: list[Wish] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)

    def take(self, start: int, end: int) -> None:
        self.text = self.text[:start] + " " * (end - start) + self.text[end:]

    def want(self, slot: Slot, condition: Condition | None = None, *, surprise: float | None = None) -> None:
        self.wishes.append(Wish(slot, condition, surprise=surprise))


def hear(
    text: str,
    mentions: Sequence[Mention],
    catalogue: Catalogue,
    reference: Sequence[Item] = (),
    *,
    own_words: bool = True,
    quiet: Sequence[tuple[int, int]] = (),
    wanted: Collection[str] = (),
) -> Heard:
    """The wishes in `text`. `reference`: what "shorter" and "newer" are held against, e.g. the items just shown.

    `own_words`: whether words that are no filter are searched with. Nothing between the places of `quiet` is a wish:
    "Avatar is fantasy" asks for no fantasy.
    `wanted`: categories that were asked for before.
    """
    blank = list(text)
    for one in mentions:
        blank[one.start : one.end] = " " * (one.end - one.start)
    reading = Reading("".join(blank), catalogue, frozenset(wanted), [one.start for one in mentions])
    for match in NAMED.finditer(reading.text):
        reading.take(*match.span())
        if match[1].strip():
            reading.notes.append(f"the catalogue has nothing called “{plain(match[1], 60)}”")
    steps: tuple[Callable[[Reading, Sequence[Item]], None], ...] = (
        _years,
        _lengths,
        _prices,
        _tongues,
        _makers,
        _categories,
        _familiar,
        _relative,
    )
    for start, end in quiet:
        reading.take(start, end)
    for step in steps:
        step(reading, reference)
    _unwanted(reading)
    if own_words and (words := _own_words(reading.text)):
        reading.wishes.append(Wish("words", words=words))
    return Heard(tuple(dict.fromkeys(reading.wishes)), tuple(dict.fromkeys(reading.notes)))


def _years(reading: Reading, _: Sequence[Item]) -> None:
    if reading.catalogue.fields.get("year") != "number":
        return
    decades = []
    for match in DECADE.finditer(reading.text):
        decades.append(_decade(match))
        reading.take(*match.span())
    if decades:
        first, last = min(decades), max(decades) + 9
        _range(reading, "year", first, last)
        return
    if match := BETWEEN.search(reading.text):
        low, high = sorted(int(group) for group in match.groups() if group)
        _range(reading, "year", low, high)
        reading.take(*match.span())
    elif match := BEFORE.search(reading.text):
        year = next(int(group) for group in match.groups() if group)
        reading.want("year<", Condition("year", "<", year))
        reading.take(*match.span())
    elif (match := AFTER.search(reading.text)) and (match[2] or not match[0].lower().startswith("from")):
        year = int(match[1] or match[3])
        op = ">=" if match[0].lower().startswith(("since", "from")) or match[2] else ">"
        reading.want("year>", Condition("year", op, year))
        reading.take(*match.span())
    elif match := IN_YEAR.search(reading.text):
        year = int(match[1] or match[2])
        reading.want("year=", Condition("year", "=", year))
        reading.take(*match.span())


def _decade(match: re.Match[str]) -> int:
    if match[3]:
        return DECADE_WORDS[match[3].lower()]
    digits = match[1] or match[2] or match[4]
    return int(digits) if len(digits) == 4 else (2000 if int(digits) < 20 else 1900) + int(digits)


def _range(reading: Reading, name: str, low: float, high: float) -> None:
    reading.want(f"{name}>", Condition(name, ">=", low))
    reading.want(f"{name}<", Condition(name, "<=", high))


def _lengths(reading: Reading, _: Sequence[Item]) -> None:
    for match in list(LENGTH.finditer(reading.text)):
        reading.take(*match.span())
        if not reading.catalogue.length:
            reading.notes.append("the catalogue does not say how long an item takes")
            continue
        unit = (match[3] or match[5]).lower()
        amount = match[2] or match[4]
        minutes = HOURS.get(amount.lower()) if amount.lower() in HOURS else float(amount)
        minutes = round(float(minutes or 0) * (60 if unit.startswith("h") or unit == "小时" else 1))
        over = (match[1] or "").lower().startswith(("over", "more", "longer", "at least")) or match[6] == "以上"
        op: Literal[">=", "<="] = ">=" if over else "<="
        reading.want(f"length{op[0]}", Condition(reading.catalogue.length, op, minutes))


def _prices(reading: Reading, _: Sequence[Item]) -> None:
    if reading.catalogue.fields.get("price") != "number":
        return
    for match in list(PRICE.finditer(reading.text)):
        over = match[1].lower().startswith(("over", "more", "at least"))
        op: Literal[">=", "<="] = ">=" if over else "<="
        price = float(match[2])
        reading.want(f"price{op[0]}", Condition("price", op, price))
        reading.take(*match.span())


def _tongues(reading: Reading, _: Sequence[Item]) -> None:
    if reading.catalogue.fields.get("language") != "text":
        return
    codes = {name.casefold(): code for code, name in reversed(LANGUAGES.items())} | {
        name: code for code, name in reversed(LANGUAGES_ZH.items())
    }
    for match in list(TONGUE.finditer(reading.text)):
        word = next(group for group in match.groups() if group)
        negated = bool(NOT_BEFORE.search(reading.text[: match.start()]))
        start, end = match.span(next(place for place in range(1, 5) if match[place]))
        if word.casefold() == "foreign":
            main = max(reading.catalogue.languages, key=lambda code: reading.catalogue.languages[code], default="")
            if main:
                reading.want("language", Condition("language", "!=", main))
        else:
            code = COUNTRIES_ZH.get(word) or codes[word.casefold()]
            if code not in reading.catalogue.languages:
                reading.notes.append(f"nothing in the catalogue is {LANGUAGES.get(code, code)}-language")
            else:
                reading.want("language", Condition("language", "!=" if negated else "=", code))
        reading.take(start, end)


def _makers(reading: Reading, _: Sequence[Item]) -> None:
    if reading.catalogue.fields.get("creator") != "list":
        return
    spans = [(match.start(), match.end(), (match[1] or match[2]).strip(" .")) for match in BY.finditer(reading.text)]
    named_so = len(spans)
    words = list(re.finditer(r"[^\W\d_][\w.'’-]*", reading.text))
    for first in range(len(words)):
        for length in (4, 3, 2):
            if first + length <= len(words):
                start, end = words[first].start(), words[first + length - 1].end()
                spans.append((start, end, reading.text[start:end]))
    for place, (start, end, name) in enumerate(spans):
        if not reading.text[start:end].strip():
            continue
        by = place < named_so
        known = reading.catalogue.makers.get(name.casefold())
        if known and (by or name.casefold() == known.casefold()):
            negated = bool(NOT_BEFORE.search(reading.text[:start]))
            reading.want(f"creator:{known}", Condition("creator", "!=" if negated else "has", known))
            reading.take(start, end)


def _categories(reading: Reading, _: Sequence[Item]) -> None:
    """A category that is asked for is a filter; of several with "or" between them, words: a filter cannot say "or"."""
    found: list[tuple[int, int, str, bool]] = []
    for start, end, name in _category_words(reading):
        negated = bool(NOT_BEFORE.search(reading.text[:start]))
        if not negated and found and found[-1][3]:
            negated = (
                bool(CONNECTED.match(reading.text[found[-1][1] : start]))
                and "but" not in reading.text[found[-1][1] : start]
            )
        found.append((start, end, name, negated))
    asked = reading.wanted | {name for _, _, name, negated in found if not negated}
    text = reading.text
    some = [
        span
        for place, (_, _, name, negated) in enumerate(found)
        if negated and name in asked and (span := _narrower(text, found, place))
    ]
    whole = [one for one in found if not any(first <= one[0] < last for first, last in some)]
    wanted = [one for one in whole if not one[3]]
    either = any(
        re.search(r"\bor\b|或|还是|/", text[one[1] : other[0]], re.IGNORECASE)
        for one, other in itertools.pairwise(wanted)
    )
    for start, end, name, negated in whole:
        if negated:
            reading.want(f"category:{name}", Condition("categories", "!=", name))
            if before := NOT_BEFORE.search(reading.text[:start]):
                start = before.start()
        elif not either:
            reading.want(f"category:{name}", Condition("categories", "has", name))
            if ROM_COM.match(reading.text[start:end]) and (comedy := reading.catalogue.category("comedy")):
                reading.want(f"category:{comedy}", Condition("categories", "has", comedy))
        else:
            continue
        reading.take(start, end)
    for first, last in some:
        # Of "romantic comedies" and "comedies about sports" the other kind says which, and is left out.
        others = {name for start, _, name, _ in found if first <= start < last}
        others -= reading.wanted | {name for _, _, name, _ in wanted}
        for name in sorted(others):
            reading.want(f"category:{name}", Condition("categories", "!=", name))
        if not others:
            reading.notes.append(f"the catalogue cannot tell “{' '.join(text[first:last].split())}” apart")
        reading.take(first, last)


def _narrower(text: str, found: Sequence[tuple[int, int, str, bool]], place: int) -> tuple[int, int] | None:
    """Where a text names some of a kind that is not wanted, rather than the kind: "grossout comedies", "romantic
    comedies", "comedies about sports"; None where all of it is meant."""
    start, end, _, _ = found[place]
    last = found[place - 1] if place else None
    if last and last[3] and not text[last[1] : start].strip(" -"):
        return last[0], end
    if (before := NOT_BEFORE.search(text[:start])) and before["narrower"]:
        return before.start("narrower"), end
    if after := NARROWED.match(text[end:]):
        return start, end + after.end()
    return None


def _category_words(reading: Reading) -> list[tuple[int, int, str]]:
    spellings: dict[str, str] = {}
    for name in sorted(reading.catalogue.categories, key=lambda name: reading.catalogue.categories[name]):
        own = name.casefold()
        variants = {own, f"{own}s", own.replace("-", " ")}
        variants |= set(SYNONYMS.get(own, ()))
        variants |= {CATEGORIES_ZH[own]} if own in CATEGORIES_ZH else set()
        spellings |= {variant: name for variant in variants if len(variant) > 1}
    if not spellings:
        return []
    found = []
    taken: list[tuple[int, int]] = []
    lower = reading.text.casefold()
    for spelled in sorted(spellings, key=lambda one: (-len(one), one)):
        wide = not spelled.isascii()
        pattern = re.escape(spelled) if wide else rf"(?<![\w-]){re.escape(spelled)}(?![\w-])"
        if spelled not in lower:
            continue
        for match in re.finditer(pattern, lower):
            if not any(start < match.end() and match.start() < end for start, end in taken):
                taken.append(match.span())
                found.append((*match.span(), spellings[spelled]))
    found += [
        (match.start(), match.end(), spellings[meant])
        for match in re.finditer(r"[a-z]{5,}", lower)
        if not any(start < match.end() and match.start() < end for start, end in taken)
        and (meant := misspelt(match[0], spellings))
    ]
    return sorted(found)


def misspelt(word: str, spellings: Iterable[str]) -> str:
    """The one of `spellings` that a word is with one slip, "" for none: "horroe", "commedy"."""
    if word in lexicon().everyday:
        return ""
    near = (one for one in spellings if len(one) >= LEAST_SLIPPED and one[0] == word[0])
    return next((one for one in near if OSA.distance(word, one, score_cutoff=1) <= 1), "")


def _familiar(reading: Reading, _: Sequence[Item]) -> None:
    if match := SURPRISE.search(reading.text):
        reading.want("surprise", surprise=SURPRISING)
        reading.take(*match.span())
    elif match := SAFE.search(reading.text):
        reading.want("surprise", surprise=FAMILIAR)
        reading.take(*match.span())


def _relative(reading: Reading, reference: Sequence[Item]) -> None:
    """Shorter, longer, newer, older, cheaper: than what was just shown, else than most of the catalogue."""
    catalogue = reading.catalogue
    length = catalogue.length
    than: Sequence[tuple[re.Pattern[str], str, Literal["<", ">", "<=", ">="], float]] = (
        (SHORTER, length, "<", SHORT),
        (NOT_LONG, length, "<", SHORT),
        (LONGER, length, ">", LONG),
        (NEWER, "year", ">", RECENT),
        (OLDER, "year", "<", CLASSIC),
        (CHEAPER, "price", "<", SHORT),
    )
    for pattern, name, op, share in than:
        match = pattern.search(reading.text)
        if not match or (pattern is OLDER and PRAISED.search(reading.text[: match.start()] + match[0])):
            continue
        if pattern is NEWER and any(0 < start - match.end() <= 2 for start in reading.titles):
            # "The new Mad Max" names it.
            continue
        negated = NOT_BEFORE.search(reading.text[: match.start()])
        for one in list(pattern.finditer(reading.text)):
            reading.take(*one.span())
        if negated and "," not in negated[0]:
            # "Not the new one" asks for no old one.
            continue
        if catalogue.fields.get(name) != "number":
            what = {"": "how long an item takes", "year": "when an item was made", "price": "what an item costs"}[name]
            reading.notes.append(f"the catalogue does not say {what}")
            continue
        held = [value for item in reference if (value := number(item, name)) is not None]
        relative = (
            match[0]
            .lower()
            .startswith(
                (
                    "shorter",
                    "longer",
                    "newer",
                    "older",
                    "cheaper",
                    "more",
                    "less",
                    "not",
                    "短",
                    "长",
                    "新一",
                    "老一",
                    "更",
                )
            )
        )
        limit: float | None
        if relative and held:
            limit = sorted(held)[len(held) // 2]
        else:
            limit, op = catalogue.quantile(name, share), "<=" if op == "<" else ">="
        if limit is not None:
            slot = f"{'length' if name == length else name}{op[0]}"
            reading.want(slot, Condition(name, op, int(limit) if limit == int(limit) else limit))


def _unwanted(reading: Reading) -> None:
    """What is not wanted and no filter is not searched with: that would bring it."""
    for match in list(WITHOUT.finditer(reading.text)):
        if any(map(_telling, re.findall(r"[^\W\d_]+", match["what"] or match["zh"] or ""))):
            what = TRAILING.sub("", (match["what"] or match["zh"]).strip())
            reading.notes.append(f"the catalogue does not say what is without “{what}”")
            reading.take(*match.span())


def _own_words(left: str) -> str:
    """What is left of a request once filters and the words of asking are taken out; "" when nothing tells."""
    kept = []
    for part in re.split(r"[.!?。！？\n;；]+", left):
        left_over = [word for word in LEAD_ZH.sub(" ", LEAD.sub(" ", part)).split() if not _chatter(word)]
        text = " ".join(filter(None, (word.strip(EDGES_ZH) for word in left_over))).strip(" ,，、:：-–'\"“”‘’()《》")
        text = re.sub(r"(?:\s*[,，]\s*)+", ", ", text).strip(" ,")
        if any(_telling(word) for word in re.findall(r"[^\W\d_]+", text)):
            kept.append(text)
    return plain(", ".join(kept), MOST_WORDS)


def _telling(word: str) -> bool:
    word = word.casefold()
    if not word.isascii():
        return len(word) >= 1
    if _chatter(word) or word in lexicon().names:
        return False
    return len(word) > 2 and (word not in STOPWORDS or word in ("young", "small", "little"))


def _chatter(word: str) -> bool:
    bare = word.strip(PUNCTUATION).casefold()
    return (len(bare) < 2 and bare.isascii()) or bare in lexicon().pronouns | lexicon().chatter


def shown(wish: Wish, language: Language = "en", titles: Mapping[str, str] | None = None) -> str:
    """A wish as a person reads it, e.g. "since 1990" or "no Horror". `titles`: of the items in `like`."""
    zh = language == "zh"
    if wish.condition:
        return _shown_zh(wish.condition) if zh else _shown_en(wish.condition)
    if wish.like:
        names = listing([title((titles or {}).get(id, id), language) for id in wish.like], language)
        return f"类似{names}" if zh else f"like {names}"
    if wish.surprise is not None:
        familiar = wish.surprise <= FAMILIAR
        return ("熟悉的" if familiar else "换换口味") if zh else ("familiar" if familiar else "surprising")
    return f"“{wish.words}”"


def _shown_en(one: Condition) -> str:
    value = _value(one, "en")
    if one.field == "year":
        return {">=": "since", ">": "after", "<=": "up to", "<": "before", "=": "from", "!=": "not from"}.get(
            one.op, one.op
        ) + f" {value}"
    if one.field in ("categories", "language", "creator"):
        before = {"categories": "", "language": "in ", "creator": "by "}[one.field]
        return (
            f"{'no ' if one.field == 'categories' else 'not '}{before}{value}" if one.op == "!=" else f"{before}{value}"
        )
    said = {">=": "at least", ">": "over", "<=": "at most", "<": "under", "=": "", "has": "", "!=": "not"}[one.op]
    unit = " minutes" if one.field in LENGTHS else "" if one.field == "price" else f" {one.field}"
    return f"{said} {value}{unit}".strip()


def _shown_zh(one: Condition) -> str:
    value = _value(one, "zh")
    if one.field == "year":
        return {">=": f"{value}年及以后", ">": f"{value}年以后", "<=": f"{value}年及以前", "<": f"{value}年以前"}.get(
            one.op, f"{value}年"
        )
    if one.field in ("categories", "language", "creator"):
        return f"{'不要' if one.op == '!=' else ''}{value}"
    said = {">=": "至少", ">": "超过", "<=": "不超过", "<": "少于", "=": "", "has": "", "!=": "不要"}[one.op]
    return f"{said}{value}{'分钟' if one.field in LENGTHS else ''}"


def _value(one: Condition, language: Language) -> str:
    if one.field == "language":
        return label(f"language:{one.value}", language).removesuffix("-language")
    if one.field == "categories":
        return label(f"category:{one.value}", language)
    return f"{one.value:g}" if isinstance(one.value, float) else str(one.value)
