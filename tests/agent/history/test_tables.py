from __future__ import annotations

import csv
import gzip
import io
from pathlib import Path

import duckdb
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from agent.errors import ImportRefused
from agent.history.tables import Layout, open_table


def read(path: Path, layout: Layout = Layout()):  # noqa: B008
    """Columns, [(line, values)], [(line, reason, raw)]."""
    with open_table(path, layout) as table:
        rows = [(table.line(number), values) for number, values in table.rows(*table.columns)]
        return table.columns, rows, [(refused.line, refused.reason, refused.raw) for refused in table.refused]


def write(folder: Path, content: bytes | str, name: str = "t.csv") -> Path:
    path = folder / name
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    return path


def test_rows_know_their_lines_across_blanks_quotes_and_refused_lines(tmp_path):
    text = 'a,b\n1,2\n\n3,"x\n\ny"\n5\n6,7,8\n9,10\n"u""v",w\n'
    assert read(write(tmp_path, text)) == (
        ("a", "b"),
        [(2, ("1", "2")), (4, ("3", "x\n\ny")), (9, ("9", "10")), (10, ('u"v', "w"))],
        [(7, "too few columns", "5"), (8, "too many columns", "6,7,8")],
    )


def test_refuse_says_file_line_reason_and_the_row(tmp_path):
    with open_table(write(tmp_path, "a,b\n\n1,2\nx\n3,\n")) as table:
        refused = table.refuse(1, "no b")
    assert (refused.file, refused.line, refused.reason, refused.raw) == ("t.csv", 5, "no b", "3,")


@pytest.mark.parametrize("delimiter", [",", "\t", ";", "|", "::"])
def test_the_delimiter_is_found(tmp_path, delimiter):
    lines = [["user", "item", "note"], ["u1", "i1", "a"], ["u2", "i2", "b c"]]
    path = write(tmp_path, "".join(delimiter.join(line) + "\n" for line in lines))
    assert [values for _, values in read(path)[1]] == [("u1", "i1", "a"), ("u2", "i2", "b c")]


@pytest.mark.parametrize("end", ["\n", "\r\n", "\r"])
@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-16-le", "utf-16-be", "cp1252", "latin-1"])
def test_encodings_and_line_ends_are_understood(tmp_path, encoding, end):
    path = write(tmp_path, end.join(["user,title", "u1,Amélie", "u2,Ocean", ""]).encode(encoding))
    assert read(path) == (("user", "title"), [(2, ("u1", "Amélie")), (3, ("u2", "Ocean"))], [])


def test_mixed_encodings_and_line_ends_in_one_file(tmp_path):
    with open_table(write(tmp_path, "a,b\r\n1,é\n2,日本\r\n".encode() + b"3,caf\xe9\n")) as table:
        assert [values for _, values in table.rows("a", "b")] == [("1", "é"), ("2", "日本"), ("3", "café")]
        assert table.notes == ["1 lines were not UTF-8 and were read as Windows-1252"]


def test_a_stray_quote_costs_its_own_line_only(tmp_path):
    good = "".join(f"{number},x\n" for number in range(5_000))
    path = write(tmp_path, f'a,b\n1,"zzz\n2,3\n4,"uuu\n{good}')
    _, rows, refused = read(path)
    assert [line for line, *_ in refused] == [2, 4]
    assert rows[0] == (3, ("2", "3"))
    assert len(rows) == 5_001
    assert rows[-1] == (5_004, ("4999", "x"))


def test_many_stray_quotes_cost_their_own_lines_only(tmp_path):
    lines = [f'{number},"broken' if number % 10 == 0 else f"{number},fine" for number in range(1, 200)]
    _, rows, refused = read(write(tmp_path, "\n".join(["a,b", *lines, ""])))
    assert {line for line, *_ in refused} == set(range(11, 201, 10))
    assert len(rows) == 199 - 19
    assert {reason for _, reason, _ in refused} == {"a quote that does not close"}


def test_a_line_of_ten_megabytes_is_refused_alone(tmp_path):
    _, rows, refused = read(write(tmp_path, "a,b\n1,2\n3," + "x" * 10_000_000 + "\n4,5\n"))
    assert [values for _, values in rows] == [("1", "2"), ("4", "5")]
    assert [(line, reason, len(raw)) for line, reason, raw in refused] == [(3, "line longer than 2 MB", 500)]


