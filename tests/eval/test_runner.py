"""The frame of the boards: what a system is shown, what is kept, resumed and compared, and that labels stay away."""

from __future__ import annotations

import json

import numpy as np
import pytest
import yaml
from markupsafe import escape

from agent.errors import Unavailable
from agent.llm.scripted import Scripted
from eval import results, runner
from eval.board import Answered, Bar, Board, Case, Labels, Part, System
from eval.boards import BOARDS
from eval.compare import Measure, area, drawn, f1, known, mean, paired, resamples
from eval.metrics import auc
from eval.plots import Dot, intervals
from eval.report import TRIED, figure, markdown_of, paragraphs, signed, spread, write

CASES = tuple(
    Case(f"{at}", at, unit=f"u{at // 2}", slices=(("half", "first" if at < 4 else "last"),)) for at in range(8)
)
LABELS = Labels({f"{at}": at % 3 for at in range(8)})
RIGHT = Measure("right", lambda answer, label: (float(answer == label),))


def knows(shown):
    return [one % 3 for one in shown]


def zero(shown):
    return [0] * len(shown)


def asks(shown: int, ask) -> Answered:
    (reply,) = ask.choose("sentiment", [{"sentence": f"case {shown}"}], ["0", "1", "2"])
    answer = int(np.argmax(reply.value))
    return Answered(answer, (reply.prompt,), prompt_tokens=reply.prompt_tokens, invalid=("odd",) if answer == 1 else ())


def toy(systems, bars=(), labels=LABELS) -> Board:
    part = Part("toy", CASES, labels, tuple(systems), (RIGHT,), {"cases": (8, 8)}, tuple(bars), few=4)
    return Board("toy", 1, "Toy", "a protocol", (), lambda data: [part])


def how(tmp_path, **given) -> runner.Run:
    return runner.Run(tmp_path, tmp_path / "results", draws=200, **given)


ZERO = System("zero", "baseline", zero, expected={"right": 0.375})
KNOWS = System("knows", "rapport", knows)


def test_figures_differences_and_bars_of_a_toy_board(tmp_path):
    bars = (Bar("knows", "right", 0.9, "zero"), Bar("zero", "right", 0.5), Bar("absent", "right", 0.5))
    (part,) = runner.run(toy((ZERO, KNOWS), bars), how(tmp_path))["parts"]
    ours = part["systems"]["knows"]
    assert ours["metrics"]["right"] == [1.0, 1.0, 1.0]
    assert part["systems"]["zero"]["metrics"]["right"][0] == 0.375
    assert ours["minus"]["zero"]["right"][0] == 0.625
    assert [one["met"] for one in part["bars"]] == [True, False, False]
    assert [one["short_by"] for one in part["bars"]] == [0.0, 0.125, None]
    assert part["reproduced"] == [
        {"system": "zero", "measure": "right", "expected": 0.375, "found": 0.375, "matches": True}
    ]
    assert ours["slices"]["half"]["first"] == {"n": 4, "right": 1.0}
    assert ours["label_permutation"] == 0.0


def test_the_same_seed_gives_the_same_record(tmp_path):
    one, other = (runner.run(toy((ZERO, KNOWS)), how(tmp_path)) for _ in range(2))
    assert timeless(one["parts"]) == timeless(other["parts"])


def timeless(parts):
    return json.loads(json.dumps(parts), object_hook=lambda one: {k: v for k, v in one.items() if k != "cost"})


def test_systems_see_the_same_whatever_the_labels_are(tmp_path):
    """The labels of every case changed: not one answer or prompt is another."""
    seen = []
    for labels in (LABELS, Labels({case.id: "PLANTED" for case in CASES})):
        model = Scripted(lambda chat: "", lambda chat, choices: [len(chat[-1].content) % 2, 0, 1])
        shown: list[object] = []
        spy = System("spy", "rapport", lambda some, shown=shown: (shown.extend(some), zero(some))[1])
        board = toy((spy, System("model", "rapport", one=asks)), labels=labels)
        runner.run(board, how(tmp_path / str(len(seen)), llm=model))
        prompts = [message.content for call in model.calls for message in call.chat]
        assert not any("PLANTED" in text for text in prompts)
        seen.append((shown, prompts))
    assert seen[0] == seen[1]


def test_a_system_has_no_argument_for_a_label():
    assert set(Case.__dataclass_fields__) == {"id", "shown", "unit", "slices"}
    assert "labels" not in System.__dataclass_fields__


