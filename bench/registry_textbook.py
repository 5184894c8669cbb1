"""One family after the other: what a worker would do without an import."""

import time
import uuid
from collections.abc import Iterator
from itertools import groupby, islice

from app import clock, crypto, db
from app.access import Actor
from app.db import new_id
from app.models.identity import ResidentAccount, Role
from app.models.staff import StaffAccount
from app.services import documents, households, identity
from app.services.households.forms import Form
from app.services.idempotency import Key
from app.settings import settings
from tests.factories import spreadsheets

COUNTY, TOWN = "640104000000", "640104001000"


async def worker() -> Actor:
    """A county administrator."""
    async with db.begin() as session:
        row = StaffAccount(
            id=new_id(), username=f"bench-{uuid.uuid4().hex}", name="基准", role=Role.COUNTY_ADMINISTRATOR,
            region_code=COUNTY, password_hash="-", created_at=clock.now(),
        )  # fmt: skip
        session.add(row)
    return Actor(row.role, id=row.id, region_code=COUNTY)


def forms(count: int) -> Iterator[Form]:
    """The same families as forms."""
    cells = (cells for cells, _ in spreadsheets.people(count * 8, wrong_share=0, seed=7, first=900_000))
    relations = {"户主": "head", "配偶": "spouse", "子女": "child", "父母": "parent"}
    for _, group in islice(groupby(cells, key=lambda one: one["local_number"]), count):
        members = [
            {
                "relation": relations.get(one["relation"], "other"), "name": one["name"],
                "document_number": one["document_number"], "phone": f"139{new_id().int % 10**8:08}",
                "hukou_region_code": TOWN, "hukou_type": "rural", "resident_since": "2019-05-01",
            }
            for one in group
        ]  # fmt: skip
        yield Form.model_validate({"region_code": TOWN, "address": "三组 25 号", "members": members})


async def one_by_one(url: str, count: int) -> float:
    """Rows a second when each family is registered, submitted and verified."""
    crypto.use(crypto.SettingsKeys(settings()))
    engine = db.connect(settings(), url)
    rows, seconds = 0, 0.0
    try:
        verifier = await worker()
        for form in forms(count):
            resident = await bound(form)
            started = time.perf_counter()
            async with db.begin() as session:
                draft = await households.register(session, resident, key=Key(new_id(), b"-"), form=form)
            async with db.begin() as session:
                sent = await households.submit(session, resident, id=draft.id, version=draft.version)
            async with db.begin() as session:
                await households.verify(session, verifier, id=sent.id, version=sent.version)
            seconds += time.perf_counter() - started
            rows += len(form.members)
    finally:
        await engine.dispose()
    return rows / seconds


async def bound(form: Form) -> Actor:
    """Its head with an account."""
    head = next(member for member in form.members if member.relation == "head")
    document = documents.read(head.document_kind, head.document_number)
    born, sex = documents.person_facts(document, birth_date=None, sex=None)
    async with db.begin() as session:
        person, _ = await identity.register_person(
            session, name=head.name, document=document, birth_date=born, sex=sex
        )
        now = clock.now()
        account = ResidentAccount(
            id=new_id(), openid=uuid.uuid4().hex, person_id=person.id, bound_at=now, created_at=now
        )
        session.add(account)
    return Actor(Role.RESIDENT, id=account.id)
