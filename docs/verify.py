"""Checks a donation certificate of Nuanxin offline: python verify.py certificate.json [--key HEX] [--older older.json]

certificate.json  leaf, index, size, path, head; and number, salt, name of the gift, as the donor has them
--key HEX         the association's public key, from a place that you trust
--older FILE      {"head": a head that you kept, "path": the hashes of /public/v1/proofs/consistency}
Python 3.9 or newer, nothing else. RFC 9162 (the log), RFC 8032 (ed25519). Ends with 0 only if everything holds,
with 2 if something could not be checked: without --key anybody may have made the certificate."""

import argparse, json, sys
from hashlib import sha256, sha512

FIELDS = "index id debit credit amount_fen currency kind phase pending_id reverses_id effective_on recorded_at commitment"
GIFTS = b"donation", b"in_kind", b"matched"
P, L = 2**255 - 19, 2**252 + 27742317777372353535851937790883648493
D = -121665 * pow(121666, -1, P) % P


def packed(*parts):
    return b"".join(len(part).to_bytes(4, "big") + part for part in parts)


def fields(data):
    """What a leaf says: a version byte, then each field after its length."""
    parts, rest = [], data[1:]
    while rest:
        end = 4 + int.from_bytes(rest[:4], "big")
        parts, rest = parts + [rest[4:end]], rest[end:]
    said = dict(zip(FIELDS.split(), parts))
    return said if data == b"\x01" + packed(*parts) and len(parts) == len(said) == 13 else {}


def node(left, right):
    return sha256(b"\x01" + left + right).digest()


def root_of(leaf, index, size, path):
    """RFC 9162 §2.1.3.2"""
    if not 0 <= index < size:
        return None
    at, last, found = index, size - 1, leaf
    for other in path:
        if last == 0:
            return None
        if at & 1 or at == last:
            found = node(other, found)
            while not at & 1 and at:
                at, last = at >> 1, last >> 1
        else:
            found = node(found, other)
        at, last = at >> 1, last >> 1
    return found if last == 0 else None


def grew(first, second, first_root, second_root, path):
    """RFC 9162 §2.1.4.2: the log of `second` leaves begins with that of `first`."""
    if first == second:
        return first_root == second_root and not path
    if not 0 < first < second or not path:
        return False
    path = [first_root] + path if first & (first - 1) == 0 else path
    at, last = first - 1, second - 1
    while at & 1:
        at, last = at >> 1, last >> 1
    old = new = path[0]
    for other in path[1:]:
        if last == 0:
            return False
        if at & 1 or at == last:
            old, new = node(other, old), node(other, new)
            while not at & 1 and at:
                at, last = at >> 1, last >> 1
        else:
            new = node(new, other)
        at, last = at >> 1, last >> 1
    return (old, new, last) == (first_root, second_root, 0)


def added(p, q):
    """Two points of the curve, in extended coordinates (RFC 8032 §5.1.4)."""
    a, b = (p[1] - p[0]) * (q[1] - q[0]) % P, (p[1] + p[0]) * (q[1] + q[0]) % P
    c, d = 2 * p[3] * q[3] * D % P, 2 * p[2] * q[2] % P
    e, f, g, h = b - a, d - c, d + c, b + a
    return e * f % P, g * h % P, f * g % P, e * h % P


def times(number, point):
    sum = (0, 1, 1, 0)
    while number:
        sum, point, number = added(sum, point) if number & 1 else sum, added(point, point), number >> 1
    return sum


