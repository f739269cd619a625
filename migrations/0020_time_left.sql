-- When a take will be ready: from what its machine has learnt of such renders, mended by how this one goes.

ALTER TABLE takes
    -- Whatever an engine counts, bytes too: no heartbeat may fail on a number, or the take's lease would run out.
    ALTER COLUMN done TYPE bigint,
    ALTER COLUMN total TYPE bigint,
    -- The first word of its render, after the model was loaded and warmed up: what `gpu_ms` counts from.
    ADD COLUMN rendering_at timestamptz,
    ADD COLUMN steps_at timestamptz,
    ADD COLUMN stepped_at timestamptz,
    -- From when, and from which `done`, the present phase's own speed is known: the first of it that was told as done.
    ADD COLUMN measured_at timestamptz,
    ADD COLUMN measured_from bigint,
    ADD COLUMN progress_at timestamptz;
COMMENT ON COLUMN takes.steps_at IS 'The first word of a step.';
COMMENT ON COLUMN takes.stepped_at IS 'The first word of anything else after its steps.';
COMMENT ON COLUMN takes.progress_at IS 'When its phase, `done` or `total` last changed.';

ALTER TABLE paces
    -- How much of a render's time passes before its first step and after its last one. NULL: not seen yet.
    ADD COLUMN encode_share double precision,
    ADD COLUMN decode_share double precision,
    -- Some of it is the steps', or no speed of theirs could tell how long the rest takes.
    ADD CHECK (encode_share >= 0 AND decode_share >= 0 AND encode_share + decode_share < 1);

ALTER TABLE requests
    -- Kept, since a place reads it of every flow that waits.
    ADD COLUMN magnitude integer
        GENERATED ALWAYS AS (magnitude_of((plan ->> 'width')::bigint * (plan ->> 'height')::bigint)) STORED;

DROP FUNCTION beat_take(bigint, uuid, integer, text, integer, integer, interval);
-- Renew a lease, write down progress, hear of a cancel. No row: the take is somebody else's now, stop rendering.
CREATE FUNCTION beat_take(a_take bigint, a_generator uuid, a_fence integer, a_phase text, a_done bigint, a_total bigint,
                          a_lease interval)
RETURNS SETOF boolean LANGUAGE plpgsql AS $$
DECLARE
    at timestamptz := clock_timestamp();
BEGIN
    -- As for a claim: a heartbeat that is forgotten is followed by the next.
    PERFORM set_config('synchronous_commit', 'off', true);
    RETURN QUERY UPDATE takes t
        SET lease_until = at + a_lease, phase = a_phase, done = a_done, total = a_total,
            rendering_at = coalesce(t.rendering_at, CASE WHEN a_phase NOT IN ('load', 'warm') THEN at END),
            steps_at = coalesce(t.steps_at, CASE WHEN a_phase = 'step' THEN at END),
            stepped_at = coalesce(t.stepped_at, CASE WHEN t.phase = 'step' AND a_phase <> 'step' THEN at END),
            (measured_at, measured_from) = (SELECT CASE WHEN anew THEN at ELSE t.measured_at END,
                                                   CASE WHEN anew THEN a_done ELSE t.measured_from END
                -- What comes before the first step or byte says nothing of how fast the others come.
                FROM (SELECT t.measured_at IS NULL OR t.measured_from = 0 AND a_done > 0
                          OR (t.phase, t.total) IS DISTINCT FROM (a_phase, a_total) AS anew) stretch),
            progress_at = CASE WHEN t.progress_at IS NULL
                                   OR (t.phase, t.done, t.total) IS DISTINCT FROM (a_phase, a_done, a_total)
                               THEN at ELSE t.progress_at END
        WHERE take_id = a_take AND state = 'running' AND generator_id = a_generator AND fence = a_fence
        RETURNING cancel_requested;
END $$;

-- A take leaves its generator without an end. `a_delay` NULL: back in line at once. The claim's virtual time is undone.
CREATE OR REPLACE FUNCTION return_take(a_take takes, a_delay interval, a_attempts integer, a_fault text)
RETURNS void LANGUAGE plpgsql AS $$
DECLARE
    target text := CASE WHEN a_delay IS NULL THEN 'waiting' ELSE 'backoff' END;
BEGIN
    UPDATE takes SET state = target, lease_until = NULL, run_at = clock_timestamp() + a_delay, attempts = a_attempts,
                     vcharge = 0, phase = NULL, started_at = NULL, rendering_at = NULL, steps_at = NULL,
                     stepped_at = NULL, measured_at = NULL, measured_from = NULL, progress_at = NULL,
                     fault = coalesce(a_fault, fault)
        WHERE take_id = a_take.take_id;
    PERFORM recount_flow(a_take, target, -a_take.vcharge);
    PERFORM promote(a_take.guild_id, a_take.user_id, a_take.lane);
    PERFORM touch_request(a_take.request_id);
