"""Alembic's environment: migrates over the connection that it is handed, in that connection's transaction."""

from __future__ import annotations

from alembic import context

from ml.ledger.tables import Base

context.configure(
    connection=context.config.attributes["connection"],
    target_metadata=Base.metadata,
    # SQLite rolls DDL back like anything else once BEGIN is said aloud, which ml.ledger.engine does.
    transactional_ddl=True,
    render_as_batch=True,
)
with context.begin_transaction():
    context.run_migrations()
