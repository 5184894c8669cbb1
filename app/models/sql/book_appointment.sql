-- Bookings of several residents, or of one, in one round trip. Looks without a lock first, so that a full slot costs one
-- indexed read; then inserts under the partial unique index; takes the places last, each slot once, so that its row is
-- locked for the commit only. Everything is locked in one order whatever group it is in: keys, people, slots.
-- Called in autocommit. Each has an outcome of its own; whose outcome is 'alone' asks again in a group of one, and so
-- does every one of a group for which the whole raises: it has written nothing then.
CREATE OR REPLACE FUNCTION book_appointment(
    p_ids uuid[], p_accounts uuid[], p_fingerprints bytea[], p_slots uuid[], p_places bigint[], p_codes text[],
    p_requests text[], p_now timestamptz
) RETURNS TABLE (outcome text, booked appointment, again timestamptz) LANGUAGE plpgsql
-- Every look is one index probe whatever the values: planning each anew would cost more than doing it.
SET plan_cache_mode = force_generic_plan
AS $$
DECLARE
    v_slot slot;
    v_service healthcare_service;
    v_person uuid;
    v_who qualification;
    v_row appointment;
    v_taken bigint;
    v_outcomes text[] := array_fill(NULL::text, ARRAY[cardinality(p_ids)]);
    v_again timestamptz[] := array_fill(NULL::timestamptz, ARRAY[cardinality(p_ids)]);
    v_rows appointment[] := '{}';
    v_settled qualification[] := '{}';
    v_claimed uuid[];
    v_made appointment[] := '{}';
