"""Who may do what: keys and their scopes, one person's key, rates, names of hosts, and requests from other sites."""

from __future__ import annotations

import pytest
from starlette.datastructures import Headers

from agent.errors import NoKey, NotAllowed
from agent.history.keys import Keys
from agent.service.access import WRONG_KEYS, Doorman, Principal, speaks_for
from agent.service.config import Config

EVENT = {"user": "mara", "item": "ran-1985", "kind": "like"}
EDIT = {"action": "add", "name": "Jazz"}
READS = (
    "/api/items", "/api/items/ran-1985", "/api/people/mara/profile", "/api/people/mara/profile/history",
    "/api/people/mara/tags/edits", "/api/people/mara/recommendations?n=1", "/api/people/mara/explanations/ran-1985",
)  # fmt: skip
CALLS = [
    *(("GET", path, None, "read") for path in READS),
    ("GET", "/metrics", None, "read"),
    ("POST", "/api/people/mara/tags/preview", EDIT, "read"),
    ("POST", "/api/people/mara/tags", EDIT, "write"),
    ("POST", "/api/people/mara/tags/undo", None, "write"),
    ("POST", "/api/events", EVENT, "write"),
    ("POST", "/api/events/bulk", EVENT, "write"),
    ("PUT", "/api/items/x", {"title": "X"}, "write"),
    ("GET", "/api/people/mara/export", None, "admin"),
    ("DELETE", "/api/people/mara", None, "admin"),
]
OWN = {path for _, path, _, _ in CALLS} - {"/metrics", "/api/items/x"}


def called(service, method, path, body, key=""):
    if path.endswith("undo"):
        # There must be something that can be taken back.
        service.rapport.state("mara", "Blues", "add")
    headers = {"Authorization": f"Bearer {key}"} if key else {}
    return service.client.request(method, path, json=body, headers=headers)


@pytest.mark.parametrize(("method", "path", "body", "needed"), CALLS)
def test_each_scope_opens_what_it_should_and_nothing_else(service, method, path, body, needed):
    keys = {scope: service.key(scope) for scope in ("read", "write", "proxy", "admin")}
    assert called(service, method, path, body).status_code == 401
    for scope, key in keys.items():
        if scope not in (needed, "admin"):
            said = called(service, method, path, body, key)
            assert (said.status_code, said.json()["type"]) == (403, "urn:rapport:not-allowed"), scope
    assert called(service, method, path, body, keys[needed]).status_code == 200


@pytest.mark.parametrize(("method", "path", "body", "needed"), CALLS)
def test_a_persons_key_opens_what_is_theirs(service, method, path, body, needed):
    mine, other = service.key(user="mara"), service.key(user="piet")
    assert (called(service, method, path, body, mine).status_code == 200) == (path in OWN)
    if "mara" in path or path == "/api/events":
        said = called(service, method, path, body, other)
        assert said.status_code == 403
        assert "Hayao" not in said.text


def test_in_bulk_a_persons_key_brings_their_own_events_only(service):
    key = service.key(user="piet")
    lines = '{"user":"mara","item":"ran-1985","kind":"like"}\n{"user":"piet","item":"rififi-1955","kind":"like"}'
    said = service.client.post("/api/events/bulk", content=lines, headers={"Authorization": f"Bearer {key}"}).json()
    assert (said["added"], said["refused"]) == (1, 1)
    assert said["refusals"] == [{"line": 1, "reason": "this key speaks for another person"}]


def test_without_a_key_on_this_machine_everything_is_open_until_one_is_made(service):
    assert service.get("/api/people/mara/profile").status_code == 200
    key = service.key("read")
    said = service.get("/api/people/mara/profile")
    assert (said.status_code, said.headers["www-authenticate"]) == (401, "Bearer")
    assert service.get("/api/people/mara/profile", key).status_code == 200
    keys = Keys(service.rapport.store)
    keys.revoke(keys.every()[0].id)
    assert service.get("/api/people/mara/profile", key).status_code == 401
    assert service.get("/api/people/mara/profile").status_code == 401, "revoking the last key opens nothing"


def test_where_others_can_reach_it_nothing_is_open_without_a_key(serve):
    service = serve(host="0.0.0.0")
    assert service.get("/api/items").status_code == 401
    assert service.get("/health").status_code == 200


