"""`rapport train` as people call it, on a tiny model."""

from __future__ import annotations

import io
import json
import sys
from importlib.util import find_spec
from pathlib import Path

import pytest
from rich.console import Console

from agent import cli, show
from agent.llm.adapters import run_folder

needs_torch = pytest.mark.skipif(find_spec("torch") is None, reason="training needs PyTorch")
FEW = ("--examples", "16", "--held", "4", "--measured", "3", "--rank", "2", "--epochs", "1")


class Streams:
    def __init__(self, monkeypatch: pytest.MonkeyPatch, home: Path) -> None:
        self._patch = monkeypatch
        self.out, self.err = io.StringIO(), io.StringIO()
        monkeypatch.setenv("RAPPORT_HOME", str(home))
        monkeypatch.setenv("RAPPORT_CACHE", str(home / "cache"))
        monkeypatch.setenv("RAPPORT_EMBEDDER", "hashing")

    def __call__(self, *arguments: str) -> int:
        self.out, self.err = io.StringIO(), io.StringIO()
        self._patch.setattr(sys, "argv", ["rapport", *arguments])
        self._patch.setattr(sys, "stdout", self.out)
        self._patch.setattr(show, "out", Console(file=self.out, width=200, highlight=False))
        self._patch.setattr(show, "err", Console(file=self.err, width=400, highlight=False))
        with pytest.raises(SystemExit) as stopped:
            cli.main()
        return int(stopped.value.code or 0)


@pytest.fixture
def run(monkeypatch, tmp_path) -> Streams:
    return Streams(monkeypatch, tmp_path / "home")


@needs_torch
def test_it_trains_reports_and_the_adapter_is_listed(run, tiny, tmp_path):
    base = ("--base", f"gguf:{tiny}")
    assert run("train", "reading", "--estimate", *base, *FEW) == 0
    assert "tokens a second" in run.out.getvalue()
    assert run("train", "reading", "--name", "mine", *base, *FEW) == 0
    assert "before · " in run.out.getvalue()
    assert "after  · " in run.out.getvalue()
    assert f"rapport models use gguf:{tiny}+mine" in run.err.getvalue()
    assert "unseen facts" in run.err.getvalue()
    assert (run_folder(tmp_path / "home" / "adapters", "mine") / "loss.svg").exists()
    assert run("models", "list") == 0
    assert "+mine: reading" in run.out.getvalue()
    assert run("models", "list", "--json") == 0
    assert json.loads(run.out.getvalue())["adapters"]["mine"]["stale"] == []
    # The same command again goes on where it ended: at the end.
    assert run("train", "reading", "--name", "mine", *base, *FEW, "--json") == 0
    assert json.loads(run.out.getvalue())["difference"] < 0.05


def test_examples_are_shown_without_pytorch(run, monkeypatch):
    monkeypatch.setattr(cli, "find_spec", lambda name: None)
    assert run("train", "wording", "reading", "--show", "2", "--held", "1") == 0
    assert run.out.getvalue().count("→") == 4


def test_what_is_missing_or_wrong_is_said(run, monkeypatch):
    assert run("train", "singing", "--show", "1") == 2
    assert "there are wording, reading, judging" in run.err.getvalue()
    monkeypatch.setattr(cli, "find_spec", lambda name: None)
    assert run("train", "reading") == 1
    assert "pip install '.[train]'" in run.err.getvalue()
