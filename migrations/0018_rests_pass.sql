-- A model that rests holds up nobody: its takes let those of other models pass, and what was begun elsewhere is fetched.

-- The models whose generators all rest. One that no generator runs is not among them.
CREATE FUNCTION resting_models() RETURNS text[] LANGUAGE plpgsql STABLE AS $$
BEGIN
    RETURN ARRAY(SELECT model FROM generators CROSS JOIN LATERAL unnest(models) AS model
                 WHERE seen_at > clock_timestamp() - interval '30 seconds'
                 GROUP BY model HAVING bool_and(paused OR coalesce(rests_until > clock_timestamp(), false)));
END $$;

-- Is a take rendered elsewhere, or lies its clip there? It is paid for, and is fetched through any rest.
CREATE FUNCTION is_begun(a_take bigint) RETURNS boolean LANGUAGE plpgsql STABLE AS $$
BEGIN
    RETURN EXISTS (SELECT FROM hosted_jobs WHERE take_id = a_take AND (outcome IS NULL OR outcome = 'succeeded'));
END $$;

-- As before, but for the heads of resting models: they stand still, and a flow that joined beside one would have saved up
-- the whole rest.
CREATE OR REPLACE FUNCTION virtual_now(a_lane text) RETURNS double precision LANGUAGE plpgsql STABLE AS $$
DECLARE
    resting text[] := resting_models();
BEGIN
    RETURN coalesce(
        least((SELECT vkey FROM takes WHERE state = 'ready' AND lane = a_lane AND model <> ALL (resting)
                   ORDER BY vkey, take_id LIMIT 1),
              (SELECT max(vkey) FROM takes WHERE state = 'running' AND lane = a_lane)),
        (SELECT max(vtime) FROM flows WHERE lane = a_lane),
        0);
END $$;

-- Make a flow's oldest waiting take its head, if it has none and room to run one more; of a resting model only where the
-- flow holds nothing else. Takes that no live generator can run step aside, so that they hold up nobody.
CREATE OR REPLACE FUNCTION promote(a_guild bigint, a_user bigint, a_lane text) RETURNS void LANGUAGE plpgsql AS $$
DECLARE
    flow    flows;
    take    takes;
    other   takes;
    resting text[];
BEGIN
    SELECT * INTO flow FROM flows
        WHERE guild_id = a_guild AND user_id = a_user AND lane = a_lane FOR NO KEY UPDATE;
    IF flow.ready > 0 OR flow.running >= flow.max_running THEN
        RETURN;
    END IF;
    resting := resting_models();
    LOOP
        SELECT * INTO take FROM takes
            WHERE guild_id = a_guild AND user_id = a_user AND lane = a_lane AND state = 'waiting'
            ORDER BY take_id LIMIT 1 FOR NO KEY UPDATE SKIP LOCKED;
        EXIT WHEN NOT FOUND;
        IF model_is_live(take.model) THEN
            IF take.model = ANY (resting) THEN
                SELECT * INTO other FROM takes
                    WHERE guild_id = a_guild AND user_id = a_user AND lane = a_lane AND state = 'waiting'
                        AND (model <> ALL (resting) OR is_begun(take_id)) AND model_is_live(model)
                    ORDER BY take_id LIMIT 1 FOR NO KEY UPDATE SKIP LOCKED;
                IF FOUND THEN
                    take := other;
                END IF;
            END IF;
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

DROP FUNCTION claim_take(uuid, text[], text[], double precision, interval);
-- Lease the fairest ready take that the generator can run: the fast lane's head, else the relaxed lane's.
-- A take of a loaded model goes first if its key is within `a_slack` weighted GPU-seconds of the head's.
-- `a_begun`: only what has been begun elsewhere.
CREATE FUNCTION claim_take(a_generator uuid, a_models text[], a_loaded text[], a_slack double precision, a_lease interval,
                           a_begun boolean DEFAULT false)
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
                AND (NOT a_begun OR is_begun(take_id))
            ORDER BY vkey, take_id LIMIT 1 FOR NO KEY UPDATE SKIP LOCKED;
        EXIT WHEN FOUND;
    END LOOP;
    IF head.take_id IS NULL THEN
        RETURN;
    END IF;
    IF NOT head.model = ANY (a_loaded) THEN
        SELECT * INTO near FROM takes
            WHERE state = 'ready' AND lane = head.lane AND model = ANY (a_loaded) AND vkey <= head.vkey + a_slack
                AND (NOT a_begun OR is_begun(take_id))
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

-- One step of keeping the queue in order; NULL when there is nothing left to do. Any process may call it, at any time:
-- one take a transaction, so that it can never hold two flows.
CREATE OR REPLACE FUNCTION reap(a_lease interval, a_patience interval) RETURNS text LANGUAGE plpgsql AS $$
DECLARE
    take takes;
    flow flows;
    live text[] := ARRAY(SELECT DISTINCT unnest(models) FROM generators
                         WHERE seen_at > clock_timestamp() - interval '30 seconds');
    resting text[] := resting_models();
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
    -- A head's model rests, and its flow holds a take that does not have to wait for that.
    SELECT head.* INTO take FROM takes head
        JOIN takes other ON other.guild_id = head.guild_id AND other.user_id = head.user_id AND other.lane = head.lane
                        AND other.state = 'waiting' AND other.model = ANY (live)
                        AND (other.model <> ALL (resting) OR is_begun(other.take_id))
        WHERE head.state = 'ready' AND head.model = ANY (resting) AND NOT is_begun(head.take_id)
        LIMIT 1 FOR NO KEY UPDATE SKIP LOCKED;
    IF FOUND THEN
        UPDATE takes SET state = 'waiting' WHERE take_id = take.take_id;
        PERFORM recount_flow(take, 'waiting');
        PERFORM promote(take.guild_id, take.user_id, take.lane);
        RETURN 'let another pass';
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
