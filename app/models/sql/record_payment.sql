-- Money that WeChat Pay says it has taken: order, donation and ledger in one round trip. Told again (by a notice, a
-- query or the bill, in any order) it changes nothing. Answers paid, again, or unexplained: no such order, another
-- amount, or a second payment of it. That money is in suspense then, and a difference is on the work list. What the
-- ledger does not take undoes the whole: it will be told again.
CREATE OR REPLACE FUNCTION record_payment(
    p_out_trade_no text, p_transaction_id text, p_amount bigint, p_paid_at timestamptz, p_now timestamptz,
    p_transfer uuid
) RETURNS text LANGUAGE plpgsql
AS $$
DECLARE
    v_id uuid;
    v_ours bigint;
    v_gift donation;
    v_paid_on date := (p_paid_at AT TIME ZONE 'Asia/Shanghai')::date;
    v_outcome text;
BEGIN
    UPDATE payment_order SET status = 'paid', transaction_id = p_transaction_id, paid_at = p_paid_at
     WHERE out_trade_no = p_out_trade_no AND amount_fen = p_amount AND status IN ('created', 'prepaid', 'closed')
    RETURNING id INTO v_id;
    IF FOUND THEN
        UPDATE donation SET status = 'received', donated_at = p_paid_at, transfer_id = p_transfer,
                            version = version + 1
         WHERE id = v_id RETURNING * INTO v_gift;
        v_outcome := post_transfer(
            p_transfer, '100901',
            (SELECT CASE WHEN restricted THEN '410102-' ELSE '410101-' END || code FROM fund WHERE id = v_gift.fund_id),
            p_amount, 'donation', 'donation/' || v_id, v_paid_on, p_now, true, p_commitment => v_gift.commitment);
        IF v_outcome NOT IN ('posted', 'replayed') THEN
            RAISE EXCEPTION 'the ledger did not take a gift: %', v_outcome USING ERRCODE = 'NX013';
        END IF;
        IF v_gift.pledge_id IS NOT NULL THEN
            UPDATE pledge SET received_fen = received_fen + p_amount, version = version + 1,
                              status = CASE WHEN status = 'open' AND received_fen + p_amount >= amount_fen
                                            THEN 'fulfilled' ELSE status END
             WHERE id = v_gift.pledge_id;
        END IF;
        INSERT INTO audit_event (at, actor_role, action, entity, entity_id, request_id)
        VALUES (p_now, 'system', 'receive', 'donation', v_id, '-');
        RETURN 'paid';
    END IF;
    SELECT amount_fen INTO v_ours FROM payment_order WHERE out_trade_no = p_out_trade_no;
    IF EXISTS (SELECT FROM transfer WHERE id = p_transfer) THEN
        RETURN 'again';
    END IF;
    v_outcome := post_transfer(p_transfer, '100901', '220901', p_amount, 'unmatched', 'wechat/' || p_transaction_id,
                               v_paid_on, p_now, true);
    IF v_outcome = 'replayed' THEN
        RETURN 'again';
    ELSIF v_outcome <> 'posted' THEN
        RAISE EXCEPTION 'the ledger did not take a payment: %', v_outcome USING ERRCODE = 'NX013';
    END IF;
    INSERT INTO reconciliation_difference (id, bill_date, kind, status, reference, ours_fen, theirs_fen, transfer_id,
                                           created_at)
    VALUES (gen_random_uuid(), v_paid_on,
            CASE WHEN v_ours IS NULL THEN 'missing_here' WHEN v_ours <> p_amount THEN 'amount' ELSE 'status' END,
            'open', p_transaction_id, coalesce(v_ours, 0), p_amount, p_transfer, p_now)
    ON CONFLICT (reference, kind) DO NOTHING;
    RETURN 'unexplained';
END
$$;
