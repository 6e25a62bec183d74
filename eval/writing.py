"""How good is what the model writes about real people? Counted by the product's own checks, with examples to read.

A text that fails is written again or replaced by a template in production; here it is counted how often the first try
passes, and how much of a persona would hold of somebody else, beside the template's.
"""

from __future__ import annotations

import random
import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from agent import show
from agent.grounding.check import fold
from agent.grounding.facts import Facts
from agent.persona import writing
from agent.persona.tally import Tally
from agent.settings import load
from agent.types import Answer, Profile
from agent.wiring import Rapport, open_rapport

EXAMPLES = 50
EACH = 5
"""Recommendations with reasons for each person."""
OTHERS = 20
"""People with whom each persona is compared."""
REFUSED = re.compile(r"(\d+) of (\d+) reasons were refused at first")
PERSONA = ("persona by template: ", "first persona refused: ")


@dataclass(frozen=True, slots=True)
class Described:
    """One person's persona, the template's in its place, and what is true of them."""

    persona: str
    template: str
    facts: Facts


def run_on_home(home: Path | None, llm: str | None, users: int) -> dict[str, Any]:
    """Rebuild the profiles of `users` people, evenly spread, and recommend EACH items to each."""
    with open_rapport(settings=load(home=home, llm=llm)) as rapport, show.progress("people") as progress:
        everybody = rapport.store.users()
        chosen = everybody[:: max(1, len(everybody) // users)][:users]
        personas: Counter[str] = Counter()
        reasons: Counter[str] = Counter()
        refused: Counter[str] = Counter()
        described: list[Described] = []
        texts: list[dict[str, str]] = []
        tokens, ms, receipts = 0, 0.0, 0
        for done, user in enumerate(chosen):
            progress(done, len(chosen))
            profile = rapport.profile(user, rebuild=True)
            answer = rapport.recommend(user, EACH)
            personas.update(tried_persona(profile))
            reasons.update(tried_reasons(answer))
            receipts += sum(bool(one.receipts) for one in answer.items)
            refused.update(kinds(profile.provenance.notes))
            if found := describe(rapport, profile):
                described.append(found)
            spent = (profile.provenance, answer.provenance)
            tokens += sum(one.prompt_tokens + one.completion_tokens for one in spent)
            ms += sum(one.ms for one in spent)
            texts.append({"user": user, "by": profile.persona_by, "persona": profile.persona})
            texts += [{"user": user, "by": one.written_by, "reason": one.reason} for one in answer.items[:1]]
        total = reasons["model"] + reasons["template"]
        return {
            "model": rapport.llm.name,
            "users": len(chosen),
            "personas_asked": personas["asked"],
            "personas_first_try_share": share(personas["first"], personas["asked"]),
            "personas_by_model_share": share(personas["model"], len(chosen)),
            "reasons_asked": reasons["asked"],
            "reasons_first_try_share": share(reasons["first"], reasons["asked"]),
            "reasons_by_model_share": share(reasons["model"], total),
            "reasons_with_receipts_share": share(receipts, total),
            "holds_of_others": share_of_others([(one.persona, one.facts) for one in described]),
            "template_holds_of_others": share_of_others([(one.template, one.facts) for one in described]),
            "refused_for": dict(refused.most_common(12)),
            "tokens_per_user": round(tokens / max(1, len(chosen))),
            "seconds_per_user": round(ms / 1000 / max(1, len(chosen)), 2),
            "examples": texts[: 2 * EXAMPLES],
        }


def share(part: int, whole: int) -> float:
    return round(part / max(1, whole), 3)


def tried_persona(profile: Profile) -> Counter[str]:
    """Whether a model was asked for a persona, whether its first text passed, and whose text stands."""
    notes = [note for note in profile.provenance.notes if note.startswith(PERSONA)]
    asked = profile.persona_by == "model" or bool(notes)
    return Counter({"asked": int(asked), "first": int(asked and not notes), profile.persona_by: 1})


def tried_reasons(answer: Answer) -> Counter[str]:
    """The same for the reasons of one list."""
    by = Counter(one.written_by for one in answer.items)
    found = next(filter(None, map(REFUSED.fullmatch, answer.provenance.notes)), None)
    again, asked = (int(found[1]), int(found[2])) if found else (0, by["model"])
    return by + Counter({"asked": asked, "first": asked - again})


def kinds(notes: tuple[str, ...]) -> list[str]:
    """The refusals in a profile's notes, without the words they are about."""
    found = []
    for note in notes:
        if note.startswith(PERSONA):
            for problem in note.partition(": ")[2].split("; "):
                found.append(re.sub(r"'[^']*'|\"[^\"]*\"|\d+", "…", problem))
    return found


def describe(rapport: Rapport, profile: Profile) -> Described | None:
    """None for somebody of whom there is nothing to say, or in another language than the template is compared in."""
    body = rapport.store.tally(profile.user)
    if profile.language != "en" or not body:
        return None
    tally = Tally.model_validate_json(body)
    items = rapport.store.items(set(tally.marks))
    who = writing.portrait(profile.tags, tally, items, rapport.domain, "en")
    return Described(profile.persona, writing.template(who), writing.facts_of(who, tally)) if who.likes else None


def share_of_others(described: Sequence[tuple[str, Facts]]) -> float | None:
    """Of what personas name (titles, interests, makers), the mean share that is as true of somebody else, 0 to 1.

    Each is compared with OTHERS people drawn with a fixed seed: what holds of everybody tells nothing. None where
    nobody is left to compare with.
    """
    rng = random.Random("others")
    shares = []
    for number, (text, facts) in enumerate(described):
        named = named_in(text, facts)
        rest = [facts for other, (_, facts) in enumerate(described) if other != number]
        for one in rng.sample(rest, min(OTHERS, len(rest))) if named else ():
            true = names_of(one)
            shares.append(sum(true.get(name) == side for name, side in named.items()) / len(named))
    return round(sum(shares) / len(shares), 4) if shares else None


def named_in(text: str, facts: Facts) -> dict[str, str]:
    """What `text` names of a person's facts, each with the side on which it stands; the longest name counts."""
    said = fold(text).casefold()
    found: dict[str, str] = {}
    for name, side in sorted(names_of(facts).items(), key=lambda one: -len(one[0])):
        if re.search(rf"(?<!\w){re.escape(name)}(?!\w)", said):
            found[name] = side
            said = said.replace(name, " ")
    return found


def names_of(facts: Facts) -> Mapping[str, str]:
    """Every name that is true of a person, and whether it is liked, disliked or a title."""
    return {
        **{fold(name).casefold(): "like" for name in facts.terms},
        **{fold(name).casefold(): "dislike" for name in facts.aversions},
        **{fold(name).casefold(): "title" for name in facts.known},
    }


def markdown(result: dict[str, Any]) -> str:
    """The figures as a table, and what to read after it."""
    rows = [
        (
            "personas that pass every check at the first try",
            result["personas_first_try_share"],
            result["personas_asked"],
        ),
        ("reasons that do", result["reasons_first_try_share"], result["reasons_asked"]),
        ("people whose persona is the model's", result["personas_by_model_share"], result["users"]),
        ("reasons that are the model's", result["reasons_by_model_share"], EACH * result["users"]),
        ("reasons with receipts", result["reasons_with_receipts_share"], EACH * result["users"]),
        ("what a persona names that holds of somebody else", result["holds_of_others"], ""),
        ("the same of the template's", result["template_holds_of_others"], ""),
    ]
    lines = [f"{result['model']}, {result['users']} people", "", "| what | share | of |", "|---|---|---|"]
    lines += [f"| {what} | {figure} | {of} |" for what, figure, of in rows]
    lines += [""] + [f"- {one['by']}: {one.get('persona') or one['reason']}" for one in result["examples"]]
    return "\n".join(lines)
