/* What the pages do beyond links and forms: parts that come later, lists that move, words as they are made.
   Nothing is built from text here: the server sends pieces of pages, in which all data is escaped. */
"use strict";

const PART = { "X-Rapport-Part": "1" };
const calm = matchMedia("(prefers-reduced-motion: reduce)");
const body = document.body.dataset;

document.addEventListener("DOMContentLoaded", () => {
  for (const place of document.querySelectorAll("[data-load]")) load(place);
  for (const fold of document.querySelectorAll("[data-wide-open]")) fold.open = matchMedia("(min-width: 46.01rem)").matches;
  local(document);
  toLast();
});

/* pieces of pages */

function pieces(html) {
  const parsed = new DOMParser().parseFromString(html, "text/html");
  return [...parsed.body.querySelectorAll(":scope > [id], :scope > main > [id]")];
}

async function load(place) {
  place.setAttribute("aria-busy", "true");
  try {
    const response = await fetch(place.dataset.load, { headers: PART });
    put(await response.text(), response.ok ? null : place, () => load(place));
  } catch {
    fail(place, body.offline, () => load(place));
  } finally {
    place.removeAttribute("aria-busy");
  }
}

/* Puts each piece in the place of the one with its id; where the answer is a failure, into `failedIn`. */
function put(html, failedIn, again) {
  const found = pieces(html);
  const failure = found.find((one) => one.id === "failed");
  if (failure || failedIn) {
    const said = sentence(failure);
    if (failure?.dataset.status === "401") { location.assign("/sign-in"); return false; }
    fail(failedIn, said, again);
    return false;
  }
  for (const one of found) {
    const old = document.getElementById(one.id);
    if (!old) continue;
    const places = positions(old);
    const held = document.activeElement && old.contains(document.activeElement) ? trail(document.activeElement) : null;
    old.removeAttribute("data-load");
    old.replaceChildren(...one.childNodes);
    moved(old, places);
    local(old);
    if (held) refocus(old, held);
  }
  return true;
}

/* What a page that failed says, in one line. */
function sentence(failure) {
  if (!failure) return body.failed;
  const [title, text] = ["h1, h2", "p"].map((one) => failure.querySelector(one)?.textContent.trim() ?? "");
  return text ? `${title}${/[.!?。！？]$/.test(title) ? "" : body.period} ${text}` : title;
}

function fail(place, said, again) {
  if (!place || place.id === "flash") { tell(said); return; }
  if (place.querySelector("form")) { tell(said); return; }
  const box = document.createElement("div");
  box.className = "empty";
  box.setAttribute("role", "alert");
  const text = document.createElement("p");
  text.textContent = said;
  const button = document.createElement("button");
  button.textContent = body.retry;
  button.addEventListener("click", again);
  box.append(text, button);
  place.replaceChildren(box);
}

function tell(said) {
  const flash = document.getElementById("flash");
  const text = document.createElement("p");
  text.textContent = said;
  flash.replaceChildren(text);
  fade();
}

let fading = 0;
function fade() {
  clearTimeout(fading);
  fading = setTimeout(() => {
    const flash = document.getElementById("flash");
    if (flash.matches(":hover, :focus-within")) fade();
    else flash.replaceChildren();
  }, 9000);
}

/* lists that move */

function positions(root) {
  const found = new Map();
  for (const one of root.querySelectorAll("[data-key]")) found.set(one.dataset.key, one.getBoundingClientRect().top);
  return found;
}

function moved(root, before) {
  if (calm.matches || !before.size) return;
  for (const one of root.querySelectorAll("[data-key]")) {
    const was = before.get(one.dataset.key);
    const by = was === undefined ? 0 : was - one.getBoundingClientRect().top;
    if (was === undefined) one.animate([{ opacity: 0, transform: "translateY(12px)" }, {}], { duration: 350, easing: "ease-out" });
    else if (by) one.animate([{ transform: `translateY(${by}px)` }, {}], { duration: 380, easing: "cubic-bezier(.2,.8,.2,1)" });
  }
}

/* Where the focus was, so that it stays near when the list under it is another one. */
function trail(element) {
  const key = element.closest("[data-key]");
  const list = key ? [...key.parentElement.children].indexOf(key) : -1;
  return { name: element.name, value: element.value, list };
}

function refocus(root, held) {
  const same = [...root.querySelectorAll("button, input, a")].find((one) => one.name === held.name && one.value === held.value && !one.hidden);
  const cards = root.querySelectorAll("[data-key]");
  const near = held.list >= 0 && cards.length ? cards[Math.min(held.list, cards.length - 1)].querySelector("button") : null;
  (same ?? near ?? root.querySelector("button, input:not([type=hidden]), a"))?.focus({ preventScroll: true });
}

