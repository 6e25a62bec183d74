"""What the pages show and do, without a browser: with the script, which asks for parts, and without it."""

from __future__ import annotations

import json
import re

from agent import sample
from agent.chat.memory import LASTS
from agent.history.keys import Keys
from tests.agent.service.pages.conftest import shown, text


def said_of(body: str) -> list[dict[str, str]]:
    """The parts of a streamed reply."""
    return [json.loads(line[6:]) for line in body.splitlines() if line.startswith("data: ")]


def test_the_start_leads_to_the_chat_or_to_the_people(reader):
    assert reader.enter("mara").get("/").headers["location"] == "/chat"
    reader.post("/sign-out", {})
    assert reader.post("/sign-in", {"operator": "yes", "to": "/operator"}).headers["location"] == "/operator"
    assert reader.get("/").headers["location"] == "/operator/people"
    assert reader.get("/chat").status_code == 403, "nobody was chosen"


def test_somebody_new_is_somebody(reader):
    reader.enter("Ann Lee")
    assert "What are you in the mood for?" in text(reader.get("/chat").text)
    page = reader.get("/for-you/list").text
    assert len(shown(page)) == 12
    assert "Nothing is known of you yet" in text(page)
    assert "Nothing is known yet" in text(reader.get("/taste/body").text)
    assert "Nothing is stored about you" in text(reader.get("/data").text)
    assert reader.get("/data/export").status_code == 404


def test_a_name_that_is_none(reader):
    assert reader.post("/sign-in", {"user": " \u200b"}).status_code == 422


# the list


def test_the_list_is_that_of_the_library_and_says_why(reader):
    page = reader.enter("mara").get("/for-you/list").text
    own = reader.service.rapport.recommend("mara", 12)
    assert shown(page) == [one.item.id for one in own.items]
    words = text(page)
    for one in own.items:
        assert one.reason in words
    assert "you gave" in words
    assert "The model had no vote on its place" in words
    places = re.findall(r"<dt>Found at</dt><dd>place (\d+)</dd>", page)
    assert len(places) == 12
    assert len(set(places)) == 12


def test_the_page_comes_before_its_list(reader):
    reader.enter("mara")
    page = reader.get("/for-you")
    assert 'data-load="/for-you/list"' in page.text
    assert shown(page.text) == []


def test_an_opinion_counts_at_once_moves_the_list_and_can_be_taken_back(reader):
    before = shown(reader.enter("mara").get("/for-you/list").text)
    store = reader.service.rapport.store
    for verb, kind in (("liked", "like"), ("disliked", "dislike"), ("seen", "review"), ("less", "skip")):
        said = reader.post("/for-you/list", {"do": f"{verb} {before[0]}", "shown": before})
        after = shown(said.text)
        assert before[0] not in after
        assert 'class="move' in said.text
        (event,) = [one for one in store.events("mara") if one.item == before[0]]
        assert event.kind == kind
        undo = re.search(r'name="undo" value="([^"]+)"', said.text)
        assert undo
        back = reader.post("/for-you/list", {"undo": undo[1], "shown": after})
        assert "Taken back" in text(back.text)
        assert shown(back.text) == before
        assert not [one for one in store.events("mara") if one.item == before[0]]


def test_more_like_this_is_a_wish_that_is_seen_and_dropped(reader):
    before = shown(reader.enter("mara").get("/for-you/list").text)
    said = reader.post("/for-you/list", {"do": "more ran-1985", "shown": before})
    assert "like Ran" in text(said.text)
    assert shown(said.text) != before
    dropped = reader.post("/for-you/list", {"drop": "like", "shown": shown(said.text)})
    assert shown(dropped.text) == before


def test_the_dial_is_a_wish_too(reader):
    reader.enter("mara")
    said = reader.post("/for-you/list", {"dial": "3"})
    assert 'value="3" checked' in said.text
    (wish,) = reader.service.rapport.chat.in_force("mara")
    assert (wish.wish.surprise, wish.expires - wish.at) == (0.9, LASTS)
    assert 'value="3" checked' in reader.get("/taste/body").text
    assert 'value="1" checked' in reader.post("/taste/dial", {"dial": "1"}).text
    assert reader.service.rapport.chat.in_force("mara") == []


