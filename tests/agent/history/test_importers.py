"""One contract for every file format, over small invented files."""

from __future__ import annotations

import gzip
import json
from collections.abc import Iterable
from datetime import UTC, datetime
from pathlib import Path
from typing import ClassVar

import duckdb
import pytest

from agent.errors import ImportRefused, UsageError
from agent.history.importing import FORMATS, ImportReport, detect, import_path
from agent.history.store import Counts, Store
from agent.types import Event, Item


def put(path: Path, content: str | bytes) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    return path


def put_json(path: Path, rows: Iterable[object]) -> Path:
    return put(path, "".join((row if isinstance(row, str) else json.dumps(row)) + "\n" for row in rows))


def everything(store: Store) -> tuple[list[Item], list[Event]]:
    return list(store.all_items()), sorted(store.all_events(), key=lambda event: event.id)


class ImporterContract:
    """`make` writes files with at least one refused row; the counts say what must come out."""

    format: str
    items: int
    events: int
    refused: ClassVar[dict[str, int]]
    duplicates = 0
    untitled = 0

    def make(self, folder: Path) -> Path:
        raise NotImplementedError

    @pytest.fixture
    def path(self, tmp_path):
        return self.make(tmp_path / "in")

    def test_the_format_is_recognised(self, path):
        assert detect(path) == self.format

    def test_every_row_is_accounted_for(self, path, store):
        report = import_path(store, path)
        assert (report.format, report.items, report.events) == (
            self.format,
            Counts(added=self.items),
            Counts(added=self.events),
        )
        assert (report.reasons, report.refused) == (self.refused, sum(self.refused.values()))
        assert (report.duplicates, report.referred_only) == (self.duplicates, self.untitled)
        assert store.count_events() == self.events
        assert store.count_items() - store.count_items(titled=True) == self.untitled

    def test_importing_again_changes_nothing(self, path, store):
        first = import_path(store, path)
        before = everything(store)
        again = import_path(store, path)
        assert everything(store) == before
        assert (again.items, again.events) == (Counts(unchanged=self.items), Counts(unchanged=self.events))
        assert (again.refused, again.duplicates, again.reasons) == (first.refused, first.duplicates, first.reasons)

    def test_a_dry_run_reports_the_same_and_stores_nothing(self, path, store):
        dry = import_path(store, path, dry_run=True)
        assert everything(store) == ([], [])
        real = import_path(store, path)
        assert (dry.items, dry.events, dry.reasons, dry.duplicates, dry.referred_only, dry.notes) == (
            real.items,
            real.events,
            real.reasons,
            real.duplicates,
            real.referred_only,
            real.notes,
        )

    def test_refused_rows_go_to_a_file_with_file_line_and_reason(self, path, store, tmp_path):
        report = import_path(store, path, rejects=tmp_path / "out" / "rejects.jsonl")
        rows = [json.loads(line) for line in (tmp_path / "out" / "rejects.jsonl").read_text().splitlines()]
        assert len(rows) == report.refused > 0
        names = {file.name for file in (path.iterdir() if path.is_dir() else [path])}
        for row in rows:
            assert row.keys() == {"file", "line", "reason", "raw"}
            assert row["file"] in names
            assert row["line"] >= 1
            assert row["reason"] in report.reasons
        assert {example.reason for example in report.examples} == set(report.reasons)

    def test_events_obey_the_nouns(self, path, store):
        import_path(store, path)
        for event in store.all_events():
            if event.kind in ("rating", "review"):
                assert event.value is None or 0.5 <= event.value <= 5
            elif event.kind == "play":
                assert event.value is not None
                assert event.value > 0
            else:
                assert event.value is None
            assert store.item(event.item) is not None


