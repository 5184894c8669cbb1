"""What a release brings with it: loading again changes nothing but the notices that were reworded."""

import pytest
from sqlalchemy import func, select, update

from app.db import Base
from app.models.consents import ConsentNotice, Purpose
from app.services import consents, reference_data
from app.settings import settings
from tests.factories import appointments as given


async def in_force(session):
    rows = await session.scalars(select(ConsentNotice).where(ConsentNotice.retired_at.is_(None)))
    return {row.purpose: row for row in rows}


async def test_loading_again_adds_nothing(session):
    tables = [table for table in Base.metadata.sorted_tables if table.name != "region"]

    async def counts():
        return [await session.scalar(select(func.count()).select_from(table)) for table in tables]

    before = await counts()
    await reference_data.load(session)
    assert await counts() == before


async def test_a_reworded_notice_replaces_the_old_version_and_needs_new_consent(session):
    # Given a couple that agreed to what an older release said,
    spouses = await given.couple(session)
    old = (await in_force(session))[Purpose.HEALTH_DATA]
    await session.execute(
        update(ConsentNotice)
        .where(ConsentNotice.id == old.id)
        .values(body_zh="旧版告知书", content_hash=b"of the older text")
    )
    assert await consents.missing(session, [spouses.wife.id]) == []

    # when the new release is loaded, twice,
    await reference_data.load_notices(session)
    await reference_data.load_notices(session)

    # then its text is in force as the next version, the old text is kept, and only this notice is asked for.
    await session.refresh(old)
    new = (await in_force(session))[Purpose.HEALTH_DATA]
    assert old.retired_at is not None
    assert old.body_zh == "旧版告知书"
    assert new.version == old.version + 1
    assert [notice.id for _, notice in await consents.missing(session, [spouses.wife.id])] == [new.id]


async def test_the_notices_name_who_handles_the_data_and_how_to_reach_them(session):
    for notice in (await in_force(session)).values():
        for body in (notice.body_zh, notice.body_en):
            assert settings().association_name in body
            assert settings().association_contact in body
            assert "{" not in body


async def test_another_association_in_the_settings_is_another_notice(
    session, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setenv("NUANXIN_ASSOCIATION_NAME", "银川市计划生育协会")
    settings.cache_clear()
    try:
        await reference_data.load_notices(session)
    finally:
        monkeypatch.undo()
        settings.cache_clear()
    await session.flush()
    for notice in (await in_force(session)).values():
        assert notice.version == 2
        assert "银川市计划生育协会" in notice.body_zh
