-- Every transition of a take. Lock order: take → member account → server account → flow → share → waiting take → delivery.
-- Rows are locked FOR NO KEY UPDATE, so that a foreign key check never waits for a transition.
-- All in plpgsql, which keeps its plans: a function in SQL is planned at every call, which costs more than it does.

-- Is a generator alive that runs this model?
CREATE FUNCTION model_is_live(a_model text) RETURNS boolean LANGUAGE plpgsql STABLE AS $$
BEGIN
    RETURN EXISTS (SELECT FROM generators
                   WHERE a_model = ANY (models) AND seen_at > clock_timestamp() - interval '30 seconds');
END $$;

-- The system's virtual time in a lane: where an idle flow joins, so that nobody saves up idle time.
CREATE FUNCTION virtual_now(a_lane text) RETURNS double precision LANGUAGE plpgsql STABLE AS $$
BEGIN
    RETURN coalesce(
        least((SELECT vkey FROM takes WHERE state = 'ready' AND lane = a_lane ORDER BY vkey, take_id LIMIT 1),
              (SELECT max(vkey) FROM takes WHERE state = 'running' AND lane = a_lane)),
        (SELECT max(vtime) FROM flows WHERE lane = a_lane),
        0);
END $$;

-- Follow a take that leaves `a_take.state` (NULL: it is new) for `a_to`: the one place that changes a flow's counts.
-- `a_shift` moves the flow's virtual time: forward at a claim, back when a claim came to nothing.
CREATE FUNCTION recount_flow(a_take takes, a_to text, a_shift double precision DEFAULT 0)
RETURNS void LANGUAGE plpgsql AS $$
DECLARE
    flow       flows;
    was_active boolean;
    is_active  boolean;
    a_from     text := coalesce(a_take.state, 'new');
BEGIN
    SELECT * INTO STRICT flow FROM flows
        WHERE guild_id = a_take.guild_id AND user_id = a_take.user_id AND lane = a_take.lane FOR NO KEY UPDATE;
    was_active := flow.waiting + flow.ready + flow.running > 0;
    flow.waiting := flow.waiting + (a_to = 'waiting')::int - (a_from = 'waiting')::int;
    flow.ready   := flow.ready + (a_to = 'ready')::int - (a_from = 'ready')::int;
    flow.running := flow.running + (a_to = 'running')::int - (a_from = 'running')::int;
    flow.aside   := flow.aside + (a_to IN ('backoff', 'parked'))::int - (a_from IN ('backoff', 'parked'))::int;
    flow.queued_ms := flow.queued_ms
        + a_take.cost_ms * ((a_to IN ('waiting', 'ready'))::int - (a_from IN ('waiting', 'ready'))::int);
    is_active := flow.waiting + flow.ready + flow.running > 0;
    IF is_active AND NOT was_active THEN
        -- Only from idle to active: doing it at every promotion would cancel the weights.
        flow.vtime := greatest(flow.vtime, virtual_now(a_take.lane));
    END IF;
    UPDATE flows SET vtime = flow.vtime + a_shift, waiting = flow.waiting, ready = flow.ready,
                     running = flow.running, aside = flow.aside, queued_ms = flow.queued_ms
        WHERE guild_id = a_take.guild_id AND user_id = a_take.user_id AND lane = a_take.lane;
    IF is_active <> was_active THEN
        UPDATE shares SET active = active + is_active::int - was_active::int
            WHERE guild_id = a_take.guild_id AND lane = a_take.lane;
    END IF;
END $$;

-- Make a flow's oldest waiting take its head, if it has none and room to run one more.
-- Takes that no live generator can run step aside, so that they hold up nobody.
CREATE FUNCTION promote(a_guild bigint, a_user bigint, a_lane text) RETURNS void LANGUAGE plpgsql AS $$
DECLARE
    flow flows;
    take takes;
