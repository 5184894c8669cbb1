"""S1-S5 (what the public log promises): whatever is posted and sealed in whatever batches, interrupted or under a new
key, the log is what was committed, in order and without a gap (S1); each head is the beginning of all later ones (S2);
one bit changed, a leaf gone or two exchanged and no proof holds (S3); a donor who was erased can still be proved (S4);
and pymerkle comes to the same roots (S5). The model is a list of what was sealed.

NUANXIN_SOAK=30 plays thirty times as many histories.
"""

import asyncio
import copy
import os
import uuid
from collections.abc import Coroutine
from typing import Any

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)
from pydantic import SecretStr
from pymerkle import InmemoryTree
from sqlalchemy import select, text

from app import db, schema
from app.models.donations import Donation
from app.models.proofs import LedgerLeaf
from app.services.proofs import reading, sealing
from app.settings import settings as configured
from tests.factories import ledger as given
from tests.factories.proofs import VERIFIER, certificate, gift, holds
from tests.properties.ledger_stage import Committed

SOAK = int(os.environ.get("NUANXIN_SOAK", "1"))
some = st.integers(0, 60)


class Stage(Committed):
    """A fund; the application's role seals."""

    emptied = (
        "donation", "transfer", "unsealed_transfer", "ledger_leaf", "merkle_node", "tree_head", "seal_key"
    )  # fmt: skip

    async def furnish(self) -> None:
        async with db.begin() as session:
            self.fund = await given.fund(session)


class Crash(Exception):
    """The process dies before it commits."""


