"""Waivers: which gate a person let a candidate pass over, why, and until when.

Types are written out here and not taken from the models, so that this step stays what it was.
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0005"
down_revision = "0004"


def upgrade() -> None:
    """Create the table; nothing was waived before."""
    op.create_table(
        "waivers",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("market", sa.String(), nullable=False),
        sa.Column("gate", sa.String(), nullable=False),
        sa.Column("candidate", sa.String(), nullable=False),
        sa.Column("why", sa.Text(), nullable=False),
        sa.Column("waived_by", sa.String(), nullable=False),
        sa.Column("waived_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("expires_at", sa.DateTime(timezone=True), nullable=False),
        sa.ForeignKeyConstraint(
            ["market", "candidate"],
            ["versions.market", "versions.digest"],
            name=op.f("fk_waivers_market_candidate_versions"),
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_waivers")),
    )
    op.create_index(op.f("ix_waivers_market_candidate"), "waivers", ["market", "candidate"])


def downgrade() -> None:
    """Forget the waivers."""
    op.drop_index(op.f("ix_waivers_market_candidate"), table_name="waivers")
    op.drop_table("waivers")
