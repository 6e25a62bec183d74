"""The prompts: one folder a prompt, one file a version and language, loaded, checked and rendered here.

Knows names and text; knows no model. A file `<name>/v<version>.<language>.md.j2` is YAML front matter (what the prompt
is for, which inputs it takes) and sections headed `[[system]]`, `[[user]]`, `[[assistant]]`. Sections are cut before
rendering, so nothing in the data can open a section of its own.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any, Literal, cast

import yaml
from jinja2 import StrictUndefined, Template, TemplateError, meta
from jinja2.sandbox import ImmutableSandboxedEnvironment
from pydantic import BaseModel, ValidationError

HERE = Path(__file__).parent
FILE = re.compile(r"v(?P<version>\d+)\.(?P<language>[a-z]{2})\.md\.j2")
HEAD = re.compile(r"\A---\n(?P<yaml>.*?)\n---\n(?P<body>.*)\Z", re.DOTALL)
SECTION = re.compile(r"^\[\[(system|user|assistant)\]\]\n", re.MULTILINE)
Role = Literal["system", "user", "assistant"]
ENVIRONMENT = ImmutableSandboxedEnvironment(
    undefined=StrictUndefined, autoescape=False, trim_blocks=True, lstrip_blocks=True
)


class Head(BaseModel, extra="forbid"):
    """What a prompt file says about itself."""

    about: str
    inputs: list[str]


class PromptError(Exception):
    """A prompt does not exist, or a template and its inputs disagree."""


@dataclass(frozen=True, slots=True)
class Part:
    """One message of a rendered prompt: role is system, user or assistant."""

    role: Role
    text: str


@dataclass(frozen=True, slots=True)
class Prompt:
    name: str
    version: int
    language: str
    about: str
    inputs: frozenset[str]
    sections: tuple[tuple[Role, str], ...]
    """(role, template source) in order."""
    hash: str
    """First 8 hex digits of the file's SHA-256."""

    @property
    def id(self) -> str:
        """What answers carry, e.g. "rerank.en@1-8c1f02aa"."""
        return f"{self.name}.{self.language}@{self.version}-{self.hash}"

    def render(self, inputs: Mapping[str, Any]) -> tuple[Part, ...]:
        """The exact text that is sent. Raises PromptError when `inputs` are not the declared ones."""
        if set(inputs) != self.inputs:
            raise PromptError(f"{self.id} takes {sorted(self.inputs)} but was given {sorted(inputs)}")
        try:
            return tuple(Part(role, compiled(source).render(inputs).strip()) for role, source in self.sections)
        except (TemplateError, TypeError, ValueError) as error:
            raise PromptError(f"{self.id}: {error}") from error


@cache
def compiled(source: str) -> Template:
    """A section of a prompt file, compiled once: a profile renders the same one dozens of times."""
    return ENVIRONMENT.from_string(source)


def names() -> list[str]:
    """Every prompt, by name."""
    return sorted({path.parent.name for path in HERE.glob("*/v*.md.j2")})


def every() -> list[Prompt]:
    """Every version of every prompt in every language."""
    return [parse(path) for path in sorted(HERE.glob("*/v*.md.j2"))]


@cache
def load(name: str, language: str = "en", version: int | None = None) -> Prompt:
    """The prompt `name` in `language` (English where there is no other), newest version unless one is named."""
    found: dict[tuple[str, int], Path] = {}
    for path in sorted((HERE / name).glob("v*.md.j2")) if name in names() else ():
        if match := FILE.fullmatch(path.name):
            found[match["language"], int(match["version"])] = path
    if not found:
        raise PromptError(f"no prompt is called {name!r}; there are {', '.join(names())}")
    language = language if any(key[0] == language for key in found) else "en"
    if not any(key[0] == language for key in found):
        raise PromptError(f"prompt {name!r} is written in none of the languages that were asked for")
    versions = [number for (tongue, number) in found if tongue == language]
    if version is None:
        version = max(versions)
    if version not in versions:
        raise PromptError(f"prompt {name!r} has no version {version} in {language!r}; there are {sorted(versions)}")
    return parse(found[language, version])


def parse(path: Path) -> Prompt:
    """Read and check one file. Raises PromptError when it is malformed or uses inputs it does not declare."""
    raw = path.read_bytes()
    name_match, text_match = FILE.fullmatch(path.name), HEAD.fullmatch(raw.decode(errors="replace"))
    if not name_match or not text_match:
        raise PromptError(f"{path}: not a prompt file (name v1.en.md.j2, YAML between --- lines, then sections)")
    try:
        head = Head.model_validate(yaml.safe_load(text_match["yaml"]))
    except (yaml.YAMLError, ValidationError) as error:
        raise PromptError(f"{path}: the part between the --- lines must have `about` and `inputs`") from error
    lead, *cut = SECTION.split(text_match["body"])
    if lead.strip() or not cut:
        raise PromptError(f"{path}: the text must begin with a section such as [[system]]")
    prompt = Prompt(
        name=path.parent.name,
        version=int(name_match["version"]),
        language=name_match["language"],
        about=head.about,
        inputs=frozenset(head.inputs),
        sections=tuple((cast(Role, role), source) for role, source in zip(cut[::2], cut[1::2], strict=True)),
        hash=hashlib.sha256(raw).hexdigest()[:8],
    )
    try:
        parsed = [ENVIRONMENT.parse(source) for _, source in prompt.sections]
    except TemplateError as error:
        raise PromptError(f"{prompt.id}: {error}") from error
    used = {name for tree in parsed for name in meta.find_undeclared_variables(tree)}
    if used != prompt.inputs:
        raise PromptError(f"{prompt.id} declares {sorted(prompt.inputs)} but uses {sorted(used)}")
    return prompt
