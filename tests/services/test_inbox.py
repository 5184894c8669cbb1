"""The inbox: told once, read in either language, never broken by what is missing; texts as data, checked."""

import uuid
from datetime import datetime, time, timedelta

import pytest
from pydantic import ValidationError
from sqlalchemy import event, func, select, update

from app import clock
from app.db import new_id
from app.errors import NotFound
from app.integrations import wechat
from app.models.households import Person
from app.models.identity import ResidentAccount
from app.models.messages import InboxMessage, MessageCredit, NoticeKind, SubscriptionMessage
from app.services import messages
from app.services.messages import texts, timing
from app.services.messages.inbox import Notice
from app.settings import settings
from tests.clients import client
from tests.factories.appointments import couple, person
from tests.guards.cast import CITIZEN, bearer

K = NoticeKind
WHEN = "2026-12-01T09:00:00+08:00"
GIVEN = {"service": "两癌筛查", "place": "优生门诊", "time": WHEN, "until": "2026-11-30T12:00:00+08:00"}


def notice(kind=K.PLACE_OFFERED, values=GIVEN, created_at=None):
    return InboxMessage(
        id=new_id(), person_id=uuid.uuid4(), kind=kind, entity="appointment", entity_id=uuid.uuid4(), once="",
        values=values, created_at=created_at or clock.now(),
    )  # fmt: skip


async def told(session, people, kind=K.CERTIFICATE_READY, entity_id=None, **more):
    await messages.tell(
        session, kind, people, entity="appointment", entity_id=entity_id or uuid.uuid4(),
        values=GIVEN if kind is not K.SUPPLY_READY else {}, **more,
    )  # fmt: skip


async def shown(session, actor, **changes):
    asked = {"language": "zh", "unread": False, "before": None, "limit": 10} | changes
    return await messages.listed(session, actor, **asked)


# The texts


@pytest.mark.parametrize("kind", K)
@pytest.mark.parametrize("values", [GIVEN, {}, {"service": None, "time": "soon"}, {"service": "", "time": 7}])
def test_every_kind_has_texts_that_no_missing_value_breaks(kind, values):
    row = notice(kind, values)
    for language in ("zh", "en"):
        title, body = texts.render(row, language)
        assert title
        assert body
        assert "{" not in title + body
        assert "None" not in title + body
    assert texts.page_of(row).startswith("pages/")


@pytest.mark.parametrize("kind", K)
def test_what_goes_to_wechat_passes_its_rules_and_says_nothing_of_a_sensitive_service(kind):
    values = GIVEN | {"service": "心理咨询" * 20, "place": "生殖健康门诊" * 20}
    for discreet in (True, False):
        data = texts.wechat_data(notice(kind, values), discreet=discreet)
        said = {name: wechat.fit(name, value) for name, value in data.items()}
        if discreet:
            assert said == data  # nothing of ours is cut
            assert not any("咨询" in value or "门诊" in value for value in said.values())


FIELDS = {
    "zh": {"title": "题", "body": "文"},
    "en": {"title": "T", "body": "B"},
    "page": "pages/x",
    "days": 1,
}


@pytest.mark.parametrize(
    "fields",
    [
        {"thing1": "{diagnosis}"}, {"thing1": "{name}"}, {"thing1": "字" * 21}, {"time1": "{service}"},
        {"phrase1": "{place}"}, {"number1": "{time}"}, {"thing": "{service}"}, {"emoji1": "{service}"},
        {"time1": "上午"}, {"phrase1": "超过五个字了"}, {"thing1": "{0.__class__}"}, {},
    ],
)  # fmt: skip
def test_a_template_that_wechat_would_refuse_or_that_could_hold_a_diagnosis_is_not_loaded(fields):
    with pytest.raises(ValidationError):
        texts.Kind.model_validate(FIELDS | {"fields": fields})


def test_the_texts_themselves_hold_nothing_else_either():
    texts.Kind.model_validate(
        FIELDS | {"fields": {"thing1": "{service}", "time2": "{time}", "phrase3": "已取消"}}
    )
    for wrong in ({"zh": {"title": "题", "body": "{result}"}}, {"en": {"title": "{name}", "body": "B"}}):
        with pytest.raises(ValidationError, match="no such value"):
            texts.Kind.model_validate(FIELDS | {"fields": {"thing1": "x"}} | wrong)


