"""The description is true: whatever is sent, the answer is one that it names, in the form that it names."""

from __future__ import annotations

import json
import random
import re
import socket
from collections.abc import Container, Iterable

import pytest
import requests
import schemathesis
from hypothesis import HealthCheck, Phase, given, seed, settings
from hypothesis import strategies as st
from schemathesis import GenerationMode
from schemathesis.checks import not_a_server_error
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    response_headers_conformance,
    response_schema_conformance,
    status_code_conformance,
)

CHECKS = [
    not_a_server_error,
    status_code_conformance,
    content_type_conformance,
    response_headers_conformance,
    response_schema_conformance,
]
UNUSUAL = (HealthCheck.too_slow, HealthCheck.filter_too_much, HealthCheck.data_too_large)
KNOWN = {"user": ["mara", "piet", "né", "a/b"], "item": ["ran-1985", "rififi-1955", "own", "nothing"]}
WORST = [
    b'{"user":NaN}', b'{"a":1e999}', b'["\\ud800"]', b'{"\\udfff":"\\ud800"}', b"[" * 100_000, b'{"a":' * 100_000,
    b'"' + b"x" * 2_000_000 + b'"', b"\xff\xfe\x00", b"", b"null", b"9" * 6000, b'{"user":"a","user":"b"}', b"{",
]  # fmt: skip
GOOD = {
    "put /api/items/{item}": {"title": "Own", "text": "x", "categories": ["Drama"], "attributes": {"year": 1999}},
    "post /api/events": {"user": "a", "item": "ran-1985", "kind": "rating", "value": 4, "text": "x", "at": 1.7e9},
    "post /api/people/{user}/chat": {"text": "a comedy", "conversation": "c", "n": 2, "stream": False},
    "post /api/people/{user}/wishes/revoke": {"slot": "words"},
    "post /api/people/{user}/opinions": {"item": "ran-1985", "opinion": "liked", "conversation": "c"},
    "post /api/people/{user}/conversations/undo": {"conversation": "c"},
    "post /api/people/{user}/tags": {"action": "add", "name": "Own", "polarity": 1, "to": ""},
    "post /api/people/{user}/tags/preview": {"action": "add", "name": "Own", "polarity": 1, "to": ""},
    "post /v1/chat/completions": {"model": "rapport", "messages": [{"role": "user", "content": "hello"}], "user": "a"},
}  # fmt: skip
"""A body for every operation that reads one as JSON, to be spoilt in one place."""
SPOILT = {
    "NaN": b"NaN", "infinite": b"-Infinity", "overflow": b"1e999", "digits": b"9" * 5000, "surrogate": b'"\\ud800"',
    "key": b'{"\\udfff": 1}', "raw surrogate": b'"\xed\xa0\x80"', "zero": b'"\\u0000"', "null": b"null",
    "deep": b"[" * 400 + b"]" * 400, "deepest": b'{"a":' * 60_000 + b"1" + b"}" * 60_000,
    "huge": b'"' + b"x" * 400_000 + b'"', "long": b"[" + b'"x",' * 50_000 + b'"x"]',
}  # fmt: skip
NO_WORDS = ("%ED%A0%80", "%00", "%FF", "NaN", "-1e999", "9" * 5000, "..%2F..", "x" * 20_000, "%F0%9F%8F%BB", "null")
"""What stands in no path and no query, as it goes over the wire."""


@schemathesis.serializer("application/x-ndjson")
def lines(ctx: object, value: object) -> bytes:
    text = value if isinstance(value, str) else json.dumps(value)
    return text.encode("utf-8", "surrogatepass")


def schema_of(url: str):
    return schemathesis.openapi.from_url(f"{url}/openapi.json")


def sent(case, live, session) -> None:
    # Of the ids that are tried, some should exist.
    for name, ids in KNOWN.items():
        if name in (case.path_parameters or {}) and random.Random(case.id).random() < 0.7:
            case.path_parameters[name] = random.Random(case.id).choice(ids)
    response = case.call(base_url=live.url, session=session)
    case.validate_response(response, checks=CHECKS)
    assert "Traceback" not in response.text


def examine(live, examples: int) -> int:
    """Sends so many valid and invalid requests to every operation; says how many there were."""
    done = 0
    with requests.Session() as session:
        for result in schema_of(live.url).get_all_operations():
            operation = result.ok()
            cases = st.one_of(
                operation.as_strategy(generation_mode=GenerationMode.POSITIVE),
                operation.as_strategy(generation_mode=GenerationMode.NEGATIVE),
            )

            @seed(7)
            @settings(max_examples=examples, suppress_health_check=UNUSUAL, database=None, phases=[Phase.generate])
            @given(case=cases)
            def one(case) -> None:
                nonlocal done
                done += 1
                sent(case, live, session)

            one()
    return done


def test_whatever_is_sent_the_answer_is_as_described(live):
    assert examine(live(rate=10**9), 8) > 100


@pytest.mark.long
@pytest.mark.timeout(7200)
def test_however_much_is_sent(live):
    assert examine(live(rate=10**9), 1000) > 10_000


