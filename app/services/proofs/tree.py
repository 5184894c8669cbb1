"""The Merkle tree of RFC 9162 §2.1, from the hashes of its full subtrees: every proof reads O(log n) of them.

A node is named by its level and position: level 0 is the leaves, (2, 5) is over the leaves 20 to 23.
"""

import hashlib
from collections.abc import Mapping

Node = tuple[int, int]
EMPTY = hashlib.sha256(b"").digest()


def leaf_hash(data: bytes) -> bytes:
    return hashlib.sha256(b"\x00" + data).digest()


def node_hash(left: bytes, right: bytes) -> bytes:
    return hashlib.sha256(b"\x01" + left + right).digest()


def extend(size: int, edge: Mapping[Node, bytes], leaves: list[bytes]) -> dict[Node, bytes]:
    """The full subtrees that come into being when these leaf hashes follow the first `size`. `edge` holds what
    `peaks(0, size)` names."""
    known, made = dict(edge), {}
    for position, hash in enumerate(leaves, size):
        node = (0, position)
        known[node] = made[node] = hash
        while node[1] % 2:
            level, place = node
            parent = (level + 1, place // 2)
            known[parent] = made[parent] = node_hash(known[level, place - 1], known[node])
            node = parent
    return made


def peaks(start: int, end: int) -> list[Node]:
    """The full subtrees, largest first, that make up the leaves from `start`, the left edge of a subtree, to `end`."""
    found = []
    while start < end:
        level = (end - start).bit_length() - 1
        found.append((level, start >> level))
        start += 1 << level
    return found


def folded(start: int, end: int, nodes: Mapping[Node, bytes]) -> bytes:
    """The hash over the leaves from `start`, the left edge of a subtree, to `end`."""
    *rest, hash = [nodes[node] for node in peaks(start, end)] or [EMPTY]
    for left in reversed(rest):
        hash = node_hash(left, hash)
    return hash


def inclusion_path(index: int, size: int) -> list[tuple[int, int]]:
    """Which leaves, from and to, each hash of the proof is over: from the leaf's neighbour up (§2.1.3)."""
    if not 0 <= index < size:
        raise ValueError("no such leaf in a tree of this size")
    return _path(index, 0, size)


def _path(index: int, start: int, end: int) -> list[tuple[int, int]]:
    if end - start == 1:
        return []
    middle = start + _split(end - start)
    if index < middle:
        return [*_path(index, start, middle), (middle, end)]
    return [*_path(index, middle, end), (start, middle)]


def consistency_path(first: int, second: int) -> list[tuple[int, int]]:
    """Which leaves each hash of the proof is over, that the first tree is the beginning of the second (§2.1.4)."""
    if not 0 < first <= second:
        raise ValueError("the first tree is not empty, nor larger than the second")
    return _subproof(first, 0, second, whole=True)


def _subproof(first: int, start: int, end: int, *, whole: bool) -> list[tuple[int, int]]:
    if first == end:
        return [] if whole else [(start, end)]
    middle = start + _split(end - start)
    if first <= middle:
        return [*_subproof(first, start, middle, whole=whole), (middle, end)]
    return [*_subproof(first, middle, end, whole=False), (start, middle)]


def _split(size: int) -> int:
    """The largest power of two below the size."""
    return 1 << (size - 1).bit_length() - 1