def test_a_kind_without_texts_is_noticed():
    data = texts.catalogue().model_dump(mode="json")
    del data["kinds"]["invitation"]
    with pytest.raises(ValidationError, match="invitation"):
        texts.Catalogue.model_validate(data)


@pytest.mark.parametrize(
    ("given", "complaint"),
    [
        ('{"gossip": "a"}', "gossip"),
        ('{"appointment_reminder": "a", "supply_ready": "a"}', "shares a template"),
    ],
)
def test_templates_set_for_no_kind_or_for_unlike_ones_stop_the_start(monkeypatch, given, complaint):
    monkeypatch.setenv("NUANXIN_WECHAT_TEMPLATES", given)
    settings.cache_clear()
    try:
        with pytest.raises(ValueError, match=complaint):
            texts.prepare()
    finally:
        monkeypatch.undo()
        settings.cache_clear()
    texts.prepare()


@pytest.mark.parametrize(
    "values",
    [
        {"diagnosis": "x"}, {"name": "王芳"}, {"result": "high"}, {"service": "x" * 201}, {"service": ""},
        {"time": "2026-12-01T09:00:00"}, {"until": "soon"}, {"slot_id": "not an id"},
    ],
)  # fmt: skip
async def test_nothing_but_what_where_and_when_can_be_told(session, values):
    with pytest.raises(ValueError):  # noqa: PT011 - several of the standard library
        await messages.tell(
            session, K.INVITATION, [uuid.uuid4()], entity="x", entity_id=uuid.uuid4(), values=values
        )


# The hours


@pytest.mark.parametrize(
    ("at", "until"),
    [("20:59", None), ("21:00", "08:00"), ("23:59", "08:00"), ("00:00", "08:00"), ("07:59", "08:00"), ("08:00", None)],
)  # fmt: skip
def test_the_quiet_hours(at, until):
    now = datetime.combine(clock.today(), time.fromisoformat(at), clock.SHANGHAI)
    end = timing.end_of_quiet(now)
    assert (end and f"{end:%H:%M}") == until
    assert end is None or now < end <= now + timedelta(hours=11)


def test_what_cannot_wait_for_the_morning_does_not():
    night = datetime(2026, 11, 30, 22, 0, tzinfo=clock.SHANGHAI)

    def waits(kind, **values):
        return timing.waits_until(notice(kind, values, night), night) is not None

    assert waits(K.REPORT_RELEASED)
    assert waits(K.PLACE_OFFERED, until="2026-12-01T20:00:00+08:00")
    assert not waits(K.PLACE_OFFERED, until="2026-12-01T07:00:00+08:00")
    assert waits(K.APPOINTMENT_CANCELLED, time="2026-12-01T15:00:00+08:00")
    assert not waits(K.APPOINTMENT_CANCELLED, time="2026-12-01T09:00:00+08:00")


def test_a_message_is_pointless_when_its_offer_is_over_or_its_days_have_passed():
    assert timing.ends(notice(K.PLACE_OFFERED, GIVEN)) == datetime.fromisoformat(GIVEN["until"])
    row = notice(K.CONTACT_REQUESTED, {})
    assert timing.ends(row) == row.created_at + timedelta(days=14)


# The inbox


async def test_a_notice_is_told_once_and_of_two_things_twice(session):
    home = await couple(session)
    thing = uuid.uuid4()
    for once in ("", "", "again"):
        await told(session, [home.wife.id, home.husband.id, None, home.wife.id], entity_id=thing, once=once)
    assert len(await shown(session, home.wife_actor)) == 2
    assert len(await shown(session, home.husband_actor)) == 2


@pytest.mark.parametrize(
    "gone", [{"died_on": clock.today()}, {"restricted_at": clock.now()}, {"erased_at": clock.now()}]
)
async def test_nothing_is_told_to_who_is_gone(session, gone):
    home = await couple(session)
    await session.execute(update(Person).where(Person.id == home.wife.id).values(gone))
    await told(session, [home.wife.id, home.husband.id])
    assert list(await session.scalars(select(InboxMessage.person_id))) == [home.husband.id]


