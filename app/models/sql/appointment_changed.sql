-- What a hospital that polls has to hear of: the appointment bears the number of the transaction that changed it, and
-- a clinic that it was moved away from keeps a note.
CREATE OR REPLACE FUNCTION appointment_changed() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    NEW.changed_in := pg_current_xact_id()::text::bigint;
    IF NEW.clinic_id <> OLD.clinic_id THEN
        INSERT INTO appointment_left (clinic_id, appointment_id, changed_in)
        VALUES (OLD.clinic_id, OLD.id, NEW.changed_in)
        ON CONFLICT (clinic_id, appointment_id) DO UPDATE SET changed_in = EXCLUDED.changed_in;
    END IF;
    RETURN NEW;
END
$$;
