-- How long renders take, learnt by model, size and machine: what members are told, instead of the price, where it is known.

-- Sizes in steps of the square root of two: what a model renders in the same time, whatever the photo's shape.
CREATE FUNCTION magnitude_of(a_pixels bigint) RETURNS integer LANGUAGE sql IMMUTABLE AS $$
    SELECT round(2 * ln(a_pixels) / ln(2))::integer
$$;

CREATE TABLE paces (
    model       text NOT NULL,
    machine     text NOT NULL,
    device      text NOT NULL,
    magnitude   integer NOT NULL,
    -- Measured seconds over the price's, the mean of about the last twenty renders.
    pace        double precision NOT NULL CHECK (pace > 0),
    renders     integer NOT NULL DEFAULT 1 CHECK (renders BETWEEN 1 AND 20),
    measured_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    PRIMARY KEY (model, machine, device, magnitude)
);
COMMENT ON TABLE paces IS 'How each machine''s renders compare with the price. A figure for estimates: nothing is charged by it.';

CREATE FUNCTION learn_pace() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    INSERT INTO paces AS known (model, machine, device, magnitude, pace)
        SELECT NEW.model, g.machine, g.device, magnitude_of(c.width::bigint * c.height),
               NEW.gpu_ms::double precision / NEW.cost_ms
            FROM generators g, clips c WHERE g.generator_id = NEW.generator_id AND c.take_id = NEW.take_id
        ON CONFLICT (model, machine, device, magnitude) DO UPDATE
            SET renders = least(known.renders + 1, 20), measured_at = clock_timestamp(),
                pace = known.pace + (excluded.pace - known.pace) / least(known.renders + 1, 20);
    RETURN NULL;
END $$;
-- At the end of the transaction that records a take: the row is nobody's for longer than a commit takes, and comes after
-- every other lock.
CREATE CONSTRAINT TRIGGER takes_learn AFTER UPDATE OF state ON takes DEFERRABLE INITIALLY DEFERRED
    FOR EACH ROW WHEN (NEW.state = 'done' AND NEW.gpu_ms > 0) EXECUTE FUNCTION learn_pace();

-- How a model's renders of a size compare with the price on the machines that are alive; where none has rendered it yet,
-- how its last renders did anywhere.
CREATE FUNCTION pace_of(a_model text, a_pixels bigint) RETURNS double precision LANGUAGE sql STABLE AS $$
    SELECT coalesce(avg(pace), pace_of(a_model)) FROM paces p
        WHERE p.model = a_model AND magnitude = magnitude_of(a_pixels)
          AND EXISTS (SELECT FROM generators g WHERE g.machine = p.machine AND g.device = p.device
                          AND a_model = ANY (g.models) AND g.seen_at > clock_timestamp() - interval '30 seconds')
$$;

-- Takes before a request's next one, and the seconds until that starts and until the request's last take ends.
-- `ahead` NULL: all its takes have ended or are parked, and nobody knows when a generator comes for those.
CREATE OR REPLACE FUNCTION place_of(a_request bigint, OUT ahead bigint, OUT starts_in double precision, OUT ends_in double precision)
LANGUAGE plpgsql STABLE AS $$
DECLARE
    first      takes;
    base       double precision;
    mine       double precision;
    own_ahead  bigint;
    own_ms     double precision;
    rest       double precision;
    busy_ms    double precision;
    busy       bigint;
    queued     double precision;
    generators integer;
    own_room   integer;
    at_once    integer;
    pace       double precision;
    delay      double precision;
