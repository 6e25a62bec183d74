"""Alembic's entry point: runs the migrations on the connection, and in the transaction, that the store hands over."""

from alembic import context

from agent.history.schema import metadata

context.configure(connection=context.config.attributes["connection"], target_metadata=metadata)
context.run_migrations()
