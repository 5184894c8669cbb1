-- Nobody in two places at one time, whoever books it and however it came about. One booking at a time for each of
-- those examined; then a look at what they have. An offer is made by who holds a slot, and a booking takes its slot
-- last: so an offer does not wait for somebody who is booking at this moment, but goes on to the next in line.
-- The same service in the same cycle is left to the unique index, which has a better name for it.
CREATE OR REPLACE FUNCTION refuse_overlap() RETURNS trigger LANGUAGE plpgsql
-- Each look is two index probes whatever the values, also where the table was small when this was planned.
SET plan_cache_mode = force_generic_plan
SET enable_seqscan = off
AS $$
DECLARE
    v_first uuid := least(NEW.person_id, NEW.spouse_id);
    v_second uuid := CASE WHEN NEW.spouse_id IS NOT NULL THEN greatest(NEW.person_id, NEW.spouse_id) END;
    v_free boolean := true;
BEGIN
    IF NEW.status = 'held' THEN
        v_free := pg_try_advisory_xact_lock(hashtextextended(v_first::text, 7))
              AND (v_second IS NULL OR pg_try_advisory_xact_lock(hashtextextended(v_second::text, 7)));
    ELSE
        PERFORM pg_advisory_xact_lock(hashtextextended(v_first::text, 7));
        IF v_second IS NOT NULL THEN
            PERFORM pg_advisory_xact_lock(hashtextextended(v_second::text, 7));
        END IF;
    END IF;
    IF NOT v_free OR EXISTS (
        SELECT FROM appointment a
         WHERE a.person_id = ANY (ARRAY[v_first, v_second]) AND a.status IN ('held', 'booked', 'arrived')
           AND a.starts_at < NEW.ends_at AND a.ends_at > NEW.starts_at AND a.id <> NEW.id
           AND (a.subject_id, a.service_id, a.cycle, a.session)
               <> (NEW.subject_id, NEW.service_id, NEW.cycle, NEW.session)
    ) OR EXISTS (
        SELECT FROM appointment a
         WHERE a.spouse_id = ANY (ARRAY[v_first, v_second]) AND a.status IN ('held', 'booked', 'arrived')
           AND a.starts_at < NEW.ends_at AND a.ends_at > NEW.starts_at AND a.id <> NEW.id
           AND (a.subject_id, a.service_id, a.cycle, a.session)
               <> (NEW.subject_id, NEW.service_id, NEW.cycle, NEW.session)
    ) THEN
        RAISE EXCEPTION 'in two places at one time'
              USING ERRCODE = 'exclusion_violation', CONSTRAINT = 'ex_appointment_one_place_at_a_time';
    END IF;
    RETURN NEW;
END
$$;
