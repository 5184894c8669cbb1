"""WeChat's message push: who signs is heard, and each tap counts once."""

import base64
import hashlib
import json

import pytest
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes
from sqlalchemy import select

from app import clock
from app.integrations import wechat_push
from app.models.identity import ResidentAccount
from app.models.messages import MessageCredit
from app.settings import settings
from tests.clients import client
from tests.factories.appointments import couple

PATH, TOKEN = "/public/v1/wechat/events", "a-token-agreed-with-wechat"
POPUP, CHANGE = "subscribe_msg_popup_event", "subscribe_msg_change_event"
REMINDER = "reminder-template"


@pytest.fixture(autouse=True)
def _token(monkeypatch):
    monkeypatch.setenv("NUANXIN_WECHAT_PUSH_TOKEN", TOKEN)
    settings.cache_clear()
    yield
    monkeypatch.undo()
    settings.cache_clear()


def signed(token=TOKEN, at=None):
    timestamp = str(int((at or clock.now()).timestamp()))
    parts = "".join(sorted((token, timestamp, "nonce1")))
    return {
        "timestamp": timestamp, "nonce": "nonce1",
        "signature": hashlib.sha1(parts.encode(), usedforsecurity=False).hexdigest(),
    }  # fmt: skip


def tap(openid, said="accept", template=REMINDER, event=POPUP, at=1_790_000_000):
    answer = {"TemplateId": template, "SubscribeStatusString": said, "PopupScene": "0"}
    return {
        "ToUserName": "gh_1", "FromUserName": openid, "CreateTime": at, "MsgType": "event", "Event": event,
        "List": answer if event == POPUP else [answer],
    }  # fmt: skip


async def push(body, **changes):
    async with client() as http:
        raw = body if isinstance(body, bytes) else json.dumps(body).encode()
        return await http.post(PATH, params=signed(**changes), content=raw)


@pytest.fixture
async def openid(session):
    home = await couple(session)
    await session.commit()
    return await session.scalar(
        select(ResidentAccount.openid).where(ResidentAccount.id == home.wife_actor.id)
    )


async def remaining(session):
    return await session.scalar(select(MessageCredit.remaining).execution_options(populate_existing=True))


async def test_the_address_is_checked_by_an_echo(connection):
    async with client() as http:
        answer = await http.get(PATH, params=signed() | {"echostr": "123-abc"})
    assert (answer.status_code, answer.text) == (200, "123-abc")
    assert answer.headers["content-type"].startswith("text/plain")


async def test_each_tap_is_one_credit_however_often_it_is_pushed(session, openid):
    for at in (1, 1, 2):
        answer = await push(tap(openid, at=at))
        assert (answer.status_code, answer.text) == (200, "success")
    assert await remaining(session) == 2


async def test_who_forbids_a_template_has_no_credit_left(session, openid):
    await push(tap(openid))
    await push(tap(openid, said="reject", at=2))
    assert await remaining(session) == 1
    await push(tap(openid, said="reject", event=CHANGE, at=3))
    assert await remaining(session) == 0


@pytest.mark.parametrize(
    "body",
    [
        tap("o-stranger"), {"MsgType": "text", "FromUserName": "o", "Content": "hello"}, b"", b"<xml/>", b"[]",
        b"\xff", {"FromUserName": 7, "Event": POPUP}, tap("o" * 200), {"FromUserName": "o", "Event": POPUP, "List": 3},
    ],
)  # fmt: skip
async def test_what_is_not_for_us_is_answered_and_forgotten(session, openid, body):
    answer = await push(body)
    assert (answer.status_code, answer.text) == (200, "success")
    await push(tap(openid, template="another-template"))
    assert await remaining(session) is None


async def test_a_push_without_the_token_or_from_long_ago_is_refused(session, openid):
    long_ago = clock.now().replace(year=2025)
    for answer in (await push(tap(openid), token="guessed"), await push(tap(openid), at=long_ago)):
        assert answer.status_code == 403
        assert answer.json()["type"].endswith("push-refused")
    assert await remaining(session) is None


async def test_where_no_token_is_set_nobody_listens(session, openid, monkeypatch):
    monkeypatch.delenv("NUANXIN_WECHAT_PUSH_TOKEN")
    settings.cache_clear()
    assert (await push(tap(openid))).status_code == 404


