"""The conversation's own words, in English and Chinese, which a small model would word worse; knows no person."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence

from agent.features import creators, number
from agent.grounding.check import SENTENCE, quotable
from agent.labels import label, listing, noun, plural, spoken, title
from agent.recommend.catalogue import plain
from agent.types import Item, Language, Source, Tag

MOST_READ, QUOTED = 2_000, 400
"""Characters of an item's own text that are read, and that are quoted."""
EN: Mapping[str, str] = {
    "fits": "Here is what fits {what}:",
    "for_you": "From what I know of you, these:",
    "new": "I know nothing of you yet, so here is what many people like:",
    "more": "More like {what}:",
    "more_with": "More like {what}, {rest}:",
    "noted": "Noted: {what}.",
    "then": "With that, these come to mind:",
    "fits_surprising": "Here is what fits {what}, beyond the usual:",
    "fits_familiar": "Here is what fits {what}, close to what you know:",
    "surprising": "Here is something beyond the usual:",
    "familiar": "Here is something close to what you know:",
    "nothing": "nothing in the catalogue.",
    "nothing_left": "nothing is left to show.",
    "relaxed": "nothing fits all of it. Without “{what}” there is:",
    "undone": "Forgotten: {what}.",
    "nothing_to_undo": "There is nothing to take back.",
    "revoked": "No longer asked for: {what}.",
    "not_asked": "That was not asked for.",
    "why_none": "Which one do you mean? Give its number or its title.",
    "found_by": "It came from {what}.",
    "which": "Which one do you mean?",
    "compare_none": "Name two {items} to compare, or give their numbers.",
    "hello": "Hello! Tell me what you are in the mood for, or name a {item} that you liked.",
    "hello_known": "Hello! Say what you are in the mood for, or ask for more of what you like.",
    "thanks": "You are welcome.",
    "bye": "Goodbye!",
    "able": (
        "I recommend {items} from this catalogue. Say what you want (“short, funny, no horror”), name one that you "
        "liked, "
        "ask “why?”, “compare 1 and 2”, “more like 3”, or “forget that”."
    ),
    "unknown": "I did not find a wish in that. Say what you are in the mood for, or name a {item} that you liked.",
    "heard": "All right. Say “more” for others, or what should be different.",
    "me_likes": "You seem to like {what}.",
    "me_dislikes": "You seem not to like {what}.",
    "me_guesses": "You might like {what}: a guess from the rest.",
    "me_wrong": "If something of this is wrong, say so: “I don't like …”.",
    "me_none": "I know nothing of you yet. Name a {item} that you liked, or say what you are in the mood for.",
    "note": "Note: {what}.",
    "ask_category": "What kind should it be?",
    "ask_decade": "From which time should it be?",
    "ask_language": "In which language should it be?",
    "liked": "you like {what}",
    "disliked": "you do not like {what}",
    "seen": "you know {what}",
    "named": "you spoke of {what}",
    "not_interested": "you are not interested in {what}",
    "quoted": "The catalogue says: “{what}”",
    "not_described": "The catalogue says nothing more of {name}.",
    "both_are": "Both are {what}.",
    "is": "{name}: {what}.",
    "degraded": "(A part of me is not available; this is the simpler answer.)",
}
ZH: Mapping[str, str] = {
    "fits": "符合{what}的有：",
    "for_you": "根据我对您的了解：",
    "new": "我还不了解您，先看看大家喜欢的：",
    "more": "与{what}相近的：",
    "more_with": "与{what}相近，{rest}：",
    "noted": "记下了：{what}。",
    "then": "这样看来，推荐这些：",
    "fits_surprising": "符合{what}、又换换口味的有：",
    "fits_familiar": "符合{what}、又合您一贯口味的有：",
    "surprising": "换换口味，这些：",
    "familiar": "合您一贯口味的，这些：",
    "nothing": "目录里没有。",
    "nothing_left": "没有更多可以展示的了。",
    "relaxed": "没有完全符合的。去掉“{what}”之后有：",
    "undone": "已忘记：{what}。",
    "nothing_to_undo": "没有可以撤销的内容。",
    "revoked": "不再要求：{what}。",
    "not_asked": "之前没有这个要求。",
    "why_none": "您指的是哪一个？请给出编号或名称。",
    "found_by": "它来自{what}。",
    "which": "您指的是哪一个？",
    "compare_none": "请说出要比较的两部{items}，或它们的编号。",
    "hello": "您好！告诉我您想要什么，或者说一部您喜欢的{item}。",
    "hello_known": "您好！说说您现在想要什么吧。",
    "thanks": "不客气。",
    "bye": "再见！",
    "able": (
        "我推荐这个目录里的{items}。您可以说“短一点，不要恐怖”，说出喜欢的名称，"
        "问“为什么”，“比较1和2”，“类似第3个”，或“忘了吧”。"
    ),
    "unknown": "我没有听出您的要求。说说您想要什么，或者说一部您喜欢的{item}。",
    "heard": "好的。说“换一批”看看别的，或者告诉我应该有什么不同。",
    "me_likes": "您好像喜欢{what}。",
    "me_dislikes": "您好像不喜欢{what}。",
    "me_guesses": "您也许会喜欢{what}，这是由其余推测的。",
    "me_wrong": "如果哪里不对，请告诉我，例如“我不喜欢……”。",
    "me_none": "我还不了解您。说一部您喜欢的{item}，或者说说您想要什么。",
    "note": "注意：{what}。",
    "ask_category": "您想要什么类型的？",
    "ask_decade": "您想要什么年代的？",
    "ask_language": "您想要什么语言的？",
    "liked": "您喜欢{what}",
    "disliked": "您不喜欢{what}",
    "seen": "您已经知道{what}",
    "named": "您提到了{what}",
    "not_interested": "您对{what}不感兴趣",
    "quoted": "目录里的介绍：“{what}”",
    "not_described": "关于{name}，目录里没有更多介绍。",
    "both_are": "两者都是{what}。",
    "is": "{name}：{what}。",
    "degraded": "（部分功能暂不可用，这是简化的回答。）",
}
CHINESE_NOTES = {
    "the catalogue does not say how long an item takes": "目录中没有时长信息",
    "the catalogue does not say when an item was made": "目录中没有年份信息",
    "the catalogue does not say what an item costs": "目录中没有价格信息",
    "the catalogue has nothing called “”": "目录里没有“”",
    "the catalogue cannot tell “” apart": "目录无法区分“”",
    "the catalogue does not say what is without “”": "目录没有说明哪些不含“”",
}
HISTORIES = ("people with a history like yours", "与您经历相似的人")
QUOTATION = re.compile("“[^”]*”")


