"""Rapport as LangChain tools: what an agent may ask and write down for one person, as plain JSON values.

One of the very few files that know LangChain; needs the package langchain-core and imports it when it is imported.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import wraps
from typing import Any

from langchain_core.tools import BaseTool, StructuredTool, ToolException
from pydantic import BaseModel, Field

from agent.errors import RapportError
from agent.personal import Opinion, Personal
from agent.wiring import Rapport


class Wanted(BaseModel, extra="forbid"):
    words: str = Field(default="", max_length=2000, description="What is wanted, in the person's words.")
    n: int = Field(default=5, ge=1, le=50, description="How many.")
    where: list[str] = Field(default=[], max_length=20, description="Filters: year>=1990, categories:Drama.")


class Sought(BaseModel, extra="forbid"):
    words: str = Field(max_length=2000, description="A title, or words about the item.")
    n: int = Field(default=10, ge=1, le=50, description="How many.")
    where: list[str] = Field(default=[], max_length=20, description="Filters: year>=1990, categories:Drama.")


class One(BaseModel, extra="forbid"):
    item: str = Field(max_length=512, description="An item's id, as other tools return it.")


class Nothing(BaseModel, extra="forbid"):
    pass


class Taste(BaseModel, extra="forbid"):
    tag: str = Field(max_length=48, description="A taste in a word or two, e.g. Jazz.")
    likes: bool = Field(default=True, description="false for what they do not like.")


class Verdict(BaseModel, extra="forbid"):
    item: str = Field(max_length=512, description="An item's id, as other tools return it.")
    opinion: Opinion = Field(description="What they said of it.")


def rapport_tools(rapport: Rapport, user: str) -> list[BaseTool]:
    """The tools of one person, for `create_agent` and the like. `rapport` stays open as long as they are used.

    The person is bound here: no tool has a parameter for it, so a model cannot ask or write in another name. What is
    raised on purpose is told to the model as the tool's answer.
    """
    mine = Personal(rapport, user)
    table: Sequence[tuple[str, str, type[BaseModel], Callable[..., dict[str, Any]]]] = (
        ("recommend", "Items for this person, best first, each with a true reason.", Wanted, mine.recommend),
        ("explain", "Why an item would, or would not, suit this person.", One, mine.explain),
        ("search", "Items of the catalogue by title, words and filters; finds their ids.", Sought, mine.search),
        ("profile", "What is believed about this person: tags with receipts, persona.", Nothing, mine.profile),
        ("remember", "Write down a taste that this person stated.", Taste, mine.remember),
        ("feedback", "Write down that they liked, disliked or have seen an item.", Verdict, mine.feedback),
    )
    return [tool(name, about, inputs, work) for name, about, inputs, work in table]


def tool(name: str, about: str, inputs: type[BaseModel], work: Callable[..., dict[str, Any]]) -> BaseTool:
    return StructuredTool(name=name, description=about, args_schema=inputs, func=telling(work), handle_tool_error=True)


def telling(work: Callable[..., dict[str, Any]]) -> Callable[..., dict[str, Any]]:
    """`work`, raising ToolException for what was raised on purpose."""

    @wraps(work)
    def _told(*given: Any, **named: Any) -> dict[str, Any]:
        try:
            return work(*given, **named)
        except RapportError as error:
            raise ToolException(str(error)) from error

    return _told
