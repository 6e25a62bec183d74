"""How often does what the model writes pass every check? Counted over real people, with examples to read.

A text that fails is replaced by a template in production; here the share, the reasons and the cost are reported.
"""

from __future__ import annotations

import re
from collections import Counter
from pathlib import Path
from typing import Any

from agent import show
from agent.settings import load
from agent.wiring import open_rapport

EXAMPLES = 20
EACH = 5
"""Recommendations with reasons for each person."""


def run_on_home(home: Path | None, llm: str | None, users: int) -> dict[str, Any]:
    """Rebuild the profiles of `users` people, evenly spread, and recommend EACH items to each."""
    with open_rapport(settings=load(home=home, llm=llm)) as rapport, show.progress("people") as progress:
        everybody = rapport.store.users()
        chosen = everybody[:: max(1, len(everybody) // users)][:users]
        personas: Counter[str] = Counter()
        reasons: Counter[str] = Counter()
        refused: Counter[str] = Counter()
        examples: list[dict[str, str]] = []
        tokens, ms, receipts = 0, 0.0, 0
        for done, user in enumerate(chosen):
            progress(done, len(chosen))
            profile = rapport.profile(user, rebuild=True)
            answer = rapport.recommend(user, EACH)
            personas[profile.persona_by] += 1
            reasons.update(one.written_by for one in answer.items)
            receipts += sum(bool(one.receipts) for one in answer.items)
            refused.update(kinds(profile.provenance.notes))
            spent = (profile.provenance, answer.provenance)
            tokens += sum(one.prompt_tokens + one.completion_tokens for one in spent)
            ms += sum(one.ms for one in spent)
            examples.append({"user": user, "by": profile.persona_by, "persona": profile.persona})
            examples += [{"user": user, "by": one.written_by, "reason": one.reason} for one in answer.items[:1]]
        total = sum(reasons.values())
        return {
            "model": rapport.llm.name,
            "users": len(chosen),
            "personas_by": dict(personas),
            "personas_by_model_share": round(personas["model"] / max(1, len(chosen)), 3),
            "reasons_by": dict(reasons),
            "reasons_by_model_share": round(reasons["model"] / max(1, total), 3),
            "reasons_with_receipts_share": round(receipts / max(1, total), 3),
            "refused_for": dict(refused.most_common(12)),
            "tokens_per_user": round(tokens / max(1, len(chosen))),
            "seconds_per_user": round(ms / 1000 / max(1, len(chosen)), 2),
            "examples": examples[: 2 * EXAMPLES],
        }


def kinds(notes: tuple[str, ...]) -> list[str]:
    """The refusals in a profile's notes, without the words they are about."""
    found = []
    for note in notes:
        if note.startswith(("persona by template: ", "first persona refused: ")):
            for problem in note.partition(": ")[2].split("; "):
                found.append(re.sub(r"'[^']*'|\"[^\"]*\"|\d+", "…", problem))
    return found