def test_what_no_button_says_is_refused(reader):
    reader.enter("mara")
    before = reader.service.rapport.store.export_user("mara")
    for button in ("liked nothing", "liked", "more nothing", "less nothing", "bought ran-1985"):
        assert reader.post("/for-you/list", {"do": button}).status_code in (404, 422), button
    for fields in ({"undo": "event x"}, {"undo": "all"}, {"dial": "4"}, {"dial": "x"}):
        assert reader.post("/for-you/list", fields).status_code == 422, fields
    assert reader.service.rapport.store.export_user("mara") == before


def test_nobody_takes_back_what_others_did(reader):
    store = reader.service.rapport.store
    (theirs, *_) = store.events("piet")
    reader.enter("mara").post("/for-you/list", {"undo": f"event {theirs.id}"})
    assert theirs in store.events("piet")


def test_without_a_script_the_same_forms_are_whole_pages(reader):
    page = reader.enter("mara").post("/for-you/list", {"dial": "0"}, part=False).text
    assert page.startswith("<!doctype html>")
    assert len(shown(page)) == 12
    assert reader.post("/chat", {"c": "k1", "text": "a comedy"}, part=False).headers["location"] == "/chat?c=k1"
    assert "a comedy" in text(reader.get("/chat?c=k1").text)


def test_wishes_that_nothing_fits_are_taken_back_together(reader):
    reader.enter("mara").post("/chat", {"c": "k1", "text": "a western after 2030"})
    page = reader.get("/for-you/list").text
    assert shown(page) == []
    assert "Nothing fits all of it" in text(page)
    assert 'name="drop" value="*"' in page
    assert len(shown(reader.post("/for-you/list", {"drop": "*"}).text)) == 12
    assert reader.service.rapport.chat.in_force("mara") == []


def test_times_name_their_zone(reader):
    reader.enter("mara").post("/chat", {"c": "k1", "text": "a comedy"})
    story = text(reader.get("/operator/person?user=mara").text)
    assert re.search(r"until \d{4}-\d\d-\d\d \d\d:\d\d UTC", story)
    assert re.search(r"a comedy \d{4}-\d\d-\d\d \d\d:\d\d UTC", story)


def test_an_empty_catalogue_says_what_to_do(shop, monkeypatch):
    from starlette.testclient import TestClient

    from agent.service.app import build
    from agent.service.config import Config
    from tests.agent.service.conftest import Service
    from tests.agent.service.pages.conftest import Reader

    frame = build(shop(), Config())
    with TestClient(frame, "http://localhost") as client:
        service = Service(client, frame.desk, None)  # type: ignore[arg-type]
        reader = Reader(service, {"Accept-Language": "en", "Accept": "text/html"})
        assert "Nobody is known yet" in text(reader.get("/sign-in").text)
        page = text(reader.enter("mara").get("/for-you/list").text)
    assert "The catalogue is empty" in page


# the conversation


def test_a_message_is_answered_with_words_then_cards_then_what_was_understood(reader):
    said = reader.enter("mara").post("/chat", {"c": "k1", "text": "a comedy, no horror"})
    assert said.headers["content-type"].startswith("text/event-stream")
    parts = said_of(said.text)
    kinds = [one["part"] for one in parts]
    assert kinds[0] == "words"
    assert "Comedy" in parts[0]["text"]
    pieces = [one["html"] for one in parts if one["part"] == "piece"]
    assert len(shown(pieces[0])) == 5
    assert kinds[-1] == "places"
    assert "no Horror" in text(parts[-1]["html"])
    assert "a comedy, no horror" in text(parts[-1]["html"]), "it is listed"