END $$;

-- How a model's renders of a size compare with the price on the machines that are alive; where none has rendered it yet,
-- how its last renders did anywhere.
CREATE FUNCTION pace_of(a_model text, a_magnitude integer) RETURNS double precision LANGUAGE sql STABLE AS $$
    SELECT coalesce(avg(pace), pace_of(a_model)) FROM paces p
        WHERE p.model = a_model AND magnitude = a_magnitude
          AND EXISTS (SELECT FROM generators g WHERE g.machine = p.machine AND g.device = p.device
                          AND a_model = ANY (g.models) AND g.seen_at > clock_timestamp() - interval '30 seconds')
$$;

DROP FUNCTION pace_of(text, bigint);

-- Seconds from one moment to another.
CREATE FUNCTION seconds_between(a_from timestamptz, a_to timestamptz) RETURNS double precision
LANGUAGE sql IMMUTABLE AS $$
    SELECT extract(epoch FROM a_to - a_from)::double precision
$$;

-- A render's shares are learnt where its steps were told of: a short one's may come and go between two heartbeats.
CREATE OR REPLACE FUNCTION learn_pace() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE
    seconds double precision := NEW.gpu_ms / 1000.0;
    encode  double precision;
    decode  double precision;
BEGIN
    IF NEW.steps_at IS NOT NULL THEN
        encode := least(greatest(seconds_between(NEW.rendering_at, NEW.steps_at) / seconds, 0), 0.95);
        -- Nothing was told after its steps: nothing came that would have lasted.
        decode := coalesce(1 - seconds_between(NEW.rendering_at, NEW.stepped_at) / seconds, 0);
        decode := least(greatest(decode, 0), 0.95 - encode);
    END IF;
    INSERT INTO paces AS known (model, machine, device, magnitude, pace, encode_share, decode_share)
        SELECT NEW.model, g.machine, g.device, magnitude_of(c.width::bigint * c.height),
               NEW.gpu_ms::double precision / NEW.cost_ms, encode, decode
            FROM generators g, clips c WHERE g.generator_id = NEW.generator_id AND c.take_id = NEW.take_id
        ON CONFLICT (model, machine, device, magnitude) DO UPDATE
            SET renders = least(known.renders + 1, 20), measured_at = clock_timestamp(),
                pace = known.pace + (excluded.pace - known.pace) / least(known.renders + 1, 20),
                encode_share = coalesce(known.encode_share + (excluded.encode_share - known.encode_share)
                                            / least(known.renders + 1, 20), known.encode_share, excluded.encode_share),
                decode_share = coalesce(known.decode_share + (excluded.decode_share - known.decode_share)
                                            / least(known.renders + 1, 20), known.decode_share, excluded.decode_share);
    RETURN NULL;
END $$;

-- Seconds that a running take still needs. `a_expected`: what its whole render should take; `a_known`: what its own
-- machine has learnt of such renders, NULL for nothing. The further a phase is, the more its own speed counts and the
-- less what was expected; where the machine has learnt nothing, all the more. Between two words of progress it falls as
-- time passes, down to what it would be at the next one; it never says that a take is ready.
CREATE FUNCTION time_left(a_take takes, a_expected double precision, a_known paces, a_now timestamptz)
RETURNS double precision LANGUAGE plpgsql IMMUTABLE AS $$
DECLARE
    before double precision := coalesce(a_known.encode_share, 0);
    after  double precision := coalesce(a_known.decode_share, 0.1);  -- what is usual for twenty steps and more
    since  double precision := coalesce(greatest(seconds_between(a_take.progress_at, a_now), 0), 0);
    part   double precision := coalesce(least(a_take.done / nullif(a_take.total, 0)::double precision, 1), 0);
    spent  double precision := coalesce(greatest(seconds_between(a_take.rendering_at, a_now), 0), 0);
    own    double precision := NULL;  -- what is left of the phase, by its own speed
    weight double precision := 0;
    steps  double precision;
    rest   double precision;
