"""Board D through the product: what real seekers say goes to Rapport's conversation; does it bring what they like?

A case is a dialogue. A system is shown the seeker's messages and nothing that the human recommender said; which film
was recommended in which turn, and which ones the seeker liked, the scorer alone knows. What Rapport knows of others is
what the dialogues of the other folds say, imported as the events of other people.
"""

from __future__ import annotations

import json
import re
import shutil
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import partial
from itertools import count
from pathlib import Path
from typing import Any

import numpy as np

from agent import show
from agent.ask import Ask
from agent.chat.parts import Cards, Question, Understood, Words
from agent.chat.titles import Titles
from agent.history.importing import import_path
from agent.history.text import split_year
from agent.settings import Settings
from agent.settings import load as settings_of
from agent.types import Item
from agent.wiring import Rapport
from eval.board import Answered, Bar, Board, Case, Labels, Part, System
from eval.boards import conversation
from eval.boards.conversation import FOLDER, Crowd, lines
from eval.compare import Measure, Rows
from eval.data import sha256
from eval.metrics import Floats

FILMS, DIALOGUES, TURNS = "id2info.json", "valid_data.jsonl", "valid_data_processed.jsonl"
HANDLE = re.compile(r"@(\d+)")
FOLDS = 5
"""A dialogue is held in a home that learned from the dialogues of the other folds."""
DEEP = 80
"""Films of a list: 50 are counted, and those named before are taken out first."""
SHORT = 10
CARDS = 5
CONVERSATION = "tonight"
BEGINNING = datetime(2018, 1, 1, tzinfo=UTC)
"""Dialogues have no times: they are imported an hour apart, in the order of the file."""
LEAST_ALIAS = 4
"""Letters of a title from which on it counts as named wherever it stands."""


@dataclass(frozen=True, slots=True)
class Talk:
    """What a system sees of a dialogue."""

    place: int
    """Among all dialogues: what is to be left out when learning from them."""
    messages: tuple[str, ...]
    """The seeker's, with titles in them."""
    named: tuple[tuple[int, ...], ...]
    """The films that each of them names, as its writer marked them."""


@dataclass(frozen=True, slots=True)
class Target:
    """A film that is to be found."""

    after: int
    """So many of the seeker's messages were said before."""
    film: int
    named: frozenset[int]
    """Films that either of the two had named by then: no answers."""


@dataclass(frozen=True, slots=True)
class Aims:
    """What only the scorer sees of a dialogue."""

    turns: tuple[Target, ...]
    """What the human recommender recommended, one by one."""
    liked: tuple[Target, ...]
    """What the recommender named first, and the seeker afterwards said they liked."""
    named: tuple[frozenset[int], ...]
    """After each of the seeker's messages: the films that they themselves had named, in it or before."""


@dataclass(frozen=True)
class Films:
    """The catalogue, by place; films of one name are one."""

    names: tuple[str, ...]
    ids: tuple[str, ...]
    info: tuple[Mapping[str, Any], ...]

    def place_of(self) -> dict[str, int]:
        """name -> place; also where it is written with two blanks."""
        return {" ".join(name.split()): at for at, name in enumerate(self.names)}


@contextmanager
def opened(data: Path) -> Iterator[Board]:
    """The board; its homes live as long as this."""
    with tempfile.TemporaryDirectory(prefix="rapport-chat-") as scratch, ExitStack() as stack:
        homes = Homes(data, Path(scratch), stack)
        yield Board(
            "board-d-chat",
            1,
            "D through the chat. What a real seeker's messages bring in Rapport's own conversation",
            "the seeker's messages of 1,000 dialogues, one by one, the recommender's left out; 6,576 films; targets"
            " named before, or that the seeker's words give away, left out; micro-averaged, bootstrap over dialogues",
            tuple(f"{FOLDER}/{one}" for one in (FILMS, DIALOGUES, TURNS)),
            partial(load, homes=homes),
        )


# the product


