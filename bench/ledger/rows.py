"""Where the ledger's runs take place: funds and channels with their accounts, orders that wait to be paid, the limit
that pgbench reaches with our own functions, and the judge."""

import asyncio

from sqlalchemy.ext.asyncio import create_async_engine

from app import clock, db
from app.db import new_id
from app.models.funds import Fund, FundStatus
from app.services.ledger import accounts
from app.settings import settings
from bench import pgbench
from bench.ledger.plan import LARGEST_GIFT, LARGEST_PAYMENT, Workload
from bench.ledger.posters import fund_code
from bench.report import Run
from bench.stage import fetch, statements
from tests.database import execute

#: Ids of donations and their orders are made in SQL: so many, from this.
GIFT = 0xD
CHANNELS = """
SELECT open_ledger_account('1009C' || lpad(i::text, 2, '0'), '渠道' || i, 'Channel ' || i, 'asset', NULL,
                           NULL, 64, now())
  FROM generate_series(1, {many}) i"""
DONOR = """
INSERT INTO resident_account (id, openid, created_at)
VALUES ('0000000a-0000-0000-0000-000000000001', 'o-bench', now()) ON CONFLICT DO NOTHING"""
# The append-only triggers rest for this superuser's session only: every run starts from the same empty books.
CLEAR = """
SET session_replication_role = replica;
TRUNCATE transfer, refused_transfer, unsealed_transfer, ledger_leaf, merkle_node, tree_head, account_balance,
         payment_notice, payment_order, donation, audit_event CASCADE;
INSERT INTO account_balance (account_id, shard)
    SELECT id, generate_series(0, shards - 1) FROM ledger_account;
VACUUM ANALYZE account_balance;
VACUUM ANALYZE transfer;
CHECKPOINT;
"""
ORDERS = """
INSERT INTO donation (id, number, fund_id, channel, amount_fen, status, donated_at, account_id, shown_as, commitment,
                      created_at)
SELECT (lpad(to_hex({kind}), 8, '0') || lpad(to_hex(i), 24, '0'))::uuid, 'B' || i, f.id, 'wechat', 100 + i % 900,
       'pending', now(), '0000000a-0000-0000-0000-000000000001', 'anonymous', sha256(i::text::bytea), now()
  FROM generate_series(1, {many}) i JOIN fund f ON f.code = 'F' || lpad((i % {funds} + 1)::text, 2, '0');
INSERT INTO payment_order (id, out_trade_no, account_id, amount_fen, status, prepay_id, created_at, expires_at,
                           next_query_at)
SELECT id, replace(id::text, '-', ''), account_id, amount_fen, 'prepaid', 'wx' || number, now(),
       now() + interval '2 hours', now() + interval '1 minute'
  FROM donation;
ANALYZE donation;
ANALYZE payment_order
"""


def amount_of(number: int) -> int:
    """Of the order with this number, as in ORDERS."""
    return 100 + number % 900


async def furnish(url: str, many: int) -> None:
    """So many funds and channels, two accounts that money moves between for each pair of them."""
    engine = create_async_engine(db.driver(url))
    db.bind(engine)
    async with db.begin() as session:
        for number in range(1, many + 1):
            fund = Fund(
                id=new_id(), code=fund_code(number), region_code=settings().region_code, zh=f"基金{number}",
                en=f"Fund {number}", purpose_zh="帮扶", purpose_en="Help", restricted=True, status=FundStatus.OPEN,
                created_at=clock.now(),
            )  # fmt: skip
            session.add(fund)
            await session.flush()
            await accounts.open_for(session, fund)
    await engine.dispose()
    await execute(url, CHANNELS.format(many=many), DONOR)


async def clear(url: str) -> None:
    await execute(url, *statements(CLEAR))


async def await_payment(url: str, funds: int, many: int) -> None:
    """Orders, as giving leaves them."""
    await execute(url, *statements(ORDERS.format(kind=GIFT, funds=funds, many=many)))