/* forms */

document.addEventListener("submit", (event) => {
  const form = event.target;
  if (form.hasAttribute("data-say")) { event.preventDefault(); say(form, event.submitter); }
  else if (form.hasAttribute("data-dialog")) { event.preventDefault(); ask(form, event.submitter); }
  else if (form.hasAttribute("data-swap")) { event.preventDefault(); swap(form, event.submitter); }
});

document.addEventListener("change", (event) => {
  const dial = event.target.closest("[data-auto]");
  if (dial) swap(dial.closest("form"), null);
});

function sent(form, submitter) {
  const fields = new URLSearchParams(new FormData(form, submitter));
  /* What stands in the list now, so that the answer can tell what moved. */
  if (form.id === "steer-form") {
    const last = [...document.querySelectorAll(".listing")].at(-1);
    if (last) for (const one of last.querySelectorAll("[name=shown]")) fields.append("shown", one.value);
    if (last) fields.set("number", last.querySelector("[name=number]").value);
  }
  return fields;
}

async function swap(form, submitter) {
  const place = form.closest("[id]:not(form)") ?? form;
  /* What was pressed is on its way: pressed twice, it is still said once. */
  if (place.getAttribute("aria-busy")) return;
  place.setAttribute("aria-busy", "true");
  try {
    const response = await fetch(form.getAttribute("action"), { method: "POST", headers: PART, body: sent(form, submitter) });
    const good = put(await response.text(), response.ok ? null : place, () => swap(form, submitter));
    if (good) {
      const dialog = document.getElementById("dialog");
      if (dialog.open) {
        dialog.close();
        if (asking && !asking.root.contains(document.activeElement)) refocus(asking.root, asking.held);
      }
      fade();
    }
  } catch {
    tell(body.offline);
  } finally {
    place.removeAttribute("aria-busy");
  }
}

/* Where a change was asked for, to come back to when what was there is gone. */
let asking = null;

async function ask(form, submitter) {
  if (form.getAttribute("aria-busy")) return;
  const dialog = document.getElementById("dialog");
  const root = form.closest("[id]:not(form, [popover])");
  asking = { root, held: { name: null, value: null, list: [...root.querySelectorAll("[data-key]")].indexOf(form.closest("[data-key]")) } };
  form.closest("[popover]")?.hidePopover();
  form.setAttribute("aria-busy", "true");
  try {
    const response = await fetch(form.getAttribute("action"), { method: "POST", headers: PART, body: sent(form, submitter) });
    const found = pieces(await response.text());
    const preview = found.find((one) => one.id === "preview");
    if (!preview) {
      const failure = found.find((one) => one.id === "failed");
      tell(failure?.querySelector("p").textContent || sentence(failure));
      return;
    }
    dialog.replaceChildren(preview);
    dialog.showModal();
  } catch {
    tell(body.offline);
  } finally {
    form.removeAttribute("aria-busy");
  }
}

document.addEventListener("click", (event) => {
  /* The second of a double click would fall on whatever card has moved under it. */
  if (event.detail > 1 && event.target.closest(".do")) { event.preventDefault(); return; }
  const dialog = document.getElementById("dialog");
  if (event.target.closest("[data-close]") && dialog?.open) { event.preventDefault(); dialog.close(); }
  if (event.target === dialog) dialog.close();
  if (event.target.closest("[data-stop]")) talking?.abort();
});

/* A menu opens beside its button. */
document.addEventListener("toggle", (event) => {
  const menu = event.target;
  if (!menu.matches?.(".menu") || event.newState !== "open") return;
  const button = document.querySelector(`[popovertarget="${CSS.escape(menu.id)}"]`).getBoundingClientRect();
  const own = menu.getBoundingClientRect();
  const below = button.bottom + own.height + 12 < innerHeight;
  menu.style.top = `${Math.max(8, below ? button.bottom + 6 : button.top - own.height - 6)}px`;
  menu.style.left = `${Math.max(8, Math.min(button.right - own.width, innerWidth - own.width - 8))}px`;
}, true);

/* chat */

let talking = null;

function say(form, submitter) {
  const fields = sent(form, submitter);
  if (talking || !fields.get("text")?.trim()) return;
  form.closest(".question")?.remove();
  if (form.id === "say") { const box = document.getElementById("text"); box.value = ""; grow(box); }
  talk(form.getAttribute("action"), fields);
}

