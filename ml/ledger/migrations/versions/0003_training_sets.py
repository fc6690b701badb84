"""Training sets: which rows each model of a version was fitted on, and by which queries they were made.

Types are written out here and not taken from the models, so that this step stays what it was.
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"


def upgrade() -> None:
    """Create the table; versions from before have no entry in it."""
    op.create_table(
        "training_sets",
        sa.Column("market", sa.String(), nullable=False),
        sa.Column("version", sa.String(), nullable=False),
        sa.Column("model", sa.String(), nullable=False),
        sa.Column("digest", sa.String(), nullable=False),
        sa.Column("row_count", sa.Integer(), nullable=False),
        sa.Column("as_of", sa.DateTime(timezone=True), nullable=False),
        sa.Column("query", sa.Text(), nullable=False),
        sa.CheckConstraint("row_count >= 0", name=op.f("ck_training_sets_row_count")),
        sa.ForeignKeyConstraint(
            ["market", "version"],
            ["versions.market", "versions.digest"],
            name=op.f("fk_training_sets_market_version_versions"),
        ),
        sa.PrimaryKeyConstraint("market", "version", "model", name=op.f("pk_training_sets")),
    )


def downgrade() -> None:
    """Forget the training sets."""
    op.drop_table("training_sets")