def point(data):
    sign, y = data[31] >> 7, int.from_bytes(data, "little") & (1 << 255) - 1
    square = (y * y - 1) * pow(D * y * y + 1, -1, P) % P
    x = pow(square, (P + 3) // 8, P)
    x = x if x * x % P == square else x * pow(2, (P - 1) // 4, P) % P
    if y >= P or x * x % P != square or (x == 0 and sign):
        raise ValueError("not a point")
    x = P - x if x & 1 != sign else x
    return x, y, 1, x * y % P


def signed(key, message, signature):
    """RFC 8032 §5.1.7"""
    s = int.from_bytes(signature[32:], "little")
    if len(key) != 32 or len(signature) != 64 or s >= L:
        return False
    k = int.from_bytes(sha512(signature[:32] + key + message).digest(), "little") % L
    one = times(s, point((4 * pow(5, -1, P) % P).to_bytes(32, "little")))
    other = added(point(signature[:32]), times(k, point(key)))
    return (one[0] * other[2] - other[0] * one[2]) % P == 0 == (one[1] * other[2] - other[1] * one[2]) % P


def head_holds(head):
    key, parts = bytes.fromhex(head["public_key"]), (str(head["size"]), str(head["at_microseconds"]))
    message = b"nuanxin tree head\n" + packed(parts[0].encode(), bytes.fromhex(head["root"]), parts[1].encode())
    return head["key_id"] == sha256(key).hexdigest()[:16] and signed(key, message, bytes.fromhex(head["signature"]))


def checks(given, key=None, older=None):
    """What was looked at, in Chinese and English, and whether it holds (None: cannot be said)."""
    leaf, path, head = bytes.fromhex(given["leaf"]), [bytes.fromhex(one) for one in given["path"]], given["head"]
    said, root = fields(leaf), bytes.fromhex(head["root"])
    place = said.get("index") == str(given["index"]).encode() and given["size"] == head["size"]
    same = all(str(given[name]).encode() == said.get(of) for name, of in (("amount_fen", "amount_fen"), ("transfer_id", "id")) if name in given)
    of_gift = said.get("kind") in GIFTS and said.get("phase") == b"single"
    fen = int(said.get("amount_fen") or 0)
    yield f"账目：¥{fen // 100}.{fen % 100:02}，{said.get('effective_on', b'?').decode()}，第 {given['index']} 条", "the entry of a gift", place and same and of_gift
    if given.get("salt") is None:
        yield "证书不含密钥（捐款人信息已删除），无法核对编号和姓名", "number and name cannot be checked: without a salt, as after an erasure", None
    else:
        opened = packed(bytes.fromhex(given["salt"]), given["number"].encode(), (given["name"] or "").encode())
        yield f"编号和姓名与账目相符：{given['number']}", "number and name are those of the entry", sha256(opened).digest() == said.get("commitment")
    found = root_of(sha256(b"\x00" + leaf).digest(), given["index"], given["size"], path)
    yield f"该条目在公开账本的 {head['size']} 条之中", "the entry is in the public log", found == root
    yield f"树头签名有效（公钥 {head['key_id']}）", "the head of the log is signed", head_holds(head)
    if key is None:
        yield "未核对签名公钥：请用 --key 给出协会公布的公钥", "whose key that is was not checked: give --key", None
    else:
        yield "签名公钥是您信任的公钥", "the key is the one that you trust", head["public_key"].lower() == key.strip().lower()
    if older is not None:
        before, way = older["head"], [bytes.fromhex(one) for one in older["path"]]
        yield f"您保存的 {before['size']} 条旧树头签名有效", "the older head is signed", head_holds(before)
        kept = grew(before["size"], head["size"], bytes.fromhex(before["root"]), root, way)
        yield "旧条目没有被修改、删除或调换", "nothing before it was changed, removed or moved", kept


def plain(text):
    """What a file says must not steer the terminal."""
    return "".join(one if one.isprintable() else "?" for one in text)


def main():
    sys.stdout.reconfigure(encoding="utf-8", errors="replace")
    words = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    words.add_argument("certificate")
    words.add_argument("--key")
    words.add_argument("--older")
    given, read = words.parse_args(), lambda file: json.loads(open(file, encoding="utf-8").read())
    results = []
    try:
        for zh, en, holds in checks(read(given.certificate), given.key, given.older and read(given.older)):
            results.append(holds)
            print({True: "✓", False: "✗", None: "–"}[holds], plain(zh), "/", en)
    except (OSError, ValueError, TypeError, KeyError, AttributeError, IndexError, OverflowError) as error:
        results.append(False)
        print("✗ 无法读取 / cannot be read:", type(error).__name__)
    if False in results:
        print("未通过 / NOT VERIFIED")
        return 1
    if None in results:
        print("部分通过，标 – 的未能核对 / verified in part: not what is marked –")
        return 2
    print("通过 / verified")
    return 0


if __name__ == "__main__":
    sys.exit(main())
