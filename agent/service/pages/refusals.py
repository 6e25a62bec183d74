"""What a page says to somebody whose request cannot be done, in their language. Knows sentences; knows no request."""

from __future__ import annotations

import re

from agent.types import Language

CHINESE: tuple[tuple[re.Pattern[str], str], ...] = tuple(
    (re.compile(said, re.DOTALL), chinese)
    for said, chinese in (
        (r"there is nothing to answer: .*", "消息是空的，没有可以回答的内容。"),
        (r".* has said nothing about their tags that could be undone", "没有可以撤销的修改。"),
        (r"a tag has 1 to (\d+) plain characters: .*", r"标签须为 1 到 \1 个普通字符。"),
        (r".* has no tag ['\"](.*)['\"]; there are: .*", r"没有名为“\1”的标签，它可能已被修改。"),
        (
            r"a (?:person and a )?conversation ha(?:s|ve) (?:a )?names? of 1 to (\d+) characters",
            r"名称须为 1 到 \1 个字符。",
        ),
        (
            r"no button says that|nothing can be taken back by that|nothing can be done to a tag by .*",
            "无法执行这个操作。",
        ),
        (r"the dial goes from 0 to (\d+)", r"滑块的取值为 0 到 \1。"),
    )
)
"""Sentences that a form can be answered with; what stands in none of them is about fields that no form has."""


def refusal(said: str, language: Language) -> str:
    """`said`, as the core says it in English, for people who read `language`; "" where there are no words for it."""
    if language == "en":
        return said
    return next((match.expand(chinese) for one, chinese in CHINESE if (match := one.fullmatch(said))), "")