class TestMovielens(ImporterContract):
    format = "movielens"
    items, events, refused, untitled = 3, 4, {"time before 1970": 1, "rating outside 0 to 5": 1}, 1

    def make(self, folder):
        put(
            folder / "movies.csv",
            "movieId,title,genres\r\n1,Toy Story (1995),Adventure|Comedy\r\n"
            '2,"Matrix, The (1999)",Sci-Fi\r\n3,Untold (2010),(no genres listed)\r\n',
        )
        put(
            folder / "ratings.csv",
            "userId,movieId,rating,timestamp\r\n1,1,4.0,964982703\r\n1,2,0.5,964981247\r\n2,1,5.0,964981247\r\n"
            "2,3,3.0,-5\r\n2,2,9.0,964981247\r\n2,99,3.0,964981247\r\n",
        )
        put(
            folder / "tags.csv",
            "userId,movieId,tag,timestamp\r\n1,1,Pixar,1\r\n2,1,pixar,2\r\n1,1,funny,1\r\n1,2,solo tag,1\r\n",
        )
        put(folder / "links.csv", "movieId,imdbId,tmdbId\r\n1,0114709,862\r\n2,0133093,\r\n")
        return folder

    def test_titles_years_genres_links_and_shared_tags(self, path, store):
        import_path(store, path)
        assert store.items("123") == {
            "1": Item(
                "1",
                "Toy Story",
                categories=("Adventure", "Comedy"),
                attributes={"year": 1995, "tags": ("pixar",), "imdb": "tt0114709", "tmdb": "862"},
            ),
            "2": Item("2", "The Matrix", categories=("Sci-Fi",), attributes={"year": 1999, "imdb": "tt0133093"}),
            "3": Item("3", "Untold", attributes={"year": 2010}),
        }

    def test_the_refused_line_is_named(self, path, store):
        report = import_path(store, path)
        assert [(found.file, found.line, found.raw) for found in report.examples] == [
            ("ratings.csv", 5, "2,3,3.0,-5"),
            ("ratings.csv", 6, "2,2,9.0,964981247"),
        ]


class TestMovielensDat(ImporterContract):
    format = "movielens"
    items, events, refused, duplicates = 2, 2, {"too few columns": 1, "rating is not a number": 1}, 1

    def make(self, folder):
        put(folder / "movies.dat", "1::Misérables, Les (1995)::Drama|Musical\n2::It::Horror\n".encode("latin-1"))
        put(
            folder / "ratings.dat",
            "1::1::5::978300760\n1::2::3::978300761\n1::2::3::978300761\n2::1\n2::2::x::978300761\n",
        )
        put(folder / "users.dat", "1::F::1::10::48067\n")
        return folder

    def test_titles_survive_latin_1(self, path, store):
        import_path(store, path)
        assert (store.items("12")["1"].title, store.items("12")["2"].title) == ("Les Misérables", "It")


class TestLastfm(ImporterContract):
    format = "lastfm"
    items, events, refused, untitled = 2, 3, {"play count is not positive": 1, "no user": 1}, 1

    def make(self, folder):
        put(
            folder / "artists.dat",
            'id\tname\turl\tpictureURL\n1\t"Weird Al"\thttp://a\thttp://p\n2\tBjörk\thttp://b\t\n',
        )
        put(folder / "user_artists.dat", "userID\tartistID\tweight\n1\t1\t100\n2\t1\t7\n2\t9\t1\n1\t2\t0\n\t2\t5\n")
        put(folder / "tags.dat", "tagID\ttagValue\n7\tcafé\n8\tpop\n9\tprivate joke\n".encode("latin-1"))
        header = "userID\tartistID\ttagID\tday\tmonth\tyear\n"
        rows = [(1, 1, 7), (2, 1, 7), (3, 1, 8), (1, 1, 8), (2, 1, 8), (1, 1, 9), (1, 2, 9), (1, 2, 9)]
        put(folder / "user_taggedartists.dat", header + "".join(f"{u}\t{a}\t{t}\t1\t1\t2010\n" for u, a, t in rows))
        return folder

    def test_categories_are_the_tags_that_several_people_gave_most_used_first(self, path, store):
        import_path(store, path)
        assert store.items("12")["1"].categories == ("pop", "café")
        assert store.items("12")["2"].categories == ()
        assert store.items("12")["1"].title == '"Weird Al"'
        assert [(event.kind, event.value, event.at) for event in store.events("1")] == [("play", 100.0, None)]


class TestCaserec(ImporterContract):
    format = "caserec"
    items, events, refused = 2, 3, {"rating outside 0 to 10": 1}

    def make(self, folder):
        put(
            folder / "anime_info.dat",
            "anime_ids\tname\tgenre\ttype\tepisodes\trating\tmembers\n"
            "1\tGintama&#039;\tAction, Comedy\tTV\t51\t9.16\t100\n2\tKimi\t\tMovie\tUnknown\t\t5\n",
        )
        put(folder / "anime_ratings.dat", "User_ID\tAnime_ID\tFeedback\n1\t1\t8\n2\t2\t10\n2\t1\t11\n")
        put(folder / "anime_history.dat", "User_ID\tAnime_ID\tFeedback\n1\t1\t1\n1\t2\t1\n2\t2\t1\n")
        return folder

    def test_rated_or_else_played(self, path, store):
        import_path(store, path)
        assert [(event.item, event.kind, event.value) for event in store.events("1")] == [
            ("1", "rating", 4.0),
            ("2", "play", 1.0),
        ]
        assert store.items("1")["1"] == Item(
            "1",
            "Gintama'",
            categories=("Action", "Comedy"),
            attributes={"type": "TV", "episodes": 51, "rating": 9.16, "members": 100},
        )


