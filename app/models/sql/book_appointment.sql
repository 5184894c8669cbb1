-- Booking in one round trip. Looks without a lock first, so that a full slot costs one indexed read; then inserts
-- under the partial unique index; takes the place last, so that the slot row is locked for the commit only.
-- Called in autocommit: returning without 'booked' has written nothing, and raising NX001 undoes the insert.
CREATE OR REPLACE FUNCTION book_appointment(
    p_id uuid, p_account uuid, p_fingerprint bytea, p_slot uuid, p_code text, p_request text, p_now timestamptz
) RETURNS TABLE (outcome text, booked appointment) LANGUAGE plpgsql AS $$
DECLARE
    v_slot slot;
    v_key idempotency_key;
    v_person uuid;
    v_who qualification;
    v_missing bigint;
BEGIN
    SELECT s.* INTO v_slot FROM slot s WHERE s.id = p_slot;
    IF NOT FOUND OR v_slot.status <> 'open' OR v_slot.opens_at > p_now OR v_slot.starts_at <= p_now
       OR v_slot.booked >= v_slot.capacity THEN
        SELECT k.* INTO v_key FROM idempotency_key k WHERE k.id = p_id;
        IF v_key.id IS NOT NULL THEN
            outcome := 'replay';
        ELSIF v_slot.id IS NULL OR v_slot.status = 'draft' THEN
            outcome := 'unknown_slot';
        ELSIF v_slot.status = 'open' AND v_slot.opens_at > p_now THEN
            outcome := 'not_open_yet';
        ELSIF v_slot.status = 'open' AND v_slot.starts_at > p_now THEN
            outcome := 'full';
        ELSE
            outcome := 'closed';
        END IF;
        RETURN NEXT;
        RETURN;
    END IF;

    SELECT a.person_id INTO v_person FROM resident_account a WHERE a.id = p_account;
    SELECT q.* INTO v_who FROM qualification q
     WHERE q.service_id = v_slot.service_id AND q.person_id = v_person AND q.valid_until > p_now;
    IF NOT FOUND THEN
        outcome := CASE WHEN EXISTS (SELECT FROM idempotency_key k WHERE k.id = p_id) THEN 'replay'
                        WHEN v_person IS NULL THEN 'not_bound' ELSE 'not_qualified' END;
        RETURN NEXT;
        RETURN;
    END IF;

    -- Every notice in force must be agreed to by each of those examined (PIPL arts. 23, 29).
    SELECT count(*) INTO v_missing
      FROM consent_notice n CROSS JOIN unnest(array_remove(ARRAY[v_who.person_id, v_who.spouse_id], NULL)) AS p(id)
     WHERE n.retired_at IS NULL
       AND NOT EXISTS (SELECT FROM consent c
                        WHERE c.person_id = p.id AND c.notice_id = n.id AND c.withdrawn_at IS NULL);
    IF v_missing > 0 THEN
        outcome := 'consent_required';
        RETURN NEXT;
        RETURN;
    END IF;

    INSERT INTO idempotency_key (id, actor_id, fingerprint, created_at)
    VALUES (p_id, p_account, p_fingerprint, p_now) ON CONFLICT (id) DO NOTHING;
    IF NOT FOUND THEN
        outcome := 'replay';
        RETURN NEXT;
        RETURN;
    END IF;
    INSERT INTO appointment (id, slot_id, clinic_id, service_id, subject_id, person_id, spouse_id, account_id,
                             region_code, cycle, code, starts_at, ends_at, status, created_at)
    VALUES (p_id, p_slot, v_slot.clinic_id, v_slot.service_id, v_who.subject_id, v_who.person_id, v_who.spouse_id,
            p_account, v_who.region_code, v_who.cycle, p_code, v_slot.starts_at, v_slot.ends_at, 'booked', p_now)
    RETURNING * INTO booked;
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
