"""Access and refresh tokens, passwords, one-time codes. The sign-ins are kept by services."""

import asyncio
import base64
import secrets
import uuid
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from functools import cache
from typing import TypeVar

import pyotp
from joserfc import jwt
from joserfc.errors import JoseError
from joserfc.jwk import OctKey
from pwdlib import PasswordHash
from pwdlib.hashers.argon2 import Argon2Hasher
from pydantic import SecretStr

from app import clock
from app.crypto import same, sign
from app.errors import Unauthenticated, Unavailable
from app.settings import settings

ACCESS_LIFETIME = timedelta(minutes=15)
REFRESH_LIFETIME = timedelta(days=30)
TOTP_PERIOD = 30
# No I, L, O, U: read aloud over a counter without mistakes (Crockford's base 32).
CODE_ALPHABET = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"

# argon2 takes a core for a tenth of a second, on purpose: it may have two, and no queue of minutes.
ARGON2_AT_ONCE = 2
ARGON2_WAITING = 20

_passwords = PasswordHash((Argon2Hasher(),))
_threads = ThreadPoolExecutor(ARGON2_AT_ONCE, thread_name_prefix="argon2")
_turns = 0


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


def issue_refresh(sign_in_id: uuid.UUID, generation: int) -> str:
    """It names its family and how many came before it: id.generation.mac. Nothing of it needs to be kept, and
    only one that was issued here can be told from the newest."""
    key = settings().token_key.get_secret_value().encode()
    mac = sign("hmac-sha256", key, f"refresh|{sign_in_id.hex}|{generation}".encode())
    return f"{sign_in_id.hex}.{generation}.{base64.urlsafe_b64encode(mac).decode().rstrip('=')}"


def read_refresh(token: str) -> tuple[uuid.UUID, int]:
    """Family and generation of a token that was issued here."""
    try:
        family, generation, _ = token.split(".")
        sign_in_id, count = uuid.UUID(family), int(generation)
    except ValueError as error:
        raise Unauthenticated from error
    if not same(issue_refresh(sign_in_id, count).encode(), token.encode("utf-8", "replace")):
        raise Unauthenticated
    return sign_in_id, count


@contextmanager
def argon2_turn() -> Iterator[None]:
    """One of the few who may wait for argon2, or 503 at once."""
    global _turns  # noqa: PLW0603  one process, one queue
    if _turns >= ARGON2_AT_ONCE + ARGON2_WAITING:
        raise Unavailable
    _turns += 1
    try:
        yield
    finally:
        _turns -= 1


Result = TypeVar("Result")


async def argon2(work: Callable[..., Result], *args: object) -> Result:
    """In a thread of its own kind, within an `argon2_turn`: no other work of this process waits for it."""
    return await asyncio.get_running_loop().run_in_executor(_threads, work, *args)


def hash_password(password: str) -> str:
    """argon2id."""
    return _passwords.hash(password)


def verify_password(password: str, hashed: str | None) -> bool:
    """Takes as long when there is no such account."""
    return _passwords.verify(password, hashed or _nobodys_hash()) and hashed is not None


@cache
def _nobodys_hash() -> str:
    return hash_password(random_code(16))


def random_code(length: int) -> str:
    # One read of the system's randomness; 256 is a multiple of 32, so each character is as likely as another.
    return "".join(CODE_ALPHABET[byte % 32] for byte in secrets.token_bytes(length))


def typed_code(typed: str) -> str:
    """A code as somebody read it off a screen: small letters, blanks, dashes and look-alikes are forgiven."""
    return typed.upper().translate(str.maketrans("OIL", "011", " -"))


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
