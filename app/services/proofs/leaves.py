"""What is hashed of a transfer: bytes that are kept as they are and never made again (RFC 9162 §2.1).

Every field is preceded by its length, so that no two transfers have the same bytes. Nothing personal is in them: a
donor is a commitment, a hash over a salt that only the donation knows.
"""

import hashlib
import secrets
import uuid
from datetime import UTC, date, datetime
from typing import Any

VERSION = b"\x01"
SALT_BYTES = 32
#: In this order.
FIELDS = (
    "index", "id", "debit", "credit", "amount_fen", "currency", "kind", "phase", "pending_id", "reverses_id",
    "effective_on", "recorded_at", "commitment",
)  # fmt: skip


def new_salt() -> bytes:
    return secrets.token_bytes(SALT_BYTES)


def commitment(salt: bytes, number: str, name: str | None) -> bytes:
    """Of a donation: its number and its donor's name, if one was given. Without the salt nobody can try names."""
    return hashlib.sha256(packed([salt, number.encode(), (name or "").encode()])).digest()


def packed(parts: list[bytes]) -> bytes:
    """Each part after its length in four bytes."""
    return b"".join(len(part).to_bytes(4, "big") + part for part in parts)


def data(index: int, transfer: Any) -> bytes:
    """The bytes of the leaf at this place of the log: numbers in decimal, times in microseconds since 1970, what there
    is none of empty."""
    values = {name: getattr(transfer, name) for name in FIELDS if name != "index"} | {"index": index}
    return VERSION + packed([_bytes(values[name]) for name in FIELDS])


def _bytes(value: Any) -> bytes:
    match value:
        case None:
            return b""
        case bytes():
            return value
        case datetime():
            return str(microseconds(value)).encode()
        case uuid.UUID() | date() | int() | str():
            return str(value).encode()
    raise TypeError(type(value))


def microseconds(at: datetime) -> int:
    """Since 1970. In whole numbers: a float has not enough digits for all of them."""
    past = at - datetime(1970, 1, 1, tzinfo=UTC)
    return (past.days * 86_400 + past.seconds) * 1_000_000 + past.microseconds
