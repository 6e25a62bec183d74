"""Every route as a program uses it, and what it says when it cannot."""

from __future__ import annotations

import re
from urllib.parse import quote

import pytest

from agent import sample, shapes
from agent.service.frame import GIVEN_ID

ITEM = {"title": "The Robot Gardener", "text": "A lonely robot grows a garden.", "categories": ["Animation"]}


def names(profile) -> list[str]:
    return [tag["name"] for tag in profile["tags"]]


def test_recommendations_are_those_of_the_library(service):
    asked = {"n": 4, "where": ["year>=1950", "categories:Drama"], "surprise": 0.5, "words": "rain"}
    said = service.get("/api/people/piet/recommendations", params=asked).json()
    meant = service.rapport.recommend("piet", 4, words="rain", where=["year>=1950", "categories:Drama"], surprise=0.5)
    own = shapes.answer(meant)
    assert said["items"] == own["items"]
    assert len(said["items"]) == 4
    years = {film.id: film.attributes["year"] for film in sample.films()}
    assert all(years[one["item"]] >= 1950 for one in said["items"])


def test_a_profile_and_its_versions(service):
    first = service.get("/api/people/mara/profile").json()
    assert (first["user"], first["version"]) == ("mara", 1)
    assert all(tag["receipts"] for tag in first["tags"])
    service.post("/api/events", {"user": "mara", "item": "ran-1985", "kind": "rating", "value": 5})
    second = service.get("/api/people/mara/profile").json()
    assert (second["version"], second["events"]) == (2, first["events"] + 1)
    assert service.get("/api/people/mara/profile/history").json()["versions"] == [second, first]
    assert service.get("/api/people/mara/profile/history?n=1").json()["versions"] == [second]


def test_why_one_item(service):
    said = service.get("/api/people/mara/explanations/rififi-1955").json()
    assert (said["item"], said["grounded"]) == ("rififi-1955", True)
    assert "Double Indemnity" in said["reason"]


def test_an_event_counts_at_once(service):
    first = service.get("/api/people/otis/recommendations?n=1").json()["items"][0]["item"]
    kept = service.post("/api/events", {"user": "otis", "item": first, "kind": "rating", "value": 1}).json()
    assert (kept["stored"], kept["known_item"]) == ("added", True)
    assert first not in {one["item"] for one in service.get("/api/people/otis/recommendations").json()["items"]}


def test_an_item_can_be_found_and_recommended_at_once(service):
    said = service.client.put("/api/items/own%2F1", json=ITEM | {"attributes": {"year": 2025, "creator": ["Ann Lee"]}})
    assert said.json()["stored"] == "added"
    assert said.json()["indexed"]
    assert service.get("/api/items/own%2F1").json() == said.json()["item"]
    assert service.client.put("/api/items/own/1", json=ITEM).json()["stored"] == "changed"
    assert service.client.put("/api/items/own/1", json=ITEM).json()["stored"] == "unchanged"
    found = service.get("/api/items", params={"words": "a lonely robot grows a garden"}).json()["items"]
    assert found[0]["id"] == "own/1"
    suited = service.get("/api/people/mara/recommendations", params={"words": "lonely robot garden"}).json()["items"]
    assert "own/1" in {one["item"] for one in suited}


def test_without_an_index_an_item_is_kept_and_the_answer_says_so(serve):
    service = serve(index=False)
    said = service.client.put("/api/items/x", json=ITEM).json()
    assert (said["stored"], said["indexed"]) == ("added", False)
    assert "rapport index" in said["note"]
    assert service.get("/api/people/mara/recommendations").json()["degraded"]
    assert service.get("/api/items?words=robot").json()["degraded"]
    assert service.get("/ready").json() == {
        "ready": True, "degraded": True, "store": True, "index": False, "model": True
    }  # fmt: skip


def test_tags_are_previewed_saved_listed_and_undone(service):
    before = service.get("/api/people/mara/profile").json()
    edit = {"action": "remove", "name": "Animation"}
    shown = service.post("/api/people/mara/tags/preview?n=5", edit).json()
    assert service.get("/api/people/mara/profile").json() == before, "a preview keeps nothing"
    after = service.post("/api/people/mara/tags", edit).json()
    assert names(after) == names(shown)
    listed = service.get("/api/people/mara/recommendations?n=5").json()["items"]
    assert [one["item"] for one in listed] == [one["item"] for one in shown["items"]]
    (said,) = service.get("/api/people/mara/tags/edits").json()["edits"]
    assert (said["name"], said["action"]) == ("Animation", "remove")
    assert names(service.post("/api/people/mara/tags/undo").json()) == names(before)
    assert service.post("/api/people/mara/tags/undo").status_code == 422


