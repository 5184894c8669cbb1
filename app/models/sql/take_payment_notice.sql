-- A notice of a payment: what it tells is recorded and the notice is kept, in one round trip and all or nothing. The
-- same notice again, or another about the same payment, changes nothing. Answers as record_payment does.
CREATE OR REPLACE FUNCTION take_payment_notice(
    p_id text, p_event_type text, p_content jsonb, p_digest bytea, p_key_id text, p_out_trade_no text,
    p_transaction_id text, p_amount bigint, p_paid_at timestamptz, p_now timestamptz, p_transfer uuid
) RETURNS text LANGUAGE plpgsql
AS $$
DECLARE
    v_outcome text := record_payment(p_out_trade_no, p_transaction_id, p_amount, p_paid_at, p_now, p_transfer);
BEGIN
    INSERT INTO payment_notice (id, event_type, content, digest, key_id, outcome, received_at)
    VALUES (p_id, p_event_type, p_content, p_digest, p_key_id, v_outcome, p_now)
    ON CONFLICT (id) DO NOTHING;
    RETURN v_outcome;
END
$$;
