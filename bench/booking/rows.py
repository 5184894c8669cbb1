"""Where bookings take place: residents and slots, and the judge."""

from bench.stage import fetch, statements, still
from tests.database import execute

ACCOUNT, SLOT = 0xA, 0x5
# Couples, each wife with an account, both with consent to every notice and with eligibility settled.
RESIDENTS = """
CREATE FUNCTION pg_temp.numbered(kind int, i bigint) RETURNS uuid LANGUAGE sql
    RETURN (lpad(to_hex(kind), 8, '0') || lpad(to_hex(i), 24, '0'))::uuid;
INSERT INTO organization (id, name, region_code, algorithm, disabled_at, created_at)
    SELECT pg_temp.numbered(1, 1), '妇幼保健院', '640104000000', 'hmac-sha256', NULL, now();
INSERT INTO clinic (id, organization_id, region_code, name, address, phone, created_at)
    SELECT pg_temp.numbered(2, 1), pg_temp.numbered(1, 1), '640104000000', '优生门诊', '解放东街1号',
    '0951-1234567', now();
INSERT INTO person (id, name, pinyin, initials, sex, birth_date, document_kind, document_number_sealed,
                    document_index, created_at)
    SELECT pg_temp.numbered(kind, i), '马兰', 'ma lan', 'ml', CASE kind WHEN 3 THEN 'female' ELSE 'male' END,
           '1995-06-01',
           'passport', '\\x00', sha256((kind || '-' || i)::bytea), now()
      FROM generate_series(1, {residents}) i, unnest(ARRAY[3, 4]) kind;
INSERT INTO couple (id, wife_id, husband_id, plans_pregnancy, valid_from)
    SELECT pg_temp.numbered(6, i), pg_temp.numbered(3, i), pg_temp.numbered(4, i), true, '2023-01-01'
      FROM generate_series(1, {residents}) i;
INSERT INTO resident_account (id, openid, person_id, bound_at, created_at)
    SELECT pg_temp.numbered(10, i), 'o-' || i, pg_temp.numbered(3, i), now(), now()
      FROM generate_series(1, {residents}) i;
INSERT INTO consent (id, person_id, notice_id, given_at)
    SELECT gen_random_uuid(), p.id, n.id, now() FROM person p, consent_notice n;
INSERT INTO qualification (id, service_id, person_id, spouse_id, subject_id, cycle, region_code, rule_version_id,
                           facts, decided_at, valid_until)
    SELECT gen_random_uuid(), s.id, pg_temp.numbered(k.kind, i), pg_temp.numbered(7 - k.kind, i),
           pg_temp.numbered(6, i), 'child-1', '640104001000', r.id, '{{}}', now(), now() + interval '30 days'
      FROM generate_series(1, {residents}) i, unnest(ARRAY[3, 4]) AS k(kind), healthcare_service s, rule_version r
     WHERE s.code = 'pre_pregnancy_check' AND r.kind = 'eligibility' AND r.code = s.rule_code;
VACUUM ANALYZE;
"""

# The append-only triggers rest for this superuser's session only: every run starts from the same empty tables.
CLEAR = """
SET session_replication_role = replica;
TRUNCATE appointment, appointment_event, audit_event, idempotency_key, slot CASCADE;
INSERT INTO slot (id, clinic_id, service_id, starts_at, ends_at, capacity, booked, opens_at, status, created_at)
    SELECT ('00000005' || lpad(to_hex(i), 24, '0'))::uuid, c.id, s.id, now() + interval '7 days' + i * interval '1 h',
           now() + interval '7 days' + (i + 1) * interval '1 h', {capacity}, 0,
           now() - interval '1 day', 'open', now()
      FROM generate_series(1, {slots}) i, clinic c, healthcare_service s WHERE s.code = 'pre_pregnancy_check';
VACUUM ANALYZE slot;
VACUUM ANALYZE appointment;
CHECKPOINT;
"""


async def furnish(url: str, residents: int) -> None:
    await execute(url, *statements(RESIDENTS.format(residents=residents)))


async def clear(url: str, *, slots: int, full: bool) -> None:
    """Empty tables. A slot has room for all, or none left: a capacity of 0 is full without appointments."""
    await execute(url, *statements(CLEAR.format(slots=slots, capacity=0 if full else 10_000)))


ACTIVE = "status IN ('held', 'booked', 'arrived', 'fulfilled')"
JUDGE = {
    "a slot's counter is not its appointments": f"""
        SELECT count(*) FROM slot s
         WHERE s.booked <> (SELECT count(*) FROM appointment a WHERE a.slot_id = s.id AND {ACTIVE})""",
    "a slot is overbooked": f"""
        SELECT count(*) FROM (SELECT slot_id FROM appointment WHERE {ACTIVE} GROUP BY slot_id
         HAVING count(*) > (SELECT capacity FROM slot WHERE slot.id = slot_id)) AS over""",
    "a couple is booked twice": f"""
        SELECT count(*) FROM (SELECT 1 FROM appointment WHERE {ACTIVE}
         GROUP BY subject_id, service_id, cycle HAVING count(*) > 1) AS twice""",
    "an appointment lacks its event, audit or key": """
        SELECT (SELECT abs(count(*) - (SELECT count(*) FROM appointment)) FROM appointment_event)
             + (SELECT abs(count(*) - 2 * (SELECT count(*) FROM appointment)) FROM audit_event)
             + (SELECT abs(count(*) - (SELECT count(*) FROM appointment)) FROM idempotency_key)""",
}


async def violations(url: str, *, confirmed: int, unsure: int) -> list[str]:
    """What is wrong after a run. `confirmed` callers heard 201; `unsure` ones heard nothing."""
    # The textbook's commit comes after its answer.
    await still(url, "application_name = 'nuanxin'")
    found = [rule for rule, query in JUDGE.items() if (await fetch(url, query))[0][0]]
    rows = (await fetch(url, "SELECT count(*) FROM appointment"))[0][0]
    if not confirmed <= rows <= confirmed + unsure:
        found.append(f"{confirmed} heard 201, {rows} are booked")
    return found