class TestRecbole(ImporterContract):
    format = "recbole"
    items, events, refused = 1, 2, {"too few columns": 1}

    def make(self, folder):
        put(
            folder / "ml.inter",
            "user_id:token\titem_id:token\trating:float\ttimestamp:float\n1\t7\t4\t881250949\n2\t7\t5\t881250950\n3\t7\n",
        )
        put(
            folder / "ml.item",
            "item_id:token\tmovie_title:token_seq\trelease_year:token\tclass:token_seq\n"
            "7\tToy Story\t1995\tAnimation Children's Comedy\n",
        )
        put(folder / "ml.user", "user_id:token\tage:token\n1\t24\n")
        return folder

    def test_typed_headers_are_understood(self, path, store):
        report = import_path(store, path)
        assert store.item("7") == Item(
            "7", "Toy Story", categories=("Animation", "Children's", "Comedy"), attributes={"year": 1995}
        )
        assert any(".user" in note for note in report.notes)

    def test_one_file_of_the_set_is_enough(self, path, store):
        assert import_path(store, path / "ml.inter").events == Counts(added=2)


REVIEW = {
    "rating": 4.0,
    "title": "Good",
    "text": "It works.<br />I like it.",
    "asin": "B1",
    "parent_asin": "P1",
    "user_id": "U1",
    "timestamp": 1586445693499,
    "images": [],
}


class TestAmazon2023(ImporterContract):
    format = "amazon"
    items, events, untitled, duplicates = 1, 3, 1, 1
    refused: ClassVar = {"not JSON": 1, "rating: Field required": 1, "time in the future": 1}

    def make(self, folder):
        rows = [
            REVIEW,
            REVIEW,
            {**REVIEW, "user_id": "U2", "title": "", "text": ""},
            {**REVIEW, "user_id": "U2", "parent_asin": "P2"},
            {**REVIEW, "timestamp": 9_999_999_999_999},
            {"user_id": "U3", "asin": "B1"},
            '{"broken": ',
        ]
        put_json(folder / "Beauty.jsonl", rows)
        product = {
            "main_category": "All Beauty",
            "title": "Soap &amp; Co",
            "features": ["Soft"],
            "description": ["Clean."],
            "price": "12.50",
            "store": "Acme",
            "categories": ["Beauty", "Soap"],
            "images": [{"large": "http://l", "thumb": "http://t"}],
            "parent_asin": "P1",
        }
        put(folder / "meta_Beauty.jsonl.gz", gzip.compress(json.dumps(product).encode() + b"\n"))
        return folder

    def test_products_and_reviews_are_read(self, path, store):
        import_path(store, path)
        assert store.item("P1") == Item(
            "P1",
            "Soap & Co",
            "Clean.\nSoft",
            ("All Beauty", "Beauty", "Soap"),
            {"price": 12.5, "creator": ("Acme",), "image": "http://l"},
        )
        (event,) = store.events("U1")
        assert (event.kind, event.value, event.text) == ("review", 4.0, "Good\nIt works.\nI like it.")
        assert event.at == datetime(2020, 4, 9, 15, 21, 33, 499000, tzinfo=UTC)
        assert [event.kind for event in store.events("U2")] == ["rating", "review"]