class Homes:
    """One home a fold, made when it is first needed: the films, and what the people of the other folds said of them."""

    def __init__(self, data: Path, scratch: Path, stack: ExitStack) -> None:
        self._data, self._scratch, self._stack = data, scratch, stack
        self._made: dict[int, Rapport] = {}

    def of(self, talk: Talk) -> Rapport:
        fold = talk.place % FOLDS
        if fold not in self._made:
            self._made[fold] = self._stack.enter_context(self._home(fold))
        return self._made[fold]

    def _home(self, fold: int) -> Rapport:
        films, rows = catalogue(self._data), lines(self._data / FOLDER / DIALOGUES)
        folder, settings = self._scratch / f"rows-{fold}", self._settings(fold)
        folder.mkdir()
        written(folder / "films.jsonl", map(shop_row, films.ids, films.info))
        others = [(at, row) for at, row in enumerate(rows) if at % FOLDS != fold]
        written(folder / "events.jsonl", (one for at, row in others for one in events_of(at, row, films)))
        kept = settings.cache / "eval" / f"redial-index-{sha256(self._data / FOLDER / FILMS)[:12]}-{slug(settings)}"
        if kept.exists():
            shutil.copytree(kept, settings.index_folder)
        rapport = Rapport(settings)
        import_path(rapport.store, folder)
        with show.progress("embedding the films") as progress:
            rapport.build_index(progress)
        rapport.train()
        if not kept.exists():
            rapport.close()
            shutil.copytree(settings.index_folder, kept)
        return rapport

    def _settings(self, fold: int) -> Settings:
        return Settings(home=self._scratch / f"home-{fold}", llm="none", domain="film", embedder=settings_of().embedder)


def slug(settings: Settings) -> str:
    return re.sub(r"\W+", "-", settings.embedder)[:40]


def shop_row(id: str, film: Mapping[str, Any]) -> dict[str, Any]:
    """A film as a shop would have it."""
    title, year = split_year(" ".join(film["name"].split()))
    cast = f"With {', '.join(film['star'])}." if film["star"] else ""
    return {
        "item": id,
        "title": title,
        "year": year,
        "genres": [one.title() for one in film["genre"]],
        "description": " ".join(filter(None, (film["plot"], cast))),
        "director": film["director"],
    }


def events_of(place: int, row: Mapping[str, Any], films: Films) -> Iterator[dict[str, Any]]:
    """What the seeker of a dialogue said afterwards of the films in it: liked, not liked, or only looked at."""
    place_of, verdicts = films.place_of(), row["initiatorQuestions"] or {}
    kinds = {0: "dislike", 1: "like", 2: "view"}
    for minute, (film, handles) in enumerate(in_order(row, place_of).items()):
        said = next((verdicts[one]["liked"] for one in handles if one in verdicts), 2)
        at = BEGINNING + timedelta(hours=place, minutes=minute)
        yield {"user": f"seeker-{place}", "item": films.ids[film], "kind": kinds[said], "at": at.isoformat()}


def in_order(row: Mapping[str, Any], place_of: Mapping[str, int]) -> dict[int, list[str]]:
    """The films of a dialogue in the order in which they are first named, each with the handles it has."""
    found: dict[int, list[str]] = {}
    known = {id: " ".join(name.split()) for id, name in (row["movieMentions"] or {}).items() if name}
    for message in row["messages"]:
        for handle in HANDLE.findall(message["text"]):
            if (film := place_of.get(known.get(handle, ""))) is not None:
                found.setdefault(film, []).append(handle)
    return found


def written(path: Path, rows: Any) -> None:
    path.write_text("".join(json.dumps(one) + "\n" for one in rows), encoding="utf-8")


def talked(homes: Homes, talk: Talk, ask: Ask) -> Answered:
    """One dialogue held with somebody new. Each turn: words, cards, and the list of the same wishes made longer."""
    rapport = homes.of(talk).with_llm(ask.llm)
    user = f"guest-{talk.place}"
    turns, prompts, prompt_tokens, completion_tokens = [], set[str](), 0, 0
    for message in talk.messages:
        told: dict[str, Any] = {"message": message, "words": "", "cards": [], "question": "", "degraded": False}
        for part in rapport.chat.reply(user, CONVERSATION, message, n=CARDS) if message.strip() else ():
            if isinstance(part, Words):
                told["words"] += part.text
            elif isinstance(part, Cards):
                told["cards"] = [one.item.id for one in part.items]
                told["titles"] = [one.item.title for one in part.items]
                told["degraded"] = part.degraded
                prompts.update(part.provenance.prompts)
                prompt_tokens += part.provenance.prompt_tokens
                completion_tokens += part.provenance.completion_tokens
            elif isinstance(part, Question):
                told["question"] = part.text
            elif isinstance(part, Understood):
                told["intent"] = part.intent
                told["chips"] = [f"{one.kind}: {one.text}" for one in part.chips]
        told["ranked"] = ranked(rapport, user)
        turns.append(told)
    return Answered(turns, tuple(sorted(prompts)), 0, prompt_tokens, completion_tokens)


