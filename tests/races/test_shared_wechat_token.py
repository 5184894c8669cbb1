"""All processes share one WeChat token: whoever needs it first fetches it, and WeChat is asked once."""

import asyncio
from pathlib import Path

import httpx

from app import journey
from app.callers import Caller
from app.journey import Spouse
from tests import servers

RESIDENTS, SERVERS = 8, 2


async def sign_in(http: httpx.AsyncClient, wechat: Caller, spouse: Spouse) -> Caller:
    caller = Caller(http, "/citizen/v1")
    code = await wechat.call("POST", "/login-code", {"openid": spouse.openid})
    tokens = await caller.call("POST", "/sign-in", {"code": code["code"]})
    caller.headers["Authorization"] = f"Bearer {tokens['access_token']}"
    return caller


async def bind(caller: Caller, wechat: Caller, spouse: Spouse) -> None:
    """Needs the token, to ask WeChat for the phone number."""
    phone = await wechat.call("POST", "/phone-code", {"openid": spouse.openid, "phone": spouse.phone})
    claimed = {"name": spouse.name, "document_number": spouse.number, "phone_code": phone["code"]}
    await caller.call("POST", "/me/identity", claimed)


async def test_many_processes_fetch_one_token(committed: str, tmp_path: Path) -> None:
    # Given residents on two servers, and no token yet,
    people = [spouse for _ in range(RESIDENTS) for spouse in journey.couple()]
    with servers.fleet(committed, tmp_path, servers=SERVERS) as fleet:
        phones = [httpx.AsyncClient(base_url=url, timeout=30, trust_env=False) for url in fleet.urls]
        wechat = Caller(phones[0], "/sandbox/wechat/control")
        callers = [
            await sign_in(phones[place % SERVERS], wechat, spouse) for place, spouse in enumerate(people)
        ]
        first, second = people[:RESIDENTS], people[RESIDENTS:]
        assert (await wechat.call("GET", "/calls"))["/cgi-bin/stable_token"] == 0

        # when half of them bind their phone at once,
        await asyncio.gather(*map(bind, callers[:RESIDENTS], [wechat] * RESIDENTS, first))

        # then WeChat was asked for a token once;
        assert (await wechat.call("GET", "/calls"))["/cgi-bin/stable_token"] == 1

        # and when WeChat ends it before its time and the others all learn that at once,
        await wechat.call("POST", "/expire-token")
        await asyncio.gather(*map(bind, callers[RESIDENTS:], [wechat] * RESIDENTS, second))

        # then it was asked once more.
        calls = await wechat.call("GET", "/calls")
        assert calls["/cgi-bin/stable_token"] == 2
        assert calls["/wxa/business/getuserphonenumber"] >= 2 * RESIDENTS
        await asyncio.gather(*(phone.aclose() for phone in phones))
