"""The conversation over HTTP: what comes in which order, what is written down, and who may."""

from __future__ import annotations

import json

import pytest
from pydantic import TypeAdapter

from agent import sample
from agent.errors import Unavailable
from agent.llm.scripted import Scripted
from agent.service import schemas
from agent.service.problem import Problem

KINDS = {
    one.model_fields["part"].annotation.__args__[0]: TypeAdapter(one)  # type: ignore[union-attr]
    for one in schemas.PARTS
}


def parts(text: str) -> list[dict]:
    """The events of a stream, each checked against its description."""
    found = []
    for block in text.split("\n\n"):
        if not block or block.startswith(":"):
            continue
        name, _, data = block.partition("\n")
        value = json.loads(data.removeprefix("data: "))
        kind = name.removeprefix("event: ")
        if kind == "error":
            Problem.model_validate(value)
        else:
            assert value["part"] == kind
            KINDS[kind].validate_python(value)
        found.append(value | {"event": kind})
    return found


def said(service, text: str, user: str = "mara", key: str = "", **more) -> list[dict]:
    answer = service.post(f"/api/people/{user}/chat", {"text": text} | more, key)
    assert answer.status_code == 200, answer.text
    assert answer.headers["content-type"].startswith("text/event-stream")
    return parts(answer.text)


def kinds(found: list[dict]) -> list[str]:
    return [one["event"] for one in found]


def test_words_come_first_then_cards_then_what_was_understood_then_the_end(service):
    found = said(service, "a comedy under 100 minutes", conversation="c", n=3)
    assert kinds(found) == ["words", "cards", "understood", "done"]
    assert found[0]["text"].startswith("Here is what fits")
    assert len(found[1]["items"]) == 3
    assert {one["text"] for one in found[2]["wishes"]} == {"Comedy", "at most 100 minutes"}
    assert (found[3]["conversation"], found[3]["number"]) == ("c", 1)


def test_a_new_conversation_is_named_and_can_be_gone_on_with(service):
    first = said(service, "something like Alien")
    again = said(service, "why 1?", conversation=first[-1]["conversation"])
    assert again[-1]["number"] == 2
    assert next(one for one in first if one["event"] == "cards")["items"][0]["title"] in again[0]["text"]
    assert said(service, "hello")[-1]["conversation"] != first[-1]["conversation"]


def test_the_whole_reply_can_be_had_at_once(service):
    asked = {"text": "a comedy", "conversation": "c", "stream": False}
    whole = service.post("/api/people/mara/chat", asked).json()
    assert whole["words"]
    assert whole["items"]
    assert whole["conversation"] == "c"


def test_somebody_new_is_asked_in_return(service):
    found = said(service, "hi", user="nobody yet")
    assert kinds(found) == ["words", "question", "understood", "done"]
    assert len(found[1]["options"]) > 1


def test_what_was_said_can_be_read_again(service):
    first = said(service, "I loved Heat, something like it?", conversation="c")
    said(service, "hello", conversation="d")
    listed = service.get("/api/people/mara/conversations").json()["conversations"]
    assert [(one["id"], one["turns"]) for one in listed] == [("d", 1), ("c", 1)]
    (turn,) = service.get("/api/people/mara/conversations/turns?conversation=c").json()["turns"]
    assert turn["text"] == "I loved Heat, something like it?"
    assert turn["words"] == "".join(one["text"] for one in first if one["event"] == "words")
    cards = next(one for one in first if one["event"] == "cards")["items"]
    assert [(one["item"], one["reason"]) for one in turn["items"]] == [(one["item"], one["reason"]) for one in cards]


def test_wishes_are_seen_and_taken_back(service):
    said(service, "a comedy under 100 minutes, no horror")
    wishes = service.get("/api/people/mara/wishes").json()["wishes"]
    assert {one["text"] for one in wishes} == {"Comedy", "at most 100 minutes", "no Horror"}
    assert all(one["expires"] and one["quote"].startswith("a comedy") for one in wishes)
    horror = next(one for one in wishes if "Horror" in one["text"])
    gone = service.post("/api/people/mara/wishes/revoke", {"slot": horror["key"]}).json()["wishes"]
    assert [one["text"] for one in gone] == ["no Horror"]
    assert len(service.post("/api/people/mara/wishes/revoke", {}).json()["wishes"]) == 2
    assert service.get("/api/people/mara/wishes").json() == {"wishes": []}