class SealMachine(RuleBasedStateMachine):
    stage: Stage

    def __init__(self) -> None:
        super().__init__()
        self.stage.do(self.stage.empty())
        #: The model: what waits, what is sealed in its order, and each head that was ever seen.
        self.waiting: set[uuid.UUID] = set()
        self.log: list[uuid.UUID] = []
        self.heads: list[dict[str, Any]] = []
        self.gifts: list[uuid.UUID] = []
        self.key = configured()
        self.batch, self.settings = sealing.BATCH, sealing.settings
        sealing.BATCH, sealing.settings = 3, lambda: self.key  # type: ignore[assignment]

    def teardown(self) -> None:
        sealing.BATCH, sealing.settings = self.batch, self.settings

    @rule(many=st.integers(1, 5))
    def post(self, many: int) -> None:
        async def posted() -> None:
            async with db.begin() as session:
                for amount in range(1, many + 1):
                    entry = await given.give(session, self.stage.fund, amount)
                    self.waiting.add(entry.id)

        self.stage.do(posted())

    @rule()
    def refused(self) -> None:
        """Rolled back: it never was."""

        async def posted() -> None:
            async with db.begin() as session:
                await given.give(session, self.stage.fund, 5)
                raise Crash

        self.crash(posted())

    def crash(self, work: Coroutine[Any, Any, Any]) -> None:
        try:
            self.stage.do(work)
        except Crash:
            return
        raise AssertionError

    @rule(name=st.sampled_from(["张三", "某公司", None]))
    def donate(self, name: str | None) -> None:
        async def given_by() -> Donation:
            async with db.begin() as session:
                return await gift(session, self.stage.fund, name=name)

        row = self.stage.do(given_by())
        assert row.transfer_id
        self.waiting.add(row.transfer_id)
        self.gifts.append(row.id)

    @rule()
    def seal(self) -> None:
        expected = len(self.waiting)
        assert self.stage.do(sealing.seal_all()) == expected
        self.look()

    @rule()
    def seal_late_comers(self) -> None:
        """A transfer that took its number first commits last: while it is open others are sealed, and it is not."""

        async def late() -> uuid.UUID:
            async with db.begin() as session:
                entry = await given.give(session, self.stage.fund, 7)
                async with db.begin() as other:
                    early = await given.give(other, self.stage.fund, 8)
                self.waiting.add(early.id)
                await sealing.seal_all()
            return entry.id

        id = self.stage.do(late())
        self.look()
        self.waiting.add(id)

    @rule()
    def die_while_sealing(self) -> None:
        async def sealed() -> None:
            async with db.begin() as session:
                await sealing.seal(session)
                raise Crash

        self.crash(sealed())

    @rule()
    def seal_twice_at_once(self) -> None:
        async def both() -> list[int]:
            return await asyncio.gather(sealing.seal_all(), sealing.seal_all())

        expected = len(self.waiting)
        assert sum(self.stage.do(both())) == expected
        self.look()

    @rule(number=st.integers(1, 3))
    def change_the_key(self, number: int) -> None:
        self.key = self.key.model_copy(update={"seal_key": SecretStr(f"{number:02}" * 32)})

    @precondition(lambda self: self.gifts)
    @rule(number=some)
    def erase_a_donor(self, number: int) -> None:
        async def erased() -> None:
            async with db.begin() as session:
                row = await session.get_one(Donation, self.gifts[number % len(self.gifts)])
                row.salt = row.donor_name = None

        self.stage.do(erased())

    @precondition(lambda self: any(gift for gift in self.gifts) and self.log)
    @rule(
        number=some,
        bit=st.integers(0, 10**6),
        part=st.sampled_from(["leaf", "path", "root", "signature", "at"]),
    )
    def one_bit(self, number: int, bit: int, part: str) -> None:
        """S3, S4: as it is it holds, and no longer with any other bit."""

        async def found() -> dict[str, Any] | None:
            async with db.begin() as session:
                row = await session.get_one(Donation, self.gifts[number % len(self.gifts)])
                return await certificate(session, row) if row.transfer_id in self.log else None

        proof = self.stage.do(found())
        if proof is None:
            return
        assert holds(proof)
        wrong = copy.deepcopy(proof)
        match part:
            case "leaf":
                wrong["leaf"] = flipped(proof["leaf"], bit)
            case "path":
                if not proof["path"]:
                    return
                place = bit % len(proof["path"])
                wrong["path"][place] = flipped(proof["path"][place], bit)
            case "at":
                wrong["head"]["at_microseconds"] ^= 1 << bit % 40
            case _:
                wrong["head"][part] = flipped(proof["head"][part], bit)
        assert not holds(wrong)
        if proof["path"]:
            wrong = proof | {"path": proof["path"][:-1]}
            assert not holds(wrong)
        assert not holds(proof | {"index": proof["index"] + 1})

    @precondition(lambda self: len(self.log) > 1)
    @rule(one=some, other=some)
    def a_leaf_that_is_gone_or_moved(self, one: int, other: int) -> None:
        """S3: whoever builds the tree again sees it."""
        found = [bytes.fromhex(leaf) for leaf in self.leaves()]
        one, other = one % len(found), other % len(found)
        root = self.heads[-1]["root"]
        assert built(found) == root
        assert built(found[:one] + found[one + 1 :]) != root
        if one != other:
            found[one], found[other] = found[other], found[one]
            assert built(found) != root

    def leaves(self) -> list[str]:
        async def read() -> list[str]:
            async with db.begin() as session:
                return await reading.leaves(session, start=0, limit=1000)

        return self.stage.do(read())

    def look(self) -> None:
        """S1, S5, after a sealing; and S2 with every head ever seen."""

        async def read() -> tuple[list[Any], list[dict[str, Any]], list[dict[str, Any]]]:
            async with db.begin() as session:
                query = select(LedgerLeaf.index, LedgerLeaf.transfer_id).order_by(LedgerLeaf.index)
                rows = list(await session.execute(query))
                heads = await reading.heads(session, before=None, limit=1000)
                ways = [
                    await reading.consistency(session, first=one["size"], second=heads[0]["size"])
                    for one in heads
                ]
                return rows, heads, ways

        rows, heads, ways = self.stage.do(read())
        assert [row.index for row in rows] == list(range(len(rows)))
        sealed = [row.transfer_id for row in rows]
        assert sealed[: len(self.log)] == self.log
        assert set(sealed[len(self.log) :]) == self.waiting
        assert len(sealed) == len(self.log) + len(self.waiting)
        self.log, self.waiting = sealed, set()
        assert heads[::-1][: len(self.heads)] == self.heads
        self.heads = heads[::-1]
        for old, way in zip(heads, ways, strict=True):
            new = heads[0]
            roots = bytes.fromhex(old["root"]), bytes.fromhex(new["root"])
            path = [bytes.fromhex(one) for one in way["path"]]
            assert VERIFIER.grew(old["size"], new["size"], *roots, path)
            if path:
                changed = bytes([path[-1][0] ^ 1]) + path[-1][1:]
                assert not VERIFIER.grew(old["size"], new["size"], *roots, [*path[:-1], changed])
        if heads:
            assert VERIFIER.head_holds(heads[0])
            theirs = [bytes.fromhex(leaf) for leaf in self.leaves()]
            for old in heads:
                assert built(theirs[: old["size"]]) == old["root"]

    @invariant()
    def what_waits_is_what_was_committed(self) -> None:
        async def read() -> list[Any]:
            async with db.begin() as session:
                return list(await session.scalars(text("SELECT transfer_id FROM unsealed_transfer")))

        assert sorted(self.stage.do(read())) == sorted(self.waiting)


def flipped(data: str, bit: int) -> str:
    changed = bytearray.fromhex(data)
    changed[bit // 8 % len(changed)] ^= 1 << bit % 8
    return changed.hex()


def built(found: list[bytes]) -> str:
    """The root that another hand's tree has over these leaves."""
    theirs = InmemoryTree(algorithm="sha256")
    theirs.append_entries(found)
    return str(theirs.get_root().hex())


def test_the_log_keeps_its_promises_in_every_history(server: str, worker_id: str) -> None:
    name = f"seal_{worker_id}"
    stage = SealMachine.stage = Stage(server, name, schema.as_application)
    try:
        run_state_machine_as_test(
            SealMachine,
            settings=settings(
                max_examples=8 * SOAK, stateful_step_count=25, deadline=None, database=None,
                suppress_health_check=list(HealthCheck),
            ),
        )  # fmt: skip
    finally:
        stage.do(stage.close(server, name))
        stage.runner.close()