def test_a_model_is_asked_some_cases_once_and_compared_on_those(tmp_path):
    model = Scripted(lambda chat: "", lambda chat, choices: [0, 0, 1])
    board = toy((ZERO, System("model", "rapport", one=asks)))
    (part,) = runner.run(board, how(tmp_path, llm=model))["parts"]
    row = part["systems"]["model"]
    # Cases 0, 2, 4 and 6, whose labels are 0, 2, 1 and 0; the model says 2.
    assert (row["n"], row["metrics"]["right"][0], row["minus"]["zero"]["right"][0]) == (4, 0.25, -0.25)
    assert row["cost"]["calls"] == 4
    assert row["prompts"]
    asked = len(model.calls)
    (again,) = runner.run(board, how(tmp_path, llm=model))["parts"]
    assert len(model.calls) == asked
    assert timeless([again]) == timeless([part])


def test_a_run_that_was_stopped_goes_on(tmp_path):
    def breaks(chat, choices):
        if "case 4" in chat[-1].content:
            raise KeyboardInterrupt
        return [1, 0, 0]

    board = toy((System("model", "rapport", one=asks),))
    with pytest.raises(KeyboardInterrupt):
        runner.run(board, how(tmp_path, llm=Scripted(lambda chat: "", breaks)))
    (kept,) = (tmp_path / "results" / "answers").iterdir()
    assert [json.loads(line)["id"] for line in kept.read_text().splitlines()] == ["0", "2"]
    with kept.open("a") as file:
        file.write('{"id": "4", "ans')
    whole = Scripted(lambda chat: "", lambda chat, choices: [1, 0, 0])
    (part,) = runner.run(board, how(tmp_path, llm=whole))["parts"]
    assert len(whole.calls) == 2
    assert part["systems"]["model"]["n"] == 4


def test_invalid_and_missing_answers_are_counted_and_stay_in_the_mean(tmp_path):
    def fails(chat, choices):
        if "case 2" in chat[-1].content:
            raise Unavailable("gone")
        return [0, 1, 0]

    model = Scripted(lambda chat: "", fails)
    (part,) = runner.run(toy((System("model", "rapport", one=asks),)), how(tmp_path, llm=model))["parts"]
    row = part["systems"]["model"]
    assert row["invalid"] == {"odd": 3, "no answer: Unavailable": 1}
    assert (row["n"], row["metrics"]["right"][0]) == (4, 0.25)


def test_without_a_model_its_systems_are_left_out(tmp_path):
    (part,) = runner.run(toy((ZERO, System("model", "rapport", one=asks))), how(tmp_path))["parts"]
    assert list(part["systems"]) == ["zero"]


@pytest.mark.parametrize(("most", "places"), [(3, [0, 2, 5]), (8, list(range(8))), (20, list(range(8)))])
def test_some_cases_are_spread_over_all(most, places):
    assert [case.shown for case in runner.spread_over(CASES, most)] == places


# comparing


def test_samples_are_of_whole_units():
    for one in resamples(["a", "b", "a", "c"], 50, 0):
        counts = np.bincount(one, minlength=4)
        assert counts[0] == counts[2]
        assert counts[[0, 1, 3]].sum() == 3


def test_a_paired_difference_is_narrower_than_two_intervals():
    chance = np.random.default_rng(0)
    theirs = chance.normal(0, 1, (200, 1))
    ours = theirs + 0.1
    measure = Measure("m", lambda *_: (0.0,), mean)
    samples = resamples([str(at) for at in range(200)], 200, 0)
    found = paired(measure, drawn(measure, ours, samples), drawn(measure, theirs, samples))
    assert (found.mean, found.low, found.high) == pytest.approx((0.1, 0.1, 0.1))
    lower = Measure("m", lambda *_: (0.0,), mean, higher_is_better=False)
    assert paired(lower, drawn(lower, ours, samples), drawn(lower, theirs, samples)).mean == pytest.approx(-0.1)


def test_reductions_and_cases_that_do_not_count():
    rows = np.array([[0.9, 1.0], [0.1, 0.0], [np.nan, 1.0], [0.5, 0.0]])
    assert area(known(rows)) == auc([0.9, 0.1, 0.5], [True, False, False])
    assert f1(np.array([[1.0, 1.0], [0.0, 0.0]])) == 1.0
    assert mean(np.empty((0, 1))) == 0.0


# what is kept, and told