BEGIN
    SELECT * INTO flow FROM flows
        WHERE guild_id = a_guild AND user_id = a_user AND lane = a_lane FOR NO KEY UPDATE;
    IF flow.ready > 0 OR flow.running >= flow.max_running THEN
        RETURN;
    END IF;
    LOOP
        SELECT * INTO take FROM takes
            WHERE guild_id = a_guild AND user_id = a_user AND lane = a_lane AND state = 'waiting'
            ORDER BY take_id LIMIT 1 FOR NO KEY UPDATE SKIP LOCKED;
        EXIT WHEN NOT FOUND;
        IF model_is_live(take.model) THEN
            UPDATE takes SET state = 'ready', vkey = flow.vtime WHERE take_id = take.take_id;
            PERFORM recount_flow(take, 'ready');
            PERFORM pg_notify('takes_ready', '');
            EXIT;
        END IF;
        UPDATE takes SET state = 'parked', run_at = clock_timestamp() + interval '15 minutes'
            WHERE take_id = take.take_id;
        PERFORM recount_flow(take, 'parked');
    END LOOP;
END $$;

-- Tell the courier that the messages of a request are out of date.
CREATE FUNCTION touch_request(a_request bigint) RETURNS void LANGUAGE plpgsql AS $$
BEGIN
    UPDATE deliveries SET wanted_rev = wanted_rev + 1, next_at = least(next_at, clock_timestamp())
        WHERE request_id = a_request AND failure IS NULL;
    PERFORM pg_notify('deliveries', '');
END $$;

-- Write down a request (`a_ask`: its row), put its takes into its member's flow, hold their price, have its messages
-- posted. An interaction that has a request already gets that one, and nothing else happens.
-- ZT001: the member lacks credits. ZT002: the server does. ZT003: the member has too many takes unfinished.
CREATE FUNCTION enqueue_request(a_ask jsonb, a_model text, a_seeds bigint[], a_cost_ms integer, a_quote bigint,
                                a_role_weight double precision, OUT request_id bigint, OUT is_new boolean)
LANGUAGE plpgsql AS $$
#variable_conflict use_column
DECLARE
    ask   requests := jsonb_populate_record(NULL::requests, a_ask);
    guild guilds;
    flow  flows;
    ids   bigint[];
    take  takes;
BEGIN
    INSERT INTO requests (interaction_id, guild_id, channel_id, user_id, kind, lane, spec, plan, photo, end_photo, seed,
                          variation, spoiler, parent_id, parent_take)
        VALUES (ask.interaction_id, ask.guild_id, ask.channel_id, ask.user_id, ask.kind, ask.lane, ask.spec, ask.plan,
                ask.photo, ask.end_photo, ask.seed, ask.variation, ask.spoiler, ask.parent_id, ask.parent_take)
        ON CONFLICT (interaction_id) DO NOTHING RETURNING requests.request_id INTO enqueue_request.request_id;
    is_new := FOUND;
    IF NOT is_new THEN
        SELECT r.request_id INTO STRICT enqueue_request.request_id FROM requests r
            WHERE r.interaction_id = ask.interaction_id;
        RETURN;
    END IF;

    WITH inserted AS (
        INSERT INTO takes (request_id, guild_id, user_id, lane, index, seed, model, cost_ms, state)
            SELECT enqueue_request.request_id, ask.guild_id, ask.user_id, ask.lane, i, s.seed, a_model, a_cost_ms,
                   'waiting'
                FROM unnest(a_seeds) WITH ORDINALITY AS s (seed, i)
            RETURNING take_id)
        SELECT array_agg(take_id ORDER BY take_id) INTO ids FROM inserted;
    PERFORM hold_credits(ask.guild_id, ask.user_id, ids, a_quote);

    SELECT * INTO STRICT guild FROM guilds WHERE guild_id = ask.guild_id;
    INSERT INTO shares (guild_id, lane) VALUES (ask.guild_id, ask.lane) ON CONFLICT DO NOTHING;
    INSERT INTO flows AS f (guild_id, user_id, lane, role_weight, max_running)
        VALUES (ask.guild_id, ask.user_id, ask.lane, a_role_weight, guild.max_running)
        ON CONFLICT (guild_id, user_id, lane)
            DO UPDATE SET role_weight = excluded.role_weight, max_running = excluded.max_running
        RETURNING f.* INTO flow;
    IF flow.waiting + flow.ready + flow.running + flow.aside + cardinality(ids) > guild.max_waiting THEN
        RAISE EXCEPTION 'too many takes unfinished' USING ERRCODE = 'ZT003', DETAIL = json_build_object(
            'unfinished', flow.waiting + flow.ready + flow.running + flow.aside, 'wanted', cardinality(ids),
            'most', guild.max_waiting);
    END IF;
    FOR take IN SELECT * FROM takes WHERE take_id = ANY (ids) ORDER BY take_id LOOP
        take.state := NULL;
        PERFORM recount_flow(take, 'waiting');
    END LOOP;
    PERFORM promote(ask.guild_id, ask.user_id, ask.lane);
    -- The command line has no channel.
    IF ask.guild_id <> 0 THEN
        INSERT INTO deliveries (request_id, kind, guild_id, channel_id)
            VALUES (enqueue_request.request_id, 'card', ask.guild_id, ask.channel_id),
                   (enqueue_request.request_id, 'reply', ask.guild_id, ask.channel_id);
        PERFORM pg_notify('deliveries', '');
    END IF;
