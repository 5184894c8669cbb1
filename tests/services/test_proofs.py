"""The public log: sealed in order, signed, and provable by anybody."""

import json
import subprocess
import sys
from collections import Counter

import pytest
from pydantic import SecretStr
from pymerkle import InmemoryTree
from sqlalchemy import func, select, text

from app import clock
from app.api.deps import Cursor
from app.db import new_id
from app.errors import NotFound
from app.models.ledger import Phase, Transfer
from app.models.proofs import LedgerLeaf, MerkleNode, SealKey, TreeHead, UnsealedTransfer
from app.services.ledger import posting, statements
from app.services.proofs import leaves, reading, sealing, tree
from app.settings import ROOT, settings
from tests.clients import client
from tests.factories import ledger
from tests.factories.proofs import VERIFIER, certificate, gift, holds

PROOFS = "/public/v1/proofs"


async def give(session, fund, *amounts):
    for amount in amounts:
        await ledger.give(session, fund, amount)


async def sealed(session, many=7):
    """A fund with so many gifts, in the log."""
    fund = await ledger.fund(session)
    await give(session, fund, *range(1, many + 1))
    await session.commit()
    assert await sealing.seal_all() == many
    return fund


# Sealing


async def test_what_was_posted_is_sealed_once_in_order(session):
    fund = await sealed(session)
    assert await sealing.seal_all() == 0
    await give(session, fund, 100, 200)
    await session.commit()
    assert await sealing.seal_all() == 2
    rows = list(await session.scalars(select(LedgerLeaf).order_by(LedgerLeaf.index)))
    assert [row.index for row in rows] == list(range(9))
    amounts = [VERIFIER.fields(row.data)["amount_fen"] for row in rows]
    assert amounts == [b"1", b"2", b"3", b"4", b"5", b"6", b"7", b"100", b"200"]
    posted = set(await session.scalars(select(Transfer.id)))
    assert {row.transfer_id for row in rows} == posted
    assert await session.scalar(select(func.count()).select_from(UnsealedTransfer)) == 0
    assert list(await session.scalars(select(TreeHead.size).order_by(TreeHead.size))) == [7, 9]


async def test_a_large_heap_is_sealed_in_bounded_batches(session, monkeypatch):
    monkeypatch.setattr(sealing, "BATCH", 3)
    await sealed(session)
    assert list(await session.scalars(select(TreeHead.size).order_by(TreeHead.size))) == [3, 6, 7]
    theirs = InmemoryTree(algorithm="sha256")
    theirs.append_entries(list(await session.scalars(select(LedgerLeaf.data).order_by(LedgerLeaf.index))))
    for head in await session.scalars(select(TreeHead)):
        assert head.root == theirs.get_root(head.size)
    assert await session.scalar(select(func.count()).select_from(MerkleNode)) == 7 + 3 + 1


async def test_a_new_key_signs_from_then_on_and_the_old_one_stays_known(session, monkeypatch):
    fund = await sealed(session, 2)
    other = settings().model_copy(update={"seal_key": SecretStr("ab" * 32)})
    monkeypatch.setattr(sealing, "settings", lambda: other)
    row = await gift(session, fund)
    await session.commit()
    await sealing.seal_all()
    assert await session.scalar(select(func.count()).select_from(SealKey)) == 2
    new, old = await reading.heads(session, before=None, limit=5)
    assert new["key_id"] != old["key_id"]
    given = await certificate(session, row)
    way = await reading.consistency(session, first=2, second=3)
    assert holds(given, key=new["public_key"], older={"head": old, "path": way["path"]})
    assert not holds(given, key=old["public_key"])


# Reading


