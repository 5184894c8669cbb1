"""Which version of a rule is in force. Rules are data; what they mean is with each domain."""

from datetime import date

from sqlalchemy import or_, select
from sqlalchemy.ext.asyncio import AsyncSession

from app.models.rules import RuleKind, RuleVersion


async def in_force(db: AsyncSession, *, kind: RuleKind, code: str, on: date) -> RuleVersion | None:
    """The newest version valid on that day, None where there is none."""
    query = select(RuleVersion).where(
        RuleVersion.kind == kind,
        RuleVersion.code == code,
        RuleVersion.valid_from <= on,
        or_(RuleVersion.valid_to.is_(None), RuleVersion.valid_to > on),
    )
    return await db.scalar(query.order_by(RuleVersion.version.desc()).limit(1))
