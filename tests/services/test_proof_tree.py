"""The tree, the leaf and the verifier, with another hand's tree and signatures as a witness."""

from datetime import UTC, datetime, timedelta

import pytest
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from hypothesis import given as when
from hypothesis import settings as limits
from hypothesis import strategies as st
from pymerkle import InmemoryTree

from app.services.proofs import leaves, tree
from tests.factories.proofs import VERIFIER


def test_roots_and_inclusion_proofs_are_those_of_pymerkle():
    entries = [bytes([number]) * 3 for number in range(34)]
    theirs = InmemoryTree(algorithm="sha256")
    theirs.append_entries(entries)
    nodes = tree.extend(0, {}, [tree.leaf_hash(entry) for entry in entries])
    for size in range(1, len(entries) + 1):
        root = tree.folded(0, size, nodes)
        assert root == theirs.get_root(size)
        for index in range(size):
            path = [tree.folded(*place, nodes) for place in tree.inclusion_path(index, size)]
            assert path == theirs.prove_inclusion(index + 1, size).path[1:]
            assert VERIFIER.root_of(tree.leaf_hash(entries[index]), index, size, path) == root
        for first in range(1, size + 1):
            path = [tree.folded(*place, nodes) for place in tree.consistency_path(first, size)]
            assert VERIFIER.grew(first, size, theirs.get_root(first), root, path)
            assert not VERIFIER.grew(first, size, theirs.get_root(first), root, [*path, root])
            if path:
                assert not VERIFIER.grew(first, size, theirs.get_root(first), root, path[:-1])


def test_a_tree_grown_in_pieces_is_the_tree_grown_at_once():
    hashes = [tree.leaf_hash(bytes([number])) for number in range(60)]
    known = {}
    for start, end in ((0, 1), (1, 8), (8, 8), (8, 21), (21, 60)):
        edge = {node: known[node] for node in tree.peaks(0, start)}
        known |= tree.extend(start, edge, hashes[start:end])
    assert known == tree.extend(0, {}, hashes)


def test_what_is_not_in_the_tree_has_no_path():
    with pytest.raises(ValueError, match="no such leaf"):
        tree.inclusion_path(3, 3)
    with pytest.raises(ValueError, match="not empty"):
        tree.consistency_path(0, 3)


@limits(max_examples=25, deadline=None)
@when(st.binary(min_size=32, max_size=32), st.binary(max_size=80))
def test_the_verifier_knows_signatures_as_well_as_the_library(seed, message):
    key = Ed25519PrivateKey.from_private_bytes(seed)
    public, signature = key.public_key().public_bytes_raw(), key.sign(message)
    assert VERIFIER.signed(public, message, signature)
    changed = bytes([signature[5] ^ 1])
    for wrong in (signature[:5] + changed + signature[6:], signature[:32] + b"\xff" * 32, signature[:-1]):
        try:
            key.public_key().verify(wrong, message)
        except InvalidSignature:
            pass
        else:
            raise AssertionError
        try:
            said = VERIFIER.signed(public, message, wrong)
        except ValueError:
            said = False
        assert not said
    assert not VERIFIER.signed(public, message + b"x", signature)


# The leaf


def test_no_two_transfers_have_the_same_bytes_and_times_are_exact():
    assert leaves.packed([b"a", b"bc"]) != leaves.packed([b"ab", b"c"])
    late = datetime(2099, 12, 31, 23, 59, 59, 999_999, tzinfo=UTC)
    assert leaves.microseconds(late) == 4_102_444_799_999_999
    assert leaves.microseconds(late + timedelta(microseconds=1)) == 4_102_444_800_000_000
