"""The inbox and WeChat's message push, played: every change leaves its trace."""

import hashlib
import json

import httpx
import pytest

from app import clock
from app.settings import settings
from tests.guards.playing import Played

TOKEN = "a-token-agreed-with-wechat"


async def the_messages(story: Played) -> None:
    """One notice read, then all; a tap that WeChat tells of."""
    unread = (await story.wife_caller.call("GET", "/messages?unread=true"))["items"]
    await story.wife_caller.call("POST", f"/messages/{unread[0]['id']}/read")
    await story.wife_caller.call("POST", "/messages/read")
    with pytest.MonkeyPatch.context() as environment:
        environment.setenv("NUANXIN_WECHAT_PUSH_TOKEN", TOKEN)
        settings.cache_clear()
        answer = await the_tap(story)
    settings.cache_clear()
    assert (answer.status_code, answer.text) == (200, "success")


async def the_tap(story: Played) -> httpx.Response:
    timestamp = str(int(clock.now().timestamp()))
    signature = hashlib.sha1(
        "".join(sorted((TOKEN, timestamp, "n"))).encode(), usedforsecurity=False
    ).hexdigest()
    told = {"TemplateId": "reminder-template", "SubscribeStatusString": "accept", "PopupScene": "0"}
    event = {
        "FromUserName": story.wife.openid,
        "CreateTime": 1,
        "Event": "subscribe_msg_popup_event",
        "List": told,
    }
    return await story.http.post(
        "/public/v1/wechat/events", params={"signature": signature, "timestamp": timestamp, "nonce": "n"},
        content=json.dumps(event),
    )  # fmt: skip