def test_the_conversation_is_there_again(reader):
    said = reader.enter("mara").post("/chat", {"c": "k1", "text": "a comedy"})
    cards = shown("".join(one["html"] for one in said_of(said.text)))
    page = reader.get("/chat?c=k1").text
    assert shown(page) == cards
    assert "a comedy" in text(page)
    assert shown(reader.get("/chat").text) == cards, "the last one is what one returns to"
    assert shown(reader.get("/chat?new").text) == []


def test_a_like_moves_the_list_that_stands_there_and_numbers_follow(reader):
    said = reader.enter("mara").post("/chat", {"c": "k1", "text": "a comedy"})
    before = shown("".join(one["html"] for one in said_of(said.text)))
    liked = reader.post("/chat/list", {"c": "k1", "number": "1", "do": f"liked {before[0]}", "shown": before})
    after = shown(liked.text)
    assert before[0] not in after
    assert len(after) == 5
    assert 'id="list-1"' in liked.text
    assert shown(reader.get("/chat?c=k1").text) == after, "the page shows what stands there, not what stood"
    why = said_of(reader.post("/chat", {"c": "k1", "text": "why 2?"}).text)
    title = reader.service.rapport.store.items([after[1]])[after[1]].title
    assert title in why[0]["text"]


def test_undo_in_the_chat_takes_back_the_last_thing_said(reader):
    said = reader.enter("mara").post("/chat", {"c": "k1", "text": "a comedy"})
    before = shown("".join(one["html"] for one in said_of(said.text)))
    liked = reader.post("/chat/list", {"c": "k1", "number": "1", "do": f"liked {before[0]}", "shown": before})
    undo = re.search(r'form="([^"]+)" name="undo" value="([^"]+)"', liked.text)
    assert undo
    assert undo[1] == "list-form-1"
    back = reader.post("/chat/list", {"c": "k1", "number": "1", "undo": undo[2], "shown": shown(liked.text)})
    assert "Taken back" in text(back.text)
    assert before[0] in shown(back.text)


def test_a_question_is_answered_by_its_buttons(reader):
    said = said_of(reader.enter("somebody").post("/chat", {"c": "k1", "text": "hello"}).text)
    asked = next(one["html"] for one in said if 'class="question"' in one["html"])
    options = re.findall(r'name="text" value="([^"]+)"', asked)
    assert len(options) >= 2
    answer = said_of(reader.post("/chat", {"c": "k1", "text": options[0]}).text)
    assert any(shown(one["html"]) for one in answer)


def test_a_question_that_waits_is_there_again_with_its_buttons(reader):
    said = said_of(reader.enter("somebody").post("/chat", {"c": "k1", "text": "hello"}).text)
    asked = next(one["html"] for one in said if 'class="question"' in one["html"])
    options = re.findall(r'name="text" value="([^"]+)"', asked)
    page = reader.get("/chat?c=k1").text
    assert re.findall(r'name="text" value="([^"]+)"', page[page.index('class="question"') :])[: len(options)] == options
    reader.post("/chat", {"c": "k1", "text": options[0]})
    answered = reader.get("/chat?c=k1").text
    earlier = answered[: answered.index(options[0])]
    assert 'class="question"' not in earlier, "it was answered"


def test_a_refusal_is_said_in_the_language_of_the_page(visit):
    reader = visit("zh").enter("mara")
    said = reader.post("/chat", {"c": "k", "text": " "})
    assert (said.status_code, "消息是空的" in said.text) == (422, True)
    for one in (said, reader.post("/chat", {"c": "k" * 201, "text": "x"})):
        assert not re.search(r"[A-Za-z]{3,} [a-z]{2,} [a-z]{2,}", text(one.text)), text(one.text)


def test_a_wish_is_dropped_where_it_is_shown(reader):
    reader.enter("mara").post("/chat", {"c": "k1", "text": "no horror please"})
    page = reader.get("/chat?c=k1").text
    slot = re.search(r'name="drop" value="([^"]+)"', page)
    assert slot
    said = reader.post("/chat/list", {"c": "k1", "number": "1", "drop": slot[1]})
    assert 'name="drop"' not in said.text
    assert reader.service.rapport.chat.wishes("mara") == []


