-- Who did not come so often within the days that the service looks back may book it again from this moment on: when
-- enough of the times missed lie so far back. NULL or past: nothing is in the way. Own and joint appointments count.
CREATE OR REPLACE FUNCTION barred_until(p_person uuid, p_service uuid) RETURNS timestamptz LANGUAGE sql STABLE
AS $$
    SELECT missed.starts_at + make_interval(days => missed.no_show_days::integer)
      FROM (SELECT a.starts_at, s.no_show_days, s.no_show_limit,
                   row_number() OVER (ORDER BY a.starts_at DESC) AS number
              FROM healthcare_service s
             CROSS JOIN LATERAL (
                SELECT o.starts_at FROM appointment o
                 WHERE o.person_id = p_person AND o.service_id = s.id AND o.status = 'no_show'
                 UNION ALL
                SELECT j.starts_at FROM appointment j
                 WHERE j.spouse_id = p_person AND j.service_id = s.id AND j.status = 'no_show') AS a
             WHERE s.id = p_service AND s.no_show_limit > 0) AS missed
     WHERE missed.number = missed.no_show_limit
$$;
