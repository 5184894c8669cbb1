import asyncio
import time

import httpx
import pytest
from sqlalchemy.ext.asyncio import AsyncSession

from app import db
from app.models.partners import Algorithm
from app.services import partners
from tests.clients import SYSTEM, Signature, a_hospital, client, partner_client

PING = "/partner/v1/ping"


def refused(answer: httpx.Response, problem: str = "signature-refused") -> bool:
    assert answer.headers["content-type"] == "application/problem+json"
    assert answer.json()["type"] == f"urn:nuanxin:problem:{problem}"
    return True


@pytest.mark.parametrize("algorithm", list(Algorithm))
async def test_ping_tells_who_signed(session: AsyncSession, algorithm: Algorithm) -> None:
    organization, key = await a_hospital(session, algorithm=algorithm)
    answer = await partner_client(organization, key).get(PING)
    assert answer.json()["organization"] == {
        "id": str(organization.id), "name": organization.name,
        "region_code": organization.region_code, "algorithm": algorithm,
    }  # fmt: skip


async def test_an_unsigned_request_learns_how_to_sign(session: AsyncSession) -> None:
    answer = await client().get(PING)
    assert refused(answer)
    assert (answer.status_code, answer.headers["www-authenticate"]) == (401, "Nuanxin-Signature")


async def test_the_query_is_signed_as_it_was_sent(session: AsyncSession) -> None:
    hospital = partner_client(*await a_hospital(session))
    assert (await hospital.get(f"{PING}?note=%E6%9A%96%20a%2Fb")).status_code == 200


async def test_a_signature_cannot_be_moved_to_another_request(session: AsyncSession) -> None:
    organization, key = await a_hospital(session)
    headers = (await partner_client(organization, key).get(f"{PING}?a=1")).request.headers
    for path in (PING, f"{PING}?a=2", f"{PING}?a=1&b=1"):
        assert refused(await client().get(path, headers=headers))
    assert refused(await client().request("GET", f"{PING}?a=1", headers=headers, content=b"{}"))


async def test_another_secret_a_revoked_key_and_a_disabled_hospital_get_one_answer(
    session: AsyncSession,
) -> None:
    (first, key), (second, other) = await a_hospital(session), await a_hospital(session)
    assert refused(await client(auth=Signature(key.id, other.secret, first.algorithm)).get(PING))
    await partners.revoke_key(session, SYSTEM, organization_id=first.id, key_id=key.id)
    await partners.disable(session, SYSTEM, second.id)
    await session.commit()
    assert refused(await partner_client(first, key).get(PING))
    assert refused(await partner_client(second, other).get(PING))


@pytest.mark.parametrize("off", [-320, 320])
async def test_a_stale_or_future_timestamp_is_refused(session: AsyncSession, off: int) -> None:
    hospital = partner_client(*await a_hospital(session))
    assert refused(await hospital.get(PING, headers={"Webhook-Timestamp": str(int(time.time()) + off)}))


async def test_a_replay_is_refused_and_a_retry_allowed(session: AsyncSession) -> None:
    hospital = partner_client(*await a_hospital(session))
    first = {"Webhook-Id": "msg_retry", "Webhook-Timestamp": str(int(time.time()) - 10)}
    assert (await hospital.get(PING, headers=first)).status_code == 200
    assert refused(await hospital.get(PING, headers=first), "replayed-request")
    assert (await hospital.get(PING, headers={"Webhook-Id": "msg_retry"})).status_code == 200


async def test_the_same_signed_request_ten_times_at_once_is_accepted_exactly_once(committed: str) -> None:
    async with db.begin() as session:
        hospital = partner_client(*await a_hospital(session))
    same = {"Webhook-Id": "msg_twin", "Webhook-Timestamp": str(int(time.time()))}
    answers = await asyncio.gather(*(hospital.get(PING, headers=same) for _ in range(10)))
    assert sorted(answer.status_code for answer in answers) == [200] + [409] * 9


async def test_headers_of_any_bytes_are_a_refusal_and_never_an_error(session: AsyncSession) -> None:
    for name in (b"nuanxin-key", b"webhook-id", b"webhook-timestamp", b"webhook-signature"):
        _, key = await a_hospital(session)
        headers = {
            b"nuanxin-key": str(key.id).encode(), b"webhook-id": b"m", b"webhook-signature": b"v1,AAAA",
            b"webhook-timestamp": str(int(time.time())).encode(), name: b"\xff\xfe",
        }  # fmt: skip
        assert refused(await client().get(PING, headers=list(headers.items())))
