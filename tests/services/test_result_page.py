from typing import Any

from sqlalchemy.ext.asyncio import AsyncSession

from app.services.results import page
from app.services.results.wordings import WORDINGS, Wording
from tests.factories import appointments as given
from tests.factories.results import NORMAL_WIFE, body, post, with_value


async def printed(session: AsyncSession, actor_of: str = "wife", **changes: Any) -> str:
    attended = await given.attended(session)
    accepted = await post(session, attended, body(attended, **changes))
    if actor_of == "worker":
        worker = await given.worker(session)
        return await page.page(session, worker, report_id=accepted.report_id, purpose="follow_up")
    return await page.page(session, attended.wife, report_id=accepted.report_id)


async def test_the_couple_s_page_has_names_wording_values_and_ranges_in_both_languages(
    session: AsyncSession,
) -> None:
    wife = with_value(NORMAL_WIFE, "hbsag", "positive")
    text = await printed(session, wife=wife, conclusion="建议复查\n三个月后")
    for expected in (
        "李秀英", "王建军", *WORDINGS[Wording.RISK_FOUND], "乙肝表面抗原阳性", "HBsAg positive", "128 g/L", "115–150",
        "阳性", "Positive", "建议复查<br>三个月后",
    ):  # fmt: skip
        assert expected in text


async def test_a_worker_s_copy_has_masked_names(session: AsyncSession) -> None:
    text = await printed(session, "worker")
    assert "李*英" in text
    assert "李秀英" not in text


async def test_our_own_range_is_not_passed_off_as_the_laboratory_s(session: AsyncSession) -> None:
    text = await printed(session, wife=with_value(NORMAL_WIFE, "alt", 55, unit="U/L"))
    assert "7–40 通用参考" in text
    assert "偏高" in text


async def test_what_a_hospital_wrote_stays_text(session: AsyncSession) -> None:
    text = await printed(session, conclusion="<script>alert(1)</script>")
    assert "<script" not in text
    assert "&lt;script&gt;" in text


async def test_where_nothing_was_assessed_nobody_is_told_that_no_risk_was_found(
    session: AsyncSession,
) -> None:
    for changes in ({"wife": [], "husband": []}, {"issued_at": "2025-12-31T12:00:00+08:00"}):
        text = await printed(session, conclusion="见附件", **changes)
        assert "未作风险评估" in text
        assert "见附件" in text
        assert WORDINGS[Wording.NONE_FOUND][0] not in text
        assert WORDINGS[Wording.ONE_SPOUSE][0] not in text
    stated = await printed(session, wife=[], husband=[], stated_risk="general")
    assert WORDINGS[Wording.NONE_FOUND][0] in stated


async def test_until_it_is_released_the_page_says_only_that(session: AsyncSession) -> None:
    text = await printed(session, status="preliminary", conclusion="初步结果")
    assert "报告尚未发布" in text
    assert "初步结果" not in text
    assert "128" not in text


async def test_a_page_says_that_the_report_was_changed_or_taken_back(session: AsyncSession) -> None:
    attended = await given.attended(session)
    posted = body(attended)
    report_id = (await post(session, attended, posted)).report_id
    said = []
    for version, status in ((1, "final"), (2, "corrected"), (3, "entered_in_error")):
        if version > 1:
            await post(session, attended, posted | {"version": version, "status": status})
        text = await page.page(session, attended.wife, report_id=report_id)
        said.append([words for words in ("请以本版为准", "医院已撤回本报告", "尚未发布") if words in text])
    assert said == [[], ["请以本版为准"], ["医院已撤回本报告"]]
