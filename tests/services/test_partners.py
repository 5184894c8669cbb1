import asyncio
import base64
import hashlib
import hmac
import uuid
from dataclasses import replace
from datetime import timedelta

import pytest
import time_machine
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives import hmac as keyed
from sqlalchemy import func, select
from sqlalchemy.exc import IntegrityError
from sqlalchemy.ext.asyncio import AsyncSession

from app import clock, db, errors
from app.access import Actor
from app.db import new_id
from app.errors import NotFound
from app.models.audit import AuditEvent
from app.models.identity import Role
from app.models.partners import Algorithm, Organization, PartnerKey, PartnerNonce
from app.services import partners, regions
from app.services.idempotency import Key
from app.services.partners import IssuedKey, ReplayedRequest, SignatureRefused, SignedRequest
from tests.clients import REGION, SYSTEM, a_hospital, a_worker

OTHER_CITY = "640200000000"


def signed(
    organization: Organization, key: IssuedKey, *, message_id: str = "msg_1", late: int = 0
) -> SignedRequest:
    timestamp = int(clock.now().timestamp()) - late
    path, body = "/partner/v1/reports?draft=1", '{"name":"王芳"}'.encode()
    signature = partners.signature(
        organization.algorithm, key.secret, message_id, timestamp, "POST", path, body
    )
    return SignedRequest(str(key.id), message_id, str(timestamp), signature, "POST", path, body)


async def add_key(session: AsyncSession, organization_id: uuid.UUID) -> IssuedKey:
    actor = Actor(Role.SYSTEM_ADMINISTRATOR, id=new_id(), region_code=REGION)
    return await partners.add_key(session, actor, Key(new_id(), b""), organization_id=organization_id)


async def refused(session: AsyncSession, request: SignedRequest) -> bool:
    with pytest.raises(SignatureRefused):
        await partners.authenticate(session, request)
    return True


# The signature


def test_the_signature_can_be_made_with_ten_lines_of_any_language() -> None:
    secret = "whsec_" + base64.b64encode(bytes(range(32))).decode()
    content = b'msg_1.1767225600.POST /partner/v1/reports\n{"a":1}'
    by_hand = hmac.new(bytes(range(32)), content, hashlib.sha256).digest()
    made = partners.signature(
        "hmac-sha256", secret, "msg_1", 1767225600, "POST", "/partner/v1/reports", b'{"a":1}'
    )
    assert made == "v1," + base64.b64encode(by_hand).decode()


def test_an_sm3_signature_is_another_one() -> None:
    secret = "whsec_" + base64.b64encode(bytes(range(32))).decode()
    mac = keyed.HMAC(bytes(range(32)), hashes.SM3())
    mac.update(b"msg_1.1767225600.GET /partner/v1/ping\n")
    made = partners.signature("hmac-sm3", secret, "msg_1", 1767225600, "GET", "/partner/v1/ping", b"")
    assert made == "v1," + base64.b64encode(mac.finalize()).decode()


@pytest.mark.parametrize("algorithm", list(Algorithm))
async def test_a_signed_request_acts_as_the_hospital(session: AsyncSession, algorithm: Algorithm) -> None:
    organization, key = await a_hospital(session, algorithm=algorithm)
    actor = await partners.authenticate(session, signed(organization, key))
    assert (actor.role, actor.id, actor.key_id) == (Role.PARTNER, organization.id, key.id)


async def test_the_algorithm_is_the_organizations_and_not_the_requests(session: AsyncSession) -> None:
    organization, key = await a_hospital(session, algorithm=Algorithm.HMAC_SM3)
    request = signed(organization, key)
    weaker = partners.signature(
        "hmac-sha256", key.secret, "msg_1", int(request.timestamp), "POST", request.path, request.body
    )
    assert await refused(session, replace(request, signature=weaker))


@pytest.mark.parametrize(
    "change",
    [
        {"body": b'{"name":"other"}'},
        {"body": b""},
        {"path": "/partner/v1/reports?draft=2"},
        {"path": "/partner/v1/slots?draft=1"},
        {"method": "PUT"},
        {"message_id": "msg_2"},
        {"signature": ""},
        {"signature": "v1,"},
        {"signature": "v1,\ud800"},
        {"signature": "v2,AAAA v1,BBBB"},
        {"key_id": ""},
        {"key_id": "not-a-uuid"},
        {"key_id": "0198c5a4-7a30-7b1e-9d55-3f0a6c2b1e01"},
        {"timestamp": ""},
        {"timestamp": "١٧٦٧٢٢٥٦٠٠"},
        {"timestamp": "99999999999999999999"},
        {"timestamp": "-1"},
        {"timestamp": "nan"},
        {"message_id": ""},
        {"message_id": "m" * 101},
        {"message_id": "two words"},
        {"message_id": "消息"},
    ],
    ids=str,
)
async def test_nothing_of_a_signed_request_can_be_changed(
    session: AsyncSession, change: dict[str, str]
) -> None:
    request = signed(*await a_hospital(session))
    assert await refused(session, replace(request, **change))