@pytest.mark.parametrize("host", ["127.0.0.1", "::1", "localhost", "127.9.9.9"])
def test_what_only_this_machine_can_reach(host):
    assert Config(host).loopback


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "192.168.1.5", "example.org", ""])
def test_what_others_can_reach(host):
    assert not Config(host).loopback


def test_a_key_has_its_rate_and_others_theirs(serve):
    service = serve(rate=3)
    one, other = service.key("read"), service.key("read")
    assert [service.get("/api/items?n=1", one).status_code for _ in range(5)] == [200, 200, 200, 429, 429]
    said = service.get("/api/items?n=1", one)
    assert 1 <= int(said.headers["retry-after"]) <= 60
    assert said.json()["type"] == "urn:rapport:overloaded"
    assert service.get("/api/items?n=1", other).status_code == 200
    assert service.get("/health").status_code == 200


def test_who_tries_many_keys_is_not_listened_to(service):
    good = service.key("read")
    for _ in range(WRONG_KEYS):
        assert service.get("/api/items", "rapport_0_0").status_code == 401
    assert service.get("/api/items", "rapport_0_0").status_code == 429
    assert service.get("/api/items", good).status_code == 429, "neither is a lucky one"


@pytest.mark.parametrize("scheme", ["Basic {}", "Bearer", "{}", "Bearer  ", "bearer x{}"])
def test_what_is_no_bearer_key(service, scheme):
    header = {"Authorization": scheme.format(service.key("admin"))}
    assert service.client.get("/api/items", headers=header).status_code == 401


@pytest.mark.parametrize(
    "host", ["localhost", "LOCALHOST:8000", "127.0.0.1:8000", "[::1]:8000", "10.0.0.7", "shop.example."]
)
def test_names_that_lead_here(serve, host):
    service = serve(names=("shop.example",))
    assert service.client.get("/health", headers={"Host": host}).status_code == 200


@pytest.mark.parametrize(
    "host", ["evil.example", "localhost.evil.example", "127.0.0.1.evil.example", "", "[::1", "a b"]
)
def test_names_that_do_not(service, host):
    said = service.client.get("/health", headers={"Host": host})
    assert (said.status_code, said.json()["type"]) == (421, "urn:rapport:misdirected")


@pytest.mark.parametrize("origin", ["http://evil.example", "null", "http://localhost:9", "https://[", ""])
def test_pages_of_other_sites_are_refused_before_anything_is_done(service, origin):
    before = service.rapport.store.count_events()
    said = service.client.post("/api/events", json=EVENT, headers={"Origin": origin})
    assert (said.status_code, said.json()["type"]) == (403, "urn:rapport:cross-site")
    said = service.client.post("/api/events", json=EVENT, headers={"Sec-Fetch-Site": "cross-site"})
    assert said.status_code == 403
    assert service.rapport.store.count_events() == before


def test_its_own_pages_are_not(service):
    said = service.client.get("/health", headers={"Origin": "http://localhost", "Sec-Fetch-Site": "same-origin"})
    assert said.status_code == 200


def headers(**given: str) -> Headers:
    return Headers({name.replace("_", "-"): value for name, value in given.items()})


def test_in_whose_name_a_conversation_is_held():
    mine = Principal("k", frozenset(), "mara")
    assert speaks_for(mine, headers()) == "mara"
    assert speaks_for(mine, headers(x_rapport_user="mara")) == "mara"
    with pytest.raises(NotAllowed):
        speaks_for(mine, headers(x_rapport_user="piet"))
    for scope in ("proxy", "admin"):
        assert speaks_for(Principal("k", frozenset({scope})), headers(x_rapport_user="%C3%A9va")) == "éva"
    for bad in (headers(x_rapport_user="piet"), headers(), headers(x_rapport_user="%E2%80%8B")):
        with pytest.raises(NotAllowed):
            speaks_for(Principal("k", frozenset({"read", "write"})), bad)


def test_what_a_doorman_is_told_is_checked_each_time(service):
    doorman = Doorman(service.desk.keys, Config())
    secret = service.key("read")
    given = headers(authorization=f"Bearer {secret}")
    assert doorman.admit(given, "a").scopes == {"read"}
    service.desk.keys.revoke(service.desk.keys.every()[0].id)
    with pytest.raises(NoKey):
        doorman.admit(given, "a")
