from __future__ import annotations

import contextlib
import json
import os
import signal
import stat
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from agent.errors import ImportRefused, StoreBusy, UsageError
from agent.history import importing
from agent.history.importing import FORMATS, Seen, detect, import_path
from agent.history.store import Counts, Store


def put(path: Path, content: str | bytes) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    return path


def ratings(folder: Path, events: int) -> Path:
    """A MovieLens folder with `events` ratings, one of which is refused."""
    put(folder / "movies.csv", "movieId,title,genres\n" + "".join(f"{n},Film {n} (2000),Drama\n" for n in range(50)))
    lines = [f"{n % 40},{n % 50},4.0,{900_000_000 + n}\n" for n in range(events)]
    put(folder / "ratings.csv", "userId,movieId,rating,timestamp\n" + "".join(lines) + "1,1,4.0,soon\n")
    return folder


# recognising


def test_what_is_not_recognised_says_what_was_looked_for(tmp_path):
    put(tmp_path / "in" / "picture.png", b"\x89PNG")
    for path in (tmp_path / "in", tmp_path / "in" / "picture.png"):
        with pytest.raises(ImportRefused) as refused:
            detect(path)
        assert all(name in str(refused.value) for name in FORMATS)


def test_a_path_that_is_not_there_says_so(store, tmp_path):
    for call in (lambda path: detect(path), lambda path: import_path(store, path, format="csv")):
        with pytest.raises(ImportRefused, match="does not exist"):
            call(tmp_path / "nothing")


def test_an_unknown_format_lists_those_there_are(store, tmp_path):
    with pytest.raises(UsageError, match="auto, movielens, lastfm"):
        import_path(store, tmp_path, format="excel")


@pytest.mark.parametrize("format", FORMATS)
def test_a_folder_of_something_else_is_refused_by_every_format(store, tmp_path, format):
    put(tmp_path / "in" / "notes.doc", b"\xd0\xcf\x11\xe0")
    with pytest.raises(ImportRefused):
        import_path(store, tmp_path / "in", format=format)
    assert (store.count_items(), store.count_events()) == (0, 0)


@pytest.mark.parametrize(
    ("name", "content"), [("e.csv", ""), ("e.csv", "\n \n"), ("e.jsonl", ""), ("e.jsonl", "[1]\n")]
)
def test_an_empty_file_is_refused(store, tmp_path, name, content):
    with pytest.raises(ImportRefused, match=r"e\.csv: the file is empty|e\.jsonl: needs columns"):
        import_path(store, put(tmp_path / name, content))


def test_a_header_alone_brings_nothing(store, tmp_path):
    report = import_path(store, put(tmp_path / "e.csv", "user,item\n"))
    assert (report.events, report.items, report.refused) == (Counts(), Counts(), 0)


def test_a_table_whose_columns_are_missing_is_refused(store, tmp_path):
    folder = ratings(tmp_path / "in", 3)
    put(folder / "ratings.csv", "userId,movieId,stars\n1,1,4\n")
    with pytest.raises(ImportRefused, match=r"ratings\.csv.*rating"):
        import_path(store, folder)


# hostile and dirty rows


DIRTY = (
    "user,item,title,rating,timestamp,review\n"
    "ann,i1,Plain,4,1600000000,fine\n"
    "a\u200bnn,i1,Plain,4,1600000000,the same person by another spelling\n"
    "ann,i\u0065\u0301,Caf\u0065\u0301,4,1600000001,NFD id\n"
    "ann,i\u00e9,Caf\u00e9,4,1600000001,NFC twin\n"
    "ann,i3,Ev\u202eil\U000e0041,5,1600000002,ig\u200dnore {{7*7}} <script>x</script>\n"
    "ann,i4,T,5,99999999999999,future\n"
    "ann,i5,T,-7,1600000002,bad rating\n"
    'ann,i6,"T,5,1600000002,open quote\n'
    f"ann,{'x' * 600},T,5,1600000002,long id\n"
    f"ann,i7,{'y' * 5000},5,1600000002,{'z' * 9000}\n"
    "ann,i8,T,5,1600000002,\x00nul\n"
    "ann, i 9 ,T,5,1600000002,blanks\n"
)