async def test_a_donor_verifies_the_certificate_with_nothing_but_python(session, tmp_path):
    fund = await sealed(session)
    before = await reading.head(session)
    row = await gift(session, fund, name="欧阳修")
    await session.commit()
    await sealing.seal_all()
    given = await certificate(session, row)
    way = (await reading.consistency(session, first=7, second=8))["path"]
    files = {"certificate.json": given, "older.json": {"head": before, "path": way}}
    for name, content in files.items():
        (tmp_path / name).write_text(json.dumps(content), encoding="utf-8")

    def run(*key):
        words = ("certificate.json", *key, "--older", "older.json")
        return subprocess.run(
            (sys.executable, "-I", str(ROOT / "docs" / "verify.py"), *words), cwd=tmp_path, capture_output=True,
            text=True, encoding="utf-8", env={"PYTHONIOENCODING": "utf-8", "PATH": ""}, check=False,
        )  # fmt: skip

    good = "--key", before["public_key"]
    done = run(*good)
    assert (done.returncode, done.stderr) == (0, "")
    assert "¥88.00" in done.stdout
    assert done.stdout.endswith("通过 / verified\n")
    assert run("--key", "00" * 32).returncode == 1
    assert run("--key", "").returncode == 1

    def write(changed):
        (tmp_path / "certificate.json").write_text(json.dumps(changed), encoding="utf-8")

    # What nobody could check is not called verified: anybody signs with a key of their own, or leaves out the salt.
    in_part = run()
    assert (in_part.returncode, "通过 / verified\n" in in_part.stdout) == (2, False)
    write(given | {"salt": None, "name": "李四"})
    assert run(*good).returncode == 2
    write(given | {"number": "\x1b[2J\r\n✓"})
    steering = run(*good)
    assert (steering.returncode, "\x1b" in steering.stdout, steering.stdout.count("\n")) == (1, False, 8)
    write([])
    unread = run(*good)
    assert (unread.returncode, unread.stderr) == (1, "")


async def test_a_certificate_is_of_this_name_and_number_and_survives_their_erasure(session):
    fund = await sealed(session)
    row = await gift(session, fund)
    await session.commit()
    await sealing.seal_all()
    given = await certificate(session, row)
    assert holds(given | {"amount_fen": 8_800, "transfer_id": str(row.transfer_id)})
    for other in ({"name": "李四"}, {"name": None}, {"number": "20260101-0000000000"}, {"salt": "00" * 32},
                  {"amount_fen": 8_801}, {"transfer_id": str(new_id())}):  # fmt: skip
        assert not holds(given | other), other
    row.salt = row.donor_name = row.public_name = None
    await session.flush()
    assert holds(await certificate(session, row))


async def test_what_is_no_gift_has_no_certificate(session):
    """Anybody may have the leaf of a payment, and its way to the root."""
    fund = await sealed(session, 1)
    spent = await ledger.spend(session, fund, 1)
    await session.commit()
    await sealing.seal_all()
    for id, expected in ((spent.id, False), (await session.scalar(select(LedgerLeaf.transfer_id)), True)):
        proof = await reading.inclusion(session, id)
        assert holds(proof | {"number": "x", "salt": None, "name": None}) is expected


async def test_a_transfer_that_waits_for_its_seal_says_so(session):
    fund = await sealed(session)
    row = await gift(session, fund)
    await session.commit()
    with pytest.raises(reading.NotSealedYet):
        await reading.inclusion(session, row.transfer_id)
    with pytest.raises(NotFound) as unknown:
        await reading.inclusion(session, new_id())
    assert type(unknown.value) is NotFound
    await sealing.seal_all()
    assert (await reading.inclusion(session, row.transfer_id))["index"] == 7
    with pytest.raises(NotFound):
        await reading.inclusion(session, row.transfer_id, size=7)


