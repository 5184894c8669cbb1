"""An item that a county adds and retires, and the document of a report, played: every change leaves its trace."""

from sqlalchemy.ext.asyncio import AsyncSession

from app import clock, demo
from app.models.identity import Role
from tests.factories import pdfs
from tests.guards.audit_corrections import colleague
from tests.guards.playing import Played

ITEM = {
    "region_code": demo.COUNTY, "number": 30, "zh": "胸片", "en": "Chest film", "applies_to": "both",
    "observations": [
        {
            "code": "chest_film", "zh": "胸片", "en": "Chest film", "value_type": "code",
            "codes": [{"code": "normal", "zh": "正常", "en": "Normal"}],
        }
    ],
}  # fmt: skip


async def the_results(story: Played, session: AsyncSession) -> None:
    county = await colleague(story, session, Role.COUNTY_ADMINISTRATOR)
    services = await story.door("/public/v1").call("GET", "/services")
    service = next(one for one in services if one["code"] == "pre_pregnancy_check")
    item = await county.create(f"/services/{service['id']}/items", ITEM)
    seen = await county.call("GET", f"/services/{service['id']}/items")
    assert item["id"] in {one["id"] for one in seen}
    await the_document(story)
    await county.call("POST", f"/service-items/{item['id']}/retirement")


async def the_document(story: Played) -> None:
    """Of a report that the hospital amends to announce it."""
    document = pdfs.pdf()
    report, purpose = story.posted, {"Purpose": "follow_up"}
    sheet = await story.village_worker.call("GET", f"/reports/{report['report_id']}", headers=purpose)
    amended = {
        "external_id": report["external_id"], "version": 2, "status": "amended",
        "appointment_id": sheet["appointment_id"], "issued_at": clock.now().isoformat(),
        "attachment_sha256": pdfs.sha256(document), "wife": [{"code": "chest_film", "value": "normal"}],
    }  # fmt: skip
    await story.hospital.call("POST", "/reports", amended, expect=201)
    hospital = story.hospital
    url = f"{hospital.door}/report-attachments?external_id={amended['external_id']}&version=2"
    headers = {"Content-Type": "application/pdf"} | hospital.sign("POST", url, document)
    sent = await hospital.http.post(url, content=document, headers=headers)
    assert sent.status_code == 201, sent.text
