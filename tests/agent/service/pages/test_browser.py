"""The pages in a real browser, Debian's Chromium, over a real server on loopback."""

from __future__ import annotations

import re
import shutil
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from agent.llm.scripted import Scripted

CHROMIUM = shutil.which("chromium")
pytestmark = [
    pytest.mark.browser,
    pytest.mark.skipif(CHROMIUM is None, reason="there is no chromium here: apt-get install chromium"),
]
sync_api = pytest.importorskip("playwright.sync_api", reason="playwright is not installed: make install")
QUIET = ("--no-sandbox", "--disable-gpu", "--disable-background-networking", "--no-first-run", "--disable-sync")
WAIT_MS = 30_000


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    with sync_api.sync_playwright() as playwright:
        opened = playwright.chromium.launch(
            executable_path=CHROMIUM, args=[*QUIET, "--disable-component-update"], headless=True
        )
        yield opened
        opened.close()


@pytest.fixture
def visit(browser, live) -> Iterator[Callable[..., Any]]:
    """Opens the pages as somebody; whatever goes wrong in the browser fails the test."""
    wrong: list[str] = []
    contexts: list[Any] = []
    served: list[Any] = []

    def visit_(user: str = "mara", path: str = "/chat?new", llm: Any = None, **options: Any) -> Any:
        if not served:
            served.append(live(llm))
        base = served[0].url
        options.setdefault("viewport", {"width": 1200, "height": 850})
        context = browser.new_context(base_url=base, reduced_motion="reduce", **options)
        contexts.append(context)
        page = context.new_page()
        page.set_default_timeout(WAIT_MS)
        page.on("pageerror", lambda error: wrong.append(str(error)))
        page.on("console", lambda said: wrong.append(said.text) if said.type == "error" else None)
        page.on("request", lambda sent: wrong.append(sent.url) if not sent.url.startswith(base) else None)
        page.goto("/sign-in")
        page.locator(f'button[name=user][value="{user}"]').click()
        page.wait_for_url("**/chat**")
        page.goto(path)
        return page

    yield visit_
    for one in contexts:
        one.close()
    # What the tests provoke is no surprise: answers that are refused.
    assert [one for one in wrong if "Failed to load resource" not in one] == []


def until(page: Any, true: str) -> None:
    """Waits for an expression; the pages forbid what Playwright's own waiting would evaluate."""
    end = time.monotonic() + WAIT_MS / 1000
    while not page.evaluate(true):
        assert time.monotonic() < end, f"it never became true: {true}"
        page.wait_for_timeout(30)


def titles(page: Any) -> list[str]:
    return page.locator(".cards").last.locator("h3").evaluate_all("all => all.map(one => one.firstChild.data.trim())")


def say(page: Any, words: str) -> None:
    page.locator("#text").fill(words)
    page.locator("#text").press("Enter")
    page.locator(".turn.theirs").last.wait_for()
    until(page, "!document.querySelector('.turn[aria-busy]')")


def test_somebody_chats_likes_a_card_sees_the_list_move_and_takes_it_back(visit):
    page = visit()
    say(page, "something warm and funny, no horror")
    before = titles(page)
    assert len(before) == 5
    assert "no Horror" in page.locator("#steering").inner_text()
    assert "Here is what fits" in page.locator(".theirs .words").last.inner_text()
    page.locator(".card").nth(1).get_by_role("button", name="Like: ").first.click()
    page.locator("#flash p").wait_for()
    assert page.locator("#flash").inner_text().startswith(f"Noted: you like {before[1]}.")
    after = titles(page)
    assert before[1] not in after
    assert page.locator(".cards").last.locator(".move").count() >= 1
    page.locator("#flash button").click()
    until(page, "document.querySelector('#flash').innerText.includes('Taken back')")
    assert titles(page) == before
    page.reload()
    assert titles(page) == before
    assert page.locator("#talks a").count() == 1


