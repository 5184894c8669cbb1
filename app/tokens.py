"""Access and refresh tokens, passwords, one-time codes. Pure functions; the sign-ins are kept by services."""

import secrets
import uuid
from dataclasses import dataclass
from datetime import timedelta
from functools import cache

import pyotp
from joserfc import jwt
from joserfc.errors import JoseError
from joserfc.jwk import OctKey
from pwdlib import PasswordHash
from pwdlib.hashers.argon2 import Argon2Hasher
from pydantic import SecretStr

from app import clock
from app.crypto import digest
from app.errors import Unauthenticated
from app.settings import settings

ACCESS_LIFETIME = timedelta(minutes=15)
REFRESH_LIFETIME = timedelta(days=30)
TOTP_PERIOD = 30
# No I, L, O, U: read aloud over a counter without mistakes (Crockford's base 32).
CODE_ALPHABET = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"

_passwords = PasswordHash((Argon2Hasher(),))


@dataclass(frozen=True, slots=True)
class Claims:
    account_id: uuid.UUID
    sign_in_id: uuid.UUID


@cache
def _key(secret: SecretStr) -> OctKey:
    return OctKey.import_key(secret.get_secret_value())


def issue_access(door: str, account_id: uuid.UUID, sign_in_id: uuid.UUID) -> str:
    """A token for one door, good for 15 minutes."""
    expires = int((clock.now() + ACCESS_LIFETIME).timestamp())
    claims = {"aud": door, "sub": account_id.hex, "sid": sign_in_id.hex, "exp": expires}
    return jwt.encode({"alg": "HS256"}, claims, _key(settings().token_key))


def read_access(door: str, token: str) -> Claims:
    """Forged, expired and another door's tokens are one and the same refusal."""
    try:
        claims = jwt.decode(token, _key(settings().token_key), algorithms=["HS256"]).claims
        if claims["aud"] != door or int(claims["exp"]) <= clock.now().timestamp():
            raise Unauthenticated
        return Claims(uuid.UUID(claims["sub"]), uuid.UUID(claims["sid"]))
    except (JoseError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise Unauthenticated from error


def new_refresh(sign_in_id: uuid.UUID) -> tuple[str, bytes]:
    """The token for the client and the hash to keep. It names its family: id.secret."""
    token = f"{sign_in_id.hex}.{secrets.token_urlsafe(32)}"
    return token, digest(token.encode())


def refresh_family(token: str) -> uuid.UUID:
    try:
        return uuid.UUID(token.partition(".")[0])
    except ValueError as error:
        raise Unauthenticated from error


def hash_password(password: str) -> str:
    """argon2id."""
    return _passwords.hash(password)


def verify_password(password: str, hashed: str) -> bool:
    return _passwords.verify(password, hashed)


def random_code(length: int) -> str:
    # One read of the system's randomness; 256 is a multiple of 32, so each character is as likely as another.
    return "".join(CODE_ALPHABET[byte % 32] for byte in secrets.token_bytes(length))


def new_totp_secret() -> str:
    return pyotp.random_base32()


def totp_uri(secret: str, username: str) -> str:
    return pyotp.TOTP(secret).provisioning_uri(name=username, issuer_name="暖心 Nuanxin")


def totp_step(secret: str, code: str) -> int | None:
    """The time step (RFC 6238, 30 s) that the code belongs to, one step of drift allowed; None if wrong.
    The caller stores the step and refuses it a second time."""
    totp, step = pyotp.TOTP(secret), int(clock.now().timestamp()) // TOTP_PERIOD
    for candidate in (step, step - 1, step + 1):
        if secrets.compare_digest(totp.generate_otp(candidate).encode(), code.encode("utf-8", "replace")):
            return candidate
    return None