async def test_no_part_can_be_moved_into_its_neighbour(session: AsyncSession) -> None:
    organization, key = await a_hospital(session)
    request = signed(organization, key, message_id="a.1")
    assert await refused(session, replace(request, message_id="a", timestamp=f"1.{request.timestamp}"))


async def test_another_hospitals_secret_is_refused(session: AsyncSession) -> None:
    ours, (theirs, other) = await a_hospital(session), await a_hospital(session)
    assert await refused(session, replace(signed(theirs, other), key_id=str(ours[1].id)))


@pytest.mark.parametrize("late", [-310, -301, 301, 3600])
async def test_a_clock_more_than_five_minutes_off_is_refused(session: AsyncSession, late: int) -> None:
    organization, key = await a_hospital(session)
    with time_machine.travel(clock.now(), tick=False):
        assert await refused(session, signed(organization, key, late=late))


@pytest.mark.parametrize("late", [-295, 0, 295])
async def test_a_clock_within_five_minutes_is_accepted(session: AsyncSession, late: int) -> None:
    organization, key = await a_hospital(session)
    assert await partners.authenticate(session, signed(organization, key, late=late))


async def test_one_good_signature_among_several_is_enough(session: AsyncSession) -> None:
    request = signed(*await a_hospital(session))
    many = replace(request, signature=f"v1a,AAAA v1,BBBB {request.signature}")
    assert await partners.authenticate(session, many)


# Replay


async def test_a_replayed_request_is_refused(session: AsyncSession) -> None:
    request = signed(*await a_hospital(session))
    await partners.authenticate(session, request)
    with pytest.raises(ReplayedRequest):
        await partners.authenticate(session, request)


async def test_a_retry_signs_anew_under_the_same_message_id(session: AsyncSession) -> None:
    organization, key = await a_hospital(session)
    await partners.authenticate(session, signed(organization, key, late=3))
    assert await partners.authenticate(session, signed(organization, key, late=0))


async def test_two_hospitals_may_use_the_same_message_id(session: AsyncSession) -> None:
    for _ in range(2):
        assert await partners.authenticate(session, signed(*await a_hospital(session)))


async def test_a_request_that_failed_may_be_sent_again_as_it_is(committed: str) -> None:
    async with db.begin() as session:
        request = signed(*await a_hospital(session))
    async with db.sessions() as session:
        await partners.authenticate(session, request)
        await session.rollback()  # the rest of the request failed
    async with db.begin() as session:
        assert await partners.authenticate(session, request)


async def test_the_same_request_ten_times_at_once_is_accepted_exactly_once(committed: str) -> None:
    async with db.begin() as session:
        request = signed(*await a_hospital(session))

    async def receive() -> Actor:
        async with db.begin() as session:
            actor = await partners.authenticate(session, request)
            await asyncio.sleep(0.05)  # the work of the request
            return actor

    answers = await asyncio.gather(*(receive() for _ in range(10)), return_exceptions=True)
    assert sorted(type(answer).__name__ for answer in answers) == ["Actor"] + ["ReplayedRequest"] * 9


async def test_a_purged_nonce_opens_no_way_for_a_replay(session: AsyncSession) -> None:
    organization, key = await a_hospital(session)
    with time_machine.travel(clock.now()) as time:
        request = signed(organization, key, late=-290)  # good for almost ten minutes
        await partners.authenticate(session, request)
        time.shift(timedelta(minutes=9))
        await partners.purge_nonces(session)
        with pytest.raises(ReplayedRequest):
            await partners.authenticate(session, request)
        time.shift(timedelta(minutes=12))
        await partners.purge_nonces(session)
        mine = PartnerNonce.organization_id == organization.id
        assert await session.scalar(select(func.count()).select_from(PartnerNonce).where(mine)) == 0
        assert await refused(session, request)


# Keys and organizations


async def test_two_keys_live_side_by_side_and_a_third_is_refused(session: AsyncSession) -> None:
    organization, first = await a_hospital(session)
    second = await add_key(session, organization.id)
    for number, key in enumerate((first, second)):
        assert await partners.authenticate(session, signed(organization, key, message_id=f"m{number}"))
    with pytest.raises(partners.TwoKeysLive):
        await add_key(session, organization.id)


async def test_a_revoked_key_signs_nothing_and_makes_room_for_a_new_one(session: AsyncSession) -> None:
    organization, first = await a_hospital(session)
    await add_key(session, organization.id)
    await partners.revoke_key(session, SYSTEM, organization_id=organization.id, key_id=first.id)
    assert await refused(session, signed(organization, first))
    third = await add_key(session, organization.id)
    assert await partners.authenticate(session, signed(organization, third))


