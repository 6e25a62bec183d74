"""How features are called in running text, in English and Chinese. Knows words; knows neither people nor models."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence

from agent.features import kind_of, value_of
from agent.types import Language

LANGUAGES = {
    "en": "English", "zh": "Chinese", "ja": "Japanese", "ko": "Korean", "fr": "French", "de": "German", "it": "Italian",
    "es": "Spanish", "pt": "Portuguese", "ru": "Russian", "hi": "Hindi", "bn": "Bengali", "fa": "Persian",
    "sv": "Swedish", "da": "Danish", "no": "Norwegian", "pl": "Polish", "tr": "Turkish", "ar": "Arabic", "th": "Thai",
    "cn": "Cantonese", "yue": "Cantonese", "fi": "Finnish", "nl": "Dutch", "cs": "Czech", "hu": "Hungarian",
}  # fmt: skip
LANGUAGES_ZH = {
    "en": "英语", "zh": "华语", "ja": "日语", "ko": "韩语", "fr": "法语", "de": "德语", "it": "意大利语",
    "es": "西班牙语", "pt": "葡萄牙语", "ru": "俄语", "hi": "印地语", "bn": "孟加拉语", "fa": "波斯语", "sv": "瑞典语",
    "da": "丹麦语", "no": "挪威语", "pl": "波兰语", "tr": "土耳其语", "ar": "阿拉伯语",
    "th": "泰语", "cn": "粤语", "yue": "粤语",
}  # fmt: skip
CATEGORIES_ZH = {
    "action": "动作", "adventure": "冒险", "animation": "动画", "biography": "传记", "children": "儿童",
    "comedy": "喜剧", "crime": "犯罪", "documentary": "纪录", "drama": "剧情", "family": "家庭",
    "fantasy": "奇幻", "film-noir": "黑色电影", "film noir": "黑色电影", "noir": "黑色电影", "history": "历史",
    "horror": "恐怖", "musical": "歌舞", "music": "音乐", "mystery": "悬疑", "romance": "爱情",
    "science fiction": "科幻", "sci-fi": "科幻", "sport": "体育", "sports": "体育", "thriller": "惊悚",
    "war": "战争", "western": "西部", "martial arts": "武侠",
}  # fmt: skip
NOUNS_ZH = {"film": "电影", "artist": "艺人", "product": "商品", "book": "书", "anime": "动画", "item": "内容"}


def label(feature: str, language: Language = "en") -> str:
    """The name of a feature as a tag: short, readable, without a claim beyond what was counted."""
    kind, value = kind_of(feature), value_of(feature)
    if language == "zh":
        return {
            "category": CATEGORIES_ZH.get(value.lower(), value),
            "decade": f"{value[:-1]}年代",
            "language": f"{LANGUAGES_ZH.get(value, value)}作品",
            "price": "低价" if value == "low" else "高价",
            "minutes": "短片" if value == "low" else "长片",
        }.get(kind, value)
    return {
        "language": f"{LANGUAGES.get(value, value)}-language",
        "price": "low prices" if value == "low" else "high prices",
        "minutes": "short running times" if value == "low" else "long running times",
    }.get(kind, value)


def spoken(feature: str, language: Language = "en") -> str:
    """The same inside a sentence: "drama" rather than "Drama", "the 1990s" rather than "1990s"."""
    name, kind = label(feature, language), kind_of(feature)
    if language == "zh":
        return name
    if kind == "decade":
        return f"the {name}"
    if kind == "category":
        return name if name.isupper() else name.lower()
    return name


def noun(domain: str, language: Language = "en") -> str:
    """The catalogue's word for one item."""
    return NOUNS_ZH.get(domain, NOUNS_ZH["item"]) if language == "zh" else domain


EXPERIENCES = {"film": "watched", "anime": "watched", "artist": "listened to", "book": "read", "product": "used"}


def experienced(domain: str) -> str:
    """What one does with an item: watched, listened to, read…"""
    return EXPERIENCES.get(domain, "chose")


def plural(word: str) -> str:
    if word in ("anime", "music", "series", "news"):
        return word
    if word.endswith(("s", "x", "z", "ch", "sh")):
        return word + "es"
    return word[:-1] + "ies" if word.endswith("y") and word[-2:-1] not in ("", *"aeiou") else word + "s"


def listing(names: Sequence[str], language: Language = "en") -> str:
    """ "a", "a and b", "a, b and c"; in Chinese "a、b和c"."""
    if len(names) < 2:
        return "".join(names)
    if language == "zh":
        return f"{'、'.join(names[:-1])}和{names[-1]}"
    return f"{', '.join(names[:-1])} and {names[-1]}"


OTHERWISE = re.compile(r"(?<=\S)(?:\s+\([^()]*\))+$")
"""What a catalogue adds to a title: the original one, other names, an edition."""


LONG = 50
"""Characters from which on a title is one that a shop wrote: the name, then size, colour and what it is good for."""
DETAILS = re.compile(r"(?<=.{15})(?:\s*,\s+|\s+[-–|]\s+).*$", re.DOTALL)
OPEN = re.compile(r"\s*\([^()]*$")
COMMA = re.compile(r"\s*,\s*(?=[^\s\d])")


def called(name: str) -> str:
    """A title as people say it: "Breathless" for "Breathless (À bout de souffle)", a long one without its details."""
    short = COMMA.sub(", ", OTHERWISE.sub("", name)).rstrip(" ,;|–-") or name
    if len(short) <= LONG:
        return short
    cut = DETAILS.sub("", short)
    # "Charger 12W (5V, 2.4A)" is cut before the bracket.
    return OPEN.sub("", cut) or cut


def calls(name: str) -> tuple[str, ...]:
    """Every way in which a title may be told: as the catalogue writes it, as people say it, and without a full stop at
    its end, which would end the sentence."""
    said = called(name)
    return tuple(dict.fromkeys((name, said, said.removesuffix(".") or said)))


def miswritten(text: str, names: Iterable[str]) -> list[str]:
    """The titles among `names` that `text` tells in other letters only: "A man escaped" is no "A Man Escaped". A
    single word is left out: it may be there as a word."""
    said = text.casefold()
    found = []
    for name in names:
        ways = [way for way in calls(name) if " " in way]
        if any(way.casefold() in said for way in ways) and not any(way in text or shown(way) in text for way in ways):
            found.append(called(name))
    return found


def title(name: str, language: Language = "en") -> str:
    return f"《{name}》" if language == "zh" else name


def shown(text: str) -> str:
    """With a capital letter in front where the letter has one ("ß" does not); the rest as it is."""
    capital = text[:1].upper()
    return capital + text[1:] if capital.lower() == text[:1] else text
