"""Leaves of the public log, a certificate as its holder has it, and the verifier that is given to donors."""

import importlib.util
from dataclasses import replace
from types import ModuleType
from typing import Any

from sqlalchemy.ext.asyncio import AsyncSession

from app import clock
from app.db import new_id
from app.models.donations import Channel, Donation, DonationStatus, ShownAs
from app.models.funds import Fund
from app.services.donations import naming
from app.services.ledger import posting
from app.services.proofs import leaves, reading
from app.settings import ROOT
from tests.factories import ledger


def verifier() -> ModuleType:
    """docs/verify.py, as a donor runs it."""
    place = importlib.util.spec_from_file_location("verify", ROOT / "docs" / "verify.py")
    assert place
    assert place.loader
    module = importlib.util.module_from_spec(place)
    place.loader.exec_module(module)
    return module


VERIFIER = verifier()


async def gift(
    db: AsyncSession, fund: Fund, *, name: str | None = "张三", amount: int = 8_800, **donor: Any
) -> Donation:
    """Received in cash, and in the books."""
    salt, number, now, id = leaves.new_salt(), naming.new_number(), clock.now(), new_id()
    row = Donation(
        id=id, number=number, fund_id=fund.id, channel=Channel.CASH, amount_fen=amount, donated_at=now, created_at=now,
        status=DonationStatus.RECEIVED, transfer_id=posting.transfer_id("donation", id), shown_as=ShownAs.INITIAL,
        public_name=naming.public_name(ShownAs.INITIAL, name), salt=salt,
        commitment=leaves.commitment(salt, number, name), **donor,
    )  # fmt: skip
    row.donor_name = name
    db.add(row)
    await db.flush()
    entry = ledger.gift(fund, amount, id=row.transfer_id)
    assert await posting.record(db, replace(entry, commitment=row.commitment))
    return row


async def certificate(db: AsyncSession, row: Donation) -> dict[str, Any]:
    """The proof, with what only the donation knows."""
    assert row.transfer_id
    proof = await reading.inclusion(db, row.transfer_id)
    opened = {"number": row.number, "salt": row.salt.hex() if row.salt else None, "name": row.donor_name}
    return proof | opened


def holds(given: dict[str, Any], **also: Any) -> bool:
    """What the verifier says of it, whatever it meets."""
    try:
        return all(held is not False for _, _, held in VERIFIER.checks(given, **also))
    except (ValueError, TypeError, KeyError, AttributeError, IndexError, OverflowError):
        return False
