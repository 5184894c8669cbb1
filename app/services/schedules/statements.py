"""The statements of a publication, each for all slots of a schedule at once. `wanted_slots` (app/models/sql) says what
the template asks for; a slot that nobody has booked or changed by hand (version 1) follows it, any other stays."""

from sqlalchemy import ARRAY, Uuid, bindparam, text

_WANTED = "wanted_slots(:schedule, :first, :last, :now) w"
_SAME = (
    "x.starts_at = w.starts_at AND x.room_id IS NOT DISTINCT FROM w.room_id "
    "AND x.practitioner_id IS NOT DISTINCT FROM w.practitioner_id"
)
_TO_COME = "x.schedule_id = :schedule AND x.starts_at > :now"
_UNTOUCHED = "x.booked = 0 AND x.version = 1 AND x.status = 'open'"

#: The clinic's slots by the days that they touch: rooms and practitioners are of one clinic.
_TAKEN = """
    taken AS MATERIALIZED (
        SELECT x.*, d.day::date AS day FROM slot x JOIN schedule s ON s.id = :schedule AND x.clinic_id = s.clinic_id
         CROSS JOIN LATERAL generate_series((x.starts_at AT TIME ZONE 'Asia/Shanghai')::date,
                                            (x.ends_at AT TIME ZONE 'Asia/Shanghai')::date, interval '1 day') AS d (day)
         WHERE x.status <> 'cancelled' AND x.starts_at > CAST(:now AS timestamptz) - interval '1 day')
"""
#: It has the room or the practitioner; where the template names neither, it has the same start, or is one of this
#: schedule that stayed. Hashed by the day, since looking row by row would meet the rows that are being made.
_OVERLAPS = """
    t.day = w.day AND t.starts_at < w.ends_at AND t.ends_at > w.starts_at
    AND (t.room_id = w.room_id OR t.practitioner_id = w.practitioner_id
         OR (t.service_id = w.service_id AND (t.starts_at = w.starts_at OR t.schedule_id = :schedule)
             AND coalesce(t.room_id, t.practitioner_id, w.room_id, w.practitioner_id) IS NULL))
"""
#: What the template asks for and is not there, but for the hours when the clinic is closed. A slot of its time that
#: stays although the template has moved on (booked, or moved to another room by hand) stands for one of that time.
_MISSING = f"""
    wanted AS MATERIALIZED (
        SELECT w.*, s.clinic_id, s.service_id FROM {_WANTED} JOIN schedule s ON s.id = :schedule
         WHERE NOT EXISTS (
            SELECT FROM closure c
             WHERE c.clinic_id = s.clinic_id AND coalesce(c.service_id, s.service_id) = s.service_id
               AND c.from_at < w.ends_at AND c.to_at > w.starts_at)),
    own AS MATERIALIZED (
        SELECT x.* FROM slot x WHERE {_TO_COME}),
    stray AS (
        SELECT x.starts_at, count(*) AS number FROM own x
         WHERE x.status <> 'cancelled' AND NOT EXISTS (SELECT FROM wanted w WHERE {_SAME})
         GROUP BY x.starts_at),
    absent AS (
        SELECT w.*, row_number() OVER (PARTITION BY w.starts_at ORDER BY w.room_id, w.practitioner_id) AS rank
          FROM wanted w WHERE NOT EXISTS (SELECT FROM own x WHERE {_SAME})),
    missing AS (
        SELECT w.* FROM absent w LEFT JOIN stray ON stray.starts_at = w.starts_at
         WHERE w.rank > coalesce(stray.number, 0))
"""  # noqa: S608

