"""ReDial, real dialogues about films: are titles found, and opinions read as the people themselves say they meant them?

The scorer alone holds the labels; what reads a dialogue is handed its messages and nothing else. The files are read
from a folder that is named on the command line, and are not part of the project.
"""

from __future__ import annotations

import hashlib
import json
import random
import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from agent import show
from agent.ask import Ask
from agent.chat.opinions import Opinion, Stance, judge, opinions
from agent.chat.titles import Mention, Titles
from agent.errors import LLMError, SetupError
from agent.settings import load
from agent.types import Item
from agent.wiring import open_rapport

DIALOGUES, FILMS = "valid_data.jsonl", "id2info.json"
HANDLE = re.compile(r"@(\d+)")
YEAR = re.compile(r"\s*\((?:18|19|20)\d\d\)\s*$")
SAID = ("liked", "disliked")
WRITTEN = ("as written", "without year", "lower case, no year", "one slip, no year")
"""Ways in which a title is written in a message."""


@dataclass(frozen=True, slots=True)
class Said:
    """One message."""

    seeker: bool
    text: str
    """With titles in it."""
    places: tuple[tuple[int, int, str], ...]
    """(start, end, film) of each title that its writer marked."""


@dataclass(frozen=True, slots=True)
class Dialogue:
    """What a system may see."""

    id: str
    messages: tuple[Said, ...]


@dataclass(frozen=True, slots=True)
class Verdicts:
    """What only the scorer sees: film -> 1 liked, 0 not, 2 not said."""

    of: Mapping[str, int]


def run_on_data(data: Path | None, llm: str | None, dialogues: int) -> dict[str, Any]:
    """Measure titles and opinions on the first `dialogues` of the folder `data`; with a model also what it adds."""
    if data is None or not (data / DIALOGUES).exists() or not (data / FILMS).exists():
        raise SetupError(f"name the folder of data sets that holds redial/{DIALOGUES} and redial/{FILMS}: --data DIR")
    films = read_films(data / FILMS)
    everything = list(read(data / DIALOGUES))[:dialogues]
    titles = Titles(films)
    result: dict[str, Any] = {
        "data": f"{DIALOGUES} {digest(data / DIALOGUES)}, {FILMS} {digest(data / FILMS)}",
        "dialogues": len(everything),
        "films": len(films),
        "titles": [found_titles([one for one, _ in everything], titles, way) for way in WRITTEN],
        "opinions": [],
    }
    rules = {one.id: read_by_rules(one, titles) for one, _ in everything}
    result["opinions"].append(scored("always liked", {one.id: always(one) for one, _ in everything}, everything))
    result["opinions"].append(scored("rules: what is said", rules, everything))
    result["opinions"].append(scored("rules: said, wanted or asked for more of", rules, everything, implied=True))
    if llm != "none":
        with open_rapport(settings=load(llm=llm)) as rapport, show.progress("dialogues") as progress:
            ask = Ask(rapport.llm)
            helped, unanswered = {}, 0
            for done, (one, _) in enumerate(everything):
                progress(done, len(everything))
                try:
                    helped[one.id] = read_by_rules(one, titles, ask)
                except LLMError:
                    # As in a conversation: what the rules found stands.
                    helped[one.id] = rules[one.id]
                    unanswered += 1
            result["unanswered"] = unanswered
            result["model"] = rapport.llm.name
            result["opinions"].append(scored("rules and model: what is said", helped, everything))
            name = "rules and model: said, wanted or asked for more of"
            result["opinions"].append(scored(name, helped, everything, implied=True))
    return result


# reading


def read_films(path: Path) -> list[Item]:
    """The catalogue: title with its year, kinds, plot. Films of one name are one."""
    films: dict[str, Item] = {}
    for id, one in json.loads(path.read_text(encoding="utf-8")).items():
        title = " ".join(one["name"].split())
        films.setdefault(title.casefold(), Item(id, title, one.get("plot") or "", tuple(one.get("genre") or ())))
    return list(films.values())


