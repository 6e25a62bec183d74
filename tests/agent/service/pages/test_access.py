"""Who may see which page, and whose forms count."""

from __future__ import annotations

from agent.history.keys import Keys
from agent.service.pages.session import COOKIE
from tests.agent.service.pages.conftest import text

THEIRS = ("/chat", "/for-you", "/for-you/list", "/taste", "/taste/body", "/data", "/data/export")
OPERATORS = ("/operator", "/operator/people", "/operator/person?user=mara", "/operator/calls")
FORMS = {
    "/chat": {"c": "x", "text": "hello"},
    "/chat/list": {"c": "x", "do": "liked ran-1985", "shown": ["ran-1985"]},
    "/for-you/list": {"do": "liked ran-1985"},
    "/taste/preview": {"action": "add", "name": "Jazz"},
    "/taste/save": {"action": "add", "name": "Jazz"},
    "/taste/dial": {"dial": "3"},
    "/taste/undo": {},
    "/data/erase": {"sure": "yes"},
    "/act": {"user": "piet"},
}


def with_key(reader, *scopes: str, user: str = ""):
    """Signed in by a key; returns its id."""
    keys = Keys(reader.service.rapport.store)
    key, secret = keys.add("test", scopes, user)
    said = reader.post("/sign-in", {"key": secret})
    assert said.status_code == 303, text(said.text)
    return key.id


def test_nobody_sees_anything_before_they_signed_in(reader):
    for path in ("/", *THEIRS, *OPERATORS):
        said = reader.get(path)
        assert said.status_code == 303, path
        assert said.headers["location"].startswith("/sign-in")
        assert "mara" not in said.text


def test_a_script_is_told_rather_than_sent_elsewhere(reader):
    said = reader.get("/for-you/list", part=True)
    assert said.status_code == 401
    assert 'id="failed"' in said.text


def test_at_home_without_keys_everything_is_open_to_whom_one_chose(reader):
    reader.enter("mara")
    for path in (*THEIRS, *OPERATORS):
        assert reader.get(path).status_code == 200, path


def test_at_home_people_are_offered_until_a_key_is_made(reader):
    assert "piet" in text(reader.get("/sign-in").text)
    reader.enter("mara")
    Keys(reader.service.rapport.store).add("test", ["read"])
    assert "piet" not in text(reader.get("/sign-in").text)
    assert reader.get("/for-you").status_code == 303, "whoever was at home needs a key now"
    assert reader.post("/sign-in", {"user": "mara"}).status_code == 401


def test_a_persons_key_opens_their_pages_and_not_the_operators(reader):
    with_key(reader, user="mara")
    for path in THEIRS:
        assert reader.get(path).status_code == 200, path
    for path in OPERATORS:
        said = reader.get(path)
        assert said.status_code == 403, path
        assert "39 events" not in text(said.text)


def test_nobody_becomes_another(reader):
    with_key(reader, user="mara")
    assert reader.post("/act", {"user": "piet"}).status_code == 403
    assert "piet" not in reader.get("/taste/body").text


def test_a_key_to_read_looks_and_changes_nothing(reader):
    with_key(reader, "read")
    assert reader.post("/act", {"user": "mara"}).status_code == 303
    for path in ("/chat", "/for-you/list", "/taste/body", "/operator"):
        assert reader.get(path).status_code == 200, path
    before = reader.service.rapport.store.export_user("mara")["events"]
    for path in ("/chat", "/chat/list", "/for-you/list", "/taste/save", "/taste/dial", "/taste/undo", "/data/erase"):
        assert reader.post(path, FORMS[path]).status_code == 403, path
    assert reader.get("/data/export").status_code == 403
    assert reader.service.rapport.store.export_user("mara")["events"] == before
    assert reader.service.rapport.chat.wishes("mara") == []


def test_a_revoked_key_is_signed_out_at_once(reader):
    id = with_key(reader, user="mara")
    Keys(reader.service.rapport.store).revoke(id)
    assert reader.get("/for-you").status_code == 303


def test_a_wrong_key_is_said_and_opens_nothing(reader):
    Keys(reader.service.rapport.store).add("test", ["read"])
    said = reader.post("/sign-in", {"key": "rapport_12345678_wrong"})
    assert said.status_code == 401
    assert "wrong or revoked" in text(said.text)
    assert reader.get("/for-you").status_code == 303