END $$;

-- Lease the fairest ready take that the generator can run: the fast lane's head, else the relaxed lane's.
-- A take of a loaded model goes first if its key is within `a_slack` weighted GPU-seconds of the head's.
CREATE FUNCTION claim_take(a_generator uuid, a_models text[], a_loaded text[], a_slack double precision, a_lease interval)
RETURNS SETOF takes LANGUAGE plpgsql AS $$
DECLARE
    head   takes;
    near   takes;
    weight double precision;
    a_lane text;
BEGIN
    -- This transaction need not reach the disk before it is answered: a claim that a power cut forgets is a take that
    -- is still in line. What a generator writes later is flushed with all that came before it.
    PERFORM set_config('synchronous_commit', 'off', true);
    FOREACH a_lane IN ARRAY ARRAY['fast', 'relaxed'] LOOP
        SELECT * INTO head FROM takes
            WHERE state = 'ready' AND lane = a_lane AND model = ANY (a_models)
            ORDER BY vkey, take_id LIMIT 1 FOR NO KEY UPDATE SKIP LOCKED;
        EXIT WHEN FOUND;
    END LOOP;
    IF head.take_id IS NULL THEN
        RETURN;
    END IF;
    IF NOT head.model = ANY (a_loaded) THEN
        SELECT * INTO near FROM takes
            WHERE state = 'ready' AND lane = head.lane AND model = ANY (a_loaded) AND vkey <= head.vkey + a_slack
            ORDER BY vkey, take_id LIMIT 1 FOR NO KEY UPDATE SKIP LOCKED;
        IF FOUND THEN
            -- The head was locked for a moment: somebody may have passed it by.
            PERFORM pg_notify('takes_ready', '');
            head := near;
        END IF;
    END IF;
    SELECT g.weight * f.role_weight / greatest(s.active, 1) INTO STRICT weight
        FROM flows f JOIN guilds g USING (guild_id) JOIN shares s USING (guild_id, lane)
        WHERE f.guild_id = head.guild_id AND f.user_id = head.user_id AND f.lane = head.lane;
    UPDATE takes SET state = 'running', fence = fence + 1, generator_id = a_generator,
                     lease_until = clock_timestamp() + a_lease, vcharge = cost_ms / 1000.0 / weight,
                     phase = 'load', done = 0, total = 0, started_at = clock_timestamp()
        WHERE take_id = head.take_id;
    PERFORM recount_flow(head, 'running', head.cost_ms / 1000.0 / weight);
    PERFORM promote(head.guild_id, head.user_id, head.lane);
    -- Its card is not touched: cards of running takes are drawn again every 3 s anyway, and a claim is a hot path.
    RETURN QUERY SELECT * FROM takes WHERE take_id = head.take_id;
END $$;

-- Renew a lease, write down progress, hear of a cancel. No row: the take is somebody else's now, stop rendering.
CREATE FUNCTION beat_take(a_take bigint, a_generator uuid, a_fence integer, a_phase text, a_done integer, a_total integer,
                          a_lease interval)