class TestAmazon2018(ImporterContract):
    format = "amazon"
    items, events = 1, 2
    refused: ClassVar = {
        "overall: Input should be a valid number, unable to parse string as a number": 1,
        "not JSON": 1,
    }

    def make(self, folder):
        row = {
            "overall": 5.0,
            "reviewTime": "06 17, 2018",
            "reviewerID": "A1",
            "asin": "B1",
            "reviewerName": "Jane Canary Doe",
            "reviewText": "Great.",
            "summary": "Five Stars",
            "unixReviewTime": 1529193600,
        }
        rows = [row, {**row, "reviewerID": "A2"}, {**row, "overall": "many"}, json.dumps(row)[:-20]]
        put_json(folder / "Gift_5.json", rows)
        product = {
            "category": ["Gift Cards", "Gift Cards", "No expiration, no fees."],
            "title": "Card",
            "brand": "Acme",
            "price": "",
            "asin": "B1",
            "description": [],
            "feature": [],
            "imageURL": [],
            "imageURLHighRes": [],
        }
        put_json(folder / "meta_Gift.json", [product])
        return folder

    def test_the_reviewers_name_is_kept_nowhere(self, path, store, tmp_path):
        report = import_path(store, path, rejects=tmp_path / "rejects.jsonl")
        assert report.refused == 2
        assert "Canary" not in (tmp_path / "rejects.jsonl").read_text()
        assert "Canary" not in str(report)
        for file in (tmp_path / "home").iterdir():
            assert b"Canary" not in file.read_bytes()

    def test_selling_points_are_no_categories(self, path, store):
        import_path(store, path)
        assert store.item("B1") == Item("B1", "Card", categories=("Gift Cards",), attributes={"creator": ("Acme",)})


class TestAmazonSample(ImporterContract):
    format = "amazon"
    items, events, refused, untitled = 3, 3, {"no item": 1}, 1

    def make(self, folder):
        def review(asin, at, title="Thing"):
            product = {"title": title and f"{title} {asin}", "brand": "Acme", "price": 7.5, "main_category": None}
            return {
                "parent_asin": asin,
                "rating": 4.0,
                "timestamp_ms": at,
                "review_full": "Full.",
                "review_title": "Head",
                "product": product,
            }

        row = {
            "user_id": "U1",
            "category": "All_Beauty",
            "history": [review("B1", 1600000000000), review("B2", 1600000000001, None), review("", 1600000000002)],
            "heldout": review("B3", 1600000000003),
        }
        return put_json(folder / "training.jsonl", [row])

    def test_the_category_of_the_sequence_stands_in_for_a_missing_one(self, path, store):
        import_path(store, path)
        assert store.item("B1") == Item(
            "B1", "Thing B1", categories=("All Beauty",), attributes={"price": 7.5, "creator": ("Acme",)}
        )

    def test_the_newest_review_can_be_left_out(self, path, store):
        assert import_path(store, path, mapping={"heldout": "skip"}).events == Counts(added=2)
        assert {event.item for event in store.all_events()} == {"B1", "B2"}
        with pytest.raises(ImportRefused, match="keep or skip"):
            import_path(store, path, mapping={"heldout": "maybe"})


class TestCsv(ImporterContract):
    format = "csv"
    items, events, untitled = 2, 4, 2
    refused: ClassVar = {
        "no item": 1,
        "the time cannot be read": 1,
        "rating is not a finite number": 1,
        "too many columns": 1,
    }
    duplicates = 1

    def make(self, folder):
        put(
            folder / "orders.csv",
            "customer_id;product_id;stars;review_date\nann;p 1;10;2020-01-01\nann;p 1;10;2020-01-01\n"
            "bob;p2;1;2020-01-02 10:00\nbob;p9;7;\nbob;p1;0;2020-02-02\n"
            "eve;;5;2020-01-01\neve;p1;5;soon\neve;p1;nan;2020-01-01\neve;p1;5;2020-01-01;extra\n",
        )
        put(
            folder / "products.csv",
            "id,name,genre,author,published year,price,colour\n"
            'p 1,"A ""good"" book",Drama|War,"Tolkien, J.R.R.;C. S. Lewis",1954,"$1,200",red\np2,Film,,,,,\n',
        )
        return folder

    def test_columns_are_guessed_and_said(self, path, store):
        report = import_path(store, path)
        assert store.item("p 1") == Item(
            "p 1",
            'A "good" book',
            categories=("Drama", "War"),
            attributes={
                "price": 1200.0,
                "creator": ("Tolkien, J.R.R.", "C. S. Lewis"),
                "published year": "1954",
                "colour": "red",
            },
        )
        assert "orders.csv: user=customer_id, item=product_id, rating=stars, at=review_date" in report.notes
        assert any("taken to end at 10" in note for note in report.notes)
        assert [(event.kind, event.value) for event in store.events("ann")] == [("rating", 5.0)]

    def test_a_zero_is_a_view_where_it_cannot_be_a_rating(self, path, store):
        import_path(store, path)
        assert {(event.item, event.kind, event.value) for event in store.events("bob")} == {
            ("p2", "rating", 0.5),
            ("p9", "rating", 3.5),
            ("p1", "view", None),
        }


