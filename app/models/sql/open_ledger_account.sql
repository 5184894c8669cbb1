-- An account with its empty balances. Opening it again changes nothing.
CREATE OR REPLACE FUNCTION open_ledger_account(
    p_code text, p_zh text, p_en text, p_class text, p_fund uuid, p_limit uuid, p_shards int, p_now timestamptz,
    p_currency text DEFAULT 'CNY'
) RETURNS void LANGUAGE sql SECURITY DEFINER
SET search_path FROM CURRENT
AS $$
    WITH opened AS (
        INSERT INTO ledger_account (code, zh, en, account_class, currency, fund_id, limit_id, shards, created_at)
        VALUES (p_code, p_zh, p_en, p_class, p_currency, p_fund, p_limit, p_shards, p_now)
        ON CONFLICT (code) DO NOTHING RETURNING id, shards
    ) INSERT INTO account_balance (account_id, shard)
      SELECT id, generate_series(0, shards - 1) FROM opened
$$;
