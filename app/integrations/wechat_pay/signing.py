"""Our signature, WeChat's signature, and what is sealed with the APIv3 key."""

import base64
import re
import secrets
from collections.abc import Mapping
from datetime import timedelta
from functools import cache
from pathlib import Path

from cryptography import x509
from cryptography.exceptions import InvalidSignature, InvalidTag
from cryptography.hazmat.primitives.asymmetric.padding import PKCS1v15
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey, RSAPublicKey
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import load_pem_private_key, load_pem_public_key

from app import clock
from app.integrations.wechat_pay.values import NoticeReason, NoticeRefused
from app.settings import settings

SCHEME = "WECHATPAY2-SHA256-RSA2048"
WINDOW = timedelta(minutes=5)
# WeChat signs some notices wrongly on purpose, to see whether we look.
PROBE = "WECHATPAY/SIGNTEST/"
_TIMESTAMP = re.compile("[0-9]{1,11}", re.ASCII)


def prepare() -> None:
    """A key that cannot be read stops the start, not the first gift."""
    if settings().wechat_pay_ready:
        public_keys()
        sign("")


def nonce() -> str:
    return secrets.token_hex(16)


def timestamp() -> str:
    return str(int(clock.now().timestamp()))


def sign(*lines: str | bytes) -> str:
    """Base64 of the merchant's signature over the lines, each with its line feed."""
    key = _private_key(settings().wechat_pay_private_key.get_secret_value())
    return base64.b64encode(key.sign(_message(*lines), PKCS1v15(), SHA256())).decode()


def authorization(method: str, target: bytes, body: bytes) -> str:
    """The header of a request: `target` is path and query exactly as they are sent."""
    config, now, random = settings(), timestamp(), nonce()
    parts = {
        "mchid": config.wechat_pay_mchid,
        "nonce_str": random,
        "signature": sign(method, target, now, random, body),
        "timestamp": now,
        "serial_no": config.wechat_pay_serial,
    }
    return f"{SCHEME} " + ",".join(f'{name}="{value}"' for name, value in parts.items())


def public_keys() -> dict[str, RSAPublicKey]:
    """WeChat's keys by id, as configured."""
    config = settings()
    if not config.wechat_pay_ready:
        return {}
    return {id: _public_key(given) for id, given in config.wechat_pay_public_keys.items()}


def certificate_key(pem: bytes) -> tuple[str, RSAPublicKey]:
    """Serial number and key of a platform certificate."""
    certificate = x509.load_pem_x509_certificate(pem)
    key = certificate.public_key()
    if not isinstance(key, RSAPublicKey):
        raise ValueError("not an RSA certificate")
    return f"{certificate.serial_number:X}", key


def named_key(headers: Mapping[str, str]) -> str:
    """Which of WeChat's keys is said to have signed, once the rest of the headers may be true."""
    if headers.get("wechatpay-signature", "").startswith(PROBE):
        raise NoticeRefused(NoticeReason.PROBE)
    stamp = headers.get("wechatpay-timestamp", "")
    well_formed = _TIMESTAMP.fullmatch(stamp) and headers.get("wechatpay-signature-type", SCHEME) == SCHEME
    if not (well_formed and headers.get("wechatpay-nonce") and headers.get("wechatpay-serial")):
        raise NoticeRefused(NoticeReason.MALFORMED)
    if abs(clock.now().timestamp() - int(stamp)) > WINDOW.total_seconds():
        raise NoticeRefused(NoticeReason.STALE)
    serial = headers["wechatpay-serial"]
    return serial if serial.startswith("PUB_KEY_ID_") else serial.upper().lstrip("0")


def verify(key: RSAPublicKey, headers: Mapping[str, str], body: bytes) -> None:
    message = _message(headers["wechatpay-timestamp"], headers["wechatpay-nonce"], body)
    try:
        signature = base64.b64decode(headers.get("wechatpay-signature", ""), validate=True)
        key.verify(signature, message, PKCS1v15(), SHA256())
    except (ValueError, InvalidSignature) as error:
        raise NoticeRefused(NoticeReason.BAD_SIGNATURE) from error


def unseal(ciphertext: str, number: str, associated_data: str) -> bytes:
    """What WeChat sealed with the APIv3 key (AES-256-GCM, the tag at the end)."""
    key = settings().wechat_pay_apiv3_key.get_secret_value().encode()
    try:
        sealed = base64.b64decode(ciphertext, validate=True)
        return AESGCM(key).decrypt(number.encode(), sealed, associated_data.encode())
    except (ValueError, InvalidTag) as error:
        raise NoticeRefused(NoticeReason.BAD_CIPHERTEXT) from error


def _message(*lines: str | bytes) -> bytes:
    return b"".join((line if isinstance(line, bytes) else line.encode()) + b"\n" for line in lines)


@cache
def _private_key(given: str) -> RSAPrivateKey:
    key = load_pem_private_key(_pem(given), password=None)
    if not isinstance(key, RSAPrivateKey):
        raise ValueError("not an RSA key")
    return key


@cache
def _public_key(given: str) -> RSAPublicKey:
    key = load_pem_public_key(_pem(given))
    if not isinstance(key, RSAPublicKey):
        raise ValueError("not an RSA key")
    return key


def _pem(given: str) -> bytes:
    """A key in an environment file may have its line feeds written out."""
    text = given.replace("\\n", "\n")
    return text.encode() if text.lstrip().startswith("-----BEGIN") else Path(given).read_bytes()
