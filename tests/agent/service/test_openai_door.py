"""Rapport as OpenAI's clients see it: the official one and the `llm` command, neither of which knows Rapport."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import openai
import pytest

from agent import sample
from agent.service.access import USER_HEADER

Client = Callable[..., openai.OpenAI]
TITLES = {one.title for one in sample.films()}
LISTED = re.compile(r"^\d+\. \*\*(.+?)\*\* \((\d{4})\): (.+)$", re.MULTILINE)
OPEN_WEBUI = """### Task:
{}
### Guidelines:
- Be brief.
### Output:
JSON format: {{ "{}": "" }}
### Chat History:
<chat_history>
USER: I loved Heat, give me a short comedy without horror tonight
ASSISTANT: Here is what fits.
</chat_history>"""


@pytest.fixture
def client() -> Iterator[Client]:
    """Opens clients of a service, and closes them."""
    with ExitStack() as stack:

        def open_(service, key: str = "any", **headers: str) -> openai.OpenAI:
            url = f"{service.url}/v1"
            return stack.enter_context(openai.OpenAI(base_url=url, api_key=key, max_retries=0, default_headers=headers))

        yield open_


class Talk:
    """A chat program: it sends all that was said each time."""

    def __init__(self, asked: openai.OpenAI, stream: bool) -> None:
        self.asked, self.stream, self.messages = asked, stream, [{"role": "system", "content": "Be nice."}]

    def __call__(self, text: str) -> str:
        self.messages.append({"role": "user", "content": text})
        said = self._streamed() if self.stream else self._whole()
        self.messages.append({"role": "assistant", "content": said})
        return said

    def _whole(self) -> str:
        done = self.asked.chat.completions.create(model="rapport", messages=self.messages, temperature=0.7)  # type: ignore
        assert done.choices[0].finish_reason == "stop"
        assert done.usage
        assert done.usage.total_tokens == done.usage.prompt_tokens + done.usage.completion_tokens > 0
        return done.choices[0].message.content or ""

    def _streamed(self) -> str:
        text, reason, usage = "", None, None
        for chunk in self.asked.chat.completions.create(
            model="rapport",
            messages=self.messages,
            stream=True,
            stream_options={"include_usage": True},  # type: ignore
        ):
            usage = chunk.usage or usage
            for choice in chunk.choices:
                text += choice.delta.content or ""
                reason = choice.finish_reason or reason
        assert reason == "stop"
        assert usage
        assert usage.completion_tokens > 0
        return text


def shown(text: str) -> list[tuple[str, int]]:
    return [(title, int(year)) for title, year, _ in LISTED.findall(text)]


@pytest.mark.parametrize("stream", [False, True])
def test_a_conversation_of_several_turns(client, live, stream):
    service = live()
    talk = Talk(client(service), stream)
    first = talk("I want something like Alien")
    assert first.startswith("More like Alien:")
    assert len(shown(first)) == 5
    assert {title for title, _ in shown(first)} <= TITLES
    second = talk("more like 1, but newer and no horror")
    year = shown(first)[0][1]
    assert shown(second)
    assert all(made > year for _, made in shown(second))
    third = talk("why 1?")
    assert third.startswith(shown(second)[0][0])
    fourth = talk("I loved Heat")
    assert "Noted: you like Heat." in fourth
    chat = service.desk.rapport.chat
    assert [(turns) for _, _, turns in chat.conversations("me")] == [4]
    # Who wants something like Alien knows it; what they think of it they have not said.
    events = service.desk.rapport.store.events("me")
    assert [(one.kind, one.value, one.text) for one in events] == [
        ("review", None, "I want something like Alien"),
        ("like", None, "I loved Heat"),
    ]


def test_the_streamed_and_the_whole_answer_are_the_same(client, live):
    service = live()
    one, other = (Talk(client(service, **{USER_HEADER: "mara"}), stream) for stream in (False, True))
    assert one("a quiet drama") == other("a quiet drama").strip()


def test_answering_again_and_editing_teach_nothing_twice(client, live):
    service = live()
    asked = client(service)
    talk = Talk(asked, True)
    talk("hello")
    for text in ("I loved Heat", "I loved Heat", "I loved Ran"):
        talk(text)
        del talk.messages[-2:]
    events = service.desk.rapport.store.events("me")
    assert [(one.item, one.kind) for one in events] == [("ran-1985", "like")]


def test_models(client, live):
    asked = client(live())
    assert [one.id for one in asked.models.list()] == ["rapport"]
    assert asked.models.retrieve("rapport").id == "rapport"
    with pytest.raises(openai.NotFoundError):
        asked.models.retrieve("gpt-9")


@pytest.mark.parametrize(
    ("wording", "field", "kind"),
    [
        ("Generate a concise, 3-5 word title with an emoji summarizing the chat history.", "title", str),
        ("Generate 1-3 broad tags categorizing the main themes of the chat history.", "tags", list),
        ("Suggest 3-5 relevant follow-up questions or prompts that the user might ask next.", "follow_ups", list),
        ("Analyze the chat history to determine the necessity of generating search queries.", "queries", list),
        ("You are an autocompletion system. Continue the text in `<text>`.", "text", str),
    ],
)
@pytest.mark.parametrize("stream", [False, True])
def test_what_open_webui_asks_for_itself_touches_nobody(client, live, wording, field, kind, stream):
    service = live()
    said = Talk(client(service, **{USER_HEADER: "mara"}), stream)(OPEN_WEBUI.format(wording, field))
    value = json.loads(said)
    assert isinstance(value[field], kind)
    if field == "title":
        assert value["title"] == "I Loved Heat Give Me"
    untouched(service, "mara")


@pytest.mark.parametrize(
    "prompt",
    [
        "Provide a concise, 5-word-or-less title for the conversation, using title case conventions. Only return the "
        "title itself.\n\nConversation:\nUser: I loved Heat, a comedy please\nAI: Here.",
        "Please generate a concise title (max 40 characters) for a conversation that starts with:\n"
        "User: I loved Heat, a comedy please\nAssistant: Here.\n\nTitle:",
    ],
)
def test_what_librechat_asks_for_itself_touches_nobody(client, live, prompt):
    service = live()
    assert Talk(client(service, **{USER_HEADER: "mara"}), False)(prompt) == "I Loved Heat A Comedy"
    untouched(service, "mara")


def test_a_title_in_fields(client, live):
    service = live()
    text = (
        "Analyze this conversation and provide:\n1. The detected language of the conversation\n2. A concise title in "
    )
    text += "the detected language (5 words or less, no punctuation or quotation)\n\nUser: 我喜欢喜剧\nAI: 好的"
    messages = [{"role": "user", "content": text}]
    tool = {"type": "function", "function": {"name": "title", "parameters": {"type": "object"}}}
    asked = client(service)
    done = asked.chat.completions.create(model="rapport", messages=messages, tools=[tool])  # type: ignore
    assert done.choices[0].finish_reason == "tool_calls"
    (call,) = done.choices[0].message.tool_calls or ()
    assert json.loads(call.function.arguments) == {"language": "Chinese", "title": "我喜欢喜剧"}  # type: ignore
    form = {"type": "json_schema", "json_schema": {"name": "title", "schema": {}}}
    done = asked.chat.completions.create(model="rapport", messages=messages, response_format=form)  # type: ignore
    assert json.loads(done.choices[0].message.content or "")["title"] == "我喜欢喜剧"
    untouched(service, "me")


def untouched(service, user: str) -> None:
    rapport = service.desk.rapport
    assert rapport.chat.conversations(user) == []
    assert rapport.chat.wishes(user) == []
    assert not [one for one in rapport.store.events(user) if one.source == "chat"]
    assert rapport.store.edits(user) == []


def test_parts_of_content_and_unknown_parameters(client, live):
    content = [{"type": "text", "text": "a comedy"}, {"type": "image_url", "image_url": {"url": "data:,"}}]
    done = client(live()).chat.completions.create(
        model="whatever",
        messages=[{"role": "user", "content": content}],  # type: ignore
        n=1,
        seed=7,
        extra_body={"keep_alive": 5, "chat_id": "x", "metadata": {"a": None}},
    )
    assert len(shown(done.choices[0].message.content or "")) == 5


def spoken_to(service) -> set[str]:
    return {one.user for one in service.desk.rapport.chat.memory.rows.everybody()}


def test_whose_conversation_it_is(client, live):
    service = live(user_header="X-OpenWebUI-User-Id")
    keys = service.keys
    mara, proxy, reader = keys(user="mara"), keys("proxy"), keys("read")
    Talk(client(service, mara), False)("hello")
    assert spoken_to(service) == {"mara"}
    Talk(client(service, mara, **{"X-OpenWebUI-User-Id": "piet"}), False)("hello")
    assert spoken_to(service) == {"mara"}, "a key that is one person's speaks for nobody else"
    Talk(client(service, proxy, **{"X-OpenWebUI-User-Id": "otis"}), True)("hello")
    client(service, proxy).chat.completions.create(
        model="rapport", messages=[{"role": "user", "content": "hello"}], user="né"
    )
    assert spoken_to(service) == {"mara", "otis", "né"}
    for asked in (client(service, reader, **{USER_HEADER: "mara"}), client(service, proxy)):
        with pytest.raises(openai.PermissionDeniedError):
            Talk(asked, True)("hello")
    with pytest.raises(openai.AuthenticationError) as refused:
        Talk(client(service, "sk-wrong"), False)("hello")
    assert refused.value.body == {
        "message": "this API key is wrong or revoked", "type": "authentication_error", "param": None,
        "code": "invalid_api_key",
    }  # fmt: skip


@pytest.mark.parametrize("messages", [[], [{"role": "system", "content": "x"}], [{"role": "user", "content": " "}]])
def test_what_cannot_be_answered_is_an_error_of_theirs(client, live, messages):
    with pytest.raises(openai.BadRequestError) as refused:
        client(live()).chat.completions.create(model="rapport", messages=messages)
    assert refused.value.body["type"] == "invalid_request_error"  # type: ignore[index]


def test_nothing_in_a_title_becomes_markup_or_a_link(service):
    item = {"title": "<b>*Click* [here](http://evil.example) www.evil.example", "categories": ["Comedy"]}
    assert service.client.put("/api/items/evil", json=item).status_code == 200
    said = service.post(
        "/v1/chat/completions", {"messages": [{"role": "user", "content": "something like <b>*Click* [here]"}]}
    ).json()["choices"][0]["message"]["content"]
    whole = service.post(
        "/v1/chat/completions", {"messages": [{"role": "user", "content": "I liked Click here http://evil.example"}]}
    ).json()["choices"][0]["message"]["content"]
    for text in (said, whole):
        assert not re.search(r"(?<!\\)<|(?<!\\)\[|https?://|www\.", text)


def test_the_llm_command_holds_a_conversation(live, tmp_path):
    service = live()
    model = [
        {"model_id": "rapport", "model_name": "rapport", "api_base": f"{service.url}/v1", "api_key_name": "rapport"}
    ]
    (tmp_path / "extra-openai-models.yaml").write_text(json.dumps(model))
    (tmp_path / "keys.json").write_text('{"rapport": "any"}')
    env = os.environ | {"LLM_USER_PATH": str(tmp_path)}
    command = Path(sys.executable).with_name("llm")

    def said(*more: str) -> str:
        done = subprocess.run([command, *more], env=env, capture_output=True, text=True, timeout=120)
        assert done.returncode == 0, done.stderr
        return done.stdout

    first = said("-m", "rapport", "a comedy from the 1990s")
    assert shown(first)
    assert all(1990 <= year < 2000 for _, year in shown(first))
    again = said("-c", "--no-stream", "why 1?")
    assert again.startswith(shown(first)[0][0])
    assert shown(said("-c", "something else, please"))
    assert [turns for _, _, turns in service.desk.rapport.chat.conversations("me")] == [3]
