-- An offer is a held appointment: whatever becomes of it, by whoever's hand, becomes of the entry that it was made to.
CREATE OR REPLACE FUNCTION waitlist_follows() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    UPDATE waitlist_entry
       SET status = CASE NEW.status WHEN 'booked' THEN 'accepted' WHEN 'expired' THEN 'expired' ELSE 'declined' END,
           changed_at = clock_timestamp()
     WHERE appointment_id = NEW.id AND status = 'offered';
    RETURN NULL;
END
$$;