def test_results_are_appended_and_the_newest_is_reported(tmp_path):
    folder = tmp_path / "results"
    bars = (Bar("knows", "right", 1.1, "zero"), Bar("knows", "right", 0.9), Bar("absent", "right", 0.5))
    record = runner.run(toy((ZERO, KNOWS), bars), how(tmp_path))
    results.append(folder, {**record, "title": "Old"})
    results.append(folder, record)
    results.append(folder, {"board": "speed", "system": results.provenance(), "result": {"people": 3}})
    with (folder / results.FILE).open("a") as file:
        file.write('{"torn')
    assert [one.get("title") for one in results.every(folder)] == ["Old", "Toy", None]
    page, table, *plots = write(folder)
    html = page.read_text(encoding="utf-8")
    assert "Old" not in html
    assert "missed by 0.1" in html.replace("missed by .1000", "missed by 0.1")
    assert "<svg" in html
    assert "currentColor" in html
    assert "https://" not in html.replace("http://www.w3.org", "")
    assert {path.suffix for path in plots} == {".svg", ".png"}
    assert "| **knows** | 8 | 1.0000 |" in table.read_text(encoding="utf-8")
    assert "not run" in table.read_text(encoding="utf-8")


def test_what_was_measured_beside_the_boards_is_told_as_its_table_or_whole(tmp_path):
    made = {"system": results.provenance(), "result": {"people": 3}}
    results.append(tmp_path, runner.run(toy((ZERO, KNOWS)), how(tmp_path)))
    results.append(tmp_path, {"board": "cost", **made, "table": "| <3 people | ms |\n|---|---|\n| first | 28.5 |"})
    results.append(tmp_path, {"board": "import", **made})
    page, table, *_ = (one.read_text(encoding="utf-8") for one in write(tmp_path)[:2])
    assert "<th>&lt;3 people</th><th>ms</th></tr>" in page
    assert '<th>first</th><td class="n">28.5</td></tr>' in page
    assert "| first | 28.5 |" in table
    assert all("&#34;people&#34;: 3" in one.replace('"', "&#34;") for one in (page, table))


def test_what_was_tried_is_told_where_a_bar_is_missed_and_only_there(tmp_path):
    bars = {"board-e": Bar("knows", "right", 1.1), "board-f": Bar("knows", "right", 0.9)}
    for name, bar in bars.items():
        record = runner.run(toy((ZERO, KNOWS), (bar,)), how(tmp_path))
        # A board that a model was asked stands beside the one without, under another name.
        results.append(tmp_path, {**record, "board": name, "system": {**record["system"], "model": "small"}})
    made = {"system": results.provenance(), "result": {}}
    results.append(tmp_path, {"board": "cost", **made, "table": "- bar p95 30 ms, first: missed by 4.0"})
    told = yaml.safe_load(TRIED.read_text(encoding="utf-8"))
    assert set(told) <= {*BOARDS, "cost"}
    page, table, *_ = (" ".join(one.read_text(encoding="utf-8").split()) for one in write(tmp_path)[:2])
    for name, sentences in told.items():
        for one in sentences:
            assert (f"tried: {one}" in table) == (name in ("board-e", "cost")), name
            assert (f"Tried: {escape(one)}" in page) == (name in ("board-e", "cost")), name


def test_a_plot_of_a_single_row_has_room_for_its_axis():
    plot = intervals([Dot("ours", "rapport", 0.94, 0.9, 0.97)], "claims grounded", 0.98)
    assert "claims grounded" in plot.inline()
    low, high = plot.canvas.axes[0].get_ylim()
    assert (low, high) == (0.5, -0.5)


def test_a_table_among_lines_is_taken_apart():
    told = paragraphs("two lines\n\n| a | |\n|---|---|\n| b | - |\n- a note")
    assert list(told) == [
        ("text", [["two lines"]]),
        ("table", [["a", ""], ["b", "-"]]),
        ("text", [["- a note"]]),
    ]


def test_a_name_from_a_record_is_not_markup(tmp_path):
    evil = System("<script>alert(1)</script>", "rapport", knows)
    results.append(tmp_path, runner.run(toy((ZERO, evil)), how(tmp_path)))
    page = write(tmp_path)[0].read_text(encoding="utf-8")
    assert "<script" not in page


def test_a_board_in_markdown(tmp_path):
    told = markdown_of(runner.run(toy((ZERO, KNOWS), (Bar("knows", "right", 0.9, "zero"),)), how(tmp_path)))
    assert "Figures of the protocol matched: 1/1." in told
    assert "- bar right .9000, knows: 1.0000, met; minus zero: +.6250 [" in told


@pytest.mark.parametrize(
    ("value", "said"), [(0.0844, ".0844"), (72.6031, "72.6"), (1000, "1000"), (-0.5, "-.5000"), (None, "")]
)
def test_figures_as_they_are_printed(value, said):
    assert figure(value) == said


def test_intervals_as_they_are_printed():
    assert spread([0.5, 0.4, 0.6]) == ".5000 [.4000, .6000]"
    assert spread([1.0, 1.0, 1.0]) == "1.0000"
    assert signed([0.1, -0.1, 0.3]) == "+.1000 [-.1000, +.3000]"
