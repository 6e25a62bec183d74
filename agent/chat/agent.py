"""The agent driver: a capable model leads the turn with tools. Code bounds it, and shows only what it can vouch for.

Cards come from what the tools returned, never from the model's text; of the text only those sentences are shown that
pass the check against the same. When the model fails, or nothing of it can be shown, the guided driver answers.
"""

from __future__ import annotations

import json
import re
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from threading import RLock
from typing import TYPE_CHECKING, Any

from pydantic import BaseModel, Field

from agent.ask import chat_of, template_of
from agent.chat import phrases
from agent.chat.guided import Guided, Means, Turn, asked_for
from agent.chat.parts import Cards, Part, Words
from agent.chat.wishes import shown
from agent.errors import CallFailed, LLMError, RapportError, TimedOut
from agent.features import creators, number
from agent.grounding.check import SENTENCE, Rules, check
from agent.grounding.facts import Facts, numbers_in, stars, year
from agent.labels import label, noun, plural
from agent.llm.base import LLM, Chat, Completion, Schema
from agent.llm.wrapped import Wrapped
from agent.recommend.catalogue import plain
from agent.types import Answer, Call, Event, Item, Provenance, Recommendation

if TYPE_CHECKING:
    from langchain_core.tools import BaseTool

MODEL_CALLS = 6
TOOL_CALLS = 8
SAME_CALLS = 2
"""How often the same call may be made; again it is refused."""
SECONDS = 30.0
TOKENS = 24_000
"""Of prompts and answers together in one turn."""
ANSWER = 400
"""Tokens of one step."""
MOST_CARDS = 8
MOST_SENTENCES = 4
LIKED = 4.0
ITSELF = re.compile(r"\b(?:i am|i'm|i’m|my name)\b|我是|我叫", re.IGNORECASE)
"""No tool returns anything about the model: what it says of itself is not shown. The check passes a name that looks
like an everyday word with an ending, e.g. "ines"."""
ENOUGH = "This tool may not be called any more in this turn: answer the person."
GONE = (CallFailed,)
"""What nobody waits for is not answered by other means."""


class Wanted(BaseModel, extra="forbid"):
    words: str = Field(default="", max_length=400, description="What is wanted, in the person's words.")
    n: int = Field(default=5, ge=1, le=MOST_CARDS, description="How many.")
    where: list[str] = Field(default=[], max_length=6, description="Filters: year>=1990, categories:Drama.")


class Sought(BaseModel, extra="forbid"):
    words: str = Field(max_length=400, description="A title, also a part of it.")


class One(BaseModel, extra="forbid"):
    item: str = Field(max_length=512, description="An item's id, as other tools return it.")


class Several(BaseModel, extra="forbid"):
    items: list[str] = Field(max_length=4, description="Ids of items, as other tools return them.")


class Nothing(BaseModel, extra="forbid"):
    pass


class Taste(BaseModel, extra="forbid"):
    taste: str = Field(max_length=48, description="A lasting taste in the words of the message, e.g. Jazz.")
    likes: bool = Field(default=True, description="false for what they do not like.")


class Now(BaseModel, extra="forbid"):
    words: str = Field(max_length=400, description="What they want now: kinds, years, length, moods.")


