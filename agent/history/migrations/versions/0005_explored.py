"""Places that were given to exploration, with their probabilities."""

import sqlalchemy as sa
from alembic import op

revision = "0005"
down_revision = "0004"

_SEQUENCE = sa.BigInteger().with_variant(sa.Integer, "sqlite")


def upgrade() -> None:
    op.create_table(
        "explored",
        sa.Column("seq", _SEQUENCE, primary_key=True, autoincrement=True),
        sa.Column("user", sa.Text, nullable=False),
        sa.Column("at", sa.BigInteger, nullable=False),
        sa.Column("place", sa.Integer, nullable=False),
        sa.Column("item", sa.Text, nullable=False),
        sa.Column("arm", sa.Text, nullable=False),
        sa.Column("probability", sa.Float, nullable=False),
        sa.Column("arms", sa.Text, nullable=False),
        sqlite_autoincrement=True,
    )
    op.create_index("explored_user", "explored", ["user", "seq"])