def test_a_dirty_corpus_is_cleaned_or_refused_with_the_line(store, tmp_path):
    report = import_path(store, put(tmp_path / "d.csv", DIRTY), rejects=tmp_path / "r.jsonl")
    refused = [json.loads(line) for line in (tmp_path / "r.jsonl").read_text().splitlines()]
    assert sorted((row["line"], row["reason"]) for row in refused) == [
        (7, "time in the future"),
        (8, "rating outside 0 to 5"),
        (9, "a quote that does not close"),
        (10, "item id longer than 512 characters"),
    ]
    assert (report.duplicates, report.events) == (2, Counts(added=6))
    assert store.users() == ["ann"]
    assert {item.id: item.title[:5] for item in store.all_items()} == {
        "i1": "Plain",
        "ié": "Café",
        "i3": "Evil",
        "i4": "T",
        "i5": "T",
        "i7": "yyyyy",
        "i8": "T",
        "i 9": "T",
    }
    texts = {event.item: event.text for event in store.events("ann")}
    assert texts["i3"] == "ignore {{7*7}} x"
    assert texts["i8"] == "nul"
    assert (len(texts["i7"]), len(store.items(["i7"])["i7"].title)) == (4_000, 300)


def test_a_json_corpus_that_breaks_parsers_is_refused_line_by_line(store, tmp_path):
    lines = [
        '{"user": "ann", "item": "i1", "rating": 4}',
        '{"user": "ann", "item": "i2", "rating": NaN}',
        '{"user": "ann", "item": "i2", "rating": 1e999}',
        '{"user": "ann", "item": "i2", "rating": ' + "9" * 400 + "}",
        '{"user": "ann", "item": "i2", "rating": "-Infinity"}',
        '{"user": "\\ud800", "item": "i3", "rating": 4}',
        "[" * 100_000,
        '{"user": "ann", "item": "i4", "x": ' + '{"y":' * 5_000 + "1" + "}" * 5_001,
        '{"user": "ann", "user": "eve", "item": "i5", "rating": 4}',
        '{"user": "ann", "item": "big", "text": "' + "x" * 10_000_000 + '"}',
        "\x00\x01\x02",
        '{"user": "ann", "item": "i6", "rating": 5}',
    ]
    report = import_path(store, put(tmp_path / "d.jsonl", "\n".join(lines)))
    assert report.reasons == {
        "not JSON": 4,
        "rating is not a finite number": 4,
        "line longer than 4 MB": 1,
    }
    assert {(event.user, event.item) for event in store.all_events()} == {("ann", "i1"), ("eve", "i5"), ("ann", "i6")}


NAMES = ["x.csv", "x.jsonl", "x.parquet", "x.inter", "x.dat", "x.json.gz", "ratings.csv"]
BYTES = st.one_of(
    st.binary(max_size=200),
    st.lists(
        st.sampled_from(
            [
                b"user,item,rating\n",
                b"u,i,5\n",
                b'"',
                b"\xff\xfe",
                b"\0",
                b'{"user":"u","item":1}\n',
                b'{"asin":1,"user_id":"u"}\n',
                b"user_id:token\titem_id:token\n",
                b"1\t2\n",
                b"\x1f\x8b\x08",
                b"PAR1",
                b"\r",
                b"::",
                b"nan,inf,\n",
            ]
        ),
        max_size=8,
    ).map(b"".join),
)


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(content=BYTES, name=st.sampled_from(NAMES), format=st.sampled_from(["auto", *FORMATS]))
def test_no_bytes_raise_anything_but_a_refusal(store, tmp_path, content, name, format):
    path = put(tmp_path / "in" / name, content)
    with contextlib.suppress(ImportRefused):
        report = import_path(store, path, format=format, dry_run=True)
        assert report.refused == sum(report.reasons.values())


# what an import leaves


def test_progress_and_the_refused_rows_file(store, tmp_path):
    told: list[int] = []
    folder = ratings(tmp_path / "in", 120)
    report = import_path(store, folder, rejects=tmp_path / "r.jsonl", progress=told.append)
    assert told[-1] == 50 + 120
    assert report.refused == 1
    assert stat.S_IMODE((tmp_path / "r.jsonl").stat().st_mode) == 0o600
    clean = put(tmp_path / "clean.csv", "user,item\nu,i\n")
    import_path(store, clean, rejects=tmp_path / "none.jsonl")
    assert not (tmp_path / "none.jsonl").exists()


