-- Booking in one round trip. Looks without a lock first, so that a full slot costs one indexed read; then inserts
-- under the partial unique index; takes the place last, so that the slot row is locked for the commit only.
-- Called in autocommit: returning without 'booked' has written nothing, and raising NX001 undoes the insert.
CREATE OR REPLACE FUNCTION book_appointment(
    p_id uuid, p_account uuid, p_fingerprint bytea, p_slot uuid, p_code text, p_request text, p_now timestamptz
) RETURNS TABLE (outcome text, booked appointment) LANGUAGE plpgsql
-- Every look is one index probe whatever the values: planning each anew would cost more than doing it.
SET plan_cache_mode = force_generic_plan
AS $$
DECLARE
    v_slot slot;
    v_person uuid;
    v_who qualification;
BEGIN
    SELECT s.* INTO v_slot FROM slot s WHERE s.id = p_slot;
    outcome := CASE WHEN v_slot.id IS NULL OR v_slot.status = 'draft' THEN 'unknown_slot'
                    WHEN v_slot.status = 'open' AND v_slot.opens_at > p_now THEN 'not_open_yet'
                    WHEN v_slot.status <> 'open' OR v_slot.starts_at <= p_now THEN 'closed'
                    WHEN v_slot.booked >= v_slot.capacity THEN 'full' END;
    IF outcome IS NULL THEN
        SELECT a.person_id INTO v_person FROM resident_account a WHERE a.id = p_account;
        -- Settled up to 30 days ago: that a couple still is one is asked again.
        SELECT q.* INTO v_who FROM qualification q
         WHERE q.service_id = v_slot.service_id AND q.person_id = v_person AND q.valid_until > p_now
           AND (q.spouse_id IS NULL
                OR EXISTS (SELECT FROM couple c WHERE c.id = q.subject_id AND c.valid_to IS NULL));
        IF v_who.id IS NULL THEN
            outcome := CASE WHEN v_person IS NULL THEN 'not_bound' ELSE 'not_qualified' END;
        -- Every notice in force must be agreed to by each of those examined (PIPL arts. 23, 29).
        -- LIMIT keeps the planner to one index probe for each person and notice.
        ELSIF EXISTS (
            SELECT FROM consent_notice n
             CROSS JOIN unnest(array_remove(ARRAY[v_who.person_id, v_who.spouse_id], NULL)) AS p(id)
              LEFT JOIN LATERAL (
                SELECT c.id FROM consent c
                 WHERE c.person_id = p.id AND c.notice_id = n.id AND c.withdrawn_at IS NULL
                   -- A guardian's counts until the age of 14.
                   AND (c.guardian_id IS NULL OR EXISTS (
                        SELECT FROM person o WHERE o.id = c.person_id AND o.birth_date
                             > (p_now AT TIME ZONE 'Asia/Shanghai')::date - interval '14 years'))
                 LIMIT 1) AS given ON true
             WHERE n.retired_at IS NULL AND given.id IS NULL
        ) THEN
            outcome := 'consent_required';
        END IF;
    END IF;

    -- A key that booked once gets its appointment again, whatever has changed since.
    IF outcome IS NULL THEN
        INSERT INTO idempotency_key (id, actor_id, fingerprint, created_at)
        VALUES (p_id, p_account, p_fingerprint, p_now) ON CONFLICT (id) DO NOTHING;
        outcome := CASE WHEN NOT FOUND THEN 'replay' END;
    ELSIF EXISTS (SELECT FROM idempotency_key k WHERE k.id = p_id) THEN
        outcome := 'replay';
    END IF;
    IF outcome IS NOT NULL THEN
        RETURN NEXT;
        RETURN;
    END IF;

    INSERT INTO appointment (id, slot_id, clinic_id, service_id, subject_id, person_id, spouse_id, account_id,
                             region_code, cycle, code, starts_at, ends_at, status, created_at)
    VALUES (p_id, p_slot, v_slot.clinic_id, v_slot.service_id, v_who.subject_id, v_who.person_id, v_who.spouse_id,
            p_account, v_who.region_code, v_who.cycle, p_code, v_slot.starts_at, v_slot.ends_at, 'booked', p_now)
    RETURNING * INTO booked;
    -- The foreign keys have waited for a move, a divorce or a merge of these people: what was read before is stale.
    IF NOT EXISTS (
        SELECT FROM qualification q
         WHERE q.id = v_who.id AND q.subject_id = v_who.subject_id AND q.region_code = v_who.region_code
           AND q.valid_until >= v_who.valid_until
    ) THEN
        RAISE EXCEPTION 'changed meanwhile' USING ERRCODE = 'serialization_failure';
    END IF;
    INSERT INTO appointment_event (appointment_id, at, status, actor_role, actor_id)
    VALUES (p_id, p_now, 'booked', 'resident', p_account);
    INSERT INTO audit_event (at, actor_role, actor_id, action, entity, entity_id, person_id, request_id)
    SELECT p_now, 'resident', p_account, 'book', 'appointment', p_id, p.id, p_request
      FROM unnest(array_remove(ARRAY[v_who.person_id, v_who.spouse_id], NULL)) AS p(id);

    UPDATE slot SET booked = slot.booked + 1
     WHERE slot.id = p_slot AND slot.status = 'open' AND slot.booked < slot.capacity;
    IF NOT FOUND THEN
        RAISE EXCEPTION 'slot full' USING ERRCODE = 'NX001';
    END IF;
    outcome := 'booked';
    RETURN NEXT;
END
$$;
