"""Sealing: committed transfers enter the public log in an order of their own, off the write path.

`unsealed_transfer` is written in the transaction of the transfer, so that whatever has committed is there, and nothing
else; who seals takes rows out of it and puts leaves in, in one transaction. One runner at a time: the lock is the
transaction's.
"""

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from sqlalchemy import func, select, text
from sqlalchemy.dialects.postgresql import insert as upsert
from sqlalchemy.ext.asyncio import AsyncSession

from app import clock
from app.crypto import digest
from app.db import begin
from app.models.proofs import LedgerLeaf, SealKey, TreeHead
from app.services.proofs import leaves, tree
from app.services.proofs.tree import Node
from app.settings import settings

BATCH = 5_000
LOCK = 7_301_664_014
TAKE = text("""
WITH taken AS (
    DELETE FROM unsealed_transfer
     WHERE number IN (SELECT number FROM unsealed_transfer ORDER BY number LIMIT :most) RETURNING number, transfer_id
)
SELECT t.id, d.code AS debit, c.code AS credit, t.amount_fen, t.currency, t.kind, t.phase, t.pending_id, t.reverses_id,
       t.effective_on, t.recorded_at, t.commitment
  FROM taken JOIN transfer t ON t.id = taken.transfer_id
  JOIN ledger_account d ON d.id = t.debit_account_id JOIN ledger_account c ON c.id = t.credit_account_id
 ORDER BY taken.number""")

KEEP_LEAVES = text("""
INSERT INTO ledger_leaf (index, transfer_id, data, hash)
SELECT :first + number - 1, id, data, hash
  FROM unnest(CAST(:ids AS uuid[]), CAST(:data AS bytea[]), CAST(:hashes AS bytea[]))
       WITH ORDINALITY made (id, data, hash, number)""")
KEEP_NODES = text("""
INSERT INTO merkle_node (level, position, hash)
SELECT * FROM unnest(CAST(:levels AS smallint[]), CAST(:places AS bigint[]), CAST(:hashes AS bytea[]))""")

NODES = text("""
SELECT level, position, hash
  FROM unnest(CAST(:levels AS smallint[]), CAST(:places AS bigint[])) wanted (level, position)
  JOIN merkle_node USING (level, position)""")


async def seal_all() -> int:
    """Whatever has committed, batch by batch. Stops where another runner is at work."""
    sealed = 0
    while True:
        async with begin() as db:
            made = await seal(db)
        sealed += made
        if made < BATCH:
            return sealed


async def seal(db: AsyncSession) -> int:
    """One batch of leaves, the subtrees that they fill, and the signed head over them."""
    if not await db.scalar(select(func.pg_try_advisory_xact_lock(LOCK))):
        return 0
    rows = (await db.execute(TAKE, {"most": BATCH})).all()
    if not rows:
        return 0
    size: int = await db.scalar(select(func.coalesce(func.max(LedgerLeaf.index) + 1, 0))) or 0
    made = [(row.id, leaves.data(index, row)) for index, row in enumerate(rows, size)]
    hashes = [tree.leaf_hash(data) for _, data in made]
    edge = await nodes(db, tree.peaks(0, size))
    grown = tree.extend(size, edge, hashes)
    await db.execute(
        KEEP_LEAVES,
        {
            "first": size, "ids": [id for id, _ in made], "data": [data for _, data in made], "hashes": hashes,
        },
    )  # fmt: skip
    levels, places = zip(*grown, strict=True)
    await db.execute(KEEP_NODES, {"levels": levels, "places": places, "hashes": list(grown.values())})
    size += len(rows)
    await _sign(db, size, tree.folded(0, size, {**edge, **grown}))
    return len(rows)


async def nodes(db: AsyncSession, wanted: list[Node]) -> dict[Node, bytes]:
    """The hashes of these subtrees."""
    if not wanted:
        return {}
    levels, places = zip(*wanted, strict=True)
    rows = await db.execute(NODES, {"levels": levels, "places": places})
    return {(row.level, row.position): row.hash for row in rows}


async def _sign(db: AsyncSession, size: int, root: bytes) -> None:
    key = signing_key()
    public = key.public_key().public_bytes(Encoding.Raw, PublicFormat.Raw)
    at, key_id = clock.now(), key_id_of(public)
    known = upsert(SealKey).values(id=key_id, public_key=public, since=at)
    await db.execute(known.on_conflict_do_nothing())
    signature = key.sign(signed_bytes(size, root, leaves.microseconds(at)))
    db.add(TreeHead(size=size, root=root, at=at, key_id=key_id, signature=signature))


def signing_key() -> Ed25519PrivateKey:
    return Ed25519PrivateKey.from_private_bytes(bytes.fromhex(settings().seal_key.get_secret_value()))


def key_id_of(public: bytes) -> str:
    return digest(public).hex()[:16]


def signed_bytes(size: int, root: bytes, at_microseconds: int) -> bytes:
    """What is signed of a head: so many leaves had this root at that time."""
    return b"nuanxin tree head\n" + leaves.packed([str(size).encode(), root, str(at_microseconds).encode()])
