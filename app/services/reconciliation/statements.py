"""Matching in SQL: a bill of any length is a few statements. Each may be repeated at any point and changes nothing the
second time: transfers have their ids from what they are about, differences are unique."""

from sqlalchemy import TextClause, text

#: Words that several of the statements have.
_WORDS = {
    "DAY_OF_LINE": "(l.at AT TIME ZONE 'Asia/Shanghai')::date",
    "NOT_POSTED": "NOT EXISTS (SELECT FROM transfer t WHERE t.id = l.transfer_id)",
    "THE_ACCOUNT": "(SELECT id FROM ledger_account WHERE code = '100901')",
    "ONLY_ONCE": "ON CONFLICT (reference, kind) DO NOTHING",
    "NOTE_EACH": """INSERT INTO reconciliation_difference (id, bill_date, kind, status, reference, ours_fen, theirs_fen,
                                       transfer_id, created_at)
SELECT gen_random_uuid(), CAST(:day AS date), kind, 'open', reference, ours, theirs, transfer_id,
       CAST(:now AS timestamptz) FROM""",
}


def _text(statement: str) -> TextClause:
    for word, meaning in _WORDS.items():
        statement = statement.replace(word, meaning)
    return text(statement)


#: Who compares at the same time goes over the same differences.
ALONE = text("SELECT pg_advisory_xact_lock(7301664027)")

#: Payments that nobody told us of.
UNTOLD = _text("""
SELECT l.out_trade_no, l.transaction_id, l.amount_fen, l.at FROM bill_line l
 WHERE l.file_id = :file AND l.kind = 'payment' AND l.amount_fen > 0 AND NOT_POSTED ORDER BY l.line""")

#: Refunds that succeeded and that we think open.
UNSETTLED = _text("""
SELECT l.out_refund_no, l.out_trade_no, l.refund_id, l.transaction_id, l.amount_fen, r.paid_fen AS total_fen, l.at
  FROM bill_line l JOIN refund r ON r.out_refund_no = l.out_refund_no
 WHERE l.file_id = :file AND l.kind = 'refund' AND l.status = 'SUCCESS' AND r.amount_fen = l.amount_fen
   AND r.status IN ('approved', 'processing', 'abnormal') ORDER BY l.line""")

FEES = _text("""
WITH due AS MATERIALIZED (
    SELECT l.*, DAY_OF_LINE AS day FROM bill_line l
     WHERE l.file_id = :file AND l.fee_fen <> 0
       AND NOT EXISTS (SELECT FROM transfer t WHERE t.id = l.fee_transfer_id)
     ORDER BY l.line LIMIT :most)
SELECT count(post_transfer(
    fee_transfer_id, CASE WHEN fee_fen > 0 THEN '5301' ELSE '100901' END,
    CASE WHEN fee_fen > 0 THEN '100901' ELSE '5301' END, abs(fee_fen), 'fee', 'bill_line/' || id, day, :now, true))
  FROM due""")

#: What moved on the balance by no payment or refund: paid out to the bank (or come back from there); the rest is in
#: suspense, on the work list. Pay-outs first: accounts are locked in order, so that nobody meets head-on.
MOVEMENTS = _text("""
WITH due AS MATERIALIZED (
    SELECT l.*, DAY_OF_LINE AS day, CASE l.kind WHEN 'payout' THEN '1002' ELSE '220901' END AS other FROM bill_line l
     WHERE l.file_id = :file AND l.kind IN ('payout', 'other') AND l.amount_fen > 0 AND NOT_POSTED
     ORDER BY l.kind DESC, l.line LIMIT :most),
posted AS MATERIALIZED (
    SELECT due.*, post_transfer(
        transfer_id, CASE status WHEN '收入' THEN '100901' ELSE other END,
        CASE status WHEN '收入' THEN other ELSE '100901' END, amount_fen,
        CASE kind WHEN 'payout' THEN 'settlement' ELSE 'unmatched' END, 'bill_line/' || id, day, :now, true)
      FROM due),
noted AS (NOTE_EACH (
    SELECT 'unexplained' AS kind, transaction_id AS reference, 0 AS ours,
           CASE status WHEN '收入' THEN amount_fen ELSE -amount_fen END AS theirs, transfer_id
      FROM posted WHERE kind = 'other') AS found ONLY_ONCE)
SELECT count(*) FROM posted""")

#: Refunds that were not made here, as by hand on the merchant's own page.
STRANGE_REFUNDS = _text("""
WITH due AS MATERIALIZED (
    SELECT l.*, DAY_OF_LINE AS day FROM bill_line l
     WHERE l.file_id = :file AND l.kind = 'refund' AND l.status IN ('SUCCESS', 'PROCESSING') AND l.amount_fen > 0
       AND NOT EXISTS (SELECT FROM refund r WHERE r.out_refund_no = l.out_refund_no) AND NOT_POSTED
     ORDER BY l.line LIMIT :most),
posted AS MATERIALIZED (
    SELECT due.*, post_transfer(transfer_id, '220901', '100901', amount_fen, 'unmatched', 'bill_line/' || id, day,
                                :now, true)
      FROM due),
noted AS (NOTE_EACH (
    SELECT 'missing_here' AS kind, out_refund_no AS reference, 0 AS ours, -amount_fen AS theirs, transfer_id
      FROM posted) AS found ONLY_ONCE)
SELECT count(*) FROM posted""")