def ranked(rapport: Rapport, user: str) -> list[str]:
    """What somebody would be shown who asks for ten, then what a longer list adds; without reasons."""
    profile = rapport.profile(user) if rapport.store.has_user(user) else rapport.profiler.blank(user)
    # How different the items of a list are made depends on its length: the first ten of eighty are not a list of ten.
    lists = (rapport.recommender.order(rapport.chat.asked(user, n), profile) for n in (SHORT, DEEP))
    return list(dict.fromkeys(one.item.id for some in lists for one in some))


# the data


def load(data: Path, homes: Homes) -> list[Part]:
    films, rows = catalogue(data), lines(data / FOLDER / DIALOGUES)
    turns = lines(data / FOLDER / TURNS)
    place_of = films.place_of()
    talks = [talk_of(at, row, place_of) for at, row in enumerate(rows)]
    titles = Titles([Item(id, " ".join(name.split())) for id, name in zip(films.ids, films.names, strict=True)])
    at_id = {id: at for at, id in enumerate(films.ids)}
    recommended: dict[str, list[Mapping[str, Any]]] = {}
    for turn in turns:
        recommended.setdefault(turn["dialog_id"], []).append(turn)
    aliases = [alias(name) for name in films.names]
    told = [given_away(talk, aliases, titles, at_id) for talk in talks]
    every, aims, leaks = [], {}, 0
    for talk, row, own in zip(talks, rows, told, strict=True):
        whole = (
            turn_targets(row, recommended.get(str(row["conversationId"]), ()), place_of),
            liked_targets(row, place_of),
        )
        fair = [tuple(one for one in some if one.film not in own[one.after - 1]) for some in whole]
        leaks += sum(map(len, whole)) - sum(map(len, fair))
        marked = tuple(frozenset(film for one in talk.named[: at + 1] for film in one) for at in range(len(talk.named)))
        every.append(Case(f"{talk.place}", talk))
        aims[f"{talk.place}"] = Aims(fair[0], fair[1], marked)
    crowd = Crowd(
        films.names,
        tuple(map(conversation.story, films.info)),
        tuple(" ".join(HANDLE.sub(" ", one["text"]) for one in row["messages"]) for row in rows),
        tuple(tuple(sorted(in_order(row, place_of))) for row in rows),
    )
    return [
        Part(
            "valid",
            tuple(every),
            Labels(aims),
            systems(homes, crowd, films),
            measures(at_id),
            {
                "dialogues": (len(rows), 1000),
                "films with distinct names": (len(films.names), 6576),
                "films recommended after a message of the seeker": (sum(len(one.turns) for one in aims.values()), 3293),
                "films liked later": (sum(len(one.liked) for one in aims.values()), 2711),
                "targets given away by the seeker's words, left out": (leaks, 50),
            },
            (
                Bar(OURS, "films outside the catalogue", 0),
                Bar(OURS, "turn R@10", 0, TOGETHER),
                Bar(OURS, "turn R@10", 0, POPULAR),
            ),
            few=len(rows),
        )
    ]


def catalogue(data: Path) -> Films:
    found: dict[str, tuple[str, Mapping[str, Any]]] = {}
    for id, film in json.loads((data / FOLDER / FILMS).read_text(encoding="utf-8")).items():
        found.setdefault(film["name"], (id, film))
    return Films(tuple(found), tuple(id for id, _ in found.values()), tuple(film for _, film in found.values()))


def talk_of(place: int, row: Mapping[str, Any], place_of: Mapping[str, int]) -> Talk:
    known = {id: " ".join(name.split()) for id, name in (row["movieMentions"] or {}).items() if name}
    mine = [one["text"] for one in row["messages"] if one["senderWorkerId"] == row["initiatorWorkerId"]]
    return Talk(
        place,
        tuple(HANDLE.sub(lambda match: known.get(match[1], match[0]), text) for text in mine),
        tuple(tuple(films_in(text, known, place_of)) for text in mine),
    )