class TestJsonl(ImporterContract):
    format = "jsonl"
    items, events, duplicates = 1, 3, 1
    refused: ClassVar = {"not JSON": 1, "Input should be an object": 1, "no user": 1, "item is not a single value": 1}

    def make(self, folder):
        rows = [
            {"user": "ann", "item": 7, "event": "buy", "title": "Hat", "timestamp": 1600000000000},
            {"user": "ann", "item": 7, "event": "buy", "title": "Hat", "timestamp": 1600000000000},
            {"user": "ann", "item": 7, "event": "pv", "timestamp": 1600000000},
            {"user": "bob", "item": 7, "event": "play", "timestamp": None},
            "[1, 2]",
            "",
            '{"user": "\\ud800", ',
            {"item": 7, "event": "pv"},
            {"user": "ann", "item": [7], "event": "pv"},
        ]
        return put_json(folder / "clicks.jsonl", rows)

    def test_kinds_are_words_of_the_source(self, path, store):
        import_path(store, path)
        assert sorted((event.user, event.kind, event.value) for event in store.all_events()) == [
            ("ann", "purchase", None),
            ("ann", "view", None),
            ("bob", "play", 1.0),
        ]
        assert store.item("7") == Item("7", "Hat")


class TestParquet(ImporterContract):
    format = "parquet"
    items, events, refused = 2, 2, {"no user": 1}

    def make(self, folder):
        folder.mkdir()
        database = duckdb.connect()
        database.execute(
            "COPY (SELECT * FROM (VALUES ('u1', 1, 1.0, TIMESTAMPTZ '2020-01-01 00:00:00+00'), ('u1', 2, 0.0, NULL), "
            '(NULL, 1, 1.0, NULL)) AS e(user_id, item_id, rating, "timestamp")) '
            f"TO '{folder}/events.parquet'"
        )
        database.execute(
            "COPY (SELECT * FROM (VALUES (1, 'One', ['a', 'b']), (2, 'Two', NULL)) AS i(item_id, title, genres)) "
            f"TO '{folder}/items.parquet'"
        )
        return folder

    def test_lists_are_categories_and_ones_are_likes(self, path, store):
        import_path(store, path)
        assert store.item("1") == Item("1", "One", categories=("a", "b"))
        assert [(event.item, event.kind, event.at) for event in store.events("u1")] == [
            ("2", "dislike", None),
            ("1", "like", datetime(2020, 1, 1, tzinfo=UTC)),
        ]


def test_every_format_has_a_contract():
    tested = {contract.format for contract in ImporterContract.__subclasses__()}
    assert tested == set(FORMATS)


# options


def test_columns_can_be_told(store, tmp_path):
    path = put(tmp_path / "x.csv", "a,b,c\nu1,i1,80\nu1,i2,40\n")
    with pytest.raises(ImportRefused, match=r"a, b, c.*--map"):
        import_path(store, path)
    report: ImportReport = import_path(store, path, mapping={"user": "a", "item": "B", "rating": "c", "scale": "100"})
    assert report.events == Counts(added=2)
    assert [event.value for event in store.events("u1")] == [4.0, 2.0]


def test_every_event_can_be_given_one_kind(store, tmp_path):
    path = put(tmp_path / "x.csv", "user,item\nu1,i1\n")
    import_path(store, path, mapping={"kind": "purchase"})
    assert [event.kind for event in store.events("u1")] == ["purchase"]


@pytest.mark.parametrize(
    ("mapping", "error", "words"),
    [
        ({"user": "nobody"}, ImportRefused, "no column 'nobody'"),
        ({"kind": "teleport"}, ImportRefused, "kind of event"),
        ({"scale": "0"}, ImportRefused, "scale"),
        ({"scale": "x"}, ImportRefused, "scale"),
        ({"colour": "red"}, UsageError, "knows no colour"),
    ],
)
def test_wrong_options_say_so(store, tmp_path, mapping, error, words):
    path = put(tmp_path / "x.csv", "user,item,rating\nu1,i1,3\n")
    with pytest.raises(error, match=words):
        import_path(store, path, mapping=mapping)


def test_ratings_beyond_every_scale_are_refused(store, tmp_path):
    path = put(tmp_path / "x.csv", "user,item,rating\nu1,i1,500\n")
    with pytest.raises(ImportRefused, match="scale="):
        import_path(store, path)
    assert import_path(store, path, mapping={"scale": "1000"}).events == Counts(added=1)