def test_what_is_no_message_is_refused(reader):
    reader.enter("mara")
    for fields in (
        {"c": "", "text": "x"},
        {"c": "k", "text": " "},
        {"c": "k" * 201, "text": "x"},
        {"c": "a\n", "text": "x"},
    ):
        assert reader.post("/chat", fields).status_code == 422, fields


# what is believed


def test_every_tag_with_its_weight_evidence_and_date(reader):
    page = reader.enter("mara").get("/taste/body").text
    words = text(page)
    profile = reader.service.rapport.profile("mara")
    assert profile.persona in words
    assert len(re.findall(r'class="tag"', page)) == len(profile.tags)
    for tag in profile.tags:
        assert tag.name in words
        assert f"Strength {round(tag.weight * 100)} of 100" in page
        for one in tag.receipts:
            assert one.quote in words
    assert "2024-07-12" in words


CHANGES = (
    ({"action": "remove", "name": "Animation"}, "Delete “Animation”"),
    ({"action": "mute", "name": "Animation"}, "Mute “Animation”"),
    ({"action": "rename", "name": "Animation", "to": "Cartoons"}, "Rename “Animation” to “Cartoons”"),
    ({"action": "add", "name": "Western", "polarity": "1"}, "Add “Western” to what you like"),
    ({"action": "add", "name": "Comedy", "polarity": "-1"}, "Add “Comedy” to what you avoid"),
)


def test_a_change_is_seen_before_it_is_saved_and_undone(reader):
    rapport = reader.service.rapport
    before = text(reader.enter("mara").get("/taste/body").text)
    for fields, said in CHANGES:
        preview = text(reader.post("/taste/preview", fields).text)
        assert said in preview
        assert rapport.store.edits("mara") == []
        assert said in text(reader.post("/taste/save", fields).text)
        assert len(rapport.store.edits("mara")) == 1
        assert all(one.item.title in preview for one in rapport.recommend("mara", 12).items)
        undone = text(reader.post("/taste/undo", {}).text)
        assert rapport.store.edits("mara") == []
        assert "Your corrections You have not corrected anything" in undone
        assert text(reader.get("/taste/body").text) == before
    assert reader.post("/taste/undo", {}).status_code == 422


def test_a_tag_is_changed_by_its_name_in_either_language(visit):
    reader = visit("zh").enter("mara")
    assert "动画" in text(reader.get("/taste/body").text)
    assert "删除“动画”" in text(reader.post("/taste/preview", {"action": "remove", "name": "动画"}).text)
    reader.post("/taste/save", {"action": "remove", "name": "动画"})
    assert "Animation" not in {one.name for one in reader.service.rapport.profile("mara").tags}


def test_what_is_no_change_is_refused(reader):
    reader.enter("mara")
    for fields in (
        {"action": "x", "name": "a"},
        {"action": "remove", "name": "nothing"},
        {"action": "add", "name": "<b>"},
    ):
        assert reader.post("/taste/preview", fields).status_code == 422
        assert reader.post("/taste/save", fields).status_code == 422


# a person's data


def test_everything_is_taken_along(reader):
    said = reader.enter("mara").get("/data/export")
    assert "attachment" in said.headers["content-disposition"]
    assert len(said.json()["events"]) == 39


def test_everything_is_removed_after_it_was_confirmed(reader):
    reader.enter("mara").get("/for-you/list")
    unsure = reader.post("/data/erase", {})
    assert unsure.status_code == 422
    assert reader.service.rapport.store.has_user("mara")
    done = reader.post("/data/erase", {"sure": "yes"})
    assert "You are forgotten" in text(done.text)
    assert not reader.service.rapport.store.has_user("mara")


def test_whose_key_goes_with_them_is_signed_out(reader):
    _, secret = Keys(reader.service.rapport.store).add("test", (), "mara")
    reader.post("/sign-in", {"key": secret})
    assert reader.post("/data/erase", {"sure": "yes"}).status_code == 200
    assert reader.get("/data").status_code == 303


