-- The slots that a schedule asks for on its days from p_first to p_last, of those that begin after p_now.
-- On a holiday none. A swapped working day takes the lines of the schedule's weekday for such days; without one,
-- those of the weekday that it makes up for.
CREATE OR REPLACE FUNCTION wanted_slots(p_schedule uuid, p_first date, p_last date, p_now timestamptz)
RETURNS TABLE (day date, starts_at timestamptz, ends_at timestamptz, capacity bigint, room_id uuid,
               practitioner_id uuid, opens_at timestamptz)
LANGUAGE sql STABLE
AS $$
    SELECT d.day, t.starts_at, t.starts_at + make_interval(mins => l.minutes::integer), l.capacity, l.room_id,
           l.practitioner_id,
           coalesce(s.release_at, (d.day - s.days_ahead::integer + s.release_time) AT TIME ZONE 'Asia/Shanghai')
      FROM schedule s
     CROSS JOIN LATERAL (
        SELECT g::date AS day
          FROM generate_series(greatest(s.from_on, p_first)::timestamp, least(s.until_on, p_last)::timestamp,
                               interval '1 day') AS g) AS d
      LEFT JOIN calendar_day c ON c.day = d.day AND s.follows_calendar
      JOIN schedule_line l
        ON l.schedule_id = s.id AND c.kind IS DISTINCT FROM 'holiday'
       AND l.weekday = CASE WHEN c.kind = 'workday'
                            THEN coalesce(s.swapped_weekday, extract(isodow FROM coalesce(c.in_place_of, d.day)))
                            ELSE extract(isodow FROM d.day) END
     CROSS JOIN LATERAL generate_series(
        0, floor(extract(epoch FROM l.ends - l.begins) / 60 / l.minutes)::integer - 1) AS n
     CROSS JOIN LATERAL (
        SELECT (d.day + l.begins + make_interval(mins => (n * l.minutes)::integer))
               AT TIME ZONE 'Asia/Shanghai' AS starts_at) AS t
     WHERE s.id = p_schedule AND t.starts_at > p_now
$$;