@dataclass(frozen=True)
class Agent:
    """turn -> parts."""

    means: Means
    llm: LLM

    def __call__(self, turn: Turn) -> Iterator[Part]:
        guided = Guided(self.means)
        if turn.found.intent in ("undo", "about", "me") or turn.found.unclear:
            # What was taken back, which one is meant, what the catalogue says and what is believed needs no model.
            yield from guided(turn)
            return
        session = Session(self.means, turn)
        try:
            said = self._led(turn, session)
        except GONE:
            raise
        except (LLMError, RapportError, *agent_errors()):
            yield from guided(turn)
            return
        words = session.vouched_for(said)
        if not words and not session.cards:
            yield from guided(turn)
            return
        noted = f"{guided.noted(turn)} " if turn.noted else ""
        yield Words(noted + (words or guided.opening(turn)))
        if session.cards:
            yield Cards(session.ranked(turn.n), session.degraded, session.provenance)
        turn.focus += session.talked_about

    def _led(self, turn: Turn, session: Session) -> str:
        """What the model says in the end. Raises LLMError, and what LangChain raises about a loop."""
        from langchain.agents import create_agent
        from langchain.agents.middleware import ModelCallLimitMiddleware, ToolCallLimitMiddleware
        from langchain_core.messages import AIMessage, HumanMessage

        from agent.langchain_chat import RapportChatModel

        language = turn.language
        template = template_of("converse", language)
        several = noun(self.means.domain, language) if language == "zh" else plural(noun(self.means.domain))
        # Nothing that the person said is in it: that comes as a message and as tool results.
        (system,) = chat_of(template, {"items": several})
        limited = Limited(self.llm, template.id, self.means.store.log_call, turn.user)
        limits: list[Any] = [
            ModelCallLimitMiddleware(run_limit=MODEL_CALLS, exit_behavior="end"),
            ToolCallLimitMiddleware(run_limit=TOOL_CALLS, exit_behavior="continue"),
        ]
        agent = create_agent(
            RapportChatModel(llm=limited, max_tokens=ANSWER, language=language),
            session.tools(),
            system_prompt=system.content,
            middleware=limits,
        )
        before = [message for said, told in turn.history for message in (HumanMessage(said), AIMessage(told or "-"))]
        done = agent.invoke(
            {"messages": [*before, HumanMessage(turn.text)]},
            {"recursion_limit": 4 * (MODEL_CALLS + TOOL_CALLS)},
        )
        last = done["messages"][-1]
        session.model, session.limited = self.llm.name, limited
        session.prompt = template.id
        return last.text if isinstance(last, AIMessage) and not last.tool_calls else ""


def agent_errors() -> tuple[type[Exception], ...]:
    """What LangChain raises when a model goes in circles or calls what cannot be called."""
    from langchain.agents.middleware.model_call_limit import ModelCallLimitExceededError
    from langchain.agents.middleware.tool_call_limit import ToolCallLimitExceededError
    from langgraph.errors import GraphRecursionError

    return (GraphRecursionError, ModelCallLimitExceededError, ToolCallLimitExceededError)


class Limited(Wrapped[LLM]):
    """`llm` for one turn: so many calls, so many tokens, so long; each call leaves a row. Raises TimedOut beyond."""

    def __init__(self, llm: LLM, prompt: str, record: Callable[[Call], None], user: str) -> None:
        super().__init__(llm)
        self._prompt, self._record, self._user = prompt, record, user
        self._until = time.monotonic() + SECONDS
        self.calls = self.prompt_tokens = self.completion_tokens = 0

    def generate(
        self,
        chats: Sequence[Chat],
        *,
        schema: Schema | None = None,
        max_tokens: int = 256,
        temperature: float = 0.0,
        seed: int = 0,
    ) -> list[Completion]:
        if self.calls >= MODEL_CALLS or time.monotonic() > self._until or self._tokens >= TOKENS:
            raise TimedOut("this turn has had its time")
        self.calls += 1
        started = datetime.now(UTC)
        try:
            done = self.llm.generate(chats, schema=schema, max_tokens=max_tokens, temperature=temperature, seed=seed)
        except (LLMError, CallFailed) as error:
            self._leave(started, 0, 0, error.reason if isinstance(error, CallFailed) else type(error).__name__)
            raise
        prompt, completion = sum(one.prompt_tokens for one in done), sum(one.completion_tokens for one in done)
        self.prompt_tokens += prompt
        self.completion_tokens += completion
        self._leave(started, prompt, completion, "ok" if all(one.finish == "stop" for one in done) else "Truncated")
        return done

    @property
    def _tokens(self) -> int:
        return self.prompt_tokens + self.completion_tokens

    def _leave(self, started: datetime, prompt: int, completion: int, outcome: str) -> None:
        ms = round((datetime.now(UTC) - started).total_seconds() * 1000, 1)
        self._record(Call(started, self._prompt, self.llm.name, prompt, completion, ms, outcome, self._user))


