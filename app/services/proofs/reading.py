"""Reading the public log: heads, keys, leaves, and proofs that anybody can check. Each reads O(log n) rows."""

import uuid
from typing import Any

from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncSession

from app.errors import Invalid, NotFound
from app.models.donations import Donation
from app.models.ledger import Transfer
from app.models.proofs import LedgerLeaf, MerkleNode, SealKey, TreeHead
from app.services.proofs import tree
from app.services.proofs.leaves import microseconds
from app.services.proofs.sealing import nodes

__all__ = ["AT", "NotSealedYet", "consistency", "head", "heads", "inclusion", "keys", "leaves", "of_gift"]
#: Where everybody reads it.
AT = "/public/v1/proofs"


class NotSealedYet(NotFound):
    """It is in the ledger, and will be in the log within seconds."""

    zh, en = "该笔记录尚未封存", "This transfer is not sealed yet"
    do_zh, do_en = "封存通常在数秒内完成，请稍后再试", "It usually takes a few seconds: ask again later"


async def head(db: AsyncSession, size: int | None = None) -> dict[str, Any]:
    """The signed head over so many leaves, or the latest. NotFound: none was signed at that size."""
    query = _heads().limit(1)
    if size is not None:
        query = query.where(TreeHead.size == size)
    found = (await db.execute(query)).one_or_none()
    if found is None:
        raise NotFound
    return _shown(*found)


async def heads(db: AsyncSession, *, before: int | None, limit: int) -> list[dict[str, Any]]:
    """The newest first, of those below this size."""
    query = _heads().limit(limit)
    if before is not None:
        query = query.where(TreeHead.size < before)
    return [_shown(*found) for found in await db.execute(query)]


def _heads() -> Any:
    joined = select(TreeHead, SealKey.public_key).join(SealKey, SealKey.id == TreeHead.key_id)
    return joined.order_by(TreeHead.size.desc())


def _shown(row: TreeHead, public_key: bytes) -> dict[str, Any]:
    return {
        "size": row.size, "root": row.root.hex(), "at_microseconds": microseconds(row.at), "key_id": row.key_id,
        "public_key": public_key.hex(), "signature": row.signature.hex(),
    }  # fmt: skip


async def keys(db: AsyncSession) -> list[SealKey]:
    """Every public key that a head was ever signed with, the oldest first."""
    return list(await db.scalars(select(SealKey).order_by(SealKey.since, SealKey.id)))


async def leaves(db: AsyncSession, *, start: int, limit: int) -> list[str]:
    """The bytes that were hashed, in hex, from this place on: who has them all can build the tree again."""
    query = select(LedgerLeaf.data).where(LedgerLeaf.index >= start).order_by(LedgerLeaf.index).limit(limit)
    return [data.hex() for data in await db.scalars(query)]


async def inclusion(db: AsyncSession, transfer_id: uuid.UUID, *, size: int | None = None) -> dict[str, Any]:
    """The leaf of a transfer, and the way from it to the root of a signed head: the latest, or the one of this size.
    NotSealedYet, NotFound."""
    leaf = await db.scalar(select(LedgerLeaf).where(LedgerLeaf.transfer_id == transfer_id))
    if leaf is None:
        raise NotSealedYet if await db.get(Transfer, transfer_id) else NotFound
    over = await head(db, size)
    if leaf.index >= over["size"]:
        raise NotFound
    path = await _hashes(db, tree.inclusion_path(leaf.index, over["size"]))
    return {"leaf": leaf.data.hex(), "index": leaf.index, "size": over["size"], "path": path, "head": over}


async def of_gift(db: AsyncSession, number: str, *, size: int | None = None) -> dict[str, Any]:
    """The same, by the number on a certificate."""
    query = select(Donation.transfer_id).where(Donation.number == number.strip().upper())
    transfer_id = await db.scalar(query)
    if transfer_id is None:
        raise NotFound
    return await inclusion(db, transfer_id, size=size)


async def consistency(db: AsyncSession, *, first: int, second: int) -> dict[str, Any]:
    """That the log of `first` leaves is the beginning of the log of `second`: nothing was changed, removed or moved."""
    if first > second:
        raise Invalid.at("#query/first", "不得大于 second", "must not be greater than second")
    if await db.scalar(select(MerkleNode.position).where(*_at(0, second - 1))) is None:
        raise NotFound
    return {"first": first, "second": second, "path": await _hashes(db, tree.consistency_path(first, second))}


def _at(level: int, position: int) -> tuple[Any, Any]:
    return MerkleNode.level == level, MerkleNode.position == position


async def _hashes(db: AsyncSession, ranges: list[tuple[int, int]]) -> list[str]:
    found = await nodes(db, [node for start, end in ranges for node in tree.peaks(start, end)])
    return [tree.folded(start, end, found).hex() for start, end in ranges]