def read(path: Path) -> Iterator[tuple[Dialogue, Verdicts]]:
    """Each dialogue, and what the seeker said afterwards of each film in it."""
    with path.open(encoding="utf-8") as file:
        for line in file:
            row = json.loads(line)
            names = {id: " ".join(name.split()) for id, name in (row["movieMentions"] or {}).items() if name}
            messages = [
                rendered(one["text"], names, seeker=one["senderWorkerId"] == row["initiatorWorkerId"])
                for one in row["messages"]
            ]
            asked = row["initiatorQuestions"] or {}
            verdicts = {names[id]: one["liked"] for id, one in asked.items() if id in names}
            yield Dialogue(str(row["conversationId"]), tuple(messages)), Verdicts(verdicts)


def rendered(text: str, names: Mapping[str, str], *, seeker: bool) -> Said:
    """A message with the title in place of each handle."""
    written, places, done = "", [], 0
    for match in HANDLE.finditer(text):
        if name := names.get(match[1]):
            written += text[done : match.start()]
            places.append((len(written), len(written) + len(name), name))
            written, done = written + name, match.end()
    return Said(seeker, written + text[done:], tuple(places))


def rewritten(said: Said, way: str) -> Said:
    """The same message with its titles written another way; slips are the same in every run."""
    written, places, done = "", [], 0
    for start, end, film in said.places:
        name = said.text[start:end]
        if way != WRITTEN[0]:
            name = YEAR.sub("", name)
        if way.startswith("lower"):
            name = name.lower()
        if way.startswith("one slip"):
            name = slip(name)
        written += said.text[done:start]
        places.append((len(written), len(written) + len(name), film))
        written, done = written + name, end
    return Said(said.seeker, written + said.text[done:], tuple(places))


def slip(name: str) -> str:
    """One letter of the longest word left out, doubled or swapped with the next."""
    chance = random.Random(name)
    word = max(re.findall(r"[^\W\d_]+", name), key=len, default="")
    if len(word) < 5:
        return name
    place = name.index(word) + chance.randrange(1, len(word) - 1)
    kind = chance.randrange(3)
    if kind == 0:
        return name[:place] + name[place + 1 :]
    if kind == 1:
        return name[:place] + name[place] + name[place:]
    return name[:place] + name[place + 1] + name[place] + name[place + 2 :]


