"""Two who edit one household: what the second is told."""

from typing import Any

from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncSession

from app.crypto import mask_address
from app.errors import StaleVersion
from app.models.handbook import HouseholdEvent
from app.models.households import Household
from app.services.households.forms import Form
from app.services.households.reading import masked_form


async def stale(db: AsyncSession, row: Household, yours: dict[str, Any]) -> StaleVersion:
    """Both versions: `current` as it is now, masked like any list; `yours` as it was sent; which of it differs; and
    who made the last step, in what role and when."""
    last = select(HouseholdEvent.actor_role, HouseholdEvent.at).where(HouseholdEvent.household_id == row.id)
    step = (await db.execute(last.order_by(HouseholdEvent.id.desc()).limit(1))).first()
    return StaleVersion(
        current_version=row.version,
        current=_shown(row),
        yours=yours,
        differs=[name for name, value in yours.items() if _plain(row, name) != value],
        changed_by_role=step.actor_role if step else None,
        changed_at=step.at.isoformat() if step else None,
    )


def _plain(row: Household, name: str) -> Any:
    form = Form.model_validate_json(row.form) if name == "form" and row.form else None
    return form.model_dump(mode="json") if form else getattr(row, name)


def _shown(row: Household) -> dict[str, Any]:
    form = Form.model_validate_json(row.form) if row.form else None
    return {
        "status": row.status,
        "region_code": row.region_code,
        "family_type": row.family_type,
        "address": mask_address(row.address) if row.address else None,
        "form": masked_form(form).model_dump(mode="json") if form else None,
    }