async def test_five_administrators_adding_a_key_at_once_make_one(committed: str) -> None:
    async with db.begin() as session:
        organization, _ = await a_hospital(session)

    async def add() -> IssuedKey:
        async with db.begin() as session:
            return await add_key(session, organization.id)

    answers = await asyncio.gather(*(add() for _ in range(5)), return_exceptions=True)
    assert sorted(type(answer).__name__ for answer in answers) == ["IssuedKey"] + ["TwoKeysLive"] * 4


async def test_a_disabled_hospital_is_refused_and_gets_no_new_key(session: AsyncSession) -> None:
    organization, key = await a_hospital(session)
    await partners.disable(session, SYSTEM, organization.id)
    assert await refused(session, signed(organization, key))
    with pytest.raises(partners.OrganizationDisabled):
        await add_key(session, organization.id)


async def test_secrets_are_random_and_not_kept_in_the_clear(session: AsyncSession) -> None:
    (_, one), (_, two) = await a_hospital(session), await a_hospital(session)
    assert one.secret != two.secret
    raw = base64.b64decode(one.secret.removeprefix("whsec_"))
    assert len(raw) == 32
    kept = (await session.get_one(PartnerKey, one.id)).secret_sealed
    assert raw not in kept
    assert one.secret.encode() not in kept


async def test_repeating_a_registration_gives_the_same_hospital_and_key(session: AsyncSession) -> None:
    actor = (await a_worker(session, Role.COUNTY_ADMINISTRATOR)).actor()
    request = Key(new_id(), b"1")
    details = {"name": "妇幼保健院", "region_code": REGION, "algorithm": Algorithm.HMAC_SM3}
    organization, key = await partners.create(session, actor, request, **details)
    again, same_key = await partners.create(session, actor, request, **details)
    assert (again.id, same_key.id, same_key.secret) == (organization.id, key.id, key.secret)
    addition = Key(new_id(), b"2")
    added = await partners.add_key(session, actor, addition, organization_id=organization.id)
    assert await partners.add_key(session, actor, addition, organization_id=organization.id) == added


async def test_a_repeated_request_reads_the_secret_for_a_quarter_of_an_hour_and_each_time_is_on_record(
    session: AsyncSession,
) -> None:
    actor = (await a_worker(session, Role.COUNTY_ADMINISTRATOR)).actor()
    request, addition = Key(new_id(), b"1"), Key(new_id(), b"2")

    async def repeat() -> list[IssuedKey]:
        organization, first = await partners.create(
            session, actor, request, name="妇幼保健院", region_code=REGION, algorithm=Algorithm.HMAC_SM3
        )
        return [first, await partners.add_key(session, actor, addition, organization_id=organization.id)]

    async def readings() -> int:
        mine = AuditEvent.actor_id == actor.id, AuditEvent.action == "read_secret"
        return await session.scalar(select(func.count()).select_from(AuditEvent).where(*mine))

    with time_machine.travel(clock.now()) as time:
        made = await repeat()
        assert await readings() == 0
        time.shift(timedelta(minutes=14))
        assert await repeat() == made
        assert await readings() == 2
        time.shift(timedelta(minutes=2))
        assert await repeat() == [replace(key, secret=None) for key in made]
        assert await readings() == 2


async def test_a_name_is_registered_once(session: AsyncSession) -> None:
    organization, _ = await a_hospital(session)
    with pytest.raises(IntegrityError) as refusal:
        await partners.create(
            session, SYSTEM, None, name=organization.name, region_code=REGION, algorithm=Algorithm.HMAC_SM3
        )
    assert errors.to_problem(refusal.value).slug() == "organization-name-taken"


async def test_an_administrator_keeps_only_the_hospitals_of_the_own_region(session: AsyncSession) -> None:
    actor = (await a_worker(session, Role.COUNTY_ADMINISTRATOR)).actor()
    theirs, key = await a_hospital(session, OTHER_CITY)
    with pytest.raises(regions.RegionOutsideOwn):
        await partners.create(
            session, actor, None, name="他市医院", region_code=OTHER_CITY, algorithm=Algorithm.HMAC_SM3
        )
    with pytest.raises(NotFound):
        await partners.disable(session, actor, theirs.id)
    with pytest.raises(NotFound):
        await partners.add_key(session, actor, Key(new_id(), b""), organization_id=theirs.id)
    with pytest.raises(NotFound):
        await partners.revoke_key(session, actor, organization_id=theirs.id, key_id=key.id)
    with pytest.raises(NotFound):
        await partners.keys_of(session, actor, theirs.id)


async def test_a_key_is_revoked_through_its_own_hospital_only(session: AsyncSession) -> None:
    (ours, _), (_, their_key) = await a_hospital(session), await a_hospital(session)
    with pytest.raises(NotFound):
        await partners.revoke_key(session, SYSTEM, organization_id=ours.id, key_id=their_key.id)