def films_in(text: str, known: Mapping[str, str], place_of: Mapping[str, int]) -> Iterator[int]:
    for handle in HANDLE.findall(text):
        if (film := place_of.get(known.get(handle, ""))) is not None:
            yield film


def said_before(row: Mapping[str, Any], message: int) -> int:
    """How many of the first `message` messages are the seeker's."""
    return sum(one["senderWorkerId"] == row["initiatorWorkerId"] for one in row["messages"][:message])


def turn_targets(
    row: Mapping[str, Any], turns: Sequence[Mapping[str, Any]], place_of: Mapping[str, int]
) -> tuple[Target, ...]:
    """As in the protocol of D1: each film recommended in a turn that nobody had named before it."""
    found = []
    for turn in turns:
        after = said_before(row, turn["turn_id"])
        named = frozenset(
            place_of[" ".join(one.split())] for one in turn["entity"] if " ".join(one.split()) in place_of
        )
        films = [place_of[" ".join(one.split())] for one in turn["rec"]]
        found += [Target(after, film, named) for film in films if film not in named and after]
    return tuple(found)


def liked_targets(row: Mapping[str, Any], place_of: Mapping[str, int]) -> tuple[Target, ...]:
    """Each film that the recommender named first and the seeker liked."""
    known = {id: " ".join(name.split()) for id, name in (row["movieMentions"] or {}).items() if name}
    verdicts = row["initiatorQuestions"] or {}
    liked = {place_of[known[id]] for id, one in verdicts.items() if one["liked"] == 1 and known.get(id) in place_of}
    named, found = set[int](), []
    for at, message in enumerate(row["messages"]):
        new = [one for one in films_in(message["text"], known, place_of) if one not in named]
        after = said_before(row, at)
        if after and message["senderWorkerId"] != row["initiatorWorkerId"]:
            found += [Target(after, film, frozenset(named)) for film in dict.fromkeys(new) if film in liked]
        named.update(new)
    return tuple(found)


def given_away(
    talk: Talk, aliases: Sequence[str], titles: Titles, at_id: Mapping[str, int]
) -> tuple[frozenset[int], ...]:
    """After each message: the films that the words so far name by title, by a part of it or with slips of spelling,
    whether their writer marked them or not."""
    told, found = set[int](), []
    for message, marked in zip(talk.messages, talk.named, strict=True):
        told.update(marked)
        told.update(at_id[id] for one in titles.find(message) for id in one.items)
        words = spelled(message)
        told.update(at for at, alias in enumerate(aliases) if alias and alias in words)
        found.append(frozenset(told))
    return tuple(found)


def alias(name: str) -> str:
    """A title without its year, as `spelled`; "" for one so short that it stands in many texts."""
    title = split_year(" ".join(name.split()))[0]
    return spelled(title) if len(title) >= LEAST_ALIAS else ""


def spelled(text: str) -> str:
    """Its words with a blank on either side."""
    return f" {' '.join(WORD.findall(text.casefold()))} "


WORD = re.compile(r"[^\W_]+")


# what it is compared with


