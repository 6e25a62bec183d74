"""The boards of the scoreboard, by name; a new one is a file in this folder and a line here."""

from __future__ import annotations

from importlib import import_module

from eval.board import Board

BOARDS = {
    "board-b": "eval.boards.preference",
    "board-c": "eval.boards.explanation",
    "board-d": "eval.boards.conversation",
    "board-e": "eval.boards.interests",
    "board-f": "eval.boards.persona",
    "board-g": "eval.boards.sentiment",
}
"""name -> the module that holds it as BOARD."""


def board(name: str) -> Board:
    """Raises KeyError."""
    return import_module(BOARDS[name]).BOARD
