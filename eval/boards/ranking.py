"""Board A's result as a record of the common form; what it measures and how is eval/board_a.py's alone."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from eval import baselines, board_a

NAME = "board-a"
KEYS = {"ndcg@10": "NDCG@10", "recall@10": "R@10", "recall@20": "R@20", "mrr@10": "MRR@10", "recall@100": "R@100"}
PUBLISHED_KEYS = ("NDCG@10", "R@10", "R@20")
EXPECTED = {
    "Pop": (0.0210, 0.0443, 0.0721),
    "EASE plain, lambda 500": (0.0346, 0.0754, 0.1295),
    "EASE plain, lambda 200": (0.0398, 0.0885, 0.1410),
    "EASE x recency decay": (0.0658, 0.1180, 0.1738),
    "Markov": (0.0771, 0.1344, 0.1836),
    baselines.BLEND: (0.0844, 0.1443, 0.2131),
}
"""NDCG@10, recall@10, recall@20 that the protocol was measured with."""
TOLERANCE = 0.0002


def record(result: Mapping[str, Any], provenance: Mapping[str, Any]) -> dict[str, Any]:
    """`result` of board_a.run in the form of runner.run, with board A's own beside it."""
    data = result["data"]
    systems = {name: system(name, one, result) for name, one in result["systems"].items()}
    counts = {"people": (data["people"], 610), "films": (data["films"], 3650), "ratings": (data["ratings"], 90274)}
    part = {
        "name": "test",
        "cases": data["people"],
        "counts": {what: {"found": is_, "expected": due} for what, (is_, due) in counts.items()},
        "measures": list(KEYS.values()),
        "systems": systems,
        "published": {
            name: dict(zip(PUBLISHED_KEYS, figures, strict=True)) for name, figures in board_a.PUBLISHED.items()
        },
        "reproduced": [
            {
                "system": name,
                "measure": measure,
                "expected": due,
                "found": (found := systems[name]["metrics"][measure][0]),
                "matches": abs(found - due) <= TOLERANCE,
            }
            for name, figures in EXPECTED.items()
            for measure, due in zip(PUBLISHED_KEYS, figures, strict=True)
        ],
        "bars": [
            {
                "system": board_a.MEANING["had"],
                "measure": KEYS[one["what"]],
                "bar": one["bar"],
                "over": "",
                "figure": one["figure"],
                "n": data["people"],
                "met": one["met"],
                "short_by": round(max(0.0, one["bar"] - one["figure"]), 4),
                "difference": None,
            }
            for one in result["bars"]
        ],
        "notes": [
            f"equal times in random order, seed {one['seed']}: {one['Rapport ndcg@10']} against the blend's "
            f"{one['blend ndcg@10']}"
            for one in result["tie_orders"]
        ],
    }
    return {
        "board": NAME,
        "version": result["version"],
        "title": "A. The next film, of all there are",
        "protocol": result["protocol"],
        "data": {
            "files": {f"{data['set']}/{name}": {"sha256": one} for name, one in data["sha256"].items()},
        },
        "system": {**provenance, "model": "none", "prompts": [], "seed": 0},
        "parts": [part],
        "seconds": result["seconds"],
    }


def system(name: str, one: Mapping[str, Any], result: Mapping[str, Any]) -> dict[str, Any]:
    mine = name in board_a.MEANING.values() or name.startswith("Rapport")
    gain, difference = one["ndcg@10 interval"], one["ndcg@10 minus blend"]
    return {
        "kind": "rapport" if mine else "baseline",
        "about": "",
        "n": result["data"]["people"],
        # Intervals where board A tells them; elsewhere the figure alone.
        "metrics": {"NDCG@10": gain, **{to: [one[key]] * 3 for key, to in KEYS.items() if key != "ndcg@10"}},
        "minus": {baselines.BLEND: {"NDCG@10": difference}} if mine else {},
        "label_permutation": result["label_permutation"].get(name),
        "slices": {
            "ratings before": {
                board_a.length(part): {"n": part["people"], "NDCG@10": part["ndcg@10"][0]}
                for part in result["slices"].get(name, ())
            }
        },
        "invalid": {},
        "prompts": [],
        "cost": {f"ms_{key.removeprefix('ms_')}": value for key, value in result["cost"].get(name, {}).items()},
    }
