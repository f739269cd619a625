-- What members are told while they ask and wait: when a newcomer's take would start, and why a message is not there yet.

-- By model, the seconds until a newcomer's first take would start, roughly; infinite where all its generators are paused.
-- A newcomer joins at the present virtual time: about one take of every flow that waits goes before that one. None waits
-- while a generator is free. Each of them takes as long as renders of its own model and size do.
CREATE FUNCTION waits(OUT model text, OUT seconds double precision) RETURNS SETOF record LANGUAGE sql STABLE AS $$
    WITH before AS (
        SELECT t.model, t.request_id, t.cost_ms,
               extract(epoch FROM clock_timestamp() - t.started_at)::double precision * 1000 AS spent_ms
            FROM takes t WHERE t.state = 'running'
        UNION ALL
        SELECT next.model, next.request_id, next.cost_ms, 0
            -- Its head; where its member has enough at work, and none, what would be next. Each has its index.
            FROM flows f CROSS JOIN LATERAL (
                (SELECT t.model, t.request_id, t.cost_ms, 1 AS turn FROM takes t
                    WHERE t.guild_id = f.guild_id AND t.user_id = f.user_id AND t.lane = f.lane AND t.state = 'ready')
                UNION ALL
                (SELECT t.model, t.request_id, t.cost_ms, 2 FROM takes t
                    WHERE t.guild_id = f.guild_id AND t.user_id = f.user_id AND t.lane = f.lane AND t.state = 'waiting'
                    ORDER BY t.take_id LIMIT 1)
                ORDER BY turn LIMIT 1) next
            WHERE f.lane = 'fast' AND f.waiting + f.ready + f.running > 0 AND f.waiting + f.ready > 0),
    sized AS MATERIALIZED (
        SELECT b.*, (r.plan ->> 'width')::bigint * (r.plan ->> 'height')::bigint AS pixels
            FROM before b JOIN requests r USING (request_id)),
    known AS MATERIALIZED (
        SELECT s.model, magnitude_of(s.pixels) AS magnitude, pace_of(s.model, min(s.pixels)) AS pace
            FROM sized s GROUP BY 1, 2),
    work AS (
        SELECT count(*) AS takes, coalesce(sum(greatest(s.cost_ms * k.pace - s.spent_ms, 0)), 0) / 1000 AS seconds
            FROM sized s JOIN known k ON k.model = s.model AND k.magnitude = magnitude_of(s.pixels)),
    live AS (
        SELECT offered.model, sum(coalesce(offered.room, 1)) AS generators
            FROM generators g CROSS JOIN LATERAL unnest(g.models, g.rooms) AS offered (model, room)
            WHERE g.seen_at > clock_timestamp() - interval '30 seconds' GROUP BY 1)
    SELECT live.model,
           CASE WHEN rest.resting AND rest.until IS NULL THEN 'infinity'
                WHEN work.takes < live.generators THEN rest.seconds
                ELSE rest.seconds + work.seconds / live.generators END
        FROM live CROSS JOIN work CROSS JOIN LATERAL rest_of(live.model) rest
$$;

ALTER TABLE deliveries
    -- Why it could not be posted at the last attempt, where a person has to mend something; NULL: nothing is known.
    ADD COLUMN trouble text;
