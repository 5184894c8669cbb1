"""The public log of the ledger (RFC 9162): leaves, the hashes of full subtrees, and signed tree heads."""

import uuid
from datetime import datetime

from sqlalchemy import Identity, Index, SmallInteger
from sqlalchemy.orm import Mapped, mapped_column

from app.db import Base


class UnsealedTransfer(Base):
    """A committed transfer that the log does not hold yet: written with it, taken by the sealing job."""

    __tablename__ = "unsealed_transfer"

    #: Only an order to take them in.
    number: Mapped[int] = mapped_column(Identity(), primary_key=True)
    transfer_id: Mapped[uuid.UUID]


class LedgerLeaf(Base):
    """A sealed transfer, append-only: the very bytes that were hashed, with the place in the log among them."""

    __tablename__ = "ledger_leaf"
    __table_args__ = (Index("uq_ledger_leaf_transfer_id", "transfer_id", unique=True),)

    #: From 0, without a gap.
    index: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
    transfer_id: Mapped[uuid.UUID]
    data: Mapped[bytes]
    hash: Mapped[bytes]


class MerkleNode(Base):
    """The hash over the `position`-th full subtree of 2**level leaves, append-only. Level 0 is the leaves."""

    __tablename__ = "merkle_node"

    level: Mapped[int] = mapped_column(SmallInteger, primary_key=True, autoincrement=False)
    position: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
    hash: Mapped[bytes]


class TreeHead(Base):
    """What the log was at a moment, signed with ed25519, append-only."""

    __tablename__ = "tree_head"

    size: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
    root: Mapped[bytes]
    at: Mapped[datetime]
    key_id: Mapped[str]
    signature: Mapped[bytes]


class SealKey(Base):
    """A public key that tree heads are or were signed with, append-only. `id`: 16 hex digits of its SHA-256."""

    __tablename__ = "seal_key"

    id: Mapped[str] = mapped_column(primary_key=True)
    public_key: Mapped[bytes]
    since: Mapped[datetime]
