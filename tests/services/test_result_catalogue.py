from datetime import timedelta
from typing import Any

import pytest
from sqlalchemy import func, select
from sqlalchemy.ext.asyncio import AsyncSession

from app import clock
from app.access import Actor
from app.db import new_id
from app.errors import Invalid, NotFound
from app.models.catalogue import ObservationDefinition, ServiceItem
from app.models.identity import Role
from app.services import reference_data, regions
from app.services.appointments import catalogue as offered
from app.services.idempotency import Key
from app.services.results import catalogue, reading
from app.services.results.catalogue import AlreadyRetired, CatalogueItem, CodeTaken, NewItem
from tests.factories import appointments as given
from tests.factories.results import NORMAL_WIFE, body, post, with_value

HIV: dict[str, Any] = {
    "region_code": given.COUNTY, "number": 20, "zh": "艾滋病检测", "en": "HIV test", "applies_to": "both",
    "observations": [
        {
            "code": "hiv_antibody", "zh": "HIV 抗体", "en": "HIV antibody", "value_type": "code", "form": "laboratory",
            "codes": [
                {"code": "negative", "zh": "阴性", "en": "Negative"},
                {"code": "to_confirm", "zh": "待复查", "en": "To be confirmed"},
            ],
        }
    ],
}  # fmt: skip
REPORTED = {"wife": with_value(NORMAL_WIFE, "hiv_antibody", "negative")}


async def administrator(session: AsyncSession, region_code: str = given.COUNTY) -> Actor:
    return await given.worker(session, region_code, Role.COUNTY_ADMINISTRATOR)


async def add(session: AsyncSession, actor: Actor, key: Key | None = None, **changes: Any) -> CatalogueItem:
    service = await given.service(session)
    new = NewItem.model_validate(HIV | changes)
    return await catalogue.add(session, actor, key=key or Key(new_id(), b"x"), service_id=service.id, new=new)


async def test_what_a_county_adds_is_reported_by_its_clinics_and_by_no_other(session: AsyncSession) -> None:
    attended = await given.attended(session)
    with pytest.raises(Invalid):
        await post(session, attended, body(attended, **REPORTED))
    await add(session, await administrator(session))

    accepted = await post(session, attended, body(attended, **REPORTED))

    sheet = await reading.sheet(session, attended.wife, report_id=accepted.report_id)
    line = next(line for line in sheet.observations if line.code == "hiv_antibody")
    assert (line.item_zh, line.value_zh) == ("艾滋病检测", "阴性")
    elsewhere = await given.attended(session, hospital=await given.clinic(session, "640105000000"))
    with pytest.raises(Invalid):
        await post(session, elsewhere, body(elsewhere, **REPORTED))


async def test_what_a_prefecture_adds_holds_for_the_counties_below(session: AsyncSession) -> None:
    await add(session, await administrator(session, "640100000000"), region_code="640100000000")
    for county in (given.COUNTY, "640105000000"):
        attended = await given.attended(session, hospital=await given.clinic(session, county))
        assert (await post(session, attended, body(attended, **REPORTED))).state == "accepted"


async def test_a_code_means_one_thing_wherever_it_is_reported(session: AsyncSession) -> None:
    county, prefecture = await administrator(session), await administrator(session, "640100000000")
    await add(session, county)
    with pytest.raises(CodeTaken):
        await add(session, county)
    with pytest.raises(CodeTaken):  # above
        await add(session, prefecture, region_code="640100000000")
    with pytest.raises(CodeTaken):  # of everywhere
        await add(session, county, observations=[HIV["observations"][0] | {"code": "hbsag"}])
    neighbour = await administrator(session, "640105000000")
    assert (await add(session, neighbour, region_code="640105000000")).item.region_code == "640105000000"


async def test_the_same_request_adds_once(session: AsyncSession) -> None:
    actor, key = await administrator(session), Key(new_id(), b"x")
    first, again = await add(session, actor, key), await add(session, actor, key)
    assert first.item.id == again.item.id == key.id
    assert [one.code for one in again.observations] == ["hiv_antibody"]


