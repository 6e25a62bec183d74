"""Pictures of every page, of the bundled people: `python -m eval.screenshots --out docs/screens`.

They are for the documentation and to be looked at; no test compares them. Needs Debian's Chromium.
"""

from __future__ import annotations

import argparse
import io
import shutil
import sys
import tempfile
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from agent import demo
from agent.errors import SetupError
from agent.settings import load
from agent.wiring import Rapport, open_rapport

FLAGS = ("--no-sandbox", "--disable-gpu", "--disable-background-networking", "--no-first-run", "--disable-sync")
DESKTOP: dict[str, Any] = {"viewport": {"width": 1200, "height": 800}}
PHONE: dict[str, Any] = {
    "viewport": {"width": 360, "height": 740}, "device_scale_factor": 2, "is_mobile": True, "has_touch": True,
}  # fmt: skip
COLOURS = 192
"""Of a picture at most: enough for pages, and a third of the bytes."""
Take = Callable[[str], None]


@dataclass(frozen=True, slots=True)
class Look:
    """One way of looking at the pages."""

    name: str
    user: str
    said: str
    """What is said in the chat."""
    options: dict[str, Any]
    pages: tuple[str, ...]


LOOKS = (
    Look(
        "light", "mara", "something warm and funny, no horror", DESKTOP | {"color_scheme": "light"},
        ("sign-in", "hello", "chat", "why", "liked", "for-you", "taste", "preview", "data", "operator", "person"),
    ),
    Look("phone", "theo", "slow science fiction", PHONE, ("chat", "why", "for-you", "taste")),
    Look(
        "dark", "jules", "a monster, but funny", DESKTOP | {"color_scheme": "dark"},
        ("chat", "for-you", "taste", "preview"),
    ),
    Look(
        "chinese", "lin", "安静的家庭剧情片，不要恐怖", DESKTOP | {"locale": "zh-CN"},
        ("chat", "why", "for-you", "taste"),
    ),
)  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m eval.screenshots", description=__doc__)
    parser.add_argument("--out", type=Path, required=True, help="the folder of the pictures")
    parser.add_argument("--llm", default="none", help="as everywhere; the built-in model takes minutes")
    parser.add_argument("--only", help="one of " + ", ".join(one.name for one in LOOKS))
    given = parser.parse_args()
    given.out.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="rapport-screens-") as folder:
        settings = load(home=Path(folder), llm=given.llm, domain="film").model_copy(update={"database": ""})
        with open_rapport(settings=settings) as rapport:
            demo.prepare(rapport)
            with served(rapport) as base:
                pictures(base, given.out, [one for one in LOOKS if given.only in (None, one.name)])


@contextmanager
def served(rapport: Rapport) -> Iterator[str]:
    """The address of a server over an opened home."""
    import uvicorn

    from agent.service.app import build
    from agent.service.config import Config
    from agent.service.run import listening, server_config

    config = Config(port=0)
    with listening(config) as sock:
        server = uvicorn.Server(server_config(build(rapport, config), config))
        thread = threading.Thread(target=server.run, kwargs={"sockets": [sock]})
        thread.start()
        try:
            yield f"http://127.0.0.1:{sock.getsockname()[1]}"
        finally:
            server.should_exit = True
            thread.join()


def pictures(base: str, out: Path, looks: list[Look]) -> None:
    """Raises SetupError without a browser."""
    from playwright.sync_api import sync_playwright

    chromium = shutil.which("chromium")
    if chromium is None:
        raise SetupError("there is no chromium here: apt-get install chromium")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium, args=list(FLAGS))
        for look in looks:
            context = browser.new_context(base_url=base, reduced_motion="reduce", **look.options)
            page = context.new_page()
            page.set_default_timeout(180_000)

            def take(name: str, page: Any = page, look: Look = look) -> None:
                if name in look.pages:
                    page.wait_for_timeout(150)
                    path = out / f"{name}-{look.name}.png"
                    path.write_bytes(small(page.screenshot()))
                    sys.stdout.write(f"{path} {path.stat().st_size // 1024} KB\n")

            walk(page, look, take)
            context.close()
        browser.close()


def walk(page: Any, look: Look, take: Take) -> None:
    """Through the pages as somebody would."""
    page.goto("/sign-in")
    take("sign-in")
    page.locator(f'button[name=user][value="{look.user}"]').click()
    page.wait_for_url("**/chat**")
    page.goto("/chat?new")
    take("hello")
    page.locator("#text").fill(look.said)
    page.locator("#text").press("Enter")
    page.locator(".turn.theirs:not([aria-busy]) .card").first.wait_for()
    take("chat")
    page.locator(".do-why").first.click()
    page.locator(".why:popover-open").wait_for()
    take("why")
    page.keyboard.press("Escape")
    page.locator(".do-like").nth(1).click()
    page.locator("#flash p").wait_for()
    take("liked")
    page.goto("/for-you")
    page.locator(".card").first.wait_for()
    take("for-you")
    page.goto("/taste")
    page.locator(".tag").first.wait_for()
    take("taste")
    page.locator(".tag-line > .quiet").first.click()
    page.locator(".menu:popover-open button[value=remove]").click()
    page.locator("dialog[open] #preview").wait_for()
    take("preview")
    page.keyboard.press("Escape")
    page.goto("/data")
    take("data")
    page.goto("/operator")
    take("operator")
    page.goto(f"/operator/person?user={look.user}")
    take("person")


def small(png: bytes) -> bytes:
    """The same picture with fewer colours."""
    from PIL import Image

    made = io.BytesIO()
    Image.open(io.BytesIO(png)).convert("RGB").quantize(COLOURS, dither=Image.Dither.NONE).save(
        made, "PNG", optimize=True
    )
    return made.getvalue()


if __name__ == "__main__":
    main()
