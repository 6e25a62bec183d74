"""Opening the database of a history store: engines, pragmas, migrations, and one error tree out of many drivers'.

Knows nothing about items and events.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sqlalchemy import Connection, Engine, create_engine, event, exc, inspect, text
from sqlalchemy.engine import URL, make_url

from agent.errors import SetupError, StoreBusy, StoreError
from agent.history.schema import REVISION

_BUSY_S = 30.0
_READERS = 16
"""Connections that are kept open to read: as many as threads usually do (agent/batch), because opening one is slow."""
_ADVISORY_LOCK = 7_261_707_074
"""PostgreSQL: the number of the lock that whoever writes holds until their transaction ends."""


@dataclass(frozen=True)
class Database:
    """Two engines on one database: many readers, and the one connection that writes."""

    reader: Engine
    writer: Engine

    def close(self) -> None:
        # The writer closes last: the connection that closes last empties SQLite's journal.
        self.reader.dispose()
        self.writer.dispose()


def open_database(url: str, *, busy_s: float = _BUSY_S) -> Database:
    """Connects, makes or migrates the tables. `busy_s`: how long a write waits for another process's write.
    Raises StoreError (StoreBusy when another process holds it), SetupError for a missing driver or a wrong URL."""
    parsed = _parse(url)
    database = _sqlite(parsed, busy_s) if parsed.get_backend_name() == "sqlite" else _server(parsed, busy_s)
    try:
        with store_errors(), database.writer.begin() as connection:
            _migrate(connection)
    except StoreError:
        database.close()
        raise
    return database


@contextmanager
def store_errors() -> Iterator[None]:
    """Turns what SQLAlchemy and the drivers raise into StoreError and StoreBusy; only here are their words read."""
    try:
        yield
    except UnicodeEncodeError as error:
        raise StoreError("text that is not valid Unicode cannot be stored") from error
    except exc.DBAPIError as error:
        raise _translated(error) from error
    except exc.SQLAlchemyError as error:
        raise StoreError(f"the history store failed: {error}") from error


def checkpoint(database: Database) -> None:
    """Empties SQLite's write-ahead journal into the database file, so that erased rows are in neither.
    Raises StoreBusy when readers kept it from happening; does nothing on a server."""
    if database.writer.dialect.name != "sqlite":
        return
    with store_errors(), database.writer.connect() as connection:
        raw = connection.connection.driver_connection
        assert raw is not None
        (blocked, _, _) = raw.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()
    if blocked:
        raise StoreBusy("the rows are deleted, but the journal is still being read; try again to empty it")


def warnings(database: Database) -> tuple[str, ...]:
    """What the person who runs this should know about the database library, in words."""
    if database.writer.dialect.name == "sqlite" and sqlite3.sqlite_version_info < (3, 51, 3):
        return (
            f"SQLite {sqlite3.sqlite_version}: before 3.51.3 two processes that write at the same moment can damage "
            "the database; let one process write",
        )
    return ()


def _parse(url: str) -> URL:
    try:
        parsed = make_url(url)
    except exc.ArgumentError as error:
        raise SetupError("the store's URL should look like sqlite:///FILE or postgresql+psycopg://HOST/NAME") from error
    if parsed.drivername == "postgresql":
        return parsed.set(drivername="postgresql+psycopg")
    return parsed


def _sqlite(url: URL, busy_s: float) -> Database:
    if url.database in (None, "", ":memory:"):
        raise SetupError("an in-memory history store cannot be shared between threads; give a file")
    path = Path(url.database or "")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        # Histories are personal: only the owner may read a file that we make.
        path.touch(mode=0o600)
    except OSError as error:
        raise StoreError(f"cannot open {str(path)!r}: {error.strerror}") from error
    arguments = {"timeout": busy_s, "check_same_thread": False}
    reader = create_engine(url, hide_parameters=True, connect_args=arguments, pool_size=_READERS, max_overflow=_READERS)
    writer = create_engine(url, hide_parameters=True, connect_args=arguments, pool_size=1, max_overflow=0)
    _sqlite_events(reader, "BEGIN", ("query_only=ON",))
    # Indexes over random ids touch pages everywhere: with the default 2 MB a bulk write is twice as slow.
    _sqlite_events(writer, "BEGIN IMMEDIATE", ("cache_size=-65536",))
    return Database(reader, writer)


def _sqlite_events(engine: Engine, begin: str, pragmas: tuple[str, ...]) -> None:
    @event.listens_for(engine, "connect")
    def configure(connection: sqlite3.Connection, _: Any) -> None:
        # The driver must not begin transactions by itself: it would begin them deferred, and upgrading fails at once.
        connection.isolation_level = None
        for pragma in ("journal_mode=WAL", "synchronous=FULL", "foreign_keys=ON", "secure_delete=ON", *pragmas):
            connection.execute(f"PRAGMA {pragma}")

    @event.listens_for(engine, "begin")
    def start(connection: Connection) -> None:
        connection.exec_driver_sql(begin)


def _server(url: URL, busy_s: float) -> Database:
    arguments = {"connect_timeout": 10} if url.get_backend_name() == "postgresql" else {}
    try:
        reader = create_engine(
            url, hide_parameters=True, connect_args=arguments, pool_size=_READERS, pool_pre_ping=True
        )
        writer = create_engine(
            url, hide_parameters=True, connect_args=arguments, pool_size=1, max_overflow=0, pool_pre_ping=True
        )
    except ModuleNotFoundError as error:
        raise SetupError(f"{error.name} is missing: pip install '.[postgres]'") from error
    except exc.NoSuchModuleError as error:
        raise SetupError(f"no such database: {url.drivername!r}") from error

    if url.get_backend_name() == "postgresql":

        @event.listens_for(writer, "begin")
        def start(connection: Connection) -> None:
            # One writer at a time, as on SQLite: sequence numbers then become visible in their order.
            connection.exec_driver_sql(f"SET LOCAL lock_timeout = {int(busy_s * 1000)}")
            connection.exec_driver_sql(f"SELECT pg_advisory_xact_lock({_ADVISORY_LOCK})")

    return Database(reader, writer)


def _migrate(connection: Connection) -> None:
    found = _revision(connection)
    if found == REVISION:
        return
    from alembic import command
    from alembic.config import Config
    from alembic.script import ScriptDirectory

    config = Config()
    config.set_main_option("script_location", str(Path(__file__).parent / "migrations"))
    config.set_main_option("path_separator", "os")
    config.attributes["connection"] = connection
    known = {script.revision for script in ScriptDirectory.from_config(config).walk_revisions()}
    if found is not None and found not in known:
        raise StoreError(f"the history store was written by a newer Rapport (schema {found!r}); update Rapport")
    command.upgrade(config, REVISION)


def _revision(connection: Connection) -> str | None:
    tables = inspect(connection).get_table_names()
    if "alembic_version" in tables:
        return connection.execute(text("SELECT version_num FROM alembic_version")).scalar()
    if tables:
        raise StoreError("this database holds other tables and was not made by Rapport; give it one of its own")
    return None


def _translated(error: exc.DBAPIError) -> StoreError:
    words = str(error.orig)
    if "locked" in words or "busy" in words or "lock timeout" in words:
        return StoreBusy("another process is writing to the history store; try again")
    if "disk is full" in words or "No space left" in words:
        return StoreError("the disk is full: nothing was written")
    if "readonly" in words or "read-only" in words:
        return StoreError("the history store is read-only")
    if "malformed" in words or "not a database" in words or "disk I/O" in words:
        return StoreError(f"the history store is damaged ({words}); restore it from a backup")
    # The driver's words only: the statement that SQLAlchemy appends carries people's data.
    return StoreError(f"the history store failed: {words}")
