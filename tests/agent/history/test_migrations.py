from __future__ import annotations

import os
import signal
import sqlite3
import subprocess
import sys
from pathlib import Path

import pytest
from alembic.autogenerate import compare_metadata
from alembic.config import Config
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory

import agent.history.migrations
from agent.errors import StoreError
from agent.history import database
from agent.history.schema import REVISION, metadata
from agent.history.store import Store
from agent.types import Item


def tables(url: str) -> set[str]:
    raw = sqlite3.connect(url.removeprefix("sqlite:///"))
    names = {name for (name,) in raw.execute("SELECT name FROM sqlite_master WHERE type = 'table'")}
    raw.close()
    return names - {"sqlite_sequence"}


def test_the_migrations_make_exactly_the_tables_of_the_schema(store, url):
    assert tables(url) == {*metadata.tables, "alembic_version"}
    with store._database.writer.connect() as connection:
        assert compare_metadata(MigrationContext.configure(connection), metadata) == []


def test_the_newest_migration_is_the_one_that_the_schema_names():
    config = Config()
    config.set_main_option("script_location", str(Path(agent.history.migrations.__file__).parent))
    config.set_main_option("path_separator", "os")
    assert ScriptDirectory.from_config(config).get_heads() == [REVISION]


def test_opening_again_changes_nothing(store, url, monkeypatch):
    store.add_items([Item("i1", "Solaris")])
    store.close()
    # The second time nothing is migrated, so nothing of Alembic is needed.
    monkeypatch.setitem(sys.modules, "alembic", None)
    with Store.open(url) as again:
        assert again.item("i1") == Item("i1", "Solaris")


def test_a_store_of_a_newer_version_is_refused_untouched(store, url):
    store.close()
    file = Path(url.removeprefix("sqlite:///"))
    raw = sqlite3.connect(file)
    with raw:
        raw.execute("UPDATE alembic_version SET version_num = '9999'")
    raw.close()
    with pytest.raises(StoreError, match="newer Rapport"):
        Store.open(url)
    raw = sqlite3.connect(file)
    assert raw.execute("SELECT version_num FROM alembic_version").fetchall() == [("9999",)]
    raw.close()


def test_somebody_elses_database_is_refused_untouched(tmp_path):
    file = tmp_path / "other.db"
    raw = sqlite3.connect(file)
    with raw:
        raw.execute("CREATE TABLE theirs (x)")
    raw.close()
    with pytest.raises(StoreError, match="not made by Rapport"):
        Store.open(f"sqlite:///{file}")
    assert tables(f"sqlite:///{file}") == {"theirs"}


def test_a_migration_that_fails_leaves_nothing_and_can_be_repeated(url, monkeypatch):
    from alembic import op

    real, made = op.create_table, []

    def fails_at_the_third(name, *columns, **options):
        made.append(name)
        if len(made) == 3:
            raise OSError("power cut")
        return real(name, *columns, **options)

    monkeypatch.setattr(op, "create_table", fails_at_the_third)
    with pytest.raises(OSError, match="power cut"):
        database.open_database(url)
    assert len(made) == 3
    assert tables(url) == set()
    monkeypatch.undo()
    Store.open(url).close()
    assert tables(url) == {*metadata.tables, "alembic_version"}


KILLED = """
import os, signal, sys
from alembic import op
real, made = op.create_table, []
def create_table(*arguments, **options):
    made.append(1)
    if len(made) == 4:
        print("in the middle", flush=True)
        os.kill(os.getpid(), signal.SIGKILL)
    return real(*arguments, **options)
op.create_table = create_table
from agent.history.store import Store
Store.open(sys.argv[1])
"""


def test_a_migration_that_is_killed_is_done_by_the_next_opening(url):
    killed = subprocess.run(
        [sys.executable, "-c", KILLED, url], capture_output=True, text=True, cwd=Path.cwd(), env=dict(os.environ)
    )
    assert killed.stdout == "in the middle\n", killed.stderr
    assert killed.returncode == -signal.SIGKILL
    Store.open(url).close()
    assert tables(url) == {*metadata.tables, "alembic_version"}


def test_a_store_of_the_first_version_is_brought_up_to_date_with_all_it_holds(url, monkeypatch):
    monkeypatch.setattr(database, "REVISION", "0001")
    with Store.open(url) as store:
        store.add_items([Item("i1", "Solaris")])
    assert "jobs" not in tables(url)
    monkeypatch.undo()
    with Store.open(url) as store:
        assert store.item("i1") == Item("i1", "Solaris")
        store.keep_answer("ann", "question", "{}")
    assert tables(url) == {*metadata.tables, "alembic_version"}
