"""WeChat's message push on the line: signed with the token agreed in its console and, in the safe mode (安全模式),
sealed with the EncodingAESKey agreed there. Pure functions.
Source: developers.weixin.qq.com, 消息推送, 消息加解密说明."""

import base64
import hashlib

from cryptography.hazmat.primitives.ciphers import Cipher, modes
from cryptography.hazmat.primitives.ciphers.algorithms import AES
from cryptography.hazmat.primitives.padding import PKCS7

#: Padded to whole blocks of 32 bytes, though AES has 16.
PADDED = 32
#: In front of each message: 16 random bytes, then its length as 4.
RANDOM, LENGTH = 16, 4


class Unreadable(Exception):
    """Sealed with another key, for another mini-program, or changed on the way."""


def signature(token: str, *parts: str) -> str:
    """Of timestamp and nonce; as `msg_signature` of the sealed message too."""
    return hashlib.sha1("".join(sorted((token, *parts))).encode(), usedforsecurity=False).hexdigest()


def opened(sealed: str, *, key: str, appid: str) -> bytes:
    """What is inside. The seal proves nothing by itself: compare the signature first."""
    try:
        secret = base64.b64decode(key + "=")
        decryptor = Cipher(AES(secret), modes.CBC(secret[:16])).decryptor()
        padded = decryptor.update(base64.b64decode(sealed, validate=True)) + decryptor.finalize()
        unpadder = PKCS7(PADDED * 8).unpadder()
        plain = (unpadder.update(padded) + unpadder.finalize())[RANDOM:]
    except ValueError as error:
        raise Unreadable from error
    ends = LENGTH + int.from_bytes(plain[:LENGTH], "big")
    if plain[ends:] != appid.encode():
        raise Unreadable
    return plain[LENGTH:ends]