RETURNS SETOF boolean LANGUAGE plpgsql AS $$
BEGIN
    -- As for a claim: a heartbeat that is forgotten is followed by the next.
    PERFORM set_config('synchronous_commit', 'off', true);
    RETURN QUERY UPDATE takes
        SET lease_until = clock_timestamp() + a_lease, phase = a_phase, done = a_done, total = a_total
        WHERE take_id = a_take AND state = 'running' AND generator_id = a_generator AND fence = a_fence
        RETURNING cancel_requested;
END $$;

-- Lock a running take for the generator that still owns it. All NULL: it does not.
CREATE FUNCTION lock_own_take(a_take bigint, a_generator uuid, a_fence integer) RETURNS takes LANGUAGE plpgsql AS $$
DECLARE
    take takes;
BEGIN
    SELECT * INTO take FROM takes
        WHERE take_id = a_take AND state = 'running' AND generator_id = a_generator AND fence = a_fence
        FOR NO KEY UPDATE;
    RETURN take;
END $$;

-- The last transition of a take: settle, leave the flow, make room for the next.
CREATE FUNCTION end_take(a_take takes, a_state text, a_gpu_ms bigint, a_charge bigint, a_error text, a_fault text)
RETURNS void LANGUAGE plpgsql AS $$
BEGIN
    UPDATE takes SET state = a_state, lease_until = NULL, finished_at = clock_timestamp(), run_at = NULL,
                     gpu_ms = coalesce(a_gpu_ms, gpu_ms), error = a_error, fault = a_fault
        WHERE take_id = a_take.take_id;
    PERFORM settle_hold(a_take.take_id, a_charge);
    PERFORM recount_flow(a_take, a_state);
    PERFORM promote(a_take.guild_id, a_take.user_id, a_take.lane);
    PERFORM touch_request(a_take.request_id);
END $$;

-- A take leaves its generator without an end. `a_delay` NULL: back in line at once. The claim's virtual time is undone.
CREATE FUNCTION return_take(a_take takes, a_delay interval, a_attempts integer, a_fault text)
RETURNS void LANGUAGE plpgsql AS $$
DECLARE
    target text := CASE WHEN a_delay IS NULL THEN 'waiting' ELSE 'backoff' END;
BEGIN
    UPDATE takes SET state = target, lease_until = NULL, run_at = clock_timestamp() + a_delay, attempts = a_attempts,
                     vcharge = 0, phase = NULL, started_at = NULL, fault = coalesce(a_fault, fault)
        WHERE take_id = a_take.take_id;
    PERFORM recount_flow(a_take, target, -a_take.vcharge);
    PERFORM promote(a_take.guild_id, a_take.user_id, a_take.lane);
    PERFORM touch_request(a_take.request_id);
END $$;

-- The render is stored: decide between finish and cancel. 'done' again for the attempt that recorded it already.
CREATE FUNCTION record_take(a_take bigint, a_generator uuid, a_fence integer, a_gpu_ms bigint, a_master text,
                            a_width integer, a_height integer, a_frames integer, a_fps double precision,
                            a_has_sound boolean, a_recipe jsonb)
RETURNS text LANGUAGE plpgsql AS $$
DECLARE
    take takes := lock_own_take(a_take, a_generator, a_fence);
BEGIN
    IF take.take_id IS NULL THEN
        RETURN coalesce(
            (SELECT state FROM takes WHERE take_id = a_take AND state IN ('done', 'cancelled')
                AND generator_id = a_generator AND fence = a_fence),
            'fenced');
    END IF;
    IF take.cancel_requested THEN
        PERFORM end_take(take, 'cancelled', a_gpu_ms, ceil(a_gpu_ms / 1000.0)::bigint, NULL, NULL);
        RETURN 'cancelled';
    END IF;
    INSERT INTO clips (take_id, guild_id, master, width, height, frames, fps, has_sound, recipe)
        VALUES (a_take, take.guild_id, a_master, a_width, a_height, a_frames, a_fps, a_has_sound, a_recipe);
    PERFORM end_take(take, 'done', a_gpu_ms, ceil(a_gpu_ms / 1000.0)::bigint, NULL, NULL);
    RETURN 'done';
END $$;

-- The generator stopped because of a cancel: the measured seconds are charged.
CREATE FUNCTION stop_take(a_take bigint, a_generator uuid, a_fence integer, a_gpu_ms bigint)
RETURNS text LANGUAGE plpgsql AS $$
DECLARE
    take takes := lock_own_take(a_take, a_generator, a_fence);