BEGIN
    IF a_take.done > a_take.measured_from THEN
        own := (a_take.total - a_take.done) * seconds_between(a_take.measured_at, a_take.progress_at)
               / (a_take.done - a_take.measured_from);
        weight := CASE WHEN a_known.pace IS NULL THEN 1 ELSE part END;
    END IF;
    IF a_take.phase IN ('load', 'warm') THEN
        RETURN a_expected + greatest(coalesce(own, 0) - since, 0);
    ELSIF a_take.phase = 'step' AND part < 1 THEN
        steps := (1 - weight) * a_expected * (1 - before - after) + weight * coalesce(own / (1 - part), 0);
        rest := steps * (1 - part) + steps * after / (1 - before - after);
        RETURN rest - least(since, steps / greatest(a_take.total, 1));
    ELSIF a_take.phase IN ('step', 'decode') THEN
        -- A decode is as much slower than usual as what came before it.
        rest := coalesce(seconds_between(a_take.rendering_at, coalesce(a_take.stepped_at, a_take.progress_at)), 0);
        rest := rest * after / (1 - after);
        IF a_take.phase = 'decode' THEN
            rest := (1 - weight) * rest * (1 - part) + weight * coalesce(own, 0);
        END IF;
        RETURN greatest(rest - since, rest / 10, 1);
    ELSIF a_take.phase = 'store' THEN
        RETURN 1;
    ELSIF a_take.phase = 'part' THEN
        RETURN greatest(a_expected - spent, a_expected / 10, 1);
    ELSE
        RETURN greatest(a_expected - spent, a_expected * (1 - before));
    END IF;
END $$;

-- The same for a take as it is now; NULL where it does not run.
CREATE FUNCTION left_of(a_take takes) RETURNS double precision LANGUAGE plpgsql STABLE AS $$
DECLARE
    size  integer;
    known paces;
BEGIN
    IF a_take.state <> 'running' THEN
        RETURN NULL;
    END IF;
    SELECT magnitude INTO STRICT size FROM requests WHERE request_id = a_take.request_id;
    SELECT p.* INTO known FROM generators g JOIN paces p USING (machine, device)
        WHERE g.generator_id = a_take.generator_id AND p.model = a_take.model AND p.magnitude = size;
    RETURN time_left(a_take, a_take.cost_ms * coalesce(known.pace, pace_of(a_take.model, size)) / 1000, known,
                     clock_timestamp());
END $$;

-- Seconds of work that takes still are, one after another: running ones what is left of them, the others what renders
-- of their own model and size take.
CREATE FUNCTION work_of(a_takes bigint[]) RETURNS double precision LANGUAGE sql STABLE AS $$
    WITH sized AS MATERIALIZED (
        SELECT t.model, r.magnitude, sum(t.cost_ms) AS cost_ms FROM takes t JOIN requests r USING (request_id)
            WHERE t.take_id = ANY (a_takes) AND t.state <> 'running' GROUP BY 1, 2)
    SELECT (SELECT coalesce(sum(cost_ms * pace_of(model, magnitude)), 0) / 1000 FROM sized)
         + (SELECT coalesce(sum(left_of(t)), 0) FROM takes t WHERE t.take_id = ANY (a_takes) AND t.state = 'running')
$$;

-- By model, the seconds until a newcomer's first take would start, roughly; infinite where all its generators are paused.
-- A newcomer joins at the present virtual time: about one take of every flow that waits goes before that one. None waits
-- while a generator is free.
CREATE FUNCTION waits(OUT model text, OUT seconds double precision) RETURNS SETOF record LANGUAGE sql STABLE AS $$
    WITH before AS (
        SELECT t.take_id FROM takes t WHERE t.state = 'running'
        UNION ALL
        SELECT next.take_id
            -- Its head; where its member has enough at work, and none, what would be next. Each has its index.
            FROM flows f CROSS JOIN LATERAL (
                (SELECT t.take_id, 1 AS turn FROM takes t
                    WHERE t.guild_id = f.guild_id AND t.user_id = f.user_id AND t.lane = f.lane AND t.state = 'ready')
                UNION ALL
                (SELECT t.take_id, 2 FROM takes t
                    WHERE t.guild_id = f.guild_id AND t.user_id = f.user_id AND t.lane = f.lane AND t.state = 'waiting'
                    ORDER BY t.take_id LIMIT 1)
                ORDER BY turn LIMIT 1) next
            WHERE f.lane = 'fast' AND f.waiting + f.ready + f.running > 0 AND f.waiting + f.ready > 0),
    work AS (SELECT count(*) AS takes, work_of(array_agg(take_id)) AS seconds FROM before),
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

