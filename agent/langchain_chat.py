"""Any of Rapport's language models as a LangChain chat model, tools included; knows no person and no catalogue.

One of the very few files that know LangChain; needs the package langchain-core and imports it when it is imported.
"""

from __future__ import annotations

import json
import uuid
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

from langchain_core.callbacks import CallbackManagerForLLMRun
from langchain_core.language_models import BaseChatModel, LanguageModelInput
from langchain_core.messages import AIMessage, AIMessageChunk, BaseMessage, SystemMessage, ToolMessage
from langchain_core.messages.ai import UsageMetadata
from langchain_core.messages.tool import tool_call_chunk
from langchain_core.outputs import ChatGeneration, ChatGenerationChunk, ChatResult
from langchain_core.runnables import Runnable
from langchain_core.tools import BaseTool
from langchain_core.utils.function_calling import convert_to_openai_tool
from pydantic import ConfigDict, Field

from agent.ask import chat_of, template_of
from agent.llm.base import LLM, Message, Schema
from agent.types import Language

MOST_ITEMS = 8
"""In an array that a tool takes, where the tool sets no bound."""
LARGEST = 1_000_000
"""Of a number that a tool takes, where the tool sets no bound."""
MOST_TEXT = 1000
"""Characters of a string in a call, and of a reply."""


class RapportChatModel(BaseChatModel):
    """A model of `agent.llm` for LangChain; it stays open as long as this is used, and is its owner's to close.

    With tools the model is held to a schema: either one call of one tool with valid arguments, or a reply. Small models
    call tools badly however they are held: bound the agent's calls, or use Rapport's own conversation. Raises LLMError.
    """

    model_config = ConfigDict(arbitrary_types_allowed=True)

    llm: Any
    """An agent.llm.base.LLM."""
    max_tokens: int = Field(default=400, ge=1)
    language: Language = "en"
    """Of the words that explain the tools to the model."""

    @property
    def _llm_type(self) -> str:
        return "rapport"

    @property
    def _identifying_params(self) -> Mapping[str, Any]:
        return {"model": self._model.name, "max_tokens": self.max_tokens}

    @property
    def _model(self) -> LLM:
        return self.llm

    def bind_tools(  # type: ignore[override]
        self,
        tools: Sequence[dict[str, Any] | type | Callable[..., Any] | BaseTool],
        *,
        tool_choice: str | None = None,
    ) -> Runnable[LanguageModelInput, AIMessage]:
        """`tool_choice`: auto or None, any or required, none, or the name of the one tool to be called."""
        return self.bind(tools=[convert_to_openai_tool(one)["function"] for one in tools], tool_choice=tool_choice)

    def _generate(
        self,
        messages: list[BaseMessage],
        stop: list[str] | None = None,
        run_manager: CallbackManagerForLLMRun | None = None,
        tools: Sequence[Mapping[str, Any]] = (),
        tool_choice: str | None = None,
        **kwargs: Any,
    ) -> ChatResult:
        offered = [] if tool_choice == "none" else list(tools)
        chat = chat_with(messages, offered, self.language)
        schema = step(offered, tool_choice) if offered else None
        (done,) = self._model.generate([chat], schema=schema, max_tokens=self.max_tokens)
        message = read(done.text, {str(one["name"]) for one in offered}) if offered else AIMessage(done.text)
        if stop and isinstance(message.content, str):
            message.content = until(message.content, stop)
        message.usage_metadata = UsageMetadata(
            input_tokens=done.prompt_tokens,
            output_tokens=done.completion_tokens,
            total_tokens=done.prompt_tokens + done.completion_tokens,
        )
        message.response_metadata = {"finish_reason": done.finish, "model_name": self._model.name}
        return ChatResult(generations=[ChatGeneration(message=message)])

    def _stream(
        self,
        messages: list[BaseMessage],
        stop: list[str] | None = None,
        run_manager: CallbackManagerForLLMRun | None = None,
        **kwargs: Any,
    ) -> Iterator[ChatGenerationChunk]:
        if kwargs.get("tools") or stop:
            # What is called is only known at the end.
            message = self._generate(messages, stop, run_manager, **kwargs).generations[0].message
            assert isinstance(message, AIMessage)
            calls = [
                tool_call_chunk(name=one["name"], args=json.dumps(one["args"]), id=one["id"], index=number)
                for number, one in enumerate(message.tool_calls)
            ]
            yield ChatGenerationChunk(
                message=AIMessageChunk(
                    content=message.content, tool_call_chunks=calls, usage_metadata=message.usage_metadata
                )
            )
            return
        for piece in self._model.stream(chat_with(messages, (), self.language), max_tokens=self.max_tokens):
            chunk = ChatGenerationChunk(message=AIMessageChunk(content=piece))
            if run_manager:
                run_manager.on_llm_new_token(piece, chunk=chunk)
            yield chunk


