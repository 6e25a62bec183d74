"""What chat programs ask a model beside the conversation: titles, tags, suggestions. Answered by rules, about nobody.

Recognised by the wording of Open WebUI's and LibreChat's default prompts. Knows no store, no person and no model.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from typing import Any, Literal

from agent.chat.understand import language_of
from agent.labels import noun, plural
from agent.types import Language

Kind = Literal["title", "tags", "follow_ups", "queries", "text", "prompt", "emoji", "other"]
KINDS: tuple[tuple[Kind, re.Pattern[str]], ...] = (
    ("title", re.compile(r"^#+ Task:\s*Generate a concise, 3-5 word title", re.IGNORECASE)),
    ("tags", re.compile(r"^#+ Task:\s*Generate 1-3 broad tags", re.IGNORECASE)),
    ("follow_ups", re.compile(r"^#+ Task:\s*Suggest 3-5 relevant follow-up", re.IGNORECASE)),
    ("queries", re.compile(r"^#+ Task:\s*Analyze the chat history to determine the necessity", re.IGNORECASE)),
    ("text", re.compile(r"^#+ Task:\s*You are an autocompletion system", re.IGNORECASE)),
    ("prompt", re.compile(r"^#+ Task:\s*Generate a detailed prompt for an? image", re.IGNORECASE)),
    ("emoji", re.compile(r"^Your task is to reflect the speaker's likely facial expression", re.IGNORECASE)),
    ("title", re.compile(r"^Analyze this conversation and provide:.*concise title", re.IGNORECASE | re.DOTALL)),
    ("title", re.compile(r"^Provide a concise, 5-word-or-less title", re.IGNORECASE)),
    ("title", re.compile(r"^(?:Please )?generate a concise title \(max \d+ characters\)", re.IGNORECASE)),
    ("other", re.compile(r"^#+ Task:.*<chat_history>", re.IGNORECASE | re.DOTALL)),
)
SAID = re.compile(r"^\s*(?:user|human)\s*:\s*(.+)$", re.IGNORECASE | re.MULTILINE)
AFTER = re.compile(r"(?:<chat_history>|Conversation:|\n\n)\s*(.+?)\s*(?:</chat_history>|$)", re.DOTALL)
FOLLOW_UPS = {
    "en": ("Why the first one?", "More like the first one, but newer", "Something else, please"),
    "zh": ("为什么推荐第1个？", "类似第1个，但更新一些", "换一个"),
}
WORDS, SIGNS = 5, 12
"""Of a title at most: words, or signs of Chinese."""


def kind_of(text: str) -> Kind | None:
    """What is asked for; None for what a person says."""
    return next((kind for kind, wording in KINDS if wording.search(text.strip())), None)


def answered(kind: Kind, prompt: str, domain: str) -> str:
    """The answer in the form that the prompt asks for. `domain`: the catalogue's word for one item."""
    said = subject(prompt)
    language = language_of(said)
    makes: dict[Kind, Callable[[], Any]] = {
        "title": lambda: {"title": title(said, language)},
        "tags": lambda: {"tags": [several(domain, language)]},
        "follow_ups": lambda: {"follow_ups": list(FOLLOW_UPS[language])},
        "queries": lambda: {"queries": []},
        "text": lambda: {"text": ""},
        "prompt": lambda: {"prompt": title(said, language)},
        "emoji": lambda: "🙂",
        "other": dict,
    }
    made = makes[kind]()
    if kind == "emoji":
        return made
    if kind == "title" and "json" not in prompt.casefold():
        return made["title"]
    return json.dumps(made, ensure_ascii=False)


def title_of(prompt: str) -> tuple[Language, str]:
    """Title and language of a conversation, where a program wants both as fields."""
    said = subject(prompt)
    language = language_of(said)
    return language, title(said, language)


def subject(prompt: str) -> str:
    """The first thing that the person said, as a prompt quotes it."""
    if found := SAID.search(prompt):
        return found[1].strip()
    quoted = AFTER.search(prompt)
    return quoted[1].strip() if quoted else ""


def title(said: str, language: Language) -> str:
    """The beginning of what was said, as a heading."""
    clean = re.sub(r"[^\w\s'’%-]+", " ", said)
    if language == "zh":
        return "".join(clean.split())[:SIGNS] or "推荐"
    words = clean.split()[:WORDS]
    return " ".join(word[:1].upper() + word[1:] for word in words)[:60] or "Recommendations"


def several(domain: str, language: Language) -> str:
    one = noun(domain, language)
    return one if language == "zh" else plural(one).capitalize()