async def test_only_for_one_s_own_region_and_only_there_retired(session: AsyncSession) -> None:
    actor = await administrator(session)
    with pytest.raises(regions.RegionOutsideOwn):
        await add(session, actor, region_code="640100000000")
    added = await add(session, actor)
    national = await session.scalar(select(ServiceItem.id).where(ServiceItem.region_code.is_(None)).limit(1))
    assert national is not None
    with pytest.raises(NotFound):
        await catalogue.retire(session, actor, item_id=national)
    with pytest.raises(NotFound):
        await catalogue.retire(session, await administrator(session, "640105000000"), item_id=added.item.id)


async def test_a_retired_item_is_still_reported_for_earlier_appointments_and_read(
    session: AsyncSession,
) -> None:
    actor = await administrator(session)
    added = await add(session, actor)
    earlier, later = await given.attended(session), await given.attended(session)
    accepted = await post(session, earlier, body(earlier, **REPORTED))
    earlier.appointment.starts_at = clock.now() - timedelta(days=3)
    later.appointment.starts_at = clock.now() + timedelta(days=3)
    await catalogue.retire(session, actor, item_id=added.item.id)
    with pytest.raises(AlreadyRetired):
        await catalogue.retire(session, actor, item_id=added.item.id)

    assert (await post(session, earlier, body(earlier, **REPORTED))).state == "accepted"
    with pytest.raises(Invalid):
        await post(session, later, body(later, **REPORTED))
    sheet = await reading.sheet(session, earlier.wife, report_id=accepted.report_id)
    assert "hiv_antibody" in {line.code for line in sheet.observations}
    assert (await add(session, actor)).item.id != added.item.id


@pytest.mark.parametrize(
    "observation",
    [
        {"code": "foetal_sex"},
        {"zh": "胎儿性别"},
        {"codes": [{"code": "a", "zh": "男胎", "en": "One"}, {"code": "b", "zh": "女胎", "en": "Other"}]},
    ],
)
async def test_foetal_sex_is_no_item(session: AsyncSession, observation: dict[str, Any]) -> None:
    with pytest.raises(Invalid):
        await add(session, await administrator(session), observations=[HIV["observations"][0] | observation])


async def test_what_a_part_has_added_is_not_promised_to_everybody(session: AsyncSession) -> None:
    await add(session, await administrator(session))
    services = {service.code: items for service, items in await offered.services(session)}
    assert [item.number for item in services[given.PRE_PREGNANCY]] == list(range(1, 20))


async def test_a_hospital_sees_what_its_clinic_may_report(session: AsyncSession) -> None:
    await add(session, await administrator(session))
    hospital, service = await given.clinic(session), await given.service(session)
    seen = await catalogue.of_clinic(
        session, hospital.actor, service_id=service.id, clinic_id=hospital.clinic.id
    )
    assert [one.item.number for one in seen] == list(range(1, 21))
    other = await given.clinic(session)
    with pytest.raises(NotFound):
        await catalogue.of_clinic(session, hospital.actor, service_id=service.id, clinic_id=other.clinic.id)


async def test_a_province_s_own_list_is_loaded_for_its_clinics_and_loading_again_changes_nothing(
    session: AsyncSession,
) -> None:
    service = await given.service(session)
    items = await catalogue.items_of(session, service.id, region_code="440106000000")
    assert [one.item.en for one in items if one.item.region_code] == ["Thalassaemia screening"]

    async def rows() -> list[int | None]:
        counted = [select(func.count()).select_from(model) for model in (ServiceItem, ObservationDefinition)]
        return [await session.scalar(query) for query in counted]

    before = await rows()
    await reference_data.load_services(session)
    await reference_data.load_catalogues(session)
    assert await rows() == before


async def test_a_carrier_found_by_a_province_s_item_is_not_told_that_nothing_was_found(
    session: AsyncSession,
) -> None:
    attended = await given.attended(session, hospital=await given.clinic(session, "440106000000"))
    wife = with_value(NORMAL_WIFE, "thalassaemia_gene", "beta")
    accepted = await post(session, attended, body(attended, wife=wife))
    sheet = await reading.sheet(session, attended.wife, report_id=accepted.report_id)
    assert sheet.risk is not None
    assert (sheet.wording, sheet.risk.risk_class) == ("risk_found", "D")