def test_an_opinion_counts_at_once_and_is_taken_back_where_it_was_given(service):
    cards = next(one for one in said(service, "recommend me something", conversation="c") if one["event"] == "cards")
    item = cards["items"][0]
    body = {"item": item["item"], "opinion": "disliked", "conversation": "c"}
    noted = service.post("/api/people/mara/opinions", body).json()
    assert (noted["title"], noted["opinion"]) == (item["title"], "disliked")
    assert noted["event"] in {one.id for one in service.rapport.store.events("mara")}
    listed = service.get("/api/people/mara/recommendations?n=20").json()["items"]
    assert item["item"] not in {one["item"] for one in listed}
    undone = service.post("/api/people/mara/conversations/undo", {"conversation": "c"}).json()["undone"]
    assert len(undone) == 1
    assert item["title"] in undone[0]
    assert noted["event"] not in {one.id for one in service.rapport.store.events("mara")}
    assert service.post("/api/people/mara/opinions", body | {"item": "nothing"}).status_code == 404


@pytest.mark.parametrize(
    ("body", "status"),
    [
        ({"text": ""}, 422),
        ({"text": "\u200b \n"}, 422),
        ({"text": "x" * 2001}, 422),
        ({"text": "hi", "n": 21}, 422),
        ({"text": "hi", "conversation": "x" * 201}, 422),
        ({"text": "hi", "who": "piet"}, 422),
    ],
)
def test_what_cannot_be_answered_is_said_before_anything_is_sent(service, body, status):
    answer = service.post("/api/people/mara/chat", body)
    assert answer.status_code == status
    assert answer.headers["content-type"] == "application/problem+json"
    assert service.get("/api/people/mara/conversations").json() == {"conversations": []}


def test_a_key_speaks_for_its_person_and_for_nobody_else(service):
    mara, reader = service.key(user="mara"), service.key("read")
    assert said(service, "hello", key=mara)[-1]["event"] == "done"
    assert service.post("/api/people/piet/chat", {"text": "hello"}, mara).status_code == 403
    assert service.post("/api/people/mara/chat", {"text": "hello"}, reader).status_code == 403
    assert service.get("/api/people/piet/wishes", mara).status_code == 403
    assert service.get("/api/people/piet/conversations", reader).status_code == 200


def test_a_dead_model_costs_wording_and_no_answer(serve):
    def dead(chat) -> str:
        raise Unavailable("the model is down")

    found = said(serve(Scripted(dead)), "a comedy", user="piet")
    assert kinds(found)[0:2] == ["words", "cards"]
    assert found[-1]["event"] == "done"
    assert {one["written_by"] for one in found[1]["items"]} == {"template"}


def test_what_fails_in_the_middle_ends_the_stream_with_a_problem(service, monkeypatch):
    from agent.recommend.recommender import Recommender

    def broken(*_: object, **__: object) -> None:
        raise ZeroDivisionError("a secret of the house")

    service.desk.warm()
    monkeypatch.setattr(Recommender, "__call__", broken)
    found = said(service, "a comedy", conversation="c")
    assert kinds(found) == ["words", "error"]
    assert found[-1]["type"] == "urn:rapport:unforeseen"
    assert "secret" not in json.dumps(found)
    (turn,) = service.get("/api/people/mara/conversations/turns?conversation=c").json()["turns"]
    assert turn["ended"] == "aborted"


def test_every_event_is_described(service):
    described = service.get("/openapi.json").json()
    content = described["paths"]["/api/people/{user}/chat"]["post"]["responses"]["200"]["content"]
    assert set(content) == {"application/json", "text/event-stream"}
    shapes = content["text/event-stream"]["itemSchema"]["properties"]["data"]["contentSchema"]["oneOf"]
    names = {one["$ref"].rpartition("/")[2] for one in shapes}
    assert names == {one.__name__ for one in schemas.PARTS} | {"Problem"}
    assert names <= set(described["components"]["schemas"])


def test_people_of_the_sample_can_talk_in_chinese(service):
    found = said(service, "推荐一部喜剧", user=next(iter(sample.PEOPLE)))
    assert found[0]["text"].startswith("符合")