def chat_with(messages: Sequence[BaseMessage], tools: Sequence[Mapping[str, Any]], language: Language) -> list[Message]:
    """The messages as a chat: what is said to the system first, then the two in turns, as templates want it."""
    system = [text_of(one) for one in messages if isinstance(one, SystemMessage)]
    if tools:
        listed = [
            f"{one['name']}{json.dumps(strict(one.get('parameters') or {})['properties'], ensure_ascii=False)}: "
            f"{one.get('description', '')}"
            for one in tools
        ]
        system += [one.content for one in chat_of(template_of("tools", language), {"tools": listed})]
    chat = [Message("system", "\n\n".join(system))] if system else []
    for one in messages:
        if isinstance(one, SystemMessage):
            continue
        role = "assistant" if isinstance(one, AIMessage) else "user"
        said = spoken(one)
        if chat and chat[-1].role == role:
            chat[-1] = Message(role, f"{chat[-1].content}\n\n{said}")
        else:
            chat.append(Message(role, said))
    return chat


def spoken(message: BaseMessage) -> str:
    """A message as text; what was called and what came of it as the JSON that the model knows."""
    if isinstance(message, AIMessage) and message.tool_calls:
        call = message.tool_calls[0]
        return json.dumps({"next": {"tool": call["name"], "arguments": call["args"]}}, ensure_ascii=False)
    if isinstance(message, ToolMessage):
        return json.dumps({"tool": message.name or "", "returned": text_of(message)}, ensure_ascii=False)
    return text_of(message)


def text_of(message: BaseMessage) -> str:
    return message.content if isinstance(message.content, str) else str(message.text)


def step(tools: Sequence[Mapping[str, Any]], choice: str | None) -> Schema:
    """What may come next: a call of one of `tools`, or a reply unless a call is wanted."""
    must = choice not in (None, "auto")
    named = [one for one in tools if one["name"] == choice] or list(tools)
    reply = closed({"reply": {"type": "string", "maxLength": MOST_TEXT}})
    calls = [closed({"tool": {"type": "string", "const": one["name"]}} | arguments(one)) for one in named]
    options = calls if must else [*calls, reply]
    return closed({"next": {"anyOf": options} if len(options) > 1 else options[0]})


def arguments(tool: Mapping[str, Any]) -> dict[str, Schema]:
    """What a call of a tool holds beside its name: nothing where the tool takes nothing."""
    taken = strict(tool.get("parameters") or {})
    return {"arguments": taken} if taken.get("properties") else {}


def closed(properties: Mapping[str, Any]) -> Schema:
    return {
        "type": "object",
        "properties": dict(properties),
        "required": list(properties),
        "additionalProperties": False,
    }


def strict(schema: Mapping[str, Any], definitions: Mapping[str, Any] | None = None) -> Schema:
    """A tool's parameters in the part of JSON schema that every model can be held to: all given, all bounded."""
    known = definitions or schema.get("$defs") or {}
    if reference := schema.get("$ref"):
        return strict(known[str(reference).rpartition("/")[2]], known)
    if options := schema.get("anyOf"):
        return {"anyOf": [strict(one, known) for one in options]}
    if "enum" in schema:
        return {"type": "string", "enum": list(schema["enum"])}
    match schema.get("type"):
        case "array":
            items = strict(schema.get("items") or {"type": "string"}, known)
            return {"type": "array", "items": items, "maxItems": min(schema.get("maxItems", MOST_ITEMS), MOST_ITEMS)}
        case "string":
            return {"type": "string", "maxLength": min(schema.get("maxLength", MOST_TEXT), MOST_TEXT)}
        case "integer" | "number" as kind:
            bounds = {"minimum": schema.get("minimum", 0), "maximum": schema.get("maximum", LARGEST)}
            return {"type": kind, **bounds}
        case "boolean" | "null" as kind:
            return {"type": kind}
        case _:
            return closed({name: strict(one, known) for name, one in (schema.get("properties") or {}).items()})


def read(text: str, tools: set[str]) -> AIMessage:
    """Whatever a model wrote as a message: a call where it is one of a tool that there is, else words."""
    try:
        value = json.loads(text)
    except ValueError:
        return AIMessage(text)
    found = value.get("next", value) if isinstance(value, dict) else None
    if not isinstance(found, dict):
        return AIMessage(text)
    name, given = found.get("tool"), found.get("arguments", {})
    if isinstance(name, str) and name in tools and isinstance(given, dict):
        call = {"name": name, "args": given, "id": f"call_{uuid.uuid4().hex[:24]}", "type": "tool_call"}
        return AIMessage("", tool_calls=[call])
    reply = found.get("reply")
    return AIMessage(reply if isinstance(reply, str) else text)


def until(text: str, stop: Sequence[str]) -> str:
    """`text` up to the first of `stop`."""
    for one in stop:
        text = text.partition(one)[0]
    return text