@pytest.mark.parametrize("openid", ["o\0x", "\ud800", "微信", "o" * 101])
async def test_what_cannot_be_an_openid_is_answered_and_forgotten(connection, openid):
    answer = await push(tap(openid))
    assert (answer.status_code, answer.text) == (200, "success")


KEY = "kWxPEV2UEDyxWpmPdKC3F4dgPDmOvfKX1HGnEUDS1aR"


def test_what_wechat_itself_has_sealed_is_opened():
    """The sample of its documentation, of a company's account: the way is the same."""
    sealed = "4ByGGj+sVCYcvGeQYhaKIk1o0pQRNbRjxybjTGblXrBaXlTXeOo1+bXFXDQQb1o6co6Yh9Bv41n7hOchLF6p+Q=="
    signature = wechat_push.signature("123456", "1411443780", "437374425", sealed)
    assert signature == "dd6b9c95b495b3f7e2901bfbc76c664930ffdb96"
    assert wechat_push.opened(sealed, key=KEY, appid="wx49f0ab532d5d035a").isdigit()
    for key, appid in ((KEY, "wx49f0ab532d5d035b"), (KEY[::-1], "wx49f0ab532d5d035a")):
        with pytest.raises(wechat_push.Unreadable):
            wechat_push.opened(sealed, key=key, appid=appid)


def sealed(body, appid=None, start=b"0123456789abcdef"):
    """As WeChat seals: other random bytes each time."""
    secret = base64.b64decode(KEY + "=")
    said = json.dumps(body).encode()
    plain = start + len(said).to_bytes(4, "big") + said + (appid or settings().wechat_appid).encode()
    missing = 32 - len(plain) % 32
    encryptor = Cipher(algorithms.AES(secret), modes.CBC(secret[:16])).encryptor()
    data = encryptor.update(plain + bytes([missing]) * missing) + encryptor.finalize()
    return {"ToUserName": "gh_1", "Encrypt": base64.b64encode(data).decode()}


async def push_sealed(body, **changes):
    """With the signature over what is sealed; `changes` of the parameters."""
    params = signed() | {"encrypt_type": "aes"}
    parts = "".join(sorted((TOKEN, params["timestamp"], params["nonce"], body.get("Encrypt", ""))))
    params["msg_signature"] = hashlib.sha1(parts.encode(), usedforsecurity=False).hexdigest()
    params |= changes
    async with client() as http:
        given = {name: value for name, value in params.items() if value is not None}
        return await http.post(PATH, params=given, json=body)


@pytest.fixture
def _key(monkeypatch):
    monkeypatch.setenv("NUANXIN_WECHAT_PUSH_KEY", KEY)
    settings.cache_clear()


@pytest.mark.usefixtures("_key")
async def test_a_sealed_tap_counts_once_however_it_is_sealed(session, openid):
    for start in (b"0" * 16, b"1" * 16):
        answer = await push_sealed(sealed(tap(openid), start=start))
        assert (answer.status_code, answer.text) == (200, "success")
    # 兼容模式: it stands there plain too, and only the seal is believed.
    both = sealed(tap(openid, at=2)) | tap(openid, at=3)
    assert (await push_sealed(both)).status_code == 200
    assert await remaining(session) == 2


@pytest.mark.usefixtures("_key")
async def test_where_a_key_is_set_nothing_plain_or_foreign_is_taken(session, openid):
    good = sealed(tap(openid))
    other = {"Encrypt": base64.b64encode(b"x" * 64).decode()}
    answers = [
        await push(tap(openid)), await push_sealed(good, msg_signature="0" * 40),
        await push_sealed(good, msg_signature=None), await push_sealed(sealed(tap(openid), appid="wx1")),
        await push_sealed(other), await push_sealed({"Encrypt": "微信"}), await push_sealed({"Encrypt": ""}),
    ]  # fmt: skip
    assert {answer.status_code for answer in answers} == {403}
    assert await remaining(session) is None


@pytest.mark.parametrize("key", ["short", KEY + "=", "微" * 43])
def test_a_key_that_is_none_is_refused_at_the_start(monkeypatch, key):
    monkeypatch.setenv("NUANXIN_WECHAT_PUSH_KEY", key)
    settings.cache_clear()
    with pytest.raises(ValueError, match="NUANXIN_WECHAT_PUSH_KEY"):
        settings()