DISAGREEMENTS = _text("""NOTE_EACH (
    SELECT 'amount' AS kind, l.transaction_id AS reference, t.amount_fen AS ours, sum(l.amount_fen) AS theirs,
           CAST(NULL AS uuid) AS transfer_id
      FROM bill_line l JOIN transfer t ON t.id = l.transfer_id
     WHERE l.file_id = :file AND l.kind = 'payment'
     GROUP BY l.transaction_id, t.amount_fen HAVING sum(l.amount_fen) <> t.amount_fen
    UNION ALL
    SELECT 'fee', coalesce(l.out_refund_no, l.transaction_id),
           CASE a.code WHEN '100901' THEN t.amount_fen ELSE -t.amount_fen END, -sum(l.fee_fen), NULL
      FROM bill_line l JOIN transfer t ON t.id = l.fee_transfer_id JOIN ledger_account a ON a.id = t.debit_account_id
     WHERE l.file_id = :file
     GROUP BY 2, 3 HAVING -sum(l.fee_fen) <> CASE a.code WHEN '100901' THEN t.amount_fen ELSE -t.amount_fen END
    UNION ALL
    SELECT CASE WHEN r.amount_fen <> l.amount_fen THEN 'amount' ELSE 'status' END, l.out_refund_no,
           CASE r.status WHEN 'succeeded' THEN -r.amount_fen ELSE 0 END,
           CASE WHEN l.status IN ('SUCCESS', 'PROCESSING') THEN -l.amount_fen ELSE 0 END, NULL
      FROM bill_line l JOIN refund r ON r.out_refund_no = l.out_refund_no
     WHERE l.file_id = :file AND l.kind = 'refund'
       AND (r.amount_fen <> l.amount_fen OR (l.status = 'SUCCESS') > (r.status = 'succeeded')
            OR l.status NOT IN ('SUCCESS', 'PROCESSING') AND r.status = 'succeeded')
    UNION ALL
    SELECT 'status', l.transaction_id, t.amount_fen, 0, NULL
      FROM bill_line l JOIN transfer t ON t.id = l.transfer_id
     WHERE l.file_id = :file AND l.kind = 'revoked') AS found ONLY_ONCE""")

#: Ours of a day in no bill, once the bill of the day after is there too: what was paid in the last second of a day
#: may stand in that one.
MISSING_THERE = _text("""NOTE_EACH (
    SELECT 'missing_there' AS kind, coalesce(o.transaction_id, split_part(t.reference, '/', 2)) AS reference,
           t.amount_fen AS ours, 0 AS theirs, CAST(NULL AS uuid) AS transfer_id
      FROM transfer t LEFT JOIN donation d ON d.transfer_id = t.id LEFT JOIN payment_order o ON o.id = d.id
     WHERE t.debit_account_id = THE_ACCOUNT
       AND t.effective_on = :day AND t.kind IN ('donation', 'unmatched') AND t.phase = 'single'
       AND NOT EXISTS (SELECT FROM bill_line l WHERE l.transfer_id = t.id)
       AND NOT EXISTS (SELECT FROM transfer x WHERE x.reverses_id = t.id)
    UNION ALL
    SELECT 'missing_there', r.out_refund_no, -t.amount_fen, 0, NULL
      FROM transfer t JOIN refund r ON r.hold_id = t.pending_id
     WHERE t.credit_account_id = THE_ACCOUNT
       AND t.effective_on = :day AND t.kind = 'refund' AND t.phase = 'post'
       AND NOT EXISTS (SELECT FROM bill_line l WHERE l.out_refund_no = r.out_refund_no)) AS found
 WHERE (SELECT count(*) FROM bill_file WHERE bill_type = 'trade' AND bill_date IN (:day, :next)) = 2 ONLY_ONCE""")

#: What a later bill, or a late notice, explains.
EXPLAINED = text("""
UPDATE reconciliation_difference d SET status = 'matched', resolved_at = :now, version = version + 1
 WHERE d.status IN ('open', 'investigating') AND (
       d.kind = 'missing_there' AND EXISTS (
           SELECT FROM bill_line l WHERE l.transaction_id = d.reference AND l.kind = 'payment')
    OR d.kind = 'missing_there' AND EXISTS (SELECT FROM bill_line l WHERE l.out_refund_no = d.reference)
    OR d.kind = 'status' AND d.theirs_fen < 0 AND EXISTS (
           SELECT FROM refund r WHERE r.out_refund_no = d.reference AND r.status = 'succeeded')
    OR d.kind = 'bill' AND EXISTS (  -- the one that was refused has come as it should be
           SELECT FROM bill_file f
            WHERE f.bill_type || '/' || f.bill_date = d.reference AND f.fetched_at > d.created_at))
""")

#: Refunds not made here, that were under way when the bill told of them.
UNDER_WAY_THERE = text("""
SELECT d.id, d.reference AS out_refund_no
  FROM reconciliation_difference d
  JOIN bill_line l ON l.out_refund_no = d.reference AND l.transfer_id = d.transfer_id
 WHERE d.status IN ('open', 'investigating') AND d.kind = 'missing_here' AND l.status = 'PROCESSING'
 ORDER BY d.id LIMIT 100""")

#: Money in suspense that went back to who had paid it.
GIVEN_BACK = text("""
WITH pair AS (
    SELECT p.id AS payment, array_agg(r.id) AS refunds
      FROM reconciliation_difference p
      JOIN bill_line l ON l.transaction_id = p.reference AND l.kind = 'refund'
      JOIN reconciliation_difference r ON r.reference = l.out_refund_no AND r.transfer_id = l.transfer_id
     WHERE p.status IN ('open', 'investigating') AND p.transfer_id IS NOT NULL AND p.theirs_fen > 0
       AND r.status IN ('open', 'investigating') AND r.kind = 'missing_here'
     GROUP BY p.id HAVING p.theirs_fen + sum(r.theirs_fen) = 0)
UPDATE reconciliation_difference d SET status = 'matched', resolved_at = :now, version = version + 1
  FROM pair WHERE d.id = pair.payment OR d.id = ANY (pair.refunds)""")
