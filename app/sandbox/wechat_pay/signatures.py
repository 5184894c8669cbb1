"""Both ends of the signatures, the seal of notices, and the platform certificate.

Written apart from the client on purpose: two readings of one reference check each other.
"""

import base64
import re
import secrets
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from functools import cache, cached_property
from pathlib import Path
from typing import Any, Self

from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import padding, rsa
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.x509.oid import NameOID
from fastapi import Request

from app import clock

KEYS = Path(__file__).parent / "keys"
SCHEME = "WECHATPAY2-SHA256-RSA2048"
AUTHORIZATION = re.compile(
    rf'{SCHEME} mchid="(?P<mchid>\d+)",nonce_str="(?P<nonce>\w+)",signature="(?P<signature>[\w+/=]+)",'
    r'timestamp="(?P<timestamp>\d+)",serial_no="(?P<serial>\w+)"'
)
MOST_APART = 300


class Refusal(Exception):
    def __init__(self, status: int, code: str, message: str = "") -> None:
        super().__init__(code)
        self.status, self.code, self.message = status, code, message or code


@dataclass
class Merchant:
    """The one merchant that this WeChat Pay knows. The keys are known to everyone, so they protect nothing."""

    appid: str
    mchid: str
    serial: str
    apiv3_key: str = field(repr=False)
    public_key_id: str
    public_key: bytes = field(default_factory=(KEYS / "merchant_public.pem").read_bytes, repr=False)

    @classmethod
    def of(cls, config: Any) -> Self:
        """As the settings of a development server name it."""
        return cls(
            config.wechat_appid,
            config.wechat_pay_mchid,
            config.wechat_pay_serial,
            config.wechat_pay_apiv3_key.get_secret_value(),
            next(iter(config.wechat_pay_public_keys), "PUB_KEY_ID_0"),
        )


class Signatures:
    def __init__(self, merchant: Merchant) -> None:
        self.merchant = merchant
        theirs = serialization.load_pem_public_key(merchant.public_key)
        assert isinstance(theirs, rsa.RSAPublicKey)
        self.theirs, self.ours = theirs, _our_key()
        self.certificates: list[x509.Certificate] = []

    def check(self, request: Request, body: bytes) -> None:
        """The merchant signed exactly this path, query and body, within five minutes."""
        found = AUTHORIZATION.fullmatch(request.headers.get("authorization", ""))
        if not found or found["mchid"] != self.merchant.mchid or found["serial"] != self.merchant.serial:
            raise Refusal(401, "SIGN_ERROR", "Authorization")
        if abs(clock.now().timestamp() - int(found["timestamp"])) > MOST_APART:
            raise Refusal(401, "SIGN_ERROR", "timestamp")
        target = request.scope["raw_path"].partition(b"?")[0]
        if request.scope["query_string"]:
            target += b"?" + request.scope["query_string"]
        head = [request.method.encode(), target, found["timestamp"].encode(), found["nonce"].encode()]
        try:
            signature = base64.b64decode(found["signature"], validate=True)
            message = b"\n".join([*head, body, b""])
            self.theirs.verify(signature, message, padding.PKCS1v15(), hashes.SHA256())
        except (ValueError, InvalidSignature) as error:
            raise Refusal(401, "SIGN_ERROR", "signature") from error

    def headers(self, body: bytes, serial: str, at: datetime | None = None) -> dict[str, str]:
        """What WeChat Pay says beside a body that it signs."""
        key = self.ours if serial == self.merchant.public_key_id else self.certified
        stamp, nonce = str(int((at or clock.now()).timestamp())), secrets.token_hex(16)
        message = b"\n".join([stamp.encode(), nonce.encode(), body, b""])
        return {
            "Wechatpay-Timestamp": stamp,
            "Wechatpay-Nonce": nonce,
            "Wechatpay-Serial": serial,
            "Wechatpay-Signature-Type": SCHEME,
            "Wechatpay-Signature": base64.b64encode(
                key.sign(message, padding.PKCS1v15(), hashes.SHA256())
            ).decode(),
        }

    def seal(self, plain: bytes, associated_data: str) -> dict[str, str]:
        nonce = secrets.token_hex(6)
        key = AESGCM(self.merchant.apiv3_key.encode())
        sealed = key.encrypt(nonce.encode(), plain, associated_data.encode())
        return {
            "algorithm": "AEAD_AES_256_GCM",
            "nonce": nonce,
            "associated_data": associated_data,
            "ciphertext": base64.b64encode(sealed).decode(),
        }

    def serial_for(self, request: Request) -> str:
        """Who names the public key gets answers signed with it, others with the newest certificate."""
        if request.headers.get("wechatpay-serial") == self.merchant.public_key_id:
            return self.merchant.public_key_id
        if not self.certificates:
            self.renew()
        return f"{self.certificates[-1].serial_number:X}"

    @cached_property
    def certified(self) -> rsa.RSAPrivateKey:
        return rsa.generate_private_key(65537, 2048)

    def renew(self) -> None:
        """Another platform certificate; the older ones stay good."""
        name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "Tenpay.com sandbox")])
        now = clock.now()
        builder = x509.CertificateBuilder(
            name, name, self.certified.public_key(), x509.random_serial_number()
        )
        builder = builder.not_valid_before(now - timedelta(days=1)).not_valid_after(
            now + timedelta(days=1826)
        )
        self.certificates.append(builder.sign(self.certified, hashes.SHA256()))

    def listed_certificates(self) -> list[dict[str, Any]]:
        return [
            {
                "serial_no": f"{certificate.serial_number:X}",
                "effective_time": certificate.not_valid_before_utc.isoformat(),
                "expire_time": certificate.not_valid_after_utc.isoformat(),
                "encrypt_certificate": self.seal(
                    certificate.public_bytes(serialization.Encoding.PEM), "certificate"
                ),
            }
            for certificate in self.certificates
        ]


@cache
def _our_key() -> rsa.RSAPrivateKey:
    """Checking the key takes longer than everything else at the start, so it is done once."""
    key = serialization.load_pem_private_key((KEYS / "wechat_pay_private.pem").read_bytes(), None)
    assert isinstance(key, rsa.RSAPrivateKey)
    return key
