"""The JSON that other programs read, of every command and service; knows no store and no model."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import asdict
from datetime import datetime
from typing import Any

from agent.batch.report import Report
from agent.chat.memory import Exchange
from agent.chat.parts import Cards, Chip, Done, Part, Question, Understood, Words
from agent.correcting import Preview
from agent.history.importing import ImportReport
from agent.history.keys import Key
from agent.privacy.erasure import Proof
from agent.searching import Found
from agent.types import Answer, Call, Item, Profile, Provenance, Receipt, Recommendation, Tag, TagEdit


def profile(one: Profile) -> dict[str, Any]:
    return {
        "user": one.user,
        "tags": [tag(each) for each in one.tags],
        "persona": one.persona,
        "persona_by": one.persona_by,
        "language": one.language,
        "sentiment": {
            "positive": one.sentiment.positive,
            "neutral": one.sentiment.neutral,
            "negative": one.sentiment.negative,
        },
        "questions": list(one.questions),
        "events": one.events,
        "as_of": moment(one.as_of),
        "version": one.version,
        "provenance": provenance(one.provenance),
    }


def tag(one: Tag) -> dict[str, Any]:
    return {
        "name": one.name,
        "polarity": one.polarity,
        "weight": one.weight,
        "kind": one.kind,
        "feature": one.feature,
        "receipts": [receipt(each) for each in one.receipts],
        "first_seen": moment(one.first_seen),
        "last_seen": moment(one.last_seen),
    }


def receipt(one: Receipt) -> dict[str, Any]:
    found: dict[str, Any] = {"event": one.event, "item": one.item, "at": moment(one.at)}
    return {**found, "quote": one.quote} if one.quote else found


def answer(one: Answer) -> dict[str, Any]:
    return {
        "user": one.user,
        "items": [recommendation(each) for each in one.items],
        "degraded": one.degraded,
        "provenance": provenance(one.provenance),
    }


def recommendation(one: Recommendation) -> dict[str, Any]:
    return {
        "rank": one.rank,
        "item": one.item.id,
        "title": one.item.title,
        "score": one.score,
        "reason": one.reason,
        "receipts": [each.item for each in one.receipts],
        "grounded": one.grounded,
        "written_by": one.written_by,
        "explored": one.explored,
        "sources": {each.retriever: {"rank": each.rank, "score": round(each.score, 4)} for each in one.sources},
    }


def key(one: Key) -> dict[str, Any]:
    return {
        "id": one.id,
        "name": one.name,
        "scopes": list(one.scopes),
        "user": one.user,
        "made": moment(one.made),
        "revoked": moment(one.revoked),
    }


def item(one: Item) -> dict[str, Any]:
    return {
        "id": one.id,
        "title": one.title,
        "text": one.text,
        "categories": list(one.categories),
        "attributes": {name: list(held) if isinstance(held, tuple) else held for name, held in one.attributes.items()},
    }


def found(one: Found) -> dict[str, Any]:
    return {"items": [item(each) for each in one.items], "degraded": bool(one.degraded), "note": one.degraded}


def edit(one: TagEdit) -> dict[str, Any]:
    return {"name": one.name, "action": one.action, "polarity": one.polarity, "at": moment(one.at)}


def preview(one: Preview) -> dict[str, Any]:
    return {
        "tags": [tag(each) for each in one.profile.tags],
        "items": [
            {
                "rank": each.rank,
                "was": each.was,
                "item": each.candidate.item.id,
                "title": each.candidate.item.title,
            }
            for each in one.items
        ],
        "gone": [{"item": each.item.id, "title": each.item.title} for each in one.gone],
    }


def proof(one: Proof) -> dict[str, Any]:
    return {
        "user": one.user,
        "rows": one.rows,
        "lines": one.lines,
        "searched": one.searched,
        "files": one.files,
        "found": one.found,
    }


def provenance(one: Provenance) -> dict[str, Any]:
    return {
        "model": one.model,
        "prompt": list(one.prompts),
        "tokens": {"prompt": one.prompt_tokens, "completion": one.completion_tokens},
        "ms": one.ms,
        "profile_version": one.profile_version,
        "notes": list(one.notes),
    }


def import_report(one: ImportReport) -> dict[str, Any]:
    return asdict(one)


def tag_report(one: Report) -> dict[str, Any]:
    return {
        "model": one.model,
        "engine": one.engine,
        "people": one.people,
        "tagged": one.tagged,
        "unchanged": one.unchanged,
        "failed": len(one.failures),
        "remaining": one.remaining,
        "reasons": one.reasons,
        "failures": [asdict(each) for each in one.failures],
        "unknown": list(one.unknown),
        "tokens": {"prompt": one.prompt_tokens, "completion": one.completion_tokens},
        "cost": one.cost,
        "seconds": round(one.seconds, 3),
        "rate": round(one.rate, 3),
        "stopped": one.stopped,
        "notes": list(one.notes),
    }


def call(one: Call) -> dict[str, Any]:
    return {
        "at": moment(one.at),
        "prompt": one.prompt,
        "model": one.model,
        "prompt_tokens": one.prompt_tokens,
        "completion_tokens": one.completion_tokens,
        "ms": one.ms,
        "outcome": one.outcome,
        "user": one.user,
    }


def part(one: Part) -> dict[str, Any]:
    """One part of a chat's reply, as a stream sends it; `part` says which kind it is."""
    match one:
        case Words(text):
            return {"part": "words", "text": text}
        case Cards(items, degraded, origin):
            return {
                "part": "cards",
                "items": [recommendation(each) for each in items],
                "degraded": degraded,
                "provenance": provenance(origin),
            }
        case Question(slot, text, options):
            return {"part": "question", "slot": slot, "text": text, "options": list(options)}
        case Understood(intent, by, chips, in_force):
            return {
                "part": "understood",
                "intent": intent,
                "by": by,
                "chips": [chip(each) for each in chips],
                "wishes": [chip(each) for each in in_force],
            }
        case Done(conversation, number, ms):
            return {"part": "done", "conversation": conversation, "number": number, "ms": ms}


def turn(one: Exchange, cards: Iterable[Recommendation]) -> dict[str, Any]:
    """A turn of a conversation as it was, with what it showed."""
    return {
        "number": one.number,
        "at": moment(one.at),
        "text": one.text,
        "intent": one.body.intent,
        "words": one.body.words,
        "items": [recommendation(each) for each in cards],
        "chips": [
            {"kind": each["kind"], "text": each["text"], "key": each["key"], "quote": "", "expires": None}
            for each in one.body.chips
        ],
        "asked": one.body.asked,
        "undone": one.body.undone,
        "ended": one.body.ended,
        "ms": one.body.ms,
    }


def reply(parts: Iterable[Part]) -> dict[str, Any]:
    """A whole reply of the chat as one value."""
    found: dict[str, Any] = {
        "conversation": "", "number": 0, "words": "", "items": [], "degraded": False, "question": None,
        "intent": "", "by": "", "chips": [], "wishes": [], "provenance": None, "ms": 0.0,
    }  # fmt: skip
    for one in map(part, parts):
        match one.pop("part"):
            case "words":
                found["words"] += one["text"]
            case "question":
                found["question"] = one
            case _:
                found |= one
    return found


def chip(one: Chip) -> dict[str, Any]:
    return {
        "kind": one.kind,
        "text": one.text,
        "key": one.key,
        "quote": one.quote,
        "expires": moment(one.expires),
    }


def moment(at: datetime | None) -> str | None:
    return None if at is None else at.isoformat().replace("+00:00", "Z")
