"""Migrations of the history store: Alembic, run in-process when a store is opened."""