def test_gzip_is_opened_and_a_torn_end_is_said(tmp_path):
    whole = gzip.compress(("a,b\n" + "".join(f"{n},{n * n}\n" for n in range(20_000))).encode())
    assert len(read(write(tmp_path, whole, "t.csv.gz"))[1]) == 20_000
    _, rows, refused = read(write(tmp_path, whole[: len(whole) // 2], "torn.csv.gz"))
    assert 0 < len(rows) < 20_000
    assert "damaged from here on" in refused[-1][1]


def test_a_name_that_looks_like_a_pattern_is_one_file(tmp_path):
    write(tmp_path, "a,b\n9,9\n", "x1.csv")
    assert read(write(tmp_path, "a,b\n1,2\n", "x[1]*'.csv"))[1] == [(2, ("1", "2"))]


def test_headers_get_usable_names(tmp_path):
    assert read(write(tmp_path, ' user ,,"a ""b""",USER\n1,2,3,4\n'))[0] == ("user", "column2", 'a "b"', "USER_")


def test_a_layout_without_a_header_reads_the_first_line_too(tmp_path):
    path = write(tmp_path, '1::"It"::5\n2::B\n3::C::1\n', "r.dat")
    assert read(path, Layout("::", "", ("u", "t", "r"))) == (
        ("u", "t", "r"),
        [(1, ("1", '"It"', "5")), (3, ("3", "C", "1"))],
        [(2, "too few columns", "2::B")],
    )


@pytest.mark.parametrize(
    ("content", "reason"),
    [(b"", "empty"), (b"\n\n \n", "empty"), (b"hello\nworld\n", "no columns"), (bytes(range(256)) * 40, "binary")],
)
def test_what_is_no_table_is_refused(tmp_path, content, reason):
    with pytest.raises(ImportRefused, match=reason):
        read(write(tmp_path, content))


def test_parquet_rows_keep_their_types(tmp_path):
    path = tmp_path / "e.parquet"
    duckdb.connect().execute(
        "COPY (SELECT 'u' AS \"user\", 7 AS item, 4.5 AS rating, ['a', 'b'] AS tags, "
        f"TIMESTAMPTZ '2020-01-01 00:00:00+00' AS at, DATE '2020-01-02' AS day) TO '{path}'"
    )
    columns, ((line, values),), refused = read(path)
    assert columns == ("user", "item", "rating", "tags", "at", "day")
    assert (line, values[:2], float(values[2]), values[3]) == (1, ("u", 7), 4.5, ["a", "b"])
    assert (str(values[4]), str(values[5]), refused) == ("2020-01-01 00:00:00", "2020-01-02", [])


@pytest.mark.parametrize("content", [b"", b"PAR1", b"PAR1" + b"\0" * 100 + b"PAR1", b"no parquet at all"])
def test_a_damaged_parquet_file_is_refused(tmp_path, content):
    with pytest.raises(ImportRefused):
        read(write(tmp_path, content, "x.parquet"))


CELLS = st.text(st.one_of(st.characters(exclude_categories=["Cs", "Cc"]), st.just("\n")), max_size=6)


@settings(max_examples=30, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(rows=st.lists(st.tuples(CELLS, CELLS, CELLS), min_size=1, max_size=8), delimiter=st.sampled_from(",;\t|"))
def test_what_was_written_as_csv_is_read_back(tmp_path, rows, delimiter):
    text = io.StringIO()
    writer = csv.writer(text, delimiter=delimiter, lineterminator="\n", quoting=csv.QUOTE_ALL)
    writer.writerows([("a", "b", "c"), *rows])
    _, found, refused = read(write(tmp_path, text.getvalue()), Layout(delimiter))
    assert refused == []
    assert [tuple(value or "" for value in values) for _, values in found] == rows


@settings(max_examples=30, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    st.one_of(
        st.binary(max_size=300),
        st.text('ab,"\n\r;\t é\0', max_size=80).map(str.encode),
        st.lists(st.sampled_from([b"a,b\n", b'"', b'1,"x', b"2,3\r\n", b"\xff", b"\r", b"\n", b","]), max_size=12).map(
            b"".join
        ),
    )
)
def test_no_bytes_raise_anything_but_a_refusal(tmp_path, content):
    path = write(tmp_path, content)
    try:
        columns, rows, _ = read(path)
    except ImportRefused:
        return
    lines = [line for line, _ in rows]
    assert lines == sorted(set(lines))
    assert 0 not in lines
    assert all(len(values) == len(columns) for _, values in rows)
