-- Closes the books of a month: whatever is being posted ends first, nothing is dated into it afterwards, and what moved
-- in it is added up once, so that no statement reads it again. Months are closed one after the other.
-- Answers closed, already (it was), not_over, or earlier_open (a month before it is open).
CREATE OR REPLACE FUNCTION close_ledger_month(p_id uuid, p_month date, p_by uuid, p_now timestamptz)
RETURNS text LANGUAGE plpgsql SECURITY DEFINER
SET search_path FROM CURRENT
AS $$
DECLARE
    v_last date;
    v_next date := p_month + interval '1 month';
BEGIN
    IF v_next > p_now AT TIME ZONE 'Asia/Shanghai' THEN
        RETURN 'not_over';
    END IF;
    PERFORM pg_advisory_xact_lock(7301664013);
    SELECT max(month) INTO v_last FROM ledger_period;
    IF p_month <= v_last THEN
        RETURN 'already';
    ELSIF p_month > v_last + interval '1 month'
          OR v_last IS NULL AND EXISTS (SELECT FROM transfer WHERE effective_on < p_month) THEN
        RETURN 'earlier_open';
    END IF;
    INSERT INTO ledger_turnover (month, account_id, kind, debits, credits)
    SELECT p_month, side.account_id, t.kind, sum(side.debit), sum(side.credit)
      FROM transfer t
     CROSS JOIN LATERAL (VALUES (t.debit_account_id, t.amount_fen, 0::bigint),
                                (t.credit_account_id, 0::bigint, t.amount_fen)) side (account_id, debit, credit)
     WHERE t.effective_on >= p_month AND t.effective_on < v_next AND t.phase IN ('single', 'post')
     GROUP BY side.account_id, t.kind;
    INSERT INTO ledger_period (id, month, closed_by, closed_at) VALUES (p_id, p_month, p_by, p_now);
    RETURN 'closed';
END
$$;