def test_somebody_new(service):
    assert service.get("/api/people/new/recommendations").status_code == 404
    assert len(service.get("/api/people/new/recommendations?new=true&n=3").json()["items"]) == 3
    service.post("/api/people/new/tags", {"action": "add", "name": "Western"})
    assert names(service.get("/api/people/new/profile").json()) == ["Western"]


def test_export_and_erasure(service):
    service.get("/api/people/mara/recommendations")
    key = service.key(user="mara")
    rows = service.get("/api/people/mara/export", key).json()
    assert len(rows["events"]) == 39
    assert len(rows["api_keys"]) == 1
    proof = service.client.delete("/api/people/mara", headers={"Authorization": f"Bearer {key}"}).json()
    assert (proof["rows"]["events"], proof["found"]) == (39, 0)
    assert service.get("/api/people/mara/profile", key).status_code == 401, "the key went with the person"
    admin = service.key("admin")
    assert service.get("/api/people/mara/profile", admin).status_code == 404
    assert service.client.delete("/api/people/mara", headers={"Authorization": f"Bearer {admin}"}).status_code == 404


@pytest.mark.parametrize("user", ["a/b", "a b", "é", "100%", "a?b#c", "..x", "Ⅷ·八", "tags/edits"])
def test_an_id_may_hold_nearly_anything(service, user):
    service.post("/api/events", {"user": user, "item": "ran-1985", "kind": "like"})
    said = service.get(f"/api/people/{quote(user, safe='')}/profile")
    assert said.status_code == 200
    assert said.json()["events"] == 1


def test_ids_have_one_spelling(service):
    service.post("/api/events", {"user": "e\u0301\u200b", "item": "ran-1985", "kind": "like"})
    assert service.get("/api/people/%C3%A9/profile").json()["user"] == "é"


@pytest.mark.parametrize(
    ("path", "status", "kind"),
    [
        ("/api/people/nobody/profile", 404, "unknown-user"),
        ("/api/people/nobody/export", 404, "unknown-user"),
        ("/api/people/nobody/tags/edits", 404, "unknown-user"),
        ("/api/people/nobody/profile/history", 404, "unknown-user"),
        ("/api/people/mara/explanations/nothing", 404, "unknown-item"),
        ("/api/items/nothing", 404, "unknown-item"),
        ("/api/people/mara/recommendations?where=colour=red", 422, "bad-filter"),
        ("/api/people/mara/recommendations?n=0", 422, "invalid"),
        ("/api/people/mara/recommendations?surprise=nan", 422, "invalid"),
        ("/api/people/%E2%80%8B/profile", 422, "invalid"),
        (f"/api/people/{'x' * 513}/profile", 422, "invalid"),
        ("/api/nothing", 404, "not-found"),
    ],
)
def test_what_cannot_be_answered_is_a_problem(service, path, status, kind):
    said = service.get(path)
    assert said.status_code == status
    assert said.headers["content-type"] == "application/problem+json"
    assert said.json()["type"] == f"urn:rapport:{kind}"
    assert said.json()["request_id"] == said.headers["x-request-id"]


@pytest.mark.parametrize("given", ["abc.1-2_3", "x" * 64])
def test_a_request_keeps_the_id_that_it_brings(service, given):
    assert service.client.get("/health", headers={"X-Request-ID": given}).headers["x-request-id"] == given


@pytest.mark.parametrize("given", ["", "x" * 65, "a b", "a;b", "<b>"])
def test_or_gets_one(service, given):
    said = service.client.get("/health", headers={"X-Request-ID": given}).headers["x-request-id"]
    assert said != given
    assert GIVEN_ID.fullmatch(said)


def test_metrics_name_routes_and_never_people(service):
    service.get("/api/people/mara/profile")
    service.get("/api/people/nobody/profile")
    service.get("/somewhere/else")
    text = service.get("/metrics").text
    counted = 'rapport_requests_total{method="GET",route="/api/people/{user:path}/profile",status="%d"} 1.0'
    assert counted % 200 in text
    assert counted % 404 in text
    assert 'route="unmatched",status="404"} 1.0' in text
    assert not re.search("mara|nobody|somewhere", text)


def test_the_log_names_routes_and_never_people(service, caplog):
    with caplog.at_level("INFO", "rapport"):
        service.get("/api/people/mara/recommendations?words=secretive")
        service.get("/api/people/mara/explanations/nothing")
    assert "/api/people/{user:path}/recommendations 200" in caplog.text
    assert not re.search("mara|secretive|nothing", caplog.text)


def test_alive_and_ready(service):
    assert service.get("/health").json() == {"status": "alive"}
    assert service.get("/ready").json()["ready"]


def test_nothing_is_said_to_other_sites(service):
    said = service.get("/health")
    assert not [name for name in said.headers if name.startswith("access-control")]
    asked = service.client.options("/api/events", headers={"Origin": "http://evil.example"})
    assert asked.status_code == 403