BEGIN
    IF take.take_id IS NULL THEN
        RETURN 'fenced';
    END IF;
    PERFORM end_take(take, 'cancelled', a_gpu_ms, ceil(a_gpu_ms / 1000.0)::bigint, NULL, NULL);
    RETURN 'cancelled';
END $$;

-- A failure costs the member nothing. What may mend comes back after 5 s, 15 s; the third failure is the last.
CREATE FUNCTION lose_attempt(a_take takes, a_retry boolean, a_delay interval, a_error text, a_fault text)
RETURNS text LANGUAGE plpgsql AS $$
BEGIN
    IF a_take.cancel_requested THEN
        PERFORM end_take(a_take, 'cancelled', NULL, 0, NULL, a_fault);
        RETURN 'cancelled';
    END IF;
    IF a_retry AND a_take.attempts < 2 THEN
        PERFORM return_take(a_take, a_delay, a_take.attempts + 1, a_fault);
        RETURN 'again';
    END IF;
    PERFORM end_take(a_take, 'failed', NULL, 0, a_error, a_fault);
    RETURN 'failed';
END $$;

CREATE FUNCTION fail_take(a_take bigint, a_generator uuid, a_fence integer, a_retry boolean, a_error text, a_fault text)
RETURNS text LANGUAGE plpgsql AS $$
DECLARE
    take takes := lock_own_take(a_take, a_generator, a_fence);
BEGIN
    IF take.take_id IS NULL THEN
        RETURN 'fenced';
    END IF;
    RETURN lose_attempt(take, a_retry,
        make_interval(secs => 5 * power(3, take.attempts) * (0.75 + random() / 2)), a_error, a_fault);
END $$;

-- The generator shuts down: the take goes back in line and loses no attempt.
CREATE FUNCTION give_back_take(a_take bigint, a_generator uuid, a_fence integer) RETURNS text LANGUAGE plpgsql AS $$
DECLARE
    take takes := lock_own_take(a_take, a_generator, a_fence);
BEGIN
    IF take.take_id IS NULL THEN
        RETURN 'fenced';
    END IF;
    IF take.cancel_requested THEN
        PERFORM end_take(take, 'cancelled', NULL, 0, NULL, NULL);
        RETURN 'cancelled';
    END IF;
    PERFORM return_take(take, NULL, take.attempts, NULL);
    RETURN 'waiting';
END $$;

-- Cancel what is unfinished of a request. Waiting takes end at once and cost nothing; running ones are told.
-- Returns each take's state afterwards.
CREATE FUNCTION cancel_request(a_request bigint) RETURNS SETOF text LANGUAGE plpgsql AS $$
DECLARE
    take takes;
BEGIN
    -- All takes first: taking one after another around the accounts would break the lock order.
    PERFORM FROM takes WHERE request_id = a_request ORDER BY take_id FOR NO KEY UPDATE;
    FOR take IN SELECT * FROM takes WHERE request_id = a_request ORDER BY take_id DESC LOOP
        -- An earlier turn of this loop may have promoted this one: its row is read again.
        SELECT * INTO take FROM takes WHERE take_id = take.take_id;
        IF take.state = 'running' THEN
            UPDATE takes SET cancel_requested = true WHERE take_id = take.take_id;
            PERFORM pg_notify('take_cancelled', take.take_id::text);
            RETURN NEXT 'running';
        ELSIF take.state IN ('waiting', 'ready', 'backoff', 'parked') THEN
            PERFORM end_take(take, 'cancelled', NULL, 0, NULL, NULL);
            RETURN NEXT 'cancelled';
        ELSE
            RETURN NEXT take.state;
        END IF;
    END LOOP;
    PERFORM touch_request(a_request);
END $$;

-- One step of keeping the queue in order; NULL when there is nothing left to do. Any process may call it, at any time:
-- one take a transaction, so that it can never hold two flows.
CREATE FUNCTION reap(a_lease interval, a_patience interval) RETURNS text LANGUAGE plpgsql AS $$
DECLARE
    take takes;
    flow flows;
    live text[] := ARRAY(SELECT DISTINCT unnest(models) FROM generators
                         WHERE seen_at > clock_timestamp() - interval '30 seconds');