def test_why_this_and_the_buttons_that_steer(visit):
    page = visit()
    say(page, "a comedy")
    first = page.locator(".card").first
    first.get_by_role("button", name="Why this?").click()
    why = page.locator(".why:popover-open")
    said = why.inner_text()
    assert "It rests on" in said
    assert "How it got here" in said
    assert "place 1" in said
    page.keyboard.press("Escape")
    until(page, "!document.querySelector('.why:popover-open')")
    before = titles(page)
    page.locator(".card").nth(2).get_by_role("button", name="More like this").click()
    until(page, "document.querySelector('#steering').innerText.includes('like ')")
    assert titles(page) != before
    while drops := page.locator("#steering [name=drop]").count():
        page.locator("#steering [name=drop]").first.click()
        until(page, f"document.querySelectorAll('#steering [name=drop]').length < {drops}")


def test_a_tag_is_edited_with_a_preview_saved_and_undone(visit):
    page = visit(path="/taste")
    page.locator(".tag").first.wait_for()
    tags = page.locator(".tag-name").all_inner_texts()
    assert "Animation" in tags
    page.get_by_role("button", name="Change Animation").click()
    page.locator(".menu:popover-open button[value=remove]").click()
    dialog = page.locator("dialog[open]")
    dialog.wait_for()
    assert "Delete “Animation”" in dialog.inner_text()
    assert re.search(r"\d+ places? in your list would change", dialog.inner_text())
    foreseen = dialog.locator("ol li > span:first-child").all_inner_texts()
    page.keyboard.press("Escape")
    until(page, "!document.querySelector('dialog[open]')")
    assert page.locator(".tag-name").all_inner_texts() == tags, "what was only looked at is not kept"
    page.get_by_role("button", name="Change Animation").click()
    page.locator(".menu:popover-open button[value=remove]").click()
    page.locator("dialog[open] button.strong").click()
    until(page, "document.querySelector('#flash').innerText.includes('Saved')")
    assert "Animation" not in page.locator(".tag-name").all_inner_texts()
    page.goto("/for-you")
    page.locator(".card").first.wait_for()
    assert titles(page)[: len(foreseen)] == foreseen
    page.goto("/taste")
    page.get_by_role("button", name="Undo the last change").click()
    until(page, "document.querySelector('#flash').innerText.includes('taken back')")
    assert page.locator(".tag-name").all_inner_texts() == tags


def test_the_dial_moves_the_list(visit):
    page = visit(path="/for-you")
    page.locator(".card").first.wait_for()
    before = titles(page)
    page.get_by_role("radio", name="Surprising").check(force=True)
    until(page, "document.querySelector('#list .chip')")
    assert titles(page) != before
    assert page.locator(".badge").count() >= 1


def test_the_keyboard_alone(visit):
    page = visit()
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.className") == "skip"
    page.keyboard.press("Enter")
    assert page.evaluate("document.activeElement.id") == "main"
    page.locator("#text").focus()
    page.keyboard.type("a comedy")
    page.keyboard.press("Enter")
    until(page, "document.querySelectorAll('.card').length === 5 && !document.querySelector('[aria-busy]')")
    assert page.evaluate("document.activeElement.id") == "text", "one can go on typing"
    before = titles(page)
    page.locator(".do-why").first.focus()
    page.keyboard.press("Enter")
    page.locator(".why:popover-open").wait_for()
    page.keyboard.press("Escape")
    assert "do-why" in page.evaluate("document.activeElement.className")
    page.locator(".do-like").first.focus()
    ring = page.evaluate("getComputedStyle(document.activeElement).outlineStyle")
    assert ring == "solid"
    page.keyboard.press("Enter")
    page.locator("#flash p").wait_for()
    assert titles(page) != before
    assert page.evaluate("document.activeElement.closest('.card') !== null"), "the focus stays in the list"


def test_pressed_twice_it_is_said_once(visit):
    page = visit(path="/for-you")
    page.locator(".card").first.wait_for()
    sent: list[str] = []
    page.on("request", lambda one: sent.append(one.url) if one.method == "POST" else None)
    page.locator(".do-like").first.dblclick()
    page.locator("#flash p").wait_for()
    page.wait_for_timeout(100)
    assert len(sent) == 1
    page.goto("/taste")
    page.locator(".add input[name=name]").fill("Western")
    page.locator(".add input[name=name]").press("Enter")
    page.locator("dialog[open] #preview").wait_for()
    sent.clear()
    page.evaluate("() => { const save = document.querySelector('dialog .strong'); save.click(); save.click(); }")
    until(page, "document.querySelector('#flash').innerText.includes('Saved')")
    assert len(sent) == 1