def test_guessing_keys_ends(reader):
    Keys(reader.service.rapport.store).add("test", ["read"])
    token = reader.token()
    told = [reader.post("/sign-in", {"key": f"rapport_1_{n}"}, token=token).status_code for n in range(40)]
    assert told[0] == 401
    assert told[-1] == 429


def test_a_form_without_its_token_does_nothing(reader):
    reader.enter("mara")
    before = reader.service.rapport.store.export_user("mara")
    for path, fields in FORMS.items():
        for token in ("", "0" * 64, "é"):
            assert reader.post(path, fields, token=token).status_code == 400, path
        assert reader.post(path, fields, Origin="http://evil.example").status_code == 403
        assert reader.post(path, fields, Origin="null").status_code == 403
    assert reader.service.rapport.store.export_user("mara") == before


def test_the_token_of_somebody_else_does_nothing(visit):
    reader = visit()
    foreign = reader.enter("piet").token()
    reader.service.client.cookies.clear()
    reader.enter("mara")
    assert reader.post("/for-you/list", FORMS["/for-you/list"], token=foreign).status_code == 400


def test_a_cookie_that_was_made_up_is_nobodys(reader):
    reader.service.client.cookies.set(COOKIE, "WyJob21lIiwgIm1hcmEiLCAxLCAieCJd.00")
    assert reader.get("/for-you").status_code == 303
    assert reader.enter("mara").get("/for-you").status_code == 200


def test_the_cookie_is_kept_from_scripts_and_other_sites(reader):
    kept = reader.get("/sign-in").headers["set-cookie"]
    assert "HttpOnly" in kept
    assert "SameSite=lax" in kept
    assert "Secure" not in kept
    reader.service.client.cookies.clear()
    assert "Secure" in reader.get("/sign-in", **{"X-Forwarded-Proto": "https"}).headers["set-cookie"]


def test_signing_in_leads_nowhere_else(reader):
    for to in ("https://evil.example", "//evil.example", "/\\evil.example", "javascript:alert(1)", "\\\\x", "/a\r\nb"):
        assert reader.post("/sign-in", {"user": "mara", "to": to}).headers["location"] == "/", to


def test_and_on_to_where_one_wanted_to(reader):
    where = reader.get("/taste?x=1").headers["location"]
    assert where == "/sign-in?to=%2Ftaste%3Fx%3D1"
    assert reader.post("/sign-in", {"user": "mara", "to": "/taste?x=1"}).headers["location"] == "/taste?x=1"


def test_signing_out(reader):
    reader.enter("mara")
    assert reader.post("/sign-out", {}).status_code == 303
    assert reader.get("/for-you").status_code == 303


def test_every_page_allows_only_its_own_scripts(reader):
    reader.enter("mara")
    for path in ("/sign-in", "/chat", "/for-you/list", "/taste/body", "/data", *OPERATORS, "/nothing"):
        said = reader.get(path)
        policy = said.headers["content-security-policy"]
        assert "default-src 'none'" in policy
        assert "unsafe" not in policy
        assert "frame-ancestors 'none'" in policy
        for wrong in (" style=", "<script>", " onclick", "http://"):
            assert wrong not in said.text, path


def test_a_link_from_another_site_opens_a_page_and_a_request_does_not(reader):
    link = {"Sec-Fetch-Site": "cross-site", "Sec-Fetch-Mode": "navigate", "Sec-Fetch-Dest": "document"}
    assert reader.get("/sign-in", **link).status_code == 200
    assert reader.get("/sign-in", **link | {"Sec-Fetch-Dest": "iframe"}).status_code == 403
    assert reader.get("/sign-in", **link | {"Sec-Fetch-Mode": "no-cors"}).status_code == 403
    assert reader.post("/sign-in", {"user": "mara"}, **link).status_code == 403


def test_a_page_that_is_none(reader):
    said = reader.get("/nothing")
    assert said.status_code == 404
    assert "There is nothing here" in text(said.text)
    assert reader.service.client.get("/api/nothing", headers={"Accept": "text/html"}).json()["status"] == 404
    assert reader.service.client.get("/nothing").headers["content-type"] == "application/problem+json"


def test_files_are_kept_by_browsers_and_change_their_address(reader):
    page = reader.get("/sign-in").text
    for name in ("rapport.css", "rapport.js", "icon.svg"):
        said = reader.get(f"/static/{name}")
        assert "immutable" in said.headers["cache-control"]
        assert f"/static/{name}?v=" in page
    assert reader.get("/static/english.py").status_code == 404
    assert reader.get("/static/..%2Fenglish.py").status_code == 404
