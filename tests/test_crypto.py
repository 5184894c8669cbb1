import hashlib
import hmac
import uuid
from collections.abc import Iterator
from contextlib import contextmanager

import pytest
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives import hmac as keyed

from app import crypto
from app.crypto import Undecryptable, mask_document, mask_name, mask_phone, seal, unseal
from app.models.households import Household
from app.settings import Settings

FIRST, SECOND = "11" * 16, "22" * 16
PLACE = "person|phone|1"


def keys(fields: dict[int, str], version: int | None = None, index: str = "i" * 32) -> crypto.SettingsKeys:
    return crypto.SettingsKeys(Settings(field_keys=fields, field_key_version=version, index_key=index))


@contextmanager
def using(of_the_time: crypto.SettingsKeys) -> Iterator[None]:
    before = crypto.keys()
    crypto.use(of_the_time)
    try:
        yield
    finally:
        crypto.use(before)


# Sealing


def test_what_is_sealed_opens_in_its_place_and_is_never_sealed_the_same_way_twice() -> None:
    one, two = seal("13812345678", place=PLACE), seal("13812345678", place=PLACE)
    assert one != two
    assert unseal(one, place=PLACE) == unseal(two, place=PLACE) == "13812345678"
    assert b"138" not in one


def test_a_value_of_another_row_column_or_table_does_not_open() -> None:
    sealed = seal("13812345678", place=PLACE)
    for place in ("person|phone|2", "person|address|1", "household|phone|1", ""):
        with pytest.raises(Undecryptable):
            unseal(sealed, place=place)


def test_a_value_with_any_byte_changed_does_not_open() -> None:
    sealed = seal("暖心", place=PLACE)
    for at in range(len(sealed)):
        with pytest.raises(Undecryptable):
            unseal(sealed[:at] + bytes([sealed[at] ^ 1]) + sealed[at + 1 :], place=PLACE)
    for length in range(len(sealed)):
        with pytest.raises(Undecryptable):
            unseal(sealed[:length], place=PLACE)


def test_a_list_is_sealed_whole_and_an_empty_one_leaves_nothing() -> None:
    row = Household(id=uuid.uuid4())
    assert row.marks == []
    row.marks = [{"pointer": "/members/1/name", "note": "身份证上是李建图"}]
    assert "李建图".encode() not in row.marks_sealed
    assert b"members" not in row.marks_sealed
    assert row.marks == [{"pointer": "/members/1/name", "note": "身份证上是李建图"}]
    row.marks = []
    assert (row.marks, row.marks_sealed) == ([], None)


def test_a_refusal_names_the_place_and_not_the_value() -> None:
    with pytest.raises(Undecryptable, match="person"):
        unseal(b"\x09" + bytes(40), place=PLACE)


# Rolling keys


def test_a_new_key_is_rolled_out_before_it_encrypts_and_old_values_stay_readable() -> None:
    with using(keys({1: FIRST})):
        old = seal("old", place=PLACE)
    with using(keys({1: FIRST, 2: SECOND}, version=1)):
        between = seal("between", place=PLACE)
        assert between[0] == 1
    with using(keys({1: FIRST, 2: SECOND})):
        new = seal("new", place=PLACE)
        assert new[0] == 2
        opened = [unseal(sealed, place=PLACE) for sealed in (old, between, new)]
    assert opened == ["old", "between", "new"]
    with using(keys({1: FIRST, 2: SECOND}, version=1)):
        assert unseal(new, place=PLACE) == "new"
    with using(keys({1: FIRST})), pytest.raises(Undecryptable):
        unseal(new, place=PLACE)
    with using(keys({1: SECOND})), pytest.raises(Undecryptable):
        unseal(old, place=PLACE)


@pytest.mark.parametrize(
    ("fields", "version"),
    [
        ({}, None),
        ({0: FIRST}, None),
        ({256: FIRST}, None),
        ({1: "11"}, None),
        ({1: "zz" * 16}, None),
        ({1: FIRST}, 2),
    ],
)
def test_keys_that_cannot_work_are_refused_at_the_start(fields: dict[int, str], version: int | None) -> None:
    with pytest.raises(ValueError):  # noqa: PT011  any says which setting
        keys(fields, version)


# Blind indexes


def test_equal_values_meet_and_others_do_not() -> None:
    with using(keys({1: FIRST})):
        phone = crypto.blind_index("phone", "13812345678")
        assert phone == crypto.blind_index("phone", "13812345678")
        assert phone != crypto.blind_index("phone", "13812345679")
        assert phone != crypto.blind_index("document", "13812345678"), "a value is looked for among its kind"
        assert b"138" not in phone
    with using(keys({1: SECOND})):
        assert phone == crypto.blind_index("phone", "13812345678"), "a new field key moves no index"
    with using(keys({1: FIRST}, index="j" * 32)):
        assert phone != crypto.blind_index("phone", "13812345678")


# Signatures


def test_sha256_signatures_are_those_of_rfc_4231() -> None:
    made = crypto.sign("hmac-sha256", b"Jefe", b"what do ya want for nothing?")
    assert made.hex() == "5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843"
    assert made == hmac.new(b"Jefe", b"what do ya want for nothing?", hashlib.sha256).digest()


def test_sm3_is_that_of_gb_t_32905_and_its_signatures_are_made_with_it() -> None:
    plain = hashes.Hash(hashes.SM3())
    plain.update(b"abc")
    assert plain.finalize().hex() == "66c7f0f462eeedd9d1f2d46bdc10e4e24167c4875cf2f7a2297da02b8f4ba8e0"
    mac = keyed.HMAC(b"key", hashes.SM3())
    mac.update(b"message")
    assert crypto.sign("hmac-sm3", b"key", b"message") == mac.finalize() == by_hand(b"key", b"message")


def by_hand(key: bytes, message: bytes) -> bytes:
    """HMAC by its definition (RFC 2104), of SM3."""

    def sm3(data: bytes) -> bytes:
        hashing = hashes.Hash(hashes.SM3())
        hashing.update(data)
        return hashing.finalize()

    padded = key.ljust(64, b"\x00")
    inner = sm3(bytes(byte ^ 0x36 for byte in padded) + message)
    return sm3(bytes(byte ^ 0x5C for byte in padded) + inner)


# Masks


@pytest.mark.parametrize(
    ("mask", "value", "shown"),
    [
        (mask_name, "张三", "张*"),
        (mask_name, "张小明", "张*明"),
        (mask_name, "欧阳修", "欧阳*"),
        (mask_name, "欧阳小修", "欧阳*修"),
        (mask_name, "欧阳", "欧*"),
        (mask_name, "阿依古丽", "阿**丽"),
        (mask_name, "张", "张"),
        (mask_name, "Mary Ann", "M*******"),
        (mask_name, "M", "M*"),
        (mask_name, "", "*"),
        (mask_document, "11010519491231002X", "1****************X"),
        (mask_document, "E1", "E***1"),
        (mask_document, "A", "A***A"),
        (mask_phone, "13812345678", "138****5678"),
        (mask_phone, "+8613812345678", "+86****5678"),
        (mask_phone, "5678", "****78"),
    ],
)
def test_a_masked_value_shows_no_more_than_this(mask: object, value: str, shown: str) -> None:
    assert callable(mask)
    assert mask(value) == shown