BEGIN
    SELECT * INTO first FROM takes
        WHERE request_id = a_request AND state NOT IN ('done', 'failed', 'cancelled', 'parked')
        -- A running take first: nothing is ahead of it.
        ORDER BY state <> 'running', take_id LIMIT 1;
    IF NOT FOUND THEN
        RETURN;
    END IF;
    pace := pace_of(first.model, (SELECT (plan ->> 'width')::bigint * (plan ->> 'height')::bigint FROM requests
                                  WHERE request_id = a_request));
    delay := (rest_of(first.model)).seconds;
    -- Those that work; where all rest, those that will.
    SELECT greatest(coalesce(nullif(sum(room) FILTER (WHERE NOT paused
                        AND coalesce(rests_until <= clock_timestamp(), true)), 0), sum(room)), 1)
        INTO generators FROM generators
        CROSS JOIN LATERAL coalesce(rooms[array_position(models, first.model)], 1) AS room
        WHERE first.model = ANY (models) AND seen_at > clock_timestamp() - interval '30 seconds';
    SELECT max_running, max_running - running INTO at_once, own_room FROM flows
        WHERE guild_id = first.guild_id AND user_id = first.user_id AND lane = first.lane;
    at_once := least(at_once, generators);
    -- What of it renders shares the generators; what waits comes in turns of as many as may render at once. A take never
    -- renders on two.
    SELECT greatest(max(left_ms), coalesce(sum(left_ms) FILTER (WHERE state = 'running'), 0) / at_once
               + coalesce(max(left_ms) FILTER (WHERE state <> 'running'), 0)
               * ceil(count(*) FILTER (WHERE state <> 'running') / at_once::double precision)) / 1000
               + CASE WHEN bool_or(state <> 'running') THEN delay ELSE 0 END
        INTO rest FROM (
            SELECT state, CASE state WHEN 'running'
                THEN greatest(cost_ms * pace - extract(epoch FROM clock_timestamp() - started_at) * 1000, 0)
                ELSE cost_ms * pace END AS left_ms
            FROM takes WHERE request_id = a_request AND state NOT IN ('done', 'failed', 'cancelled', 'parked')) unfinished;
    IF first.state = 'running' THEN
        ahead := 0;
        starts_in := 0;
        ends_in := rest;
        RETURN;
    END IF;

    SELECT coalesce(head.vkey, f.vtime),
           g.weight * f.role_weight / greatest(s.active, 1),
           coalesce(own.takes, 0), coalesce(own.cost_ms, 0)
        INTO base, mine, own_ahead, own_ms
        FROM flows f JOIN guilds g USING (guild_id) JOIN shares s USING (guild_id, lane)
        LEFT JOIN takes head ON head.guild_id = f.guild_id AND head.user_id = f.user_id AND head.lane = f.lane
                            AND head.state = 'ready'
        CROSS JOIN LATERAL (SELECT count(*) AS takes, sum(cost_ms) AS cost_ms FROM takes t
                            WHERE t.guild_id = f.guild_id AND t.user_id = f.user_id AND t.lane = f.lane
                              AND t.state IN ('waiting', 'ready') AND t.take_id < first.take_id) own
        WHERE f.guild_id = first.guild_id AND f.user_id = first.user_id AND f.lane = first.lane;
    -- Its projected key: the flow's head and what the flow holds before it.
    mine := base + own_ms / 1000 / mine;
    SELECT coalesce(sum(before), 0), coalesce(sum(before * mean_ms), 0) INTO ahead, queued FROM (
        SELECT mean_ms, CASE
            WHEN f.lane <> first.lane THEN f.waiting + f.ready
            -- Equal keys go by the takes' ids.
            WHEN f.start > mine OR f.start = mine AND f.head_id > first.take_id THEN 0
            WHEN f.start = mine THEN 1
            ELSE least(f.waiting + f.ready, ceil((mine - f.start) / (f.mean_ms / 1000 / f.weight))) END AS before
        FROM (
            SELECT o.*, coalesce(head.vkey, o.vtime) AS start, coalesce(head.take_id, first.take_id + 1) AS head_id,
                   o.queued_ms::double precision / (o.waiting + o.ready) AS mean_ms,
                   g.weight * o.role_weight / greatest(s.active, 1) AS weight
            FROM flows o JOIN guilds g USING (guild_id) JOIN shares s USING (guild_id, lane)
            LEFT JOIN takes head ON head.guild_id = o.guild_id AND head.user_id = o.user_id AND head.lane = o.lane
                                AND head.state = 'ready'
            WHERE o.waiting + o.ready + o.running > 0 AND o.waiting + o.ready > 0
              -- Fast work goes before relaxed work, and never the other way round.
              AND (o.lane = first.lane OR o.lane = 'fast')
              AND (o.guild_id, o.user_id, o.lane) <> (first.guild_id, first.user_id, first.lane)) f) others;
    ahead := ahead + own_ahead;
    SELECT coalesce(sum(greatest(cost_ms * pace - extract(epoch FROM clock_timestamp() - started_at) * 1000, 0)), 0),
           count(*)
        INTO busy_ms, busy FROM takes WHERE state = 'running';
    -- A generator is free for it, and its member may have one more at work.
    IF ahead + busy < generators AND own_ahead < own_room THEN
        starts_in := delay;
    ELSE
        starts_in := delay + (busy_ms + (queued + own_ms) * pace) / 1000 / generators;
    END IF;
    -- `rest` counts the delay already.
    ends_in := starts_in - delay + rest;
END $$;