JUDGE = {
    "a balance is not its transfers": """
        SELECT count(*)
          FROM (SELECT account_id, sum(debits) AS d, sum(credits) AS c, sum(pending) AS p FROM account_balance
                 GROUP BY account_id) AS b
          FULL JOIN (SELECT account_id, sum(d) AS d, sum(c) AS c FROM (
                         SELECT debit_account_id AS account_id, amount_fen AS d, 0 AS c FROM transfer UNION ALL
                         SELECT credit_account_id, 0, amount_fen FROM transfer) AS side
                      GROUP BY account_id) AS t USING (account_id)
         WHERE (b.d, b.c, b.p) IS DISTINCT FROM (coalesce(t.d, 0), coalesce(t.c, 0), 0)""",
    "debits are not credits": "SELECT sum(debits) - sum(credits) FROM account_balance",
    "a fund is overdrawn": """
        SELECT count(*) FROM (SELECT 1 FROM account_balance b JOIN ledger_account a ON a.id = b.account_id
         WHERE limit_id IS NOT NULL GROUP BY limit_id HAVING sum(credits - debits - pending) < 0) AS overdrawn""",
    "posted and refused": "SELECT count(*) FROM transfer JOIN refused_transfer USING (id)",
    "a transfer is not in line for the log once, or in it": """
        SELECT count(*) FROM transfer FULL JOIN (
            SELECT transfer_id, count(*) AS times FROM (
                SELECT transfer_id FROM unsealed_transfer UNION ALL SELECT transfer_id FROM ledger_leaf) AS either
             GROUP BY transfer_id) AS kept ON transfer_id = id
         WHERE id IS NULL OR times IS DISTINCT FROM 1""",
    "the log has a gap": "SELECT count(*) - coalesce(max(index) + 1, 0) FROM ledger_leaf",
}
TOLD = {
    "a paid order lacks its gift, transfer, notice or audit": """
        SELECT sum(abs(many - (SELECT count(*) FROM payment_order WHERE status = 'paid'))) FROM (
            SELECT count(*) AS many FROM donation JOIN transfer ON transfer.id = transfer_id AND transfer.commitment
                   = donation.commitment AND transfer.amount_fen = donation.amount_fen WHERE status = 'received'
            UNION ALL SELECT count(*) FROM transfer UNION ALL SELECT count(*) FROM payment_notice
            UNION ALL SELECT count(*) FROM audit_event WHERE action = 'receive') AS each_""",
}


async def violations(url: str, *, done: int, refused: int | None = None, unsure: int = 0) -> list[str]:
    """What is wrong after a run, in which so many heard that it was posted, and `unsure` heard nothing."""
    found = [rule for rule, query in JUDGE.items() if (await fetch(url, query))[0][0]]
    rows = (await fetch(url, "SELECT count(*) FROM transfer"))[0][0]
    if not done <= rows <= done + unsure:
        found.append(f"{done} heard that it was posted, {rows} are")
    kept = (await fetch(url, "SELECT count(*) FROM refused_transfer"))[0][0]
    if refused is not None and kept != refused:
        found.append(f"{refused} heard a refusal, {kept} are kept")
    return found


async def violations_of_notices(url: str, *, done: int, unsure: int) -> list[str]:
    found = await violations(url, done=done, unsure=unsure)
    return found + [rule for rule, query in TOLD.items() if (await fetch(url, query))[0][0]]


POST_SCRIPT = r"""\set f random(1, {funds})
\set c random(1, {channels})
\set out random(1, 100)
\if :out <= {out}
\set a random(1, {payment})
SELECT post_transfer(gen_random_uuid(), '5101-F' || lpad(:f::text, 2, '0'), '1002', :a, 'disbursement',
  'disbursement/x', current_date, now(), false);
\else
\set a random(1, {gift})
SELECT post_transfer(gen_random_uuid(), '1009C' || lpad(:c::text, 2, '0'), '410102-F' || lpad(:f::text, 2, '0'), :a,
  'donation', 'donation/x', current_date, now(), true);
\endif
"""
NOTICE_SCRIPT = r"""\set n :n + 1
\set i :client_id + 1 + (:n - 1) * {clients}
SELECT take_payment_notice('N' || :i, 'TRANSACTION.SUCCESS', '{{}}', '\x00'::bytea, 'bench',
  lpad(to_hex({kind}), 8, '0') || lpad(to_hex(:i::bigint), 24, '0'), 'T' || :i, 100 + :i % 900, now(), now(),
  gen_random_uuid());
"""


def limit_of_posting(url: str, workload: Workload, clients: int, seconds: float) -> Run:
    """Keeps no refusals, which would be a second statement."""
    script = POST_SCRIPT.format(
        funds=workload.funds, channels=workload.channels, out=round(workload.out * 100), gift=LARGEST_GIFT,
        payment=LARGEST_PAYMENT,
    )  # fmt: skip
    rate, latencies = pgbench.run(url, script, clients, "-T", max(1, round(seconds)))
    done = asyncio.run(fetch(url, "SELECT count(*) FROM transfer"))[0][0]
    void = asyncio.run(violations(url, done=done))
    return Run(rate, latencies, refused=len(latencies) - done, void=void)


def limit_of_notices(url: str, clients: int, each: int) -> Run:
    script = NOTICE_SCRIPT.format(clients=clients, kind=GIFT)
    rate, latencies = pgbench.run(url, script, clients, "-t", each)
    void = asyncio.run(violations_of_notices(url, done=len(latencies), unsure=0))
    return Run(rate, latencies, void=void)
