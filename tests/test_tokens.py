import asyncio
import base64
import json
import threading
from datetime import timedelta

import pyotp
import pytest
import time_machine
from joserfc import jwt
from joserfc.jwk import OctKey
from pwdlib import PasswordHash

from app import clock, tokens
from app.db import new_id
from app.errors import Unauthenticated, Unavailable
from app.settings import settings

DOOR = "/staff/v1"
ACCOUNT, SIGN_IN = new_id(), new_id()


def refused(token: str, door: str = DOOR) -> bool:
    with pytest.raises(Unauthenticated):
        tokens.read_access(door, token)
    return True


def segment(value: object) -> str:
    return base64.urlsafe_b64encode(json.dumps(value).encode()).decode().rstrip("=")


# Access tokens


def test_an_access_token_names_account_and_sign_in_at_its_own_door() -> None:
    token = tokens.issue_access(DOOR, ACCOUNT, SIGN_IN)
    assert tokens.read_access(DOOR, token) == tokens.Claims(ACCOUNT, SIGN_IN)
    assert refused(token, "/citizen/v1")
    assert refused(token, "")


def test_an_access_token_is_good_for_fifteen_minutes() -> None:
    with time_machine.travel(clock.now(), tick=False) as time:
        token = tokens.issue_access(DOOR, ACCOUNT, SIGN_IN)
        time.shift(timedelta(minutes=14, seconds=58))
        assert tokens.read_access(DOOR, token)
        time.shift(timedelta(seconds=2))
        assert refused(token)


def test_a_forged_token_is_refused() -> None:
    head, payload, signature = tokens.issue_access(DOOR, ACCOUNT, SIGN_IN).split(".")
    claims = {"aud": DOOR, "sub": ACCOUNT.hex, "sid": SIGN_IN.hex, "exp": 4102444800}
    other = OctKey.import_key("another-key-of-thirty-two-characters!")
    for forged in (
        f"{segment({'alg': 'none'})}.{payload}.",
        f"{segment({'alg': 'none'})}.{segment(claims)}.",
        f"{segment({'alg': 'HS512'})}.{payload}.{signature}",
        f"{head}.{segment(claims)}.{signature}",
        f"{head}.{payload}.{signature[::-1]}",
        f"{head}.{payload}.",
        jwt.encode({"alg": "HS256"}, claims, other),
        "", ".", "..", "x", "\u6696.\u5fc3.\ud800",
    ):  # fmt: skip
        assert refused(forged)


@pytest.mark.parametrize("missing", ["aud", "sub", "sid", "exp"])
def test_a_token_without_one_of_its_claims_is_refused(missing: str) -> None:
    claims = {"aud": DOOR, "sub": ACCOUNT.hex, "sid": SIGN_IN.hex, "exp": 4102444800}
    key = OctKey.import_key(settings().token_key.get_secret_value())
    assert tokens.read_access(DOOR, jwt.encode({"alg": "HS256"}, claims, key))
    del claims[missing]
    assert refused(jwt.encode({"alg": "HS256"}, claims, key))


# Refresh tokens


def test_a_refresh_token_names_its_family_and_its_generation() -> None:
    for generation in (0, 1, 4711):
        token = tokens.issue_refresh(SIGN_IN, generation)
        assert len(token) <= 200, "what the doors take"
        assert tokens.read_refresh(token) == (SIGN_IN, generation)
    family, _, mac = tokens.issue_refresh(SIGN_IN, 0).split(".")
    for forged in (
        f"{family}.1.{mac}",
        f"{new_id().hex}.0.{mac}",
        f"{family}.00.{mac}",
        f"{family}.0.",
        family,
        "\ud800",
    ):
        with pytest.raises(Unauthenticated):
            tokens.read_refresh(forged)


def test_another_token_key_made_none_of_our_refresh_tokens(monkeypatch: pytest.MonkeyPatch) -> None:
    token = tokens.issue_refresh(SIGN_IN, 0)
    monkeypatch.setenv("NUANXIN_TOKEN_KEY", "another-key-of-thirty-two-characters!")
    settings.cache_clear()
    try:
        with pytest.raises(Unauthenticated):
            tokens.read_refresh(token)
    finally:
        monkeypatch.undo()
        settings.cache_clear()


# One-time codes


def test_a_one_time_code_is_good_one_step_before_and_after_its_own() -> None:
    secret = tokens.new_totp_secret()
    with time_machine.travel(1_800_000_015, tick=False):
        now = 1_800_000_015 // 30
        steps = {
            drift: tokens.totp_step(secret, pyotp.TOTP(secret).generate_otp(now + drift))
            for drift in range(-3, 4)
        }
    assert steps == {-3: None, -2: None, -1: now - 1, 0: now, 1: now + 1, 2: None, 3: None}


def test_one_time_codes_are_those_of_rfc_6238() -> None:
    secret = base64.b32encode(b"12345678901234567890").decode()
    for seconds, code in ((59, "287082"), (1111111109, "081804"), (2000000000, "279037")):
        with time_machine.travel(seconds, tick=False):
            assert tokens.totp_step(secret, code) == seconds // 30


@pytest.mark.parametrize("code", ["", "12345", "１２３４５６", "\ud800", "0" * 1000])
def test_what_is_no_code_is_wrong(code: str) -> None:
    assert tokens.totp_step(tokens.new_totp_secret(), code) is None


# Codes to read aloud


def test_a_random_code_has_no_characters_that_are_taken_for_others() -> None:
    codes = [tokens.random_code(10) for _ in range(500)]
    assert len(set(codes)) == 500
    assert {len(code) for code in codes} == {10}
    assert set("".join(codes)) == set("0123456789ABCDEFGHJKMNPQRSTVWXYZ")


def test_a_code_typed_from_paper_is_the_code() -> None:
    for typed in ("01A1X", "oiA1X", "0la-ix", " 01 a1 X "):
        assert tokens.typed_code(typed) == "01A1X"


# Passwords


def test_a_password_is_kept_as_argon2id_and_verified(
    costly_passwords: PasswordHash, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tokens, "_passwords", costly_passwords)
    hashed = tokens.hash_password("correct horse battery")
    assert hashed.startswith("$argon2id$v=19$m=65536,t=3,p=4$")
    assert tokens.verify_password("correct horse battery", hashed)
    assert not tokens.verify_password("correct horse", hashed)
    assert not tokens.verify_password("correct horse battery", None)


async def test_argon2_has_two_threads_of_its_own() -> None:
    free, both, names = threading.Event(), threading.Barrier(3, timeout=20), []

    def work() -> None:
        names.append(threading.current_thread().name)
        if not free.is_set():
            both.wait()
            free.wait(20)

    waiting = [asyncio.create_task(tokens.argon2(work)) for _ in range(5)]
    try:
        await asyncio.to_thread(both.wait)  # other threads are not waited for
        assert len(names) == 2
    finally:
        free.set()  # or every later test that needs argon2 waits for ever
        await asyncio.gather(*waiting)
    assert {name.rpartition("_")[0] for name in names} == {"argon2"}


def test_a_queue_that_is_full_turns_away_and_says_when_to_come_back() -> None:
    places = [tokens.argon2_turn() for _ in range(tokens.ARGON2_AT_ONCE + tokens.ARGON2_WAITING)]
    for place in places:
        place.__enter__()
    with pytest.raises(Unavailable) as refusal, tokens.argon2_turn():
        pass
    assert int(refusal.value.headers["Retry-After"]) > 0
    for place in places:
        place.__exit__(None, None, None)
    with tokens.argon2_turn():
        pass
