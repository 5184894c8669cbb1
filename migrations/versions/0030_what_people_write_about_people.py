"""what people write about people is sealed: in forms, receipts, goods handed out, settlements, differences"""

import json
from typing import Any

import sqlalchemy as sa
from alembic import op

from app import crypto
from app.settings import settings

revision = "0030"
down_revision = "0029"
branch_labels = None
depends_on = None


def upgrade() -> None:
    _seal("receipt_request", "reason")
    _seal("settlement", "reason")
    _seal("reconciliation_difference", "note")
    _seal("household", "marks", "marks <> '[]'")
    op.execute("ALTER TABLE goods_delivery DISABLE TRIGGER append_only")
    _seal("goods_delivery", "purpose")
    op.execute("ALTER TABLE goods_delivery ENABLE TRIGGER append_only")
    op.alter_column("goods_delivery", "purpose_sealed", nullable=False)


def _seal(table: str, name: str, written: str = "true") -> None:
    """In the place of the column `name` comes `name_sealed`, with the same sealed."""
    op.add_column(table, sa.Column(f"{name}_sealed", sa.LargeBinary(), nullable=True))
    db = op.get_bind()
    rows = db.execute(sa.text(f"SELECT id, {name} FROM {table} WHERE {name} IS NOT NULL AND {written}")).all()
    if rows:
        crypto.use(crypto.SettingsKeys(settings()))
    change = sa.text(f"UPDATE {table} SET {name}_sealed = :sealed WHERE id = :id")
    for id, said in rows:
        sealed = crypto.seal(_text(said), place=f"{table}|{name}|{id}")
        db.execute(change, {"sealed": sealed, "id": id})
    op.drop_column(table, name)


def _text(said: Any) -> str:
    return said if isinstance(said, str) else json.dumps(said, ensure_ascii=False)
