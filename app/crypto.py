"""Field encryption, blind indexes, signatures, masking. Pure functions but for the keys in use.

SM4-GCM and SM3 are the national algorithms that GB/T 39786-2021 asks for (GB/T 32907, GB/T 32905).
"""

import hashlib
import hmac
import json
import secrets
from functools import lru_cache
from typing import Any, Protocol

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives import hmac as keyed
from cryptography.hazmat.primitives.ciphers import Cipher, modes
from cryptography.hazmat.primitives.ciphers.algorithms import SM4

from app.settings import Settings

IV_BYTES = 12
TAG_BYTES = 16


class KeyProvider(Protocol):
    """Where keys live: settings here, a certified hardware module where a 密评 demands it."""

    @property
    def current(self) -> int: ...
    def field_key(self, version: int) -> bytes: ...
    def index_key(self) -> bytes: ...


class SettingsKeys:
    def __init__(self, settings: Settings) -> None:
        self._fields = {v: bytes.fromhex(k.get_secret_value()) for v, k in settings.field_keys.items()}
        self._index = settings.index_key.get_secret_value().encode()
        if not all(1 <= v <= 255 and len(k) == 16 for v, k in self._fields.items()) or not self._fields:
            raise ValueError("NUANXIN_FIELD_KEYS: versions 1 to 255, each key 32 hex digits")
        self._current = settings.field_key_version or max(self._fields)
        if self._current not in self._fields:
            raise ValueError("NUANXIN_FIELD_KEY_VERSION names no key of NUANXIN_FIELD_KEYS")

    @property
    def current(self) -> int:
        return self._current

    def field_key(self, version: int) -> bytes:
        return self._fields[version]

    def index_key(self) -> bytes:
        return self._index


_keys: KeyProvider | None = None


def use(keys: KeyProvider) -> None:
    global _keys  # noqa: PLW0603  one process, one set of keys
    _keys = keys


def keys() -> KeyProvider:
    if _keys is None:
        raise RuntimeError("no keys: call crypto.use() at start-up")
    return _keys


class Undecryptable(Exception):
    """The stored bytes were changed, moved to another row, or their key is gone."""


@lru_cache(maxsize=16)
def _sm4(key: bytes) -> SM4:
    return SM4(key)


def seal(value: str, *, place: str) -> bytes:
    return seal_bytes(value.encode(), place=place)


def unseal(sealed: bytes, *, place: str) -> str:
    return unseal_bytes(sealed, place=place).decode()


def seal_bytes(value: bytes, *, place: str) -> bytes:
    """SM4-GCM. `place` is table|column|row id: a value copied elsewhere does not open.
    Layout: key version (1 byte), IV (12), tag (16), ciphertext."""
    version, iv = keys().current, secrets.token_bytes(IV_BYTES)
    encryptor = Cipher(_sm4(keys().field_key(version)), modes.GCM(iv)).encryptor()
    encryptor.authenticate_additional_data(place.encode())
    ciphertext = encryptor.update(value) + encryptor.finalize()
    return bytes([version]) + iv + encryptor.tag + ciphertext


def unseal_bytes(sealed: bytes, *, place: str) -> bytes:
    try:
        key = keys().field_key(sealed[0])
        iv, tag = sealed[1 : 1 + IV_BYTES], sealed[1 + IV_BYTES : 1 + IV_BYTES + TAG_BYTES]
        decryptor = Cipher(_sm4(key), modes.GCM(iv, tag)).decryptor()
        decryptor.authenticate_additional_data(place.encode())
        return decryptor.update(sealed[1 + IV_BYTES + TAG_BYTES :]) + decryptor.finalize()
    except (InvalidTag, KeyError, IndexError, ValueError) as error:
        raise Undecryptable(place) from error


