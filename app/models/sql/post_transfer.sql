-- One transfer between two accounts, in one round trip. Answers posted, replayed (the same id and content before),
-- mismatch (the same id, other content), or why not: insufficient, closed_month, already_resolved, already_reversed,
-- more_than_held.
-- p_record: the money has moved already, so nothing refuses it; dated into a closed month it counts to today.
-- Otherwise it is asked for, and the fund must have it: what would take from the same fund waits until this has
-- committed, what gives to it does not. Gifts may then only make it more than was seen here.
-- Balances are touched in the order of account and shard everywhere, so that transfers that meet do not deadlock.
-- Reads what others have committed meanwhile, statement by statement: READ COMMITTED is what it is written for.
-- The application's role cannot write these tables; it may only call this.
CREATE OR REPLACE FUNCTION post_transfer(
    p_id uuid, p_debit text, p_credit text, p_amount bigint, p_kind text, p_reference text, p_effective date,
    p_now timestamptz, p_record boolean, p_phase text DEFAULT 'single', p_group uuid DEFAULT NULL,
    p_pending uuid DEFAULT NULL, p_reverses uuid DEFAULT NULL, p_commitment bytea DEFAULT NULL,
    p_currency text DEFAULT 'CNY'
) RETURNS text LANGUAGE plpgsql SECURITY DEFINER
SET search_path FROM CURRENT
AS $$
DECLARE
    v_debit ledger_account;
    v_credit ledger_account;
    v_old transfer;
    v_refused refused_transfer;
    v_open_from date;
    v_effective date := p_effective;
    v_closed boolean := false;
    v_limited boolean := false;
    v_available numeric;
    v_held bigint := 0;
    v_debit_shard smallint;
    v_credit_shard smallint;
    v_first boolean;
    -- The reference comes last: nothing else can hold the separator.
    v_fingerprint bytea := sha256(convert_to(concat_ws('|', p_debit, p_credit, p_amount, p_currency, p_kind, p_phase,
        coalesce(p_pending::text, '-'), coalesce(p_reverses::text, '-'), p_reference), 'UTF8'));
BEGIN
    SELECT * INTO v_debit FROM ledger_account WHERE code = p_debit;
    SELECT * INTO v_credit FROM ledger_account WHERE code = p_credit;
    IF v_debit.id IS NULL OR v_credit.id IS NULL OR v_debit.currency <> p_currency OR v_credit.currency <> p_currency THEN
        RAISE EXCEPTION 'no such account in this currency' USING ERRCODE = 'NX010';
    END IF;

    -- A month is closed under the exclusive lock: until this commits, none is.
    PERFORM pg_advisory_xact_lock_shared(7301664013);
    SELECT max(month) + interval '1 month' INTO v_open_from FROM ledger_period;
    IF p_effective < v_open_from THEN
        -- What was held may be paid, or set free, whenever it comes to that.
        v_closed := NOT p_record AND p_pending IS NULL;
        v_effective := greatest((p_now AT TIME ZONE 'Asia/Shanghai')::date, v_open_from);
    END IF;

    -- A hold and what becomes of it are in the same part of the balance.
    v_debit_shard := CASE WHEN p_record AND p_phase = 'single' THEN pg_backend_pid() % v_debit.shards ELSE 0 END;
    v_credit_shard := pg_backend_pid() % v_credit.shards;
    IF p_pending IS NOT NULL THEN
        SELECT * INTO v_old FROM transfer WHERE id = p_pending AND phase = 'hold'
           AND debit_account_id = v_debit.id AND credit_account_id = v_credit.id;
        IF v_old.id IS NULL THEN
            RAISE EXCEPTION 'no such hold' USING ERRCODE = 'NX011';
        END IF;
        v_held := v_old.amount_fen;
        IF p_amount > v_held OR p_phase = 'void' AND p_amount <> v_held THEN
            RETURN 'more_than_held';
        END IF;
    ELSIF p_reverses IS NOT NULL THEN
        PERFORM FROM transfer WHERE id = p_reverses AND phase IN ('single', 'post') AND amount_fen = p_amount
            AND debit_account_id = v_credit.id AND credit_account_id = v_debit.id;
        IF NOT FOUND THEN
            RAISE EXCEPTION 'not what is to be reversed' USING ERRCODE = 'NX012';
        END IF;
    END IF;

    IF p_pending IS NULL AND v_debit.limit_id IS DISTINCT FROM v_credit.limit_id AND v_debit.limit_id IS NOT NULL THEN
        v_limited := true;
        PERFORM pg_advisory_xact_lock(730166401, hashtext(v_debit.limit_id::text));
    END IF;
    IF NOT p_record AND p_pending IS NULL THEN
        -- New statements, so that they see what those committed who held the lock before.
        IF NOT EXISTS (SELECT FROM transfer WHERE id = p_id) THEN
            SELECT * INTO v_refused FROM refused_transfer WHERE id = p_id;
            IF FOUND THEN
                RETURN CASE WHEN v_refused.fingerprint = v_fingerprint THEN v_refused.reason ELSE 'mismatch' END;
            ELSIF v_closed THEN
                RETURN 'closed_month';
            ELSIF v_limited THEN
                SELECT sum(b.credits - b.debits - b.pending) INTO v_available
                  FROM account_balance b JOIN ledger_account a ON a.id = b.account_id
                 WHERE a.limit_id = v_debit.limit_id;
                IF v_available < p_amount THEN
                    RETURN 'insufficient';
                END IF;
            END IF;
        END IF;
    END IF;

    INSERT INTO transfer (id, debit_account_id, credit_account_id, amount_fen, currency, kind, phase, group_id,
                          pending_id, reverses_id, fingerprint, reference, commitment, effective_on, recorded_at)
    VALUES (p_id, v_debit.id, v_credit.id, p_amount, p_currency, p_kind, p_phase, p_group,
            p_pending, p_reverses, v_fingerprint, p_reference, p_commitment, v_effective, p_now)
    ON CONFLICT DO NOTHING;
    IF NOT FOUND THEN
        SELECT * INTO v_old FROM transfer WHERE id = p_id;
        RETURN CASE WHEN v_old.id IS NULL AND p_pending IS NULL THEN 'already_reversed'
                    WHEN v_old.id IS NULL THEN 'already_resolved'
                    WHEN v_old.fingerprint = v_fingerprint THEN 'replayed' ELSE 'mismatch' END;
    END IF;
    INSERT INTO unsealed_transfer (transfer_id) VALUES (p_id);

    v_first := v_debit.id < v_credit.id;
    FOR turn IN 1 .. 2 LOOP
        IF (turn = 1) = v_first THEN
            UPDATE account_balance
               SET debits = debits + CASE WHEN p_phase IN ('single', 'post') THEN p_amount ELSE 0 END,
                   pending = pending + CASE WHEN p_phase = 'hold' THEN p_amount ELSE -v_held END
             WHERE account_id = v_debit.id AND shard = v_debit_shard;
        ELSIF p_phase IN ('single', 'post') THEN
            UPDATE account_balance SET credits = credits + p_amount
             WHERE account_id = v_credit.id AND shard = v_credit_shard;
        END IF;
    END LOOP;
    RETURN 'posted';
END
$$;
