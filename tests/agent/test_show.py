from __future__ import annotations

from agent import show


def test_without_a_terminal_progress_is_a_line_now_and_then(monkeypatch, capsys):
    now = [0.0]
    monkeypatch.setattr(show.time, "monotonic", lambda: now[0])
    with show.progress("reading [1]") as progress:
        for step in range(1, 6):
            now[0] += 4
            progress(1000 * step, 5000 if step < 4 else None)
    assert capsys.readouterr().err.splitlines() == ["reading [1]: 3,000 of 5,000"]


def test_what_is_soon_done_says_nothing(capsys):
    with show.progress("reading") as progress:
        progress(1, 2)
    assert capsys.readouterr().err == ""