BEGIN
    -- A generator that died. Not just after the server started: during an outage nobody could renew.
    IF clock_timestamp() > pg_postmaster_start_time() + a_lease THEN
        SELECT * INTO take FROM takes WHERE state = 'running' AND lease_until < clock_timestamp()
            ORDER BY lease_until LIMIT 1 FOR NO KEY UPDATE SKIP LOCKED;
        IF FOUND THEN
            RETURN 'lease lost, ' || lose_attempt(take, true, NULL,
                'The generator stopped three times in the middle of it. Try again, perhaps shorter or smaller.',
                'lease lost');
        END IF;
    END IF;
    -- Back-off is over, or a generator came that runs a parked take's model.
    SELECT * INTO take FROM takes
        WHERE state IN ('backoff', 'parked')
            AND CASE state WHEN 'parked' THEN model = ANY (live) ELSE run_at <= clock_timestamp() END
        ORDER BY run_at LIMIT 1 FOR NO KEY UPDATE SKIP LOCKED;
    IF FOUND THEN
        UPDATE takes SET state = 'waiting', run_at = NULL WHERE take_id = take.take_id;
        PERFORM recount_flow(take, 'waiting');
        PERFORM promote(take.guild_id, take.user_id, take.lane);
        RETURN take.state || ' is over';
    END IF;
    SELECT * INTO take FROM takes WHERE state = 'parked' AND run_at <= clock_timestamp()
        ORDER BY run_at LIMIT 1 FOR NO KEY UPDATE SKIP LOCKED;
    IF FOUND THEN
        PERFORM end_take(take, 'failed', NULL, 0,
            'No generator that runs this model came back within 15 minutes. Pick another model, or try again later.', NULL);
        RETURN 'parked too long';
    END IF;
    -- The last generator of a head's model has gone.
    SELECT * INTO take FROM takes WHERE state = 'ready' AND model <> ALL (live)
        LIMIT 1 FOR NO KEY UPDATE SKIP LOCKED;
    IF FOUND THEN
        UPDATE takes SET state = 'parked', run_at = clock_timestamp() + interval '15 minutes'
            WHERE take_id = take.take_id;
        PERFORM recount_flow(take, 'parked');
        PERFORM promote(take.guild_id, take.user_id, take.lane);
        PERFORM touch_request(take.request_id);
        RETURN 'parked';
    END IF;
    -- A relaxed head that has waited long enough joins its member's fast flow; it stays free.
    SELECT * INTO take FROM takes
        WHERE state = 'ready' AND lane = 'relaxed' AND queued_at < clock_timestamp() - a_patience
        ORDER BY queued_at LIMIT 1 FOR NO KEY UPDATE SKIP LOCKED;
    IF FOUND THEN
        INSERT INTO shares (guild_id, lane) VALUES (take.guild_id, 'fast') ON CONFLICT DO NOTHING;
        INSERT INTO flows (guild_id, user_id, lane, role_weight, max_running)
            SELECT guild_id, user_id, 'fast', role_weight, max_running FROM flows
                WHERE guild_id = take.guild_id AND user_id = take.user_id AND lane = 'relaxed'
            ON CONFLICT DO NOTHING;
        UPDATE takes SET state = 'waiting', lane = 'fast' WHERE take_id = take.take_id;
        PERFORM recount_flow(take, 'gone');
        PERFORM promote(take.guild_id, take.user_id, 'relaxed');
        take.state := NULL;
        take.lane := 'fast';
        PERFORM recount_flow(take, 'waiting');
        PERFORM promote(take.guild_id, take.user_id, 'fast');
        RETURN 'raised';
    END IF;
    -- A promotion that was missed because the next take was locked just then.
    SELECT * INTO flow FROM flows
        WHERE waiting > 0 AND ready = 0 AND running < max_running
        LIMIT 1 FOR NO KEY UPDATE SKIP LOCKED;
    IF FOUND THEN
        PERFORM promote(flow.guild_id, flow.user_id, flow.lane);
        RETURN 'promoted';
    END IF;
    RETURN NULL;
END $$;