def test_a_rejects_file_that_cannot_be_written_is_the_callers_mistake(store, tmp_path):
    put(tmp_path / "file", "")
    with pytest.raises(UsageError, match="refused rows"):
        import_path(store, ratings(tmp_path / "in", 3), rejects=tmp_path / "file" / "r.jsonl")


def test_a_store_that_fails_in_the_middle_keeps_what_was_stored(store, tmp_path, monkeypatch):
    monkeypatch.setattr(importing, "_BATCH", 100)
    folder, real, calls = ratings(tmp_path / "in", 950), Store.add_events, []

    def fails_at_the_fourth(self, events):
        calls.append(len(events))
        if len(calls) == 4:
            raise StoreBusy("another process is writing")
        return real(self, events)

    monkeypatch.setattr(Store, "add_events", fails_at_the_fourth)
    with pytest.raises(StoreBusy):
        import_path(store, folder)
    assert store.count_events() == 300
    monkeypatch.setattr(Store, "add_events", real)
    assert import_path(store, folder).events == Counts(added=650, unchanged=300)
    assert store.count_events() == 950


def test_a_change_in_the_source_is_taken_over(store, tmp_path):
    folder = ratings(tmp_path / "in", 10)
    import_path(store, folder)
    text = (folder / "ratings.csv").read_text()
    put(folder / "ratings.csv", text.replace("3,3,4.0", "3,3,1.5"))
    put(folder / "movies.csv", (folder / "movies.csv").read_text().replace("Film 3 ", "Movie 3 "))
    report = import_path(store, folder)
    assert (report.events, report.items) == (Counts(changed=1, unchanged=9), Counts(changed=1, unchanged=49))
    assert [event.value for event in store.events("3")] == [1.5]


IMPORT = """
import sys, time
from pathlib import Path
from agent.history import importing
from agent.history.store import Store

importing._BATCH = 500

def progress(rows):
    print(rows, flush=True)
    time.sleep(0.02)

with Store.open(sys.argv[1]) as store:
    importing.import_path(store, Path(sys.argv[2]), progress=progress)
"""


def test_an_import_that_is_killed_is_completed_by_the_next(tmp_path):
    folder = ratings(tmp_path / "in", 8_000)
    whole, torn = f"sqlite:///{tmp_path}/whole.db", f"sqlite:///{tmp_path}/torn.db"
    with Store.open(whole) as store:
        expected = import_path(store, folder)
        events, items = list(store.all_events()), list(store.all_items())
    in_flight = 0
    for _ in range(2):
        process = subprocess.Popen(
            [sys.executable, "-c", IMPORT, torn, str(folder)], stdout=subprocess.PIPE, env=dict(os.environ)
        )
        assert process.stdout is not None
        # Killed at work: not before the first batch was stored, and not after the last.
        stored = int(process.stdout.readline())
        process.send_signal(signal.SIGKILL)
        assert process.wait() == -signal.SIGKILL
        process.stdout.close()
        with Store.open(torn) as store:
            assert min(stored, 500) <= store.count_events() + 50
            in_flight += store.count_events() < 8_000
    assert in_flight == 2
    with Store.open(torn) as store:
        again = import_path(store, folder)
        assert again.events.added > 0
        assert again.events.added + again.events.unchanged == expected.events.added
        assert (list(store.all_events()), list(store.all_items())) == (events, items)


# which ids were seen


@given(st.lists(st.lists(st.integers(0, 40), max_size=12), max_size=12))
def test_seen_agrees_with_a_set(batches):
    seen, model = Seen(), set()
    for batch in batches:
        expected = []
        for id in batch:
            expected.append(id not in model)
            model.add(id)
        assert seen.add(batch) == expected


def test_seen_keeps_few_runs():
    seen = Seen()
    for start in range(0, 64_000, 1_000):
        assert all(seen.add(list(range(start, start + 1_000))))
    assert len(seen._runs) <= 7
    assert sum(map(len, seen._runs)) == 64_000
    assert all(isinstance(run, np.ndarray) for run in seen._runs)


def test_the_benchmark_measures_what_it_says():
    from eval.bench_import import measure

    found = measure(events=600, people=20, items=50)
    assert found["events"] == 600
    assert found["events_per_second"] > 0
