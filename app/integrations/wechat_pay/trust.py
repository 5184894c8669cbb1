"""Which signatures are WeChat's: keys by id, and the platform certificates of merchants that have them."""

import asyncio
import json
import logging
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from functools import cache

from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey
from pydantic import AwareDatetime, BaseModel

from app import clock
from app.integrations.wechat_pay import sending, signing
from app.integrations.wechat_pay.values import NoticeReason, NoticeRefused, WechatPayUnavailable
from app.settings import settings

log = logging.getLogger("nuanxin.wechat_pay")

# WeChat asks for 12 hours at most; a serial we do not know is looked up, but strangers cannot make us ask often.
RENEWED_AFTER, ASKED_APART = timedelta(hours=12), timedelta(minutes=1)


class _Sealed(BaseModel):
    ciphertext: str
    nonce: str
    associated_data: str = ""


class _Certificate(BaseModel):
    serial_no: str
    effective_time: AwareDatetime
    expire_time: AwareDatetime
    encrypt_certificate: _Sealed


class _Certificates(BaseModel):
    data: list[_Certificate]


@dataclass
class _Store:
    """Platform certificates of one merchant, as fetched last."""

    keys: dict[str, tuple[RSAPublicKey, datetime, datetime]] = field(default_factory=dict)
    asked_at: datetime | None = None
    renewed_at: datetime | None = None
    lock: asyncio.Lock = field(default_factory=asyncio.Lock)

    def key(self, serial: str) -> RSAPublicKey | None:
        key, since, until = self.keys.get(serial, (None, clock.now(), clock.now()))
        return key if since <= clock.now() < until else None

    def behind(self, serial: str) -> bool:
        """Something may be new."""
        renewed_at = self.renewed_at
        return renewed_at is None or clock.now() - renewed_at > RENEWED_AFTER or self.key(serial) is None

    def just_asked(self) -> bool:
        return self.asked_at is not None and clock.now() - self.asked_at < ASKED_APART


@cache
def _store(_base_url: str, _mchid: str) -> _Store:
    return _Store()


async def verify(headers: Mapping[str, str], body: bytes) -> str:
    """The id of WeChat's key that signed the body within the last five minutes; else NoticeRefused."""
    serial = signing.named_key(headers)
    key = signing.public_keys().get(serial) or await _certificate(serial)
    if key is None:
        raise NoticeRefused(NoticeReason.UNKNOWN_KEY)
    signing.verify(key, headers, body)
    return serial


async def _certificate(serial: str) -> RSAPublicKey | None:
    config = settings()
    if not (config.wechat_pay_certificates and config.wechat_pay_ready):
        return None
    store = _store(config.wechat_pay_base_url, config.wechat_pay_mchid)
    if store.behind(serial):
        # Who comes while somebody asks waits for what is answered.
        async with store.lock:
            if store.behind(serial) and not store.just_asked():
                await _renew(store)
    return store.key(serial)


async def _renew(store: _Store) -> None:
    """Keep what we have when WeChat does not answer: the certificates say themselves when they end."""
    store.asked_at = clock.now()
    try:
        answer = await sending.send("GET", f"{settings().wechat_pay_base_url}/v3/certificates")
        if answer.status == 200:
            store.keys = _read(answer)
            store.renewed_at = clock.now()
            return
    except (WechatPayUnavailable, NoticeRefused, ValueError):
        pass
    log.error("the platform certificates could not be fetched")


def _read(answer: sending.Answer) -> dict[str, tuple[RSAPublicKey, datetime, datetime]]:
    """The APIv3 key seals them, and one of them has signed the answer that brings them."""
    keys = {}
    for entry in _Certificates.model_validate(json.loads(answer.content)).data:
        sealed = entry.encrypt_certificate
        pem = signing.unseal(sealed.ciphertext, sealed.nonce, sealed.associated_data)
        serial, key = signing.certificate_key(pem)
        keys[serial] = key, entry.effective_time, entry.expire_time
    signer = signing.named_key(answer.headers)
    signed_by = keys[signer][0] if signer in keys else signing.public_keys().get(signer)
    if signed_by is None:
        raise NoticeRefused(NoticeReason.UNKNOWN_KEY)
    signing.verify(signed_by, answer.headers, answer.content)
    return keys