def systems(homes: Homes, crowd: Crowd, films: Films) -> tuple[System, ...]:
    ids = np.array(films.ids)

    def lists(scores: Sequence[Floats]) -> list[dict[str, Any]]:
        """The answers to the messages of one dialogue: a list, and of it the first few that were not shown yet."""
        turns, shown = list[dict[str, Any]](), set[str]()
        for one in scores:
            order: list[str] = ids[np.argsort(-one, kind="stable")[:DEEP]].tolist()
            cards = [id for id in order if id not in shown][:CARDS]
            shown.update(cards)
            turns.append({"ranked": order, "cards": cards})
        return turns

    def popular(talks: Sequence[Talk]) -> list[Any]:
        return [lists([crowd.popular(one) for one in so_far(talk)]) for talk in talks]

    def together(talks: Sequence[Talk]) -> list[Any]:
        def score(turn: conversation.Turn) -> Floats:
            return crowd.together(turn) + conversation.POPULARITY * crowd.popular(turn)

        return [lists([score(one) for one in so_far(talk)]) for talk in talks]

    def apart(talks: Sequence[Talk]) -> list[Any]:
        """Co-mention that learned from the other folds only, which is what Rapport's home holds."""

        def score(turn: conversation.Turn) -> Floats:
            known = others[turn.dialogue % FOLDS]
            return known.together(turn) + conversation.POPULARITY * known.popular(turn)

        others = [crowd.learned_from(lambda at, fold=fold: at % FOLDS != fold) for fold in range(FOLDS)]
        return [lists([score(one) for one in so_far(talk)]) for talk in talks]

    def copied(talks: Sequence[Talk]) -> list[Any]:
        """Nobody's answer: the films whose titles, stories and people are nearest to the seeker's words."""
        turns = [one for talk in talks for one in so_far(talk)]
        read, ats = conversation.Reader(crowd, turns), count()
        return [lists([read.said(next(ats)) for _ in talk.messages]) for talk in talks]

    return (
        System(POPULAR, "baseline", popular),
        System(TOGETHER, "baseline", together),
        System(APART, "baseline", apart),
        System(WORDS, "baseline", copied, about="what the words alone give away"),
        System(OURS, "rapport", one=partial(talked, homes), about="somebody new each time, cards of five"),
    )


def so_far(talk: Talk) -> list[conversation.Turn]:
    """The dialogue after each message, as the other parts of board D see one."""
    return [
        conversation.Turn(
            talk.place,
            talk.messages[: at + 1],
            tuple(dict.fromkeys(film for one in talk.named[: at + 1] for film in one)),
        )
        for at in range(len(talk.messages))
    ]


OURS = "Rapport's conversation"
POPULAR = "popularity in other dialogues"
TOGETHER = "co-mention with the films that the seeker named"
APART = "the same, learned from the other folds only"
WORDS = "TF-IDF of the seeker's words, on titles, stories and people"


# scoring


def measures(at_id: Mapping[str, int]) -> tuple[Measure, ...]:
    """Every one but the last three is a share of targets; those without any do not count."""

    def places(ids: Sequence[str]) -> list[int]:
        return [at_id[one] for one in ids if one in at_id]

    def recall(kind: str, most: int) -> Measure:
        def score(turns: Any, aims: Aims) -> tuple[float, float]:
            targets: Sequence[Target] = getattr(aims, kind)
            hits = [hit(places(turns[min(one.after, len(turns)) - 1]["ranked"]), one, most) for one in targets]
            return float(sum(hits)), float(len(hits))

        return Measure(f"{'turn' if kind == 'turns' else kind} R@{most}", score, ratio)

    def on_cards(turns: Any, aims: Aims) -> tuple[float, float]:
        hits = [any(one.film in places(turn["cards"]) for turn in turns[: one.after]) for one in aims.liked]
        return float(sum(hits)), float(len(hits))

    def by_third(turns: Any, aims: Aims) -> tuple[float]:
        return (float(any(turn["cards"] for turn in turns[:3])),)

    def outside(turns: Any, aims: Aims) -> tuple[float]:
        shown = [one for turn in turns for one in (*turn["ranked"], *turn["cards"])]
        return (float(sum(one not in at_id for one in shown)),)

    def again(turns: Any, aims: Aims) -> tuple[float, float]:
        shown = [(at, film) for at, turn in enumerate(turns) for film in places(turn["cards"])]
        return float(sum(film in aims.named[min(at, len(aims.named) - 1)] for at, film in shown)), float(len(shown))

    return (
        recall("turns", 10),
        recall("turns", 50),
        recall("liked", 10),
        recall("liked", 50),
        Measure("liked, on a card by then", on_cards, ratio),
        Measure("cards by the third message", by_third),
        Measure("films outside the catalogue", outside, total, higher_is_better=False),
        Measure("cards that the seeker had named", again, ratio, higher_is_better=False),
    )


def hit(order: Sequence[int], target: Target, most: int) -> bool:
    """Whether the film is among the first that nobody had named."""
    return target.film in [one for one in order if one not in target.named][:most]


def ratio(rows: Rows) -> float:
    """Hits over targets."""
    return float(rows[:, 0].sum() / rows[:, 1].sum()) if len(rows) and rows[:, 1].sum() else 0.0


def total(rows: Rows) -> float:
    return float(rows[:, 0].sum())