def digest(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()[:12]


# systems


def read_by_rules(dialogue: Dialogue, titles: Titles, ask: Ask | None = None) -> dict[str, Stance]:
    """film -> what the seeker says of it in the end; films are found in the text, not taken from its writer's marks."""
    heard: dict[str, list[Stance]] = {}
    focus: tuple[str, ...] = ()
    for message in dialogue.messages:
        mentions = titles.find(message.text)
        if message.seeker:
            found: Sequence[Opinion] = opinions(message.text, mentions, focus, last=True)
            if ask:
                found = judge(found, message.text, ask, "en")
            for one in found:
                heard.setdefault(one.item, []).append(one.stance)
        if mentions:
            focus = tuple(one.item for one in mentions)
    return {titles.name(film): in_the_end(stances) for film, stances in heard.items()}


def in_the_end(stances: Sequence[Stance]) -> Stance:
    """The last thing said, a verdict before a wish and a wish before a mere mention."""
    for kinds in (SAID, ("like_it", "wanted")):
        said: list[Stance] = [one for one in stances if one in kinds]
        if said:
            return said[-1]
    return stances[-1]


def always(dialogue: Dialogue) -> dict[str, Stance]:
    """The trivial system: whatever is named is liked."""
    return {film: "liked" for message in dialogue.messages for _, _, film in message.places}


# scoring


def found_titles(dialogues: Sequence[Dialogue], titles: Titles, way: str) -> dict[str, Any]:
    """How many of the marked titles are found where they stand, as the film they are, and how many hits are wrong."""
    right = wrong = missed = meant = idle = false = 0
    by_name = {one.casefold(): one for one in titles.names()}
    for dialogue in dialogues:
        for said in dialogue.messages:
            message = rewritten(said, way)
            found = titles.find(message.text)
            if not message.places:
                idle += 1
                false += len(found)
                continue
            for start, end, film in message.places:
                if film.casefold() not in by_name:
                    continue
                meant += 1
                here = [one for one in found if one.start < end and start < one.end]
                hit = any(same(titles, one, film) for one in here)
                right += hit
                wrong += bool(here) and not hit
                missed += not here
    return {
        "way": way,
        "titles": meant,
        "recall": right / max(1, meant),
        "precision": right / max(1, right + wrong),
        "per_100_without": 100 * false / max(1, idle),
    }


def same(titles: Titles, mention: Mention, film: str) -> bool:
    """Whether a mention is the film: by name, or, where the year was left out, by name without it."""
    name = titles.name(mention.item).casefold()
    return name == film.casefold() or YEAR.sub("", name) == YEAR.sub("", film).casefold()


def scored(
    system: str,
    answers: Mapping[str, Mapping[str, Stance]],
    everything: Sequence[tuple[Dialogue, Verdicts]],
    *,
    implied: bool = False,
) -> dict[str, Any]:
    """Precision and recall for liked and disliked. `implied`: to want a film, or one like it, counts as liking it."""
    like = {"liked", "like_it", "wanted"} if implied else {"liked"}
    counts: Counter[tuple[str, int]] = Counter()
    for dialogue, verdicts in everything:
        said = {key(film): stance for film, stance in answers[dialogue.id].items()}
        for film, verdict in verdicts.of.items():
            stance = said.get(key(film), "open")
            counts["liked" if stance in like else stance if stance == "disliked" else "open", verdict] += 1
    liked, disliked = (sum(counts[kind, label] for kind in ("liked", "disliked", "open")) for label in (1, 0))

    def ratio(kind: str, verdict: int, whole: int) -> float:
        return counts[kind, verdict] / max(1, whole)

    liked_precision = ratio("liked", 1, counts["liked", 1] + counts["liked", 0])
    precision, recall = (
        ratio("disliked", 0, counts["disliked", 1] + counts["disliked", 0]),
        ratio("disliked", 0, disliked),
    )
    return {
        "system": system,
        "liked": liked,
        "disliked": disliked,
        "liked_precision": liked_precision,
        "liked_recall": ratio("liked", 1, liked),
        "disliked_precision": precision,
        "disliked_recall": recall,
        "disliked_f1": 2 * precision * recall / max(1e-9, precision + recall),
        "balanced": (ratio("liked", 1, liked) + recall) / 2,
    }


def key(film: str) -> str:
    return " ".join(film.split()).casefold()


def markdown(result: Mapping[str, Any]) -> str:
    model = result.get("model", "none")
    lines = [
        f"{result['dialogues']} dialogues, {result['films']} films; model {model}; {result['data']}",
        "",
        "| titles | found of | recall | precision | hits per 100 messages without a marked title |",
        "|---|---|---|---|---|",
        *(
            row(one["way"], one["titles"], one["recall"], one["precision"], round(one["per_100_without"], 1))
            for one in result["titles"]
        ),
        "",
        "| opinions | liked P | liked R | disliked P | disliked R | disliked F1 |",
        "|---|---|---|---|---|---|",
        *(row(one["system"], *(one[name] for name in OPINION_COLUMNS)) for one in result["opinions"]),
    ]
    return "\n".join(lines)


OPINION_COLUMNS = ("liked_precision", "liked_recall", "disliked_precision", "disliked_recall", "disliked_f1")


def row(*cells: str | float) -> str:
    return f"| {' | '.join(f'{one:.3f}' if isinstance(one, float) else str(one) for one in cells)} |"