def test_the_focus_stays_where_a_tag_was(visit):
    page = visit(path="/taste")
    page.locator(".tag").first.wait_for()
    page.locator(".tag-line > .quiet").nth(1).focus()
    page.keyboard.press("Enter")
    page.locator(".menu:popover-open button[value=remove]").focus()
    page.keyboard.press("Enter")
    page.locator("dialog[open] #preview").wait_for()
    assert page.locator("#preview h2").bounding_box()["y"] > 0, "what it is about stands in view"
    page.keyboard.press("Enter")
    until(page, "document.querySelector('#flash').innerText.includes('Saved')")
    until(page, "!!document.activeElement.closest('.tag')")


def test_a_message_that_did_not_arrive_is_said_again_by_one_button(visit):
    page = visit()
    page.route("**/chat", lambda route: route.abort())
    say(page, "a comedy")
    assert "cannot be reached" in page.locator(".theirs").last.inner_text()
    page.unroute("**/chat")
    page.get_by_role("button", name="Try again").click()
    until(page, "document.querySelectorAll('.card').length === 5 && !document.querySelector('.turn[aria-busy]')")
    assert page.locator(".mine").count() == 1
    assert page.get_by_role("button", name="Try again").count() == 0


NARROW = {"viewport": {"width": 360, "height": 740}, "is_mobile": True, "has_touch": True, "device_scale_factor": 2}
PLACES = ("/chat", "/for-you", "/taste", "/data", "/operator", "/operator/people", "/operator/person?user=mara")


def test_a_phone_never_scrolls_sideways_and_fingers_find_everything(visit):
    page = visit(**NARROW)
    say(page, "a comedy, no horror, since 1990")
    for path in PLACES:
        page.goto(path)
        until(page, "!document.querySelector('[data-load]')")
        wide = page.evaluate("document.documentElement.scrollWidth")
        assert wide <= 360, path
        small = page.evaluate(SMALL)
        assert small == [], path


CONTRAST = """() => {
  const linear = v => v <= .04045 ? v / 12.92 : ((v + .055) / 1.055) ** 2.4;
  const light = ([r, g, b]) => .2126 * linear(r / 255) + .7152 * linear(g / 255) + .0722 * linear(b / 255);
  const canvas = Object.assign(document.createElement('canvas'), { width: 1, height: 1 });
  const paper = canvas.getContext('2d', { willReadFrequently: true });
  const over = (colours) => {
    for (const one of colours) { paper.fillStyle = one; paper.fillRect(0, 0, 1, 1); }
    return [...paper.getImageData(0, 0, 1, 1).data];
  };
  const bad = [];
  for (const one of document.querySelectorAll('body *')) {
    const own = [...one.childNodes].filter(n => n.nodeType === 3).map(n => n.data.trim()).join('');
    const seen = one.checkVisibility({ opacityProperty: true, visibilityProperty: true });
    if (!own || !seen || one.closest('.sr, .skip, [aria-hidden]')) continue;
    const under = ['white'];
    for (let up = one; up; up = up.parentElement) under.splice(1, 0, getComputedStyle(up).backgroundColor);
    const style = getComputedStyle(one), size = parseFloat(style.fontSize);
    const [a, b] = [light(over(under)), light(over([...under, style.color]))].sort((x, y) => y - x);
    const ratio = (a + .05) / (b + .05), large = size >= 24 || (size >= 18.66 && style.fontWeight >= 700);
    if (ratio < (large ? 3 : 4.5)) bad.push(`${own.slice(0, 30)} ${ratio.toFixed(2)}`);
  }
  return bad;
}"""
NAMELESS = """() => {
  const all = 'button, a, input:not([type=hidden]), textarea, svg[role=img], [role=region]';
  const said = one => one.getAttribute('aria-label') || one.textContent.trim() || one.labels?.[0]?.textContent.trim();
  return [...document.querySelectorAll(all)].filter(one => !said(one)).map(one => one.outerHTML.slice(0, 80));
}"""
SMALL = """() => [...document.querySelectorAll('main button, main input, .nav a')]
  .filter(one => one.checkVisibility() && !one.closest('.stops, label.check, .chip'))
  .map(one => [one.textContent.trim(), one.getBoundingClientRect()])
  .filter(([, box]) => box.width && (box.height < 32 || box.width < 32)).map(([name]) => name)"""


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_what_is_said_can_be_read_and_what_is_pressed_has_a_name(visit, scheme):
    page = visit(color_scheme=scheme)
    say(page, "a comedy, no horror")
    for path in ("", *PLACES[1:], "/sign-in"):
        if path:
            page.goto(path)
            until(page, "!document.querySelector('[data-load]')")
        else:
            page.locator(".do-why").first.click()
        assert page.evaluate(CONTRAST) == [], path
        assert page.evaluate(NAMELESS) == [], path
        doubled = page.evaluate(
            "() => { const ids = [...document.querySelectorAll('[id]')].map(one => one.id);"
            " return ids.filter((id, at) => ids.indexOf(id) !== at); }"
        )
        assert doubled == [], path
    dark = page.evaluate("getComputedStyle(document.body).backgroundColor")
    assert (sum(map(int, re.findall(r"\d+", dark)[:3])) < 150) == (scheme == "dark")


