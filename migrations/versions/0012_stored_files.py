"""stored files without a digest: each piece is sealed for its place; and without a kind: who fetches one knows it"""

import sqlalchemy as sa
from alembic import op

revision = "0012"
down_revision = "0011"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.drop_column("stored_file", "sha256")
    op.drop_column("stored_file", "media_type")


def downgrade() -> None:
    op.add_column("stored_file", sa.Column("media_type", sa.Text(), nullable=False, server_default=""))
    op.add_column("stored_file", sa.Column("sha256", sa.LargeBinary(), nullable=False, server_default=""))
    op.alter_column("stored_file", "media_type", server_default=None)
    op.alter_column("stored_file", "sha256", server_default=None)