# the operator


def test_people_are_found_and_paged(reader):
    store = reader.service.rapport.store
    store.add_events([
        type(one)(n, f"user {n:03d}", one.item, one.kind, one.value, "", one.at, "test")
        for n, one in enumerate([sample.events()[0]] * 70)
    ])  # fmt: skip
    first = reader.enter("mara").get("/operator/people").text
    listed = re.findall(r'person\?user=([^"]+)"', first)
    assert len(listed) == 50
    following = re.search(r'href="([^"]*after=[^"]*)"', first)
    assert following
    second = re.findall(r'person\?user=([^"]+)"', reader.get(following[1].replace("&amp;", "&")).text)
    assert len(second) == 32
    assert not set(listed) & set(second)
    assert re.findall(r'person\?user=([^"]+)"', reader.get("/operator/people?q=RET").text) == ["greta"]
    assert "Nobody matches" in text(reader.get("/operator/people?q=%25").text)


def test_one_persons_whole_story(reader):
    reader.enter("mara").post("/chat", {"c": "k1", "text": "a comedy"})
    words = text(reader.get("/operator/person?user=mara").text)
    profile = reader.service.rapport.profile("mara")
    assert profile.persona in words
    assert "Version 1" in words
    assert "39 events" in words
    assert "a comedy" in words
    assert "gave 5 stars" in words
    assert reader.get("/operator/person?user=nobody").status_code == 404


def test_health_counts_calls_and_costs(reader):
    reader.enter("mara").get("/for-you/list")
    words = text(reader.get("/operator").text)
    assert "434" in words
    assert "runs here, costs nothing" in words
    assert "none is set: templates write" in words
    assert "Unavailable" not in words, "nothing failed: there is no model here, and the calls say so"
    assert "none is set 20" in words
    assert "mara" in text(reader.get("/operator/calls?user=mara").text)


def test_a_part_that_fails_is_a_page_and_the_reason_is_the_operators(reader, monkeypatch, caplog):
    from agent.errors import StoreError
    from agent.service.pages import lists

    def broken(*_: object, **__: object) -> None:
        raise StoreError("the disk /srv/secret is full")

    monkeypatch.setattr(lists, "listed", broken)
    said = reader.enter("mara").get("/for-you/list")
    assert said.status_code == 503
    assert "A part is busy" in text(said.text)
    assert "/srv/secret" not in said.text
    assert "/srv/secret" in caplog.text


# Chinese


def test_all_pages_in_chinese(visit):
    reader = visit("zh-CN,zh;q=0.9").enter("lin")
    for path in (
        "/chat",
        "/for-you/list",
        "/taste/body",
        "/data",
        "/operator",
        "/operator/people",
        "/operator/person?user=lin",
    ):
        page = reader.get(path).text
        assert '<html lang="zh-Hans">' in page
        for english in ("Operator", "Your data", "Like", "What we think", "Sign out"):
            assert english not in re.findall(r">([^<]+)<", page), path
    said = said_of(reader.post("/chat", {"c": "k", "text": "安静的家庭剧情片"}).text)
    assert re.search(r"[一-鿿]", said[0]["text"])


def test_the_language_can_be_switched_and_stays(reader):
    reader.enter("mara")
    said = reader.post("/language", {"to": "zh", "back": "/taste"})
    assert said.headers["location"] == "/taste"
    assert '<html lang="zh-Hans">' in reader.get("/taste").text
    assert reader.post("/language", {"to": "xx", "back": "//evil.example"}).headers["location"] == "/"
    page = reader.get("/operator/person?user=lin").text
    assert 'name="back" value="/operator/person?user=lin"' in page, "one stays where one was"


def test_who_is_signed_in_finds_the_way_on_from_a_page_that_is_none(reader):
    assert "Your data" not in text(reader.get("/nothing").text)
    page = reader.enter("mara").get("/nothing")
    assert page.status_code == 404
    assert "Your data" in text(page.text)
    assert "Operator" not in text(page.text), "what a key opens is asked by the page itself"