def say(
    phrase: str, language: Language, *, what: str = "", rest: str = "", name: str = "", domain: str = "item"
) -> str:
    """One phrase with its blanks filled. `domain`: the catalogue's word for an item."""
    one = noun(domain, language)
    several = one if language == "zh" else plural(one)
    return (ZH if language == "zh" else EN)[phrase].format(what=what, rest=rest, name=name, item=one, items=several)


def note(text: str, language: Language) -> str:
    """A note in `language`; what stands in quotation marks stays as it was said."""
    if language != "zh":
        return text
    said = QUOTATION.search(text)
    told = CHINESE_NOTES.get(QUOTATION.sub("“”", text), text)
    return told.replace("“”", said[0]) if said else told


def named(items: Sequence[Item], language: Language) -> str:
    return listing([title(plain(item.title, 80), language) for item in items], language)


def origin(sources: Sequence[Source], titles: Mapping[str, str], language: Language) -> str:
    """Who proposed an item, in words, the strongest first; "" where nobody says."""
    found = []
    for source in sources:
        kind, _, value = source.retriever.partition(":")
        name = title(titles.get(value, value), language)
        words = {
            "recent": (f"what lies near {name}, which you liked", f"您喜欢的{name}附近"),
            "like": (f"what lies near {name}", f"与{name}相近"),
            "alongside": (f"people who liked {name}", f"喜欢{name}的人"),
            "collaborative": (f"people who liked {name}", f"喜欢{name}的人") if value else HISTORIES,
            "tag": (f"your interest in {value}", f"您对{value}的兴趣"),
            "explore": (f"a guess: {value}", f"一个猜测：{value}"),
            "words": ("the words of your request", "您的描述"),
            "persona": ("your description as a whole", "您的整体画像"),
            "popular": (f"what many people like{value and f': {value}'}", f"大家的喜好{value and f'：{value}'}"),
            "taste": ("features that you tend to like", "您偏爱的特征"),
            "near-popular": ("what lies near popular ones", "热门内容附近"),
        }.get(kind)
        if words:
            found.append(f"{words[language == 'zh']} (#{source.rank})")
    return listing(found[:3], language)


def facts(item: Item, domain: str, language: Language) -> str:
    """What the catalogue says of an item: year, length, makers, kinds."""
    zh = language == "zh"
    year, minutes = number(item, "year"), number(item, "minutes")
    makers = [name for name in creators(item) if name][:2]
    parts = [
        f"{year:g}" if year else "",
        (f"{minutes:g}分钟" if zh else f"{minutes:g} minutes") if minutes else "",
        (listing(makers, language) if zh else f"by {listing(makers)}") if makers else "",
        listing([label(f"category:{name}", language) for name in item.categories[:3]], language),
    ]
    return ("，" if zh else ", ").join(part for part in parts if part)


def described(item: Item, domain: str, language: Language) -> str:
    """An item's facts, and what its own text begins with as a quotation."""
    name = title(plain(item.title, 80), language)
    told, text = facts(item, domain, language), beginning(item.text)
    if not told and not text:
        return say("not_described", language, name=name)
    found = [say("is", language, name=name, what=told)] if told else [name]
    return ("" if language == "zh" else " ").join([*found, *([say("quoted", language, what=text)] if text else [])])


def beginning(text: str) -> str:
    """The first sentences of an item's own text, at most QUOTED characters of those that cannot act where they are
    shown."""
    kept = ""
    for one in SENTENCE.split(plain(text, MOST_READ)):
        if not quotable(one):
            continue
        if len(kept) + len(one) > QUOTED:
            return kept or f"{plain(one, QUOTED)} …"
        kept = f"{kept} {one}".strip()
    return kept


def belief(tag: Tag, titles: Mapping[str, str], language: Language) -> str:
    """An interest, and the item that it rests on first: "drama (Heat)"."""
    name = spoken(tag.feature, language) if tag.feature else plain(tag.name, 80)
    item = tag.receipts[0].item if tag.receipts else ""
    if not titles.get(item):
        return name
    told = title(plain(titles[item], 80), language)
    return f"{name}（{told}）" if language == "zh" else f"{name} ({told})"


def compared(items: Sequence[Item], domain: str, language: Language) -> str:
    """Two items side by side, from the catalogue's facts alone."""
    shared = [name for name in items[0].categories if all(name in one.categories for one in items[1:])]
    lines = [
        say("is", language, name=title(plain(one.title, 80), language), what=facts(one, domain, language) or "—")
        for one in items
    ]
    if shared:
        kinds = listing([label(f"category:{name}", language) for name in shared[:3]], language)
        lines.append(say("both_are", language, what=kinds if language == "zh" else kinds.lower()))
    return " ".join(lines)