async function talk(action, fields) {
  const turns = document.getElementById("turns");
  document.getElementById("hello")?.remove();
  const mine = document.getElementById("said").content.cloneNode(true);
  mine.querySelector("p").textContent = fields.get("text").trim();
  turns.append(mine);
  turns.append(document.getElementById("thinking").content.cloneNode(true));
  const turn = turns.lastElementChild;
  /* What did not arrive is said again by one button. */
  const again = () => {
    turn.previousElementSibling.remove();
    turn.remove();
    talk(action, fields);
  };
  talking = new AbortController();
  working(true);
  toLast();
  try {
    const response = await fetch(action, { method: "POST", headers: PART, body: fields, signal: talking.signal });
    if (!response.ok) { failedTurn(turn, await response.text(), again); return; }
    await read(response.body, (part) => hear(turn, part));
    const address = `/chat?c=${encodeURIComponent(fields.get("c"))}`;
    if (location.search !== address.slice(5)) history.replaceState(null, "", address);
  } catch (error) {
    if (error.name === "AbortError") write(turn, body.stopped, true);
    else unanswered(turn, body.offline, again);
  } finally {
    talking = null;
    working(false);
    turn.removeAttribute("aria-busy");
    turn.querySelector(".dots")?.remove();
    toLast();
    if (matchMedia("(hover: hover)").matches) document.getElementById("text").focus({ preventScroll: true });
  }
}

/* Server-sent events, each one JSON value, as they come; the rest are comments. */
async function read(stream, hear) {
  const reader = stream.pipeThrough(new TextDecoderStream()).getReader();
  let rest = "";
  for (;;) {
    const { value, done } = await reader.read();
    const lines = (rest + (value ?? "")).split("\n");
    rest = done ? "" : lines.pop();
    for (const line of lines) if (line.startsWith("data: ")) hear(JSON.parse(line.slice(6)));
    if (done) return;
  }
}

function hear(turn, part) {
  if (part.part === "words") write(turn, part.text, false);
  else if (part.part === "piece") {
    turn.querySelector(".dots")?.remove();
    const parsed = new DOMParser().parseFromString(part.html, "text/html");
    turn.append(...parsed.body.childNodes);
    local(turn);
  } else if (part.part === "places") put(part.html, null, null);
  else if (part.part === "failed") write(turn, part.text, true);
}

function write(turn, text, apart) {
  let words = turn.querySelector(".words:not(.dots)");
  if (!words || apart) {
    words = document.createElement("p");
    words.className = apart ? "hint" : "words";
    turn.querySelector(".dots")?.remove();
    turn.append(words);
  }
  words.textContent += text;
}

function failedTurn(turn, html, again) {
  const failure = pieces(html).find((one) => one.id === "failed");
  if (failure?.dataset.status === "401") { location.assign("/sign-in"); return; }
  unanswered(turn, sentence(failure), again);
}

function unanswered(turn, said, again) {
  write(turn, said, true);
  const button = document.createElement("button");
  button.className = "again";
  button.textContent = body.retry;
  button.addEventListener("click", () => { if (!talking) again(); });
  turn.append(button);
}

function working(on) {
  document.querySelector("[data-stop]").hidden = !on;
  document.querySelector(".send").hidden = on;
}

/* The last thing that was said goes to the top, so that its answer is read from its beginning. */
function toLast() {
  const said = [...document.querySelectorAll("#turns > .mine")].at(-1);
  said?.scrollIntoView({ block: "start", behavior: calm.matches ? "auto" : "smooth" });
}

function grow(box) {
  box.style.height = "auto";
  box.style.height = `${box.scrollHeight}px`;
}

document.addEventListener("input", (event) => { if (event.target.id === "text") grow(event.target); });
document.addEventListener("keydown", (event) => {
  if (event.target.id === "text" && event.key === "Enter" && !event.shiftKey && !event.isComposing) {
    event.preventDefault();
    if (event.target.value.trim()) event.target.form.requestSubmit();
  }
  if (event.key === "Escape" && talking) talking.abort();
});

/* Times where the reader is. */
function local(root) {
  const language = document.documentElement.lang;
  for (const one of root.querySelectorAll("time[data-clock]")) {
    one.textContent = new Date(one.dateTime).toLocaleTimeString(language, { hour: "numeric", minute: "2-digit" });
  }
  for (const one of root.querySelectorAll("time[data-day]")) {
    one.textContent = new Date(one.dateTime).toLocaleDateString(language, { day: "numeric", month: "short" });
  }
}