@dataclass
class Session:
    """One turn's tools: bound to its person, counted, and remembering everything that they returned."""

    means: Means
    turn: Turn
    cards: dict[str, Recommendation] = field(default_factory=dict)
    items: dict[str, Item] = field(default_factory=dict)
    """Everything that a tool spoke of."""
    talked_about: list[str] = field(default_factory=list)
    likes: set[str] = field(default_factory=set)
    dislikes: set[str] = field(default_factory=set)
    calls: Counter[str] = field(default_factory=Counter)
    degraded: bool = False
    model: str = ""
    prompt: str = ""
    limited: Limited | None = None
    answer: Answer | None = None
    # A provider's model may ask for several tools at once, which then run in several threads.
    lock: RLock = field(default_factory=RLock)

    def __post_init__(self) -> None:
        for one in self.turn.card_of.values():
            self.items[one.item.id] = one.item
        for id, item in self.means.store.items([one.item for one in self.turn.found.mentions]).items():
            self.items[id] = item

    # the tools

    def tools(self) -> list[BaseTool]:
        from langchain_core.tools import StructuredTool

        table: tuple[tuple[str, str, type[BaseModel], Callable[..., Any]], ...] = (
            ("recommend", "What they might like, best first, each with a true reason.", Wanted, self.recommend),
            ("search", "Items by title; finds their ids.", Sought, self.search),
            ("explain", "Why an item would, or would not, suit them.", One, self.explain),
            ("compare", "The catalogue's facts of some items side by side.", Several, self.compare),
            ("profile", "What is believed about this person.", Nothing, self.profile),
            ("remember", "Write down a lasting taste that the message states.", Taste, self.remember),
            ("steer", "Add a wish for now: it filters what is recommended until it is taken back.", Now, self.steer),
        )
        return [
            StructuredTool(
                name=name,
                description=about,
                args_schema=inputs,
                func=self._bounded(name, work),
                handle_tool_error=True,
                handle_validation_error=True,
            )
            for name, about, inputs, work in table
        ]

    def recommend(self, words: str = "", n: int = 5, where: Sequence[str] = ()) -> Any:
        wishes = [one.wish for one in self.turn.in_force]
        wanted = asked_for(self.turn.user, wishes, n, language=self.turn.language, without=self.turn.told)
        answer = self.means.recommend(
            wanted.user,
            n,
            words=" ".join(filter(None, [wanted.words, plain(words, 400)])),
            where=[*wanted.where, *where],
            surprise=wanted.surprise,
            language=wanted.language,
            allow_new=True,
            like=wanted.like,
            without=wanted.without,
        )
        self.answer = answer
        self.degraded = self.degraded or answer.degraded
        self.cards = {one.item.id: one for one in answer.items}
        return {
            "asked_for": [shown(one, self.turn.language) for one in wishes],
            "items": [self._told(one) for one in answer.items],
        }

    def search(self, words: str) -> Any:
        found = self.means.store.items(self.means.find(plain(words, 400))[:MOST_CARDS])
        return [self._known(one) for one in found.values()]

    def explain(self, item: str) -> Any:
        one = self.turn.card_of.get(item) or self.means.explain(self.turn.user, item)
        self.talked_about.append(one.item.id)
        return self._told(one)

    def compare(self, items: Sequence[str]) -> Any:
        found = self.means.store.items(items)
        self.talked_about += found
        return [self._known(one) for one in found.values()]

    def profile(self) -> Any:
        found = self.means.profile(self.turn.user)
        if found is None:
            return {"tags": [], "persona": ""}
        for one in found.tags:
            (self.likes if one.polarity > 0 else self.dislikes).add(one.name)
        return {
            "likes": [one.name for one in found.tags if one.polarity > 0],
            "dislikes": [one.name for one in found.tags if one.polarity < 0],
            "persona": found.persona,
        }

    def remember(self, taste: str, likes: bool = True) -> Any:
        said = self.turn.remember(taste, likes)
        return {"written_down": said} if said else {"refused": "the message does not say so"}

    def steer(self, words: str) -> Any:
        self.turn.in_force = self.turn.steer(words)
        return {"asked_for": [shown(one.wish, self.turn.language) for one in self.turn.in_force]}

    def _bounded(self, name: str, work: Callable[..., Any]) -> Callable[..., str]:
        """`work` within the turn's bounds, its result as JSON; what is raised on purpose is told to the model."""
        from langchain_core.tools import ToolException

        def _call(**given: Any) -> str:
            with self.lock:
                call = f"{name} {json.dumps(given, sort_keys=True, default=str)}"
                self.calls[call] += 1
                if self.calls.total() > TOOL_CALLS or self.calls[call] > SAME_CALLS:
                    raise ToolException(ENOUGH)
                try:
                    return json.dumps(work(**given), ensure_ascii=False)
                except GONE:
                    raise
                except RapportError as error:
                    raise ToolException(plain(str(error), 300)) from error

        return _call

    def _told(self, one: Recommendation) -> dict[str, Any]:
        return self._known(one.item) | {"reason": one.reason}

    def _known(self, item: Item) -> dict[str, Any]:
        self.items[item.id] = item
        return {
            "id": item.id,
            "title": plain(item.title, 120),
            "facts": phrases.facts(item, self.means.domain, self.turn.language),
        }

    # what is shown

    def ranked(self, n: int) -> tuple[Recommendation, ...]:
        return tuple(list(self.cards.values())[: max(n, 1)])

    @property
    def provenance(self) -> Provenance:
        """Of the list, with what leading the turn took."""
        assert self.answer is not None
        of_list, led = self.answer.provenance, self.limited
        return Provenance(
            model=of_list.model,
            prompts=tuple(dict.fromkeys([*filter(None, [self.prompt]), *of_list.prompts])),
            prompt_tokens=of_list.prompt_tokens + (led.prompt_tokens if led else 0),
            completion_tokens=of_list.completion_tokens + (led.completion_tokens if led else 0),
            ms=of_list.ms,
            profile_version=of_list.profile_version,
            notes=of_list.notes,
        )

    def vouched_for(self, said: str) -> str:
        """Those sentences of a text that say nothing beyond what the tools returned."""
        facts, rules = self.facts(), Rules(400, self.turn.language)
        sentences = [one for one in SENTENCE.split(" ".join(said.split())) if one and not ITSELF.search(one)]
        kept = [one for one in sentences if not check(one, facts, rules)]
        return ("" if self.turn.language == "zh" else " ").join(kept[:MOST_SENTENCES])

    def facts(self) -> Facts:
        """What may be said in this turn: of the items that tools spoke of, and of tastes that were looked at."""
        language = self.turn.language
        events = {one.item: one for one in self.means.store.events(self.turn.user)}
        shown = list(self.items.values())
        receipts = {each.item for one in self.cards.values() for each in one.receipts}
        had = self.means.store.items(receipts | {one.id for one in shown if one.id in events})
        everything = [*shown, *had.values()]
        makers = {name for one in everything for name in creators(one)}
        return Facts(
            known={one.title: numbers_of(one) | stars(rated(events.get(one.id))) for one in had.values()},
            offered={one.title: numbers_of(one) for one in shown},
            liked=frozenset(one.title for one in had.values() if liked(events.get(one.id))),
            makers={name: frozenset(one.title for one in everything if name in creators(one)) for name in makers},
            terms=frozenset(self.likes),
            aversions=frozenset(self.dislikes),
            traits=frozenset(
                text for one in shown for name in one.categories for text in (name, label(f"category:{name}", language))
            ),
            nouns=frozenset({noun(self.means.domain, language), plural(noun(self.means.domain))}),
            numbers=numbers_in(self.turn.text),
        )


def numbers_of(item: Item) -> frozenset[str]:
    length = number(item, "minutes")
    return year(item.attributes.get("year")) | (numbers_in(f"{length:g}") if length else frozenset())


def rated(event: Event | None) -> float | None:
    return event.value if event and event.kind in ("rating", "review") else None


def liked(event: Event | None) -> bool:
    return event is not None and (event.kind in ("like", "purchase") or (rated(event) or 0) >= LIKED)