def test_chinese(visit):
    page = visit(user="lin", locale="zh-CN")
    assert page.evaluate("document.documentElement.lang") == "zh-Hans"
    say(page, "安静的家庭剧情片，不要恐怖")
    assert page.locator(".card").count() == 5
    assert "不要恐怖" in page.locator("#steering").inner_text()
    page.get_by_role("button", name="English").click()
    until(page, "document.documentElement.lang === 'en'")


def test_an_answer_can_be_stopped(visit):
    go = threading.Event()
    page = visit(path="/chat?new", llm=Scripted(lambda chat: str(go.wait(20))))
    page.locator("#text").fill("a comedy")
    page.locator("#text").press("Enter")
    page.locator("[data-stop]:visible").click()
    until(page, "!document.querySelector('.turn[aria-busy]')")
    go.set()
    assert "Stopped." in page.locator(".turn.theirs").last.inner_text()
    assert page.locator(".send").is_visible()


def test_a_service_that_is_gone_is_said_and_can_be_tried_again(visit):
    page = visit(path="/for-you")
    page.locator(".card").first.wait_for()
    page.route("**/for-you/list", lambda route: route.abort())
    page.locator(".do-like").first.click()
    page.locator("#flash p").wait_for()
    assert "cannot be reached" in page.locator("#flash").inner_text()
    assert page.locator(".card").count() == 12, "what was there stays"
    page.reload()
    page.get_by_role("button", name="Try again").wait_for()
    page.unroute("**/for-you/list")
    page.get_by_role("button", name="Try again").click()
    page.locator(".card").first.wait_for()


def test_hostile_text_stays_text(browser, shop):
    import uvicorn

    from agent.service.app import build
    from agent.service.config import Config
    from agent.service.run import listening, server_config
    from tests.agent.service.pages.test_hostile import BREAKERS, NAME, catalogue, history

    chosen = Config(port=0)
    frame = build(shop(catalogue(), history()), chosen)
    with listening(chosen) as sock:
        server = uvicorn.Server(server_config(frame, chosen))
        thread = threading.Thread(target=server.run, kwargs={"sockets": [sock]})
        thread.start()
        base = f"http://127.0.0.1:{sock.getsockname()[1]}"
        context = browser.new_context(base_url=base)
        page = context.new_page()
        page.set_default_timeout(WAIT_MS)
        fired: list[str] = []
        page.on("dialog", lambda one: (fired.append(one.message), one.dismiss()))
        page.on("request", lambda sent: fired.append(sent.url) if not sent.url.startswith(base) else None)
        page.goto("/sign-in")
        page.get_by_role("button", name="alert").first.click()
        page.wait_for_url("**/chat**")
        for text in BREAKERS[:6]:
            say(page, text)
        say(page, "more like 1")
        said = page.locator("#turns").inner_text()
        assert BREAKERS[0] in said
        for path in PLACES[1:-1]:
            page.goto(path)
            until(page, "!document.querySelector('[data-load]')")
        page.goto("/operator/people")
        page.get_by_role("link", name="alert").first.click()
        assert NAME in page.locator("h1").inner_text()
        assert page.evaluate("document.querySelectorAll('img, iframe, script:not([src])').length") == 0
        assert fired == []
        context.close()
        server.should_exit = True
        thread.join(30)
        assert not thread.is_alive()