#: Thousands are compared with thousands, hashed: of rows made a moment ago the planner knows nothing, and would loop.
PREPARE = text(
    "SELECT set_config('enable_nestloop', 'off', true), set_config('statement_timeout', '60s', true)"
)
#: Whatever the statements below may touch, in the order in which closures lock slots too.
LOCK = text(f"""
    SELECT x.id FROM slot x
     WHERE {_TO_COME} AND x.status = 'open'
       AND NOT EXISTS (
            SELECT FROM {_WANTED}
             WHERE {_SAME} AND (w.ends_at, w.capacity, w.opens_at) = (x.ends_at, x.capacity, x.opens_at))
     ORDER BY x.id FOR UPDATE OF x
""")  # noqa: S608
#: At the end of a schedule also what was changed by hand.
WITHDRAW = text(f"""
    UPDATE slot x SET status = 'cancelled', schedule_id = NULL
     WHERE {_TO_COME} AND x.booked = 0 AND x.status = 'open' AND (x.version = 1 OR CAST(:ending AS boolean))
       AND NOT EXISTS (SELECT FROM {_WANTED} WHERE {_SAME})
    RETURNING x.id
""")  # noqa: S608
#: Those that nobody ever booked or changed need not be remembered.
FORGET = text("""
    DELETE FROM slot x
     WHERE x.id = ANY(:ids) AND NOT EXISTS (SELECT FROM appointment a WHERE a.slot_id = x.id)
       AND NOT EXISTS (SELECT FROM slot_event e WHERE e.slot_id = x.id)
""").bindparams(bindparam("ids", type_=ARRAY(Uuid())))
#: No further bookings at a time that the template has given up; those made stand.
CLOSE = text(f"""
    WITH closed AS (
        UPDATE slot x SET status = 'closed', version = version + 1
         WHERE {_TO_COME} AND x.booked > 0 AND x.status = 'open'
           AND NOT EXISTS (SELECT FROM {_WANTED} WHERE w.starts_at = x.starts_at)
        RETURNING x.id)
    INSERT INTO slot_event (slot_id, at, field, old, new, actor_role, actor_id)
    SELECT id, :now, 'status', 'open', 'closed', :role, :actor FROM closed
""")  # noqa: S608
ALTER = text(f"""
    WITH {_TAKEN}, other AS (
        SELECT x.id, w.ends_at, w.capacity, w.opens_at, w.day, w.starts_at, w.room_id, w.practitioner_id, s.service_id
          FROM slot x JOIN schedule s ON s.id = :schedule JOIN {_WANTED} ON {_SAME}
         WHERE {_TO_COME} AND {_UNTOUCHED}
           AND (x.ends_at, x.capacity, x.opens_at) IS DISTINCT FROM (w.ends_at, w.capacity, w.opens_at))
    UPDATE slot x SET ends_at = w.ends_at, capacity = w.capacity, opens_at = w.opens_at
      FROM other w
     WHERE x.id = w.id AND {_UNTOUCHED}
       AND NOT EXISTS (SELECT FROM taken t WHERE t.id <> w.id AND {_OVERLAPS})
    RETURNING x.id
""")  # noqa: S608
ADD = text(f"""
    WITH {_MISSING}, {_TAKEN}, made AS (
        INSERT INTO slot (id, clinic_id, service_id, schedule_id, starts_at, ends_at, capacity, room_id,
                          practitioner_id, opens_at, status, created_at)
        SELECT gen_random_uuid(), w.clinic_id, w.service_id, :schedule, w.starts_at, w.ends_at, w.capacity,
               w.room_id, w.practitioner_id, w.opens_at, 'open', :now
          FROM missing w WHERE NOT EXISTS (SELECT FROM taken t WHERE {_OVERLAPS})
        RETURNING starts_at)
    SELECT (starts_at AT TIME ZONE 'Asia/Shanghai')::date AS on, count(*) AS slots
      FROM made GROUP BY 1 ORDER BY 1
""")  # noqa: S608
IN_THE_WAY = text(f"""
    WITH {_MISSING}, {_TAKEN}, met AS (
        SELECT DISTINCT ON (w.starts_at, w.room_id, w.practitioner_id)
               w.starts_at, w.ends_at, w.room_id, w.practitioner_id,
               CASE WHEN t.room_id = w.room_id THEN 'room' WHEN t.practitioner_id = w.practitioner_id
                    THEN 'practitioner' ELSE 'clinic' END AS what,
               t.id AS other_id, t.starts_at AS other_starts_at, t.ends_at AS other_ends_at
          FROM missing w JOIN taken t ON {_OVERLAPS}
         ORDER BY w.starts_at, w.room_id, w.practitioner_id, t.starts_at, t.id)
    SELECT *, count(*) OVER () AS number FROM met ORDER BY starts_at, room_id, practitioner_id LIMIT :most
""")  # noqa: S608
KEPT = text(f"""
    SELECT x.id, x.starts_at, x.ends_at, x.capacity, x.booked, x.status, count(*) OVER () AS number
      FROM slot x
      LEFT JOIN {_WANTED} ON {_SAME}
     WHERE {_TO_COME} AND x.status <> 'cancelled'
       AND (w.starts_at IS NULL OR (x.ends_at, x.capacity) IS DISTINCT FROM (w.ends_at, w.capacity))
     ORDER BY x.starts_at, x.id LIMIT :most
""")  # noqa: S608