BEGIN
    FOR i IN 1 .. cardinality(p_ids) LOOP
        SELECT s.* INTO v_slot FROM slot s WHERE s.id = p_slots[i];
        outcome := CASE WHEN v_slot.id IS NULL OR v_slot.status = 'draft' THEN 'unknown_slot'
                        WHEN v_slot.status = 'open' AND v_slot.opens_at > p_now THEN 'not_open_yet'
                        WHEN v_slot.status <> 'open' OR v_slot.starts_at <= p_now THEN 'closed'
                        WHEN v_slot.booked + p_places[i] > v_slot.capacity THEN 'full' END;
        IF outcome IS NULL THEN
            SELECT h.* INTO v_service FROM healthcare_service h WHERE h.id = v_slot.service_id;
            outcome := CASE WHEN v_service.sessions > 1 THEN 'course'
                            WHEN p_places[i] NOT BETWEEN 1 AND v_service.places_limit THEN 'too_many_places' END;
        END IF;
        IF outcome IS NULL THEN
            SELECT a.person_id INTO v_person FROM resident_account a WHERE a.id = p_accounts[i];
            -- Settled up to 30 days ago: that a couple still is one is asked again.
            SELECT q.* INTO v_who FROM qualification q
             WHERE q.service_id = v_slot.service_id AND q.person_id = v_person AND q.valid_until > p_now
               AND (q.spouse_id IS NULL
                    OR EXISTS (SELECT FROM couple c WHERE c.id = q.subject_id AND c.valid_to IS NULL));
            IF v_who.id IS NULL THEN
                outcome := CASE WHEN v_person IS NULL THEN 'not_bound' ELSE 'not_qualified' END;
            ELSIF v_service.no_show_limit > 0 AND barred_until(v_person, v_service.id) > p_now THEN
                outcome := 'no_shows';
                v_again[i] := barred_until(v_person, v_service.id);
            -- Every notice in force must be agreed to by each of those examined (PIPL arts. 23, 29), unless the service
            -- yields no health data. LIMIT keeps the planner to one index probe for each person and notice.
            ELSIF v_service.sensitive AND EXISTS (
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
        IF outcome IS NOT NULL AND EXISTS (SELECT FROM idempotency_key k WHERE k.id = p_ids[i]) THEN
            outcome := 'replay';
        END IF;
        -- Whether the last place is left depends on those before it in the group, and so does a key used twice.
        IF outcome IS NULL AND cardinality(p_ids) > 1 THEN
            SELECT coalesce(sum(r.places), 0) INTO v_taken FROM unnest(v_rows) AS r WHERE r.slot_id = p_slots[i];
            IF v_slot.booked + v_taken + p_places[i] > v_slot.capacity OR p_ids[i] = ANY (p_ids[:i - 1]) THEN
                outcome := 'alone';
            END IF;
        END IF;
        IF outcome IS NULL THEN
            v_row.id := p_ids[i];
            v_row.slot_id := p_slots[i];
            v_row.clinic_id := v_slot.clinic_id;
            v_row.service_id := v_slot.service_id;
            v_row.subject_id := v_who.subject_id;
            v_row.person_id := v_who.person_id;
            v_row.spouse_id := v_who.spouse_id;
            v_row.account_id := p_accounts[i];
            v_row.region_code := v_who.region_code;
            v_row.cycle := CASE v_service.cycle WHEN 'event' THEN p_slots[i]::text ELSE v_who.cycle END;
            v_row.places := p_places[i];
            v_row.code := p_codes[i];
            v_row.starts_at := v_slot.starts_at;
            v_row.ends_at := v_slot.ends_at;
            v_rows := v_rows || v_row;
            v_settled := v_settled || v_who;
        END IF;
        v_outcomes[i] := outcome;
    END LOOP;

    IF cardinality(v_rows) > 0 THEN
        WITH claimed AS (
            INSERT INTO idempotency_key (id, actor_id, fingerprint, created_at)
            SELECT r.id, r.account_id, p_fingerprints[array_position(p_ids, r.id)], p_now
              FROM unnest(v_rows) AS r ORDER BY r.id
            ON CONFLICT (id) DO NOTHING RETURNING id
        ) SELECT coalesce(array_agg(id), '{}') INTO v_claimed FROM claimed;
        WITH made AS (
            INSERT INTO appointment (id, slot_id, clinic_id, service_id, subject_id, person_id, spouse_id, account_id,
                                     region_code, cycle, places, code, starts_at, ends_at, status, created_at)
            SELECT r.id, r.slot_id, r.clinic_id, r.service_id, r.subject_id, r.person_id, r.spouse_id, r.account_id,
                   r.region_code, r.cycle, r.places, r.code, r.starts_at, r.ends_at, 'booked', p_now
              FROM unnest(v_rows) AS r WHERE r.id = ANY (v_claimed)
             ORDER BY least(r.person_id, r.spouse_id), r.id
            ON CONFLICT (subject_id, service_id, cycle, session)
                  WHERE status IN ('held', 'booked', 'arrived', 'fulfilled') DO NOTHING
            RETURNING appointment AS one
        ) SELECT coalesce(array_agg(one), '{}') INTO v_made FROM made;
    END IF;
    IF cardinality(v_made) > 0 THEN
        -- The foreign keys have waited for a move, a divorce or a merge of these people: what was read before is stale.
        IF EXISTS (
            SELECT FROM unnest(v_settled) AS w WHERE NOT EXISTS (
                SELECT FROM qualification q
                 WHERE q.id = w.id AND q.subject_id = w.subject_id AND q.region_code = w.region_code
                   AND q.valid_until >= w.valid_until)
        ) THEN
            RAISE EXCEPTION 'changed meanwhile' USING ERRCODE = 'serialization_failure';
        END IF;
        INSERT INTO appointment_event (appointment_id, at, status, actor_role, actor_id)
        SELECT m.id, p_now, 'booked', 'resident', m.account_id FROM unnest(v_made) AS m;
        INSERT INTO audit_event (at, actor_role, actor_id, action, entity, entity_id, person_id, request_id)
        SELECT p_now, 'resident', m.account_id, 'book', 'appointment', m.id, p.id,
               p_requests[array_position(p_ids, m.id)]
          FROM unnest(v_made) AS m
         CROSS JOIN unnest(array_remove(ARRAY[m.person_id, m.spouse_id], NULL)) AS p(id);
    END IF;
    -- Refused is refused: its key may be used again.
    IF cardinality(v_claimed) > cardinality(v_made) THEN
        DELETE FROM idempotency_key k
         WHERE k.id = ANY (v_claimed) AND NOT EXISTS (SELECT FROM unnest(v_made) AS m WHERE m.id = k.id);
    END IF;
    FOR v_slot.id, v_taken IN
        SELECT m.slot_id, sum(m.places) FROM unnest(v_made) AS m GROUP BY m.slot_id ORDER BY m.slot_id
    LOOP
        UPDATE slot SET booked = slot.booked + v_taken
         WHERE slot.id = v_slot.id AND slot.status = 'open' AND slot.booked + v_taken <= slot.capacity;
        IF NOT FOUND THEN
            RAISE EXCEPTION 'slot full' USING ERRCODE = 'NX001';
        END IF;
    END LOOP;

    FOR i IN 1 .. cardinality(p_ids) LOOP
        booked := NULL;
        outcome := v_outcomes[i];
        again := v_again[i];
        IF outcome IS NULL THEN
            SELECT m.* INTO booked FROM unnest(v_made) AS m WHERE m.id = p_ids[i];
            outcome := CASE WHEN booked.id IS NOT NULL THEN 'booked'
                            WHEN p_ids[i] = ANY (v_claimed) THEN 'already_booked' ELSE 'replay' END;
        END IF;
        RETURN NEXT;
    END LOOP;
END
$$;