class Sealed:
    """An encrypted column as a plain attribute: `phone = Sealed()` reads and writes `phone_sealed`.
    The row's id must be set first, because it is part of the place."""

    def __set_name__(self, owner: type, name: str) -> None:
        self._name = name

    def _place(self, row: Any) -> str:
        if row.id is None:
            raise ValueError(f"set the id before {self._name}")
        return f"{row.__tablename__}|{self._name}|{row.id}"

    def __get__(self, row: Any, owner: type) -> Any:
        if row is None:
            return self
        sealed = getattr(row, f"{self._name}_sealed")
        return None if sealed is None else unseal(sealed, place=self._place(row))

    def __set__(self, row: Any, value: str | None) -> None:
        setattr(row, f"{self._name}_sealed", None if value is None else seal(value, place=self._place(row)))


class SealedList(Sealed):
    """The same of a list of plain values; of an empty one nothing is stored."""

    def __get__(self, row: Any, owner: type) -> Any:
        written = super().__get__(row, owner)
        return written if row is None else json.loads(written or "[]")

    def __set__(self, row: Any, value: list[Any]) -> None:  # type: ignore[override]
        super().__set__(row, json.dumps(value, ensure_ascii=False) if value else None)


def sealed(base: type[Any]) -> list[tuple[Any, str]]:
    """Every model below this one with each of its sealed attributes."""
    models = [mapper.class_ for mapper in base.registry.mappers]
    return [
        (model, name) for model in models for name, held in vars(model).items() if isinstance(held, Sealed)
    ]


@lru_cache(maxsize=4)
def _keyed(key: bytes) -> keyed.HMAC:
    """Taking the key in costs more than the value does."""
    return keyed.HMAC(key, hashes.SM3())


def blind_index(kind: str, value: str) -> bytes:
    """HMAC-SM3 of the normalised value: equal values meet, nothing can be read back without the key."""
    mac = _keyed(keys().index_key()).copy()
    mac.update(f"{kind}|{value}".encode())
    return mac.finalize()


def digest(data: bytes) -> bytes:
    return hashlib.sha256(data).digest()


def sign(algorithm: str, secret: bytes, message: bytes) -> bytes:
    """HMAC-SHA256 or HMAC-SM3."""
    if algorithm == "hmac-sm3":
        mac = keyed.HMAC(secret, hashes.SM3())
        mac.update(message)
        return mac.finalize()
    return hmac.new(secret, message, hashlib.sha256).digest()


def same(a: bytes, b: bytes) -> bool:
    return hmac.compare_digest(a, b)


_COMPOUND = (
    "欧阳 太史 端木 上官 司马 东方 独孤 南宫 万俟 闻人 夏侯 诸葛 尉迟 公羊 赫连 澹台 皇甫 宗政 濮阳 公冶 太叔 申屠 "
    "公孙 慕容 仲孙 钟离 长孙 宇文 司徒 鲜于 司空 令狐 百里 呼延 东郭 西门 公西 第五"
)
COMPOUND_SURNAMES = frozenset(_COMPOUND.split())


def mask_name(name: str) -> str:
    """张三 → 张*; 张小明 → 张*明; 欧阳修 → 欧阳*; Mary Ann → M*******."""
    if not name or name.isascii():
        return name[:1] + "*" * max(1, len(name) - 1)
    surname = name[:2] if name[:2] in COMPOUND_SURNAMES and len(name) > 2 else name[:1]
    given = name[len(surname) :]
    return surname + (given and ("*" * (len(given) - 1) + given[-1] if len(given) > 1 else "*"))


def mask_document(number: str) -> str:
    """First and last character only: region, birth date and sequence together can be searched through."""
    return number[:1] + "*" * max(3, len(number) - 2) + number[-1:]


def mask_address(address: str) -> str:
    """凤凰北街 8 号 2 单元 301 → 凤凰北街***: which part of a town, not which door."""
    return (address[:4] if len(address) > 8 else "") + "***"


def mask_phone(phone: str) -> str:
    """13812345678 → 138****5678."""
    return phone[:3] + "****" + phone[-4:] if len(phone) >= 11 else "****" + phone[-2:]