-- Takes before a request's next one, and the seconds until that starts and until the request's last take ends.
-- `ahead` NULL: all its takes have ended or are parked, and nobody knows when a generator comes for those.
CREATE OR REPLACE FUNCTION place_of(a_request bigint, OUT ahead bigint, OUT starts_in double precision, OUT ends_in double precision)
LANGUAGE plpgsql STABLE AS $$
DECLARE
    first      takes;
    base       double precision;
    mine       double precision;
    own_before bigint[];
    own_cost   double precision;
    rest       double precision;
    queued     double precision;
    busy       bigint[];
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
    pace := pace_of(first.model, (SELECT magnitude FROM requests WHERE request_id = a_request));
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
    SELECT greatest(max(seconds), coalesce(sum(seconds) FILTER (WHERE state = 'running'), 0) / at_once
               + coalesce(max(seconds) FILTER (WHERE state <> 'running'), 0)
               * ceil(count(*) FILTER (WHERE state <> 'running') / at_once::double precision))
               + CASE WHEN bool_or(state <> 'running') THEN delay ELSE 0 END
        INTO rest FROM (
            SELECT state, coalesce(left_of(t), cost_ms * pace / 1000) AS seconds
            FROM takes t WHERE request_id = a_request AND state NOT IN ('done', 'failed', 'cancelled', 'parked')) unfinished;
    IF first.state = 'running' THEN
        ahead := 0;
        starts_in := 0;
        ends_in := rest;
        RETURN;
    END IF;

    SELECT coalesce(head.vkey, f.vtime),
           g.weight * f.role_weight / greatest(s.active, 1),
           coalesce(own.takes, '{}'), coalesce(own.cost_ms, 0)
        INTO base, mine, own_before, own_cost
        FROM flows f JOIN guilds g USING (guild_id) JOIN shares s USING (guild_id, lane)
        LEFT JOIN takes head ON head.guild_id = f.guild_id AND head.user_id = f.user_id AND head.lane = f.lane
                            AND head.state = 'ready'
        CROSS JOIN LATERAL (SELECT array_agg(take_id) AS takes, sum(cost_ms) AS cost_ms FROM takes t
                            WHERE t.guild_id = f.guild_id AND t.user_id = f.user_id AND t.lane = f.lane
                              AND t.state IN ('waiting', 'ready') AND t.take_id < first.take_id) own
        WHERE f.guild_id = first.guild_id AND f.user_id = first.user_id AND f.lane = first.lane;
    -- Its projected key: the flow's head and what the flow holds before it.
    mine := base + own_cost / 1000 / mine;
    -- Each of a flow's takes counts as its head does, or as what will be next; so a place reads flows, not takes.
    SELECT coalesce(sum(takes), 0), coalesce(sum(ms * pace_of(model, magnitude)), 0) / 1000 INTO ahead, queued FROM (
        SELECT model, magnitude, sum(before) AS takes, sum(before * mean_ms) AS ms FROM (
            SELECT f.model, r.magnitude, mean_ms, CASE
                WHEN f.lane <> first.lane THEN f.waiting + f.ready
                -- Equal keys go by the takes' ids.
                WHEN f.start > mine OR f.start = mine AND f.head_id > first.take_id THEN 0
                WHEN f.start = mine THEN 1
                ELSE least(f.waiting + f.ready, ceil((mine - f.start) / (f.mean_ms / 1000 / f.weight))) END AS before
            FROM (
                SELECT o.*, coalesce(head.vkey, o.vtime) AS start, coalesce(head.take_id, first.take_id + 1) AS head_id,
                       coalesce(head.model, next.model) AS model,
                       coalesce(head.request_id, next.request_id) AS request_id,
                       o.queued_ms::double precision / (o.waiting + o.ready) AS mean_ms,
                       g.weight * o.role_weight / greatest(s.active, 1) AS weight
                FROM flows o JOIN guilds g USING (guild_id) JOIN shares s USING (guild_id, lane)
                LEFT JOIN takes head ON head.guild_id = o.guild_id AND head.user_id = o.user_id AND head.lane = o.lane
                                    AND head.state = 'ready'
                LEFT JOIN LATERAL (SELECT t.model, t.request_id FROM takes t
                                   WHERE head.take_id IS NULL AND t.guild_id = o.guild_id AND t.user_id = o.user_id
                                     AND t.lane = o.lane AND t.state = 'waiting' ORDER BY t.take_id LIMIT 1) next ON true
                WHERE o.waiting + o.ready + o.running > 0 AND o.waiting + o.ready > 0
                  -- Fast work goes before relaxed work, and never the other way round.
                  AND (o.lane = first.lane OR o.lane = 'fast')
                  AND (o.guild_id, o.user_id, o.lane) <> (first.guild_id, first.user_id, first.lane)) f
            JOIN requests r USING (request_id)) others
        WHERE before > 0 GROUP BY 1, 2) sized;
    ahead := ahead + cardinality(own_before);
    SELECT coalesce(array_agg(take_id), '{}') INTO busy FROM takes WHERE state = 'running';
    starts_in := delay;
    -- Unless a generator is free for it, and its member may have one more at work.
    IF ahead + cardinality(busy) >= generators OR cardinality(own_before) >= own_room THEN
        starts_in := delay + (work_of(busy || own_before) + queued) / generators;
    END IF;
    -- `rest` counts the delay already.
    ends_in := starts_in - delay + rest;
END $$;
