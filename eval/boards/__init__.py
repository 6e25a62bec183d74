"""The boards of the scoreboard, by name; a new one is a file in this folder and a line here."""

from __future__ import annotations

from importlib import import_module

from eval.board import Board

BOARDS = {
    "board-b": ("eval.boards.preference", "will they like this film? TALLRec's rows, AUC"),
    "board-c": ("eval.boards.explanation", "is a reason about this place and person? XRec's Google and Yelp rows"),
    "board-d": ("eval.boards.conversation", "what is recommended next in a dialogue? ReDial, R@1 and R@10"),
    "board-e": ("eval.boards.interests", "do tags match people's own? Last.fm, NDCG@10"),
    "board-f": ("eval.boards.persona", "is a profile of this person, or would anybody's do? Amazon reviews, 20 titles"),
    "board-g": ("eval.boards.sentiment", "is a review read rightly? Chinese and Amazon reviews, macro-F1"),
    "board-h": (
        "eval.boards.formats",
        "how is a model best asked for an order? the first 20 of the blend; needs --llm",
    ),
    "robustness": ("eval.boards.robustness", "how far does a hostile text move an item? invented lists; needs --llm"),
    "importers": ("eval.boards.importers", "is every row of every data set read? rows accepted = rows expected"),
}
"""name -> the module that holds it as BOARD, and what it asks; all need --data."""


def board(name: str) -> Board:
    """Raises KeyError."""
    return import_module(BOARDS[name][0]).BOARD
