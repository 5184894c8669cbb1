-- Keeps a refusal, so that the same id is refused again whatever has changed since: a retry never turns it into a
-- payment. Called in a transaction of its own, which outlives the refused one, while that one still holds its locks:
-- whoever asks with the same id meanwhile waits, and then finds this. Nothing that could be refused names a hold.
CREATE OR REPLACE FUNCTION refuse_transfer(
    p_id uuid, p_debit text, p_credit text, p_amount bigint, p_kind text, p_reference text, p_reason text,
    p_now timestamptz, p_phase text, p_reverses uuid, p_currency text
) RETURNS void LANGUAGE sql SECURITY DEFINER
SET search_path FROM CURRENT
AS $$
    INSERT INTO refused_transfer (id, fingerprint, reason, recorded_at)
    SELECT p_id, sha256(convert_to(concat_ws('|', p_debit, p_credit, p_amount, p_currency, p_kind, p_phase, '-',
           coalesce(p_reverses::text, '-'), p_reference), 'UTF8')), p_reason, p_now
     WHERE NOT EXISTS (SELECT FROM transfer WHERE id = p_id)
    ON CONFLICT (id) DO NOTHING
$$;