async def test_the_public_door_shows_all_of_it(app, session):
    fund = await sealed(session)
    row = await gift(session, fund)
    await session.commit()
    await sealing.seal_all()
    async with client(app) as browser:

        async def get(path, status=200, **query):
            answer = await browser.get(f"{PROOFS}{path}", params=query)
            assert answer.status_code == status, answer.text
            return answer.json(), answer.headers["cache-control"]

        head, kept = await get("/head")
        assert (head["size"], kept) == (8, "public, max-age=5")
        tag = {"If-None-Match": (await browser.get(f"{PROOFS}/head")).headers["etag"]}
        assert (await browser.get(f"{PROOFS}/head", headers=tag)).status_code == 304
        page, _ = await get("/heads", limit=1)
        assert page["items"] == [head]
        page, _ = await get("/heads", cursor=page["next"])
        assert [one["size"] for one in page["items"]] == [7]
        old, kept = await get("/heads/7")
        assert "immutable" in kept
        assert (await get("/keys"))[0][0]["public_key"] == head["public_key"]
        proof, _ = await get(f"/gifts/{row.number}")
        assert (await get(f"/gifts/ {row.number.lower()}"))[0] == proof
        assert (await get(f"/transfers/{row.transfer_id}"))[0] == proof
        assert (await get(f"/transfers/{row.transfer_id}", size=8))[1] == kept
        given = proof | {"number": row.number, "salt": row.salt.hex(), "name": row.donor_name}
        way, _ = await get("/consistency", first=7, second=8)
        assert holds(given, key=head["public_key"], older={"head": old, "path": way["path"]})
        found = [(await get("/leaves", start=start, limit=5))[0]["leaves"] for start in (0, 5)]
        theirs = InmemoryTree(algorithm="sha256")
        theirs.append_entries([bytes.fromhex(leaf) for part in found for leaf in part])
        assert theirs.get_root().hex() == head["root"]
        for path, status, query in (
            ("/heads/3", 404, {}), ("/gifts/nobody", 404, {}), (f"/transfers/{new_id()}", 404, {}),
            (f"/transfers/{row.transfer_id}", 404, {"size": 7}), ("/consistency", 404, {"first": 1, "second": 9}),
            ("/consistency", 422, {"first": 8, "second": 7}), ("/consistency", 422, {"first": 0, "second": 7}),
            ("/heads", 422, {"cursor": Cursor.encode(10**30)}), ("/heads", 422, {"cursor": Cursor.encode("x")}),
        ):  # fmt: skip
            await get(path, status, **query)


async def test_whoever_reads_the_log_adds_up_the_books_without_us(session):
    fund = await sealed(session)
    for paid in (3, 4, None):
        hold = ledger.payment(fund, 4)
        await posting.ask(session, hold)
        phase = Phase.VOID if paid is None else Phase.POST
        await posting.record(session, ledger.resolution(hold, phase, paid))
    await posting.record(session, ledger.fee(2))
    await session.commit()
    await sealing.seal_all()
    debits, credits = Counter(), Counter()
    for leaf in await reading.leaves(session, start=0, limit=100):
        said = VERIFIER.fields(bytes.fromhex(leaf))
        if said["phase"] in (b"single", b"post"):
            debits[said["debit"].decode()] += int(said["amount_fen"])
            credits[said["credit"].decode()] += int(said["amount_fen"])
    lines = (await statements.trial_balance(session, clock.today().replace(day=1))).lines
    assert {one.code: (debits[one.code], credits[one.code]) for one in lines} == {
        one.code: (one.columns.debits_fen, one.columns.credits_fen) for one in lines
    }
    assert {*debits, *credits} == {one.code for one in lines}


async def test_an_empty_log_has_no_head(app, connection):
    async with client(app) as browser:
        assert (await browser.get(f"{PROOFS}/head")).status_code == 404
        assert (await browser.get(f"{PROOFS}/leaves")).json() == {"start": 0, "leaves": []}


async def test_a_proof_reads_few_rows_of_a_long_log(session):
    """Each hash by its key."""
    await session.execute(
        text(
            "INSERT INTO merkle_node SELECT level, n, '\\x00' FROM generate_series(0, 14) level, "
            "generate_series(0, (20000 >> level) - 1) n"
        )
    )
    await session.execute(text("ANALYZE merkle_node"))
    wanted = [node for place in tree.inclusion_path(4_711, 19_999) for node in tree.peaks(*place)]
    assert len(wanted) < 30
    assert len(await sealing.nodes(session, wanted)) == len(wanted)
    levels, places = zip(*wanted, strict=True)
    plan = await session.scalar(
        text(f"EXPLAIN (FORMAT JSON) {sealing.NODES.text}"), {"levels": levels, "places": places}
    )
    assert "Index Scan" in str(plan)
    assert "'Seq Scan'" not in str(plan)


async def test_the_ledger_says_of_a_donor_only_a_commitment(session):
    fund = await sealed(session, 1)
    row = await gift(session, fund, name="张三")
    await session.commit()
    await sealing.seal_all()
    leaf = VERIFIER.fields(bytes.fromhex((await reading.leaves(session, start=1, limit=1))[0]))
    assert leaf["commitment"] == leaves.commitment(row.salt, row.number, "张三")
    assert leaf["debit"] == posting.WECHAT.encode()
    assert not any(b"donation/" in value or "张".encode() in value for value in leaf.values())
