"""The tables of the history store, as SQLAlchemy Core values; says what is kept, not how it is read.

Times are integers: microseconds since 1970-01-01 UTC. Lists and attributes are JSON text.
A change here needs a new file in migrations/versions and the new `REVISION`.
"""

from __future__ import annotations

from sqlalchemy import BigInteger, Column, Float, ForeignKey, Index, Integer, MetaData, Table, Text

REVISION = "0005"
"""The newest migration: with it, the tables are exactly these."""

metadata = MetaData()

# SQLite numbers rows itself only when the column is spelled INTEGER.
Sequence = BigInteger().with_variant(Integer, "sqlite")

items = Table(
    "items",
    metadata,
    Column("id", Text, primary_key=True),
    Column("title", Text, nullable=False),
    Column("text", Text, nullable=False),
    Column("categories", Text, nullable=False),
    Column("attributes", Text, nullable=False),
    Column("added_at", BigInteger),
)

events = Table(
    "events",
    metadata,
    Column("seq", Sequence, primary_key=True, autoincrement=True),
    Column("id", BigInteger, nullable=False),
    Column("user", Text, nullable=False),
    Column("item", Text, ForeignKey("items.id"), nullable=False),
    Column("kind", Text, nullable=False),
    Column("value", Float),
    Column("text", Text, nullable=False),
    Column("at", BigInteger),
    Column("source", Text, nullable=False),
    Index("events_id", "id", unique=True),
    Index("events_user", "user", "seq"),
    # A number is never given twice, so that "after seq" stays true when the newest rows are erased.
    sqlite_autoincrement=True,
)

profiles = Table(
    "profiles",
    metadata,
    Column("user", Text, primary_key=True),
    Column("version", Integer, primary_key=True, autoincrement=False),
    Column("seq", BigInteger, nullable=False),
    Column("body", Text, nullable=False),
)

tallies = Table(
    "tallies",
    metadata,
    Column("user", Text, primary_key=True),
    Column("body", Text, nullable=False),
)

tag_edits = Table(
    "tag_edits",
    metadata,
    Column("user", Text, primary_key=True),
    Column("name", Text, primary_key=True),
    Column("feature", Text, primary_key=True),
    Column("action", Text, nullable=False),
    Column("polarity", Integer, nullable=False),
    Column("at", BigInteger),
)

calls = Table(
    "calls",
    metadata,
    Column("id", Sequence, primary_key=True, autoincrement=True),
    Column("at", BigInteger, nullable=False),
    Column("prompt", Text, nullable=False),
    Column("model", Text, nullable=False),
    Column("prompt_tokens", Integer, nullable=False),
    Column("completion_tokens", Integer, nullable=False),
    Column("ms", Float, nullable=False),
    Column("outcome", Text, nullable=False),
    Column("user", Text, nullable=False),
    Index("calls_user", "user"),
    sqlite_autoincrement=True,
)

meta = Table(
    "meta",
    metadata,
    Column("key", Text, primary_key=True),
    Column("value", Text, nullable=False),
)

jobs = Table(
    "jobs",
    metadata,
    # One row a person: newer work, or a newer input, takes the place of what it supersedes.
    Column("user", Text, primary_key=True),
    Column("work", Text, nullable=False),
    Column("input", Text, nullable=False),
    Column("state", Text, nullable=False),
    Column("fence", Integer, nullable=False),
    Column("owner", Text, nullable=False),
    Column("expires", BigInteger, nullable=False),
    Column("alone", Integer, nullable=False),
    Column("attempts", Integer, nullable=False),
    Column("losses", Integer, nullable=False),
    Column("rebuild", Integer, nullable=False),
    Column("version", Integer, nullable=False),
    Column("reason", Text, nullable=False),
    Column("message", Text, nullable=False),
    Index("jobs_state", "state", "owner"),
)

answers = Table(
    "answers",
    metadata,
    Column("user", Text, primary_key=True),
    Column("key", Text, primary_key=True),
    Column("body", Text, nullable=False),
    Column("at", BigInteger, nullable=False),
)

edit_steps = Table(
    "edit_steps",
    metadata,
    Column("seq", Sequence, primary_key=True, autoincrement=True),
    Column("user", Text, nullable=False),
    Column("at", BigInteger, nullable=False),
    Column("body", Text, nullable=False),
    Index("edit_steps_user", "user", "seq"),
    sqlite_autoincrement=True,
)

api_keys = Table(
    "api_keys",
    metadata,
    Column("id", Text, primary_key=True),
    Column("name", Text, nullable=False),
    # Never exported: what unlocks stays here, even as a hash.
    Column("hash", Text, nullable=False, info={"secret": True}),
    Column("scopes", Text, nullable=False),
    # The one person that it speaks for; "" for everybody.
    Column("user", Text, nullable=False),
    Column("made", BigInteger, nullable=False),
    Column("revoked", BigInteger),
)

replies = Table(
    "replies",
    metadata,
    Column("caller", Text, primary_key=True),
    Column("key", Text, primary_key=True),
    Column("request", Text, nullable=False),
    Column("body", Text, nullable=False),
    Column("user", Text, nullable=False),
    Column("at", BigInteger, nullable=False),
    Index("replies_at", "at"),
)

conversations = Table(
    "conversations",
    metadata,
    Column("user", Text, primary_key=True),
    Column("id", Text, primary_key=True),
    Column("at", BigInteger, nullable=False),
    # Of the first `folded` turns; the others are read as they are.
    Column("summary", Text, nullable=False),
    Column("folded", Integer, nullable=False),
)

turns = Table(
    "turns",
    metadata,
    Column("user", Text, primary_key=True),
    Column("conversation", Text, primary_key=True),
    Column("number", Integer, primary_key=True, autoincrement=False),
    Column("at", BigInteger, nullable=False),
    Column("text", Text, nullable=False),
    Column("body", Text, nullable=False),
)

explored = Table(
    "explored",
    metadata,
    Column("seq", Sequence, primary_key=True, autoincrement=True),
    Column("user", Text, nullable=False),
    Column("at", BigInteger, nullable=False),
    Column("place", Integer, nullable=False),
    Column("item", Text, nullable=False),
    Column("arm", Text, nullable=False),
    Column("probability", Float, nullable=False),
    # JSON: what there was to choose from.
    Column("arms", Text, nullable=False),
    Index("explored_user", "user", "seq"),
    sqlite_autoincrement=True,
)

wishes = Table(
    "wishes",
    metadata,
    # One row a slot ("year>", "category:Horror"): a newer wish takes the place of an older one.
    Column("user", Text, primary_key=True),
    Column("slot", Text, primary_key=True),
    Column("conversation", Text, nullable=False),
    Column("number", Integer, nullable=False),
    Column("at", BigInteger, nullable=False),
    Column("expires", BigInteger, nullable=False),
    Column("quote", Text, nullable=False),
    Column("body", Text, nullable=False),
)

PERSONAL = (
    events,
    profiles,
    tallies,
    tag_edits,
    calls,
    jobs,
    answers,
    edit_steps,
    api_keys,
    replies,
    conversations,
    turns,
    wishes,
    explored,
)
"""Every table with rows about a person; each has a column `user`."""