@pytest.mark.parametrize("body", WORST, ids=lambda body: repr(body[:24]))
def test_the_worst_bodies_to_every_operation(live, body):
    service = live(rate=10**9)
    described = requests.get(f"{service.url}/openapi.json", timeout=30).json()["paths"]
    for path, operations in described.items():
        for method, operation in operations.items():
            url = service.url + re.sub(r"\{\w+\}", "own", path)
            headers = {"Content-Type": "application/json"}
            said = requests.request(method, url, data=body, headers=headers, timeout=60)
            assert said.status_code < 500, (method, path)
            assert str(said.status_code) in operation["responses"], (method, path, said.status_code)


def operations(url: str) -> dict[str, dict]:
    """Every operation by its method and path."""
    described = requests.get(f"{url}/openapi.json", timeout=30).json()["paths"]
    return {f"{method} {path}": one for path, each in described.items() for method, one in each.items()}


def places(body: dict | list, at: tuple = ()) -> list[tuple]:
    """Where something stands in a body, at any depth."""
    inside = body.items() if isinstance(body, dict) else enumerate(body)
    deeper = [(value, (*at, key)) for key, value in inside]
    return [each for _, each in deeper] + [
        more for value, each in deeper if isinstance(value, dict | list) for more in places(value, each)
    ]


def spoilt(body: dict, place: tuple, by: bytes) -> bytes:
    copied = json.loads(json.dumps(body))
    around = copied
    for key in place[:-1]:
        around = around[key]
    around[place[-1]] = "@spoilt@"
    return json.dumps(copied).encode().replace(b'"@spoilt@"', by)


def as_described(said: requests.Response, operation: dict, about: object) -> None:
    assert said.status_code < 500, about
    assert str(said.status_code) in operation["responses"], (about, said.status_code)
    assert "Traceback" not in said.text
    said.content.decode("utf-8")


def mostly_long(values: Iterable[str], usual: Container[str]) -> list:
    """All of them as parameters; only the `usual` ones where nobody asks for the long tests."""
    return [pytest.param(one, id=one[:12], marks=() if one in usual else pytest.mark.long) for one in values]


@pytest.mark.parametrize("by", mostly_long(SPOILT, ("NaN", "surrogate")))
def test_one_value_of_a_good_body_is_the_worst(live, by):
    service = live(rate=10**9)
    described = operations(service.url)
    reads = {
        name for name, one in described.items() if "application/json" in one.get("requestBody", {}).get("content", {})
    }
    assert reads == set(GOOD)
    for name, good in GOOD.items():
        method, path = name.split()
        url = service.url + path.format(user="mara", item="own")
        for place in places(good):
            body = spoilt(good, place, SPOILT[by])
            said = requests.request(method, url, data=body, headers={"Content-Type": "application/json"}, timeout=60)
            as_described(said, described[name], (name, place))
    assert requests.get(f"{service.url}/api/people/mara/profile", timeout=60).status_code == 200


@pytest.mark.parametrize("word", mostly_long(NO_WORDS, ("%ED%A0%80", "NaN")))
def test_one_word_of_an_address_is_the_worst(live, word):
    service = live(rate=10**9)
    for name, one in operations(service.url).items():
        method, path = name.split()
        good = {"data": json.dumps(GOOD[name]), "headers": {"Content-Type": "application/json"}} if name in GOOD else {}
        for each in one.get("parameters", ()):
            if each["in"] == "header":
                continue
            asked = f"?{each['name']}={word}" if each["in"] == "query" else ""
            filled = {"user": "mara", "item": "own", "model": "rapport"} | {each["name"]: word}
            said = requests.request(method, service.url + path.format(**filled) + asked, timeout=60, **good)
            as_described(said, one, (name, each["name"]))


@pytest.mark.parametrize("query", ["words=" + "x" * 70_000, "n=1 HTTP/0.0\r\n"], ids=["long", "version"])
def test_what_is_no_request_is_refused_in_the_form_that_every_operation_describes(live, query):
    service = live(rate=10**9)
    described = requests.get(f"{service.url}/openapi.json", timeout=30).json()["paths"]
    for path, operations in described.items():
        for method, operation in operations.items():
            with socket.create_connection(("127.0.0.1", service.port), 30) as sock:
                target = re.sub(r"\{\w+\}", "own", path) + "?" + query
                sock.sendall(f"{method.upper()} {target} HTTP/1.1\r\nHost: localhost\r\n\r\n".encode())
                head, _, body = b"".join(iter(lambda: sock.recv(65536), b"")).partition(b"\r\n\r\n")
            assert head.startswith(b"HTTP/1.1 400 "), (method, path)
            [form] = operation["responses"]["400"]["content"]
            assert f"content-type: {form}".encode() in head.lower()
            said = json.loads(body)
            assert said["error"]["message"] if path.startswith("/v1/") else said["status"] == 400


def test_every_route_is_described_with_its_errors(service):
    described = service.get("/openapi.json").json()
    assert set(described["paths"]) >= {"/api/people/{user}/recommendations", "/api/events/bulk", "/health", "/ready"}
    for path, operations in described["paths"].items():
        for method, operation in operations.items():
            assert operation.get("description"), (method, path)
            if path.startswith("/api/"):
                assert {"401", "403", "422", "429", "503"} <= set(operation["responses"]), (method, path)
                assert operation["security"] == [{"HTTPBearer": []}]
    text = json.dumps(described)
    for name in re.findall(r'"#/components/schemas/(\w+)"', text):
        assert name in described["components"]["schemas"]
    assert "HTTPValidationError" not in text
