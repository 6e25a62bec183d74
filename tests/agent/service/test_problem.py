"""Errors: each of the tree has its status, and nobody reads what they should not."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from agent import errors
from agent.errors import RapportError
from agent.service import problem


def tree(kind: type[RapportError] = RapportError) -> Iterator[type[RapportError]]:
    yield kind
    for below in kind.__subclasses__():
        if below.__module__ == "agent.errors":
            yield from tree(below)


def one(kind: type[RapportError]) -> RapportError:
    more = ("reason",) if issubclass(kind, errors.CallFailed) else ()
    return kind("said", *more)


@pytest.mark.parametrize("kind", list(tree()))
def test_every_error_has_its_place_in_the_table(kind):
    assert kind in problem.STATUS
    answer = problem.of_error("id", one(kind))
    assert answer.status_code in problem.MEANING
    assert (answer.status_code == 503) <= ("retry-after" in answer.headers)


def test_the_table_names_nothing_else():
    assert set(problem.STATUS) == set(tree())


def broken(service, error: BaseException):
    def fail(*args: object, **named: object):
        raise error

    service.rapport.__dict__["recommender"] = fail
    return service.get("/api/people/mara/recommendations")


@pytest.mark.parametrize("kind", [errors.StoreBusy, errors.StoreError, errors.Unavailable, errors.SetupError])
def test_what_is_away_is_worth_asking_again(service, kind):
    said = broken(service, kind("the reason"))
    assert (said.status_code, said.json()["detail"]) == (503, "the reason")
    assert int(said.headers["retry-after"]) > 0


def test_what_was_not_foreseen_is_not_explained_to_strangers(service, caplog):
    said = broken(service, ValueError("a secret of mara"))
    assert said.status_code == 500
    assert said.headers["content-type"] == problem.MEDIA
    assert "secret" not in said.text
    assert "Traceback" not in said.text
    assert said.json()["request_id"] in caplog.text
    assert service.get("/api/people/mara/profile").status_code == 200


BAD = [
    b'{"user":"a","item":"b","kind":"rating","value":NaN}',
    b'{"user":"a","item":"b","kind":"rating","value":Infinity}',
    b'{"user":"a","item":"b","kind":"rating","value":1e999}',
    b'{"user":"a","item":"b","kind":"rating","value":' + b"9" * 5000 + b"}",
    b'{"user":"a\\ud800","item":"b","kind":"like"}',
    b'{"user":"a","item":"b","kind":"like","text":"\\udfff"}',
    b'{"user":"a","item":"b","kind":"like","\\ud800":1}',
    b'{"user":"a","item":"b","kind":"like","at":1e300}',
    b'{"user":"a","item":"b","kind":"like","at":"0001-01-01"}',
    b'{"user":"a","item":"b","kind":"like","at":"9999-12-31T23:59:59-23:59"}',
    b'{"user":"a","item":"b","kind":"like","more":1}',
    b'{"user":["a"],"item":"b","kind":"like"}',
    b'{"user":"\\u0000","item":"b","kind":"like"}',
    b'{"user":"a","item":"b","kind":"view","value":1}',
    b'{"user":"a","item":"b","kind":"play","value":0}',
    b'{"user":"a","item":"b","kind":"review"}',
    b"[" * 100_000,
    b'{"a":' * 100_000,
    b"\xff\xfe",
    b"",
    b"null",
    b"[]",
    b'"' + b"x" * 900_000 + b'"',
]


@pytest.mark.parametrize("body", BAD, ids=lambda body: repr(body[:60]))
def test_bodies_that_nobody_should_send(service, body):
    before = service.rapport.store.count_events()
    said = service.client.post("/api/events", content=body, headers={"Content-Type": "application/json"})
    assert said.status_code in (400, 422)
    assert said.headers["content-type"] == problem.MEDIA
    assert service.rapport.store.count_events() == before
    bulk = service.client.post("/api/events/bulk", content=body)
    assert bulk.status_code == 200
    assert bulk.json()["added"] == 0


@pytest.mark.parametrize("chunked", [False, True])
def test_a_body_that_is_too_large_is_a_problem_too(serve, chunked):
    service = serve(body=1000)
    body = iter([b"x" * 600, b"x" * 600]) if chunked else b"x" * 1200
    said = service.client.post("/api/events", content=body, headers={"Content-Type": "application/json"})
    assert said.status_code == 413
    assert said.headers["content-type"] == problem.MEDIA
    assert said.json()["type"] == "urn:rapport:too-much"
    assert said.headers["x-request-id"] == said.json()["request_id"]


@pytest.mark.parametrize(
    ("method", "path", "headers", "status"),
    [
        ("POST", "/v1/chat/completions", {}, 413),
        ("GET", "/v1/models", {"Host": "evil.example"}, 421),
        ("GET", "/v1/models", {"Origin": "http://evil.example"}, 403),
        ("GET", "/v1/nothing", {}, 404),
        ("DELETE", "/v1/models", {}, 405),
    ],
)
def test_what_no_route_answers_has_openais_form_where_openais_clients_ask(serve, method, path, headers, status):
    service = serve(body=1000)
    body = b"x" * 1200 if status == 413 else None
    said = service.client.request(method, path, content=body, headers=headers)
    assert said.status_code == status
    assert said.headers["content-type"] == "application/json"
    assert set(said.json()) == {"error"}
    assert said.json()["error"]["type"] == ("permission_error" if status == 403 else "invalid_request_error")
    assert said.json()["error"]["message"]
    assert said.headers["x-request-id"]


def test_what_nobody_foresaw_has_it_too(service, monkeypatch):
    def broken(*args, **named):
        raise ZeroDivisionError("secret")

    monkeypatch.setattr(type(service.rapport.chat), "reply", broken)
    said = service.post("/v1/chat/completions", {"messages": [{"role": "user", "content": "a comedy"}], "user": "ann"})
    assert said.status_code == 500
    assert said.json()["error"]["type"] == "server_error"
    assert "secret" not in said.text


def test_what_was_sent_is_not_repeated(service):
    said = service.post("/api/events", {"user": "a", "item": "b", "kind": "my-secret", "value": "more-secret"})
    assert said.status_code == 422
    assert "secret" not in said.text
    assert {one["where"] for one in said.json()["errors"]} == {"body.kind", "body.value"}