async def test_three_thousand_are_told_in_one_statement_with_their_messages(session, connection):
    people = [person("李秀英", "female") for _ in range(30)]
    session.add_all(people)
    await session.flush()
    accounts = [
        ResidentAccount(id=new_id(), openid=f"o-{uuid.uuid4().hex}", person_id=one.id, created_at=clock.now())
        for one in people
    ]
    session.add_all(accounts)
    await session.flush()
    template = settings().wechat_templates[K.APPOINTMENT_REMINDER]
    session.add_all(
        MessageCredit(account_id=one.id, template_id=template, remaining=1) for one in accounts[:20]
    )
    await session.flush()
    notices = [Notice([one.id], uuid.uuid4(), GIVEN) for _ in range(100) for one in people]
    statements = []
    event.listen(
        connection.sync_connection, "before_cursor_execute", lambda *said: statements.append(said[2])
    )
    await messages.tell_many(session, K.APPOINTMENT_REMINDER, notices, entity="appointment")
    assert len([one for one in statements if not one.startswith(("SAVEPOINT", "RELEASE"))]) == 1
    assert await session.scalar(select(func.count()).select_from(InboxMessage)) == 3000
    assert await session.scalar(select(func.count()).select_from(SubscriptionMessage)) == 2000


async def test_the_inbox_is_read_page_by_page_in_either_language_and_by_nobody_else(session):
    home = await couple(session)
    for _ in range(3):
        await told(session, [home.wife.id], K.APPOINTMENT_CANCELLED)
    await told(session, [home.husband.id])
    await session.commit()
    headers = await bearer(session, CITIZEN, home.wife_actor)
    async with client(headers=headers) as caller:
        first = (await caller.get(f"{CITIZEN}/messages?limit=2")).json()
        rest = (await caller.get(f"{CITIZEN}/messages", params={"limit": 2, "cursor": first["next"]})).json()
        seen = [one["id"] for one in first["items"] + rest["items"]]
        assert len(set(seen)) == 3
        assert (seen, rest["next"]) == (sorted(seen, reverse=True), None)
        assert (
            first["items"][0]["body"]
            == "您 2026年12月1日 09:00 在优生门诊的两癌筛查预约已取消。如仍需要，请重新预约。"
        )
        english = (await caller.get(f"{CITIZEN}/messages", headers={"Accept-Language": "en"})).json()
        assert "2026-12-01 09:00" in english["items"][0]["body"]
        assert "两癌" not in english["items"][0]["body"]
        assert (await caller.get(f"{CITIZEN}/messages/unread")).json() == {"unread": 3}
        once = [(await caller.post(f"{CITIZEN}/messages/{seen[0]}/read")).json() for _ in range(2)]
        assert once[0]["read_at"] == once[1]["read_at"] is not None
        left = (await caller.get(f"{CITIZEN}/messages?unread=true")).json()["items"]
        assert [one["id"] for one in left] == seen[1:]
        assert (await caller.post(f"{CITIZEN}/messages/read")).json() == {"marked": 2}
        assert (await caller.get(f"{CITIZEN}/messages/unread")).json() == {"unread": 0}
        [template] = [
            one
            for one in (await caller.get(f"{CITIZEN}/message-credits")).json()
            if one["kind"] == "appointment_reminder"
        ]
        assert template == {
            "kind": "appointment_reminder",
            "template_id": "reminder-template",
            "remaining": 0,
        }
    with pytest.raises(NotFound):
        await messages.mark_read(session, home.husband_actor, uuid.UUID(seen[0]), language="zh")


@pytest.mark.parametrize("language", ["zh", "en"])
async def test_a_list_survives_values_of_any_shape(session, language):
    home = await couple(session)
    for odd in ({"service": 7}, {"service": ["两癌筛查"], "time": {}}, {"service": None}, {}):
        await told(session, [home.wife.id])
        await session.execute(update(InboxMessage).where(InboxMessage.values == GIVEN).values(values=odd))
    assert len(await shown(session, home.wife_actor, language=language)) == 4


async def test_what_is_old_goes_with_what_became_of_it(session):
    home = await couple(session)
    template = settings().wechat_templates[K.APPOINTMENT_REMINDER]
    session.add(MessageCredit(account_id=home.wife_actor.id, template_id=template, remaining=1))
    await session.flush()
    for _ in range(2):
        await told(session, [home.wife.id], K.APPOINTMENT_REMINDER)
    first = await session.scalar(select(InboxMessage.id).order_by(InboxMessage.id).limit(1))
    a_year_ago = clock.now() - timedelta(days=366)
    await session.execute(update(InboxMessage).where(InboxMessage.id == first).values(created_at=a_year_ago))
    await messages.purge(session, before=clock.now() - timedelta(days=365))
    left = list(await session.scalars(select(InboxMessage.id)))
    assert len(left) == 1
    assert first not in left
    assert list(await session.scalars(select(SubscriptionMessage.inbox_message_id))) == left
