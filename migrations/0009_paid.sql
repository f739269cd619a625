-- Dollars: models that a provider bills for. Amounts are in micro-dollars.
-- Lock order: … server account → approval → spending → flow …

ALTER TABLE requests
    ADD COLUMN provider text,
    -- The relaxed lane is free, and a provider's bill is not.
    ADD CONSTRAINT requests_paid_are_fast CHECK (provider IS NULL OR lane = 'fast');
COMMENT ON COLUMN requests.provider IS 'Who bills it; NULL: it is rendered by generators of the host''s own.';

ALTER TABLE guilds ADD COLUMN confirm_above bigint NOT NULL DEFAULT 500000 CHECK (confirm_above >= 0);
COMMENT ON COLUMN guilds.confirm_above IS 'Micro-dollars above which a click asks first.';

CREATE TABLE approvals (
    guild_id    bigint NOT NULL REFERENCES guilds,
    provider    text NOT NULL,
    monthly_cap bigint NOT NULL DEFAULT 0 CHECK (monthly_cap >= 0),
    approved_at timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (guild_id, provider)
);
COMMENT ON TABLE approvals IS 'Providers whose bills the host pays for a server. No row: none, its models are not offered there.';

CREATE TABLE spending (
    guild_id bigint NOT NULL REFERENCES guilds,
    provider text NOT NULL,
    -- Its first day (UTC).
    month    date NOT NULL CHECK (extract(day FROM month) = 1),
    reserved bigint NOT NULL DEFAULT 0 CHECK (reserved >= 0),
    spent    bigint NOT NULL DEFAULT 0 CHECK (spent >= 0),
    PRIMARY KEY (guild_id, provider, month)
);
COMMENT ON TABLE spending IS 'Sums of `charges`, kept here so that a reservation reads and locks one row.';

CREATE TABLE charges (
    -- One a take: whatever crashes and retries, it is reserved and settled once.
    take_id    bigint PRIMARY KEY REFERENCES takes,
    guild_id   bigint NOT NULL,
    provider   text NOT NULL,
    month      date NOT NULL,
    -- A price of nothing would pass every cap.
    reserved   bigint NOT NULL CHECK (reserved > 0),
    -- What the month came to with this click, and what it might come to then.
    total      bigint NOT NULL,
    cap        bigint NOT NULL,
    cost       bigint CHECK (cost >= 0),
    paid       bigint CHECK (paid >= 0),
    settled_at timestamptz,
    FOREIGN KEY (guild_id, provider, month) REFERENCES spending,
    -- The promise to the host, at the moment of the reservation. A provider that charges more than its price, or a cap
    -- that is lowered later, cannot be known then.
    CHECK (total <= cap),
    CHECK ((paid IS NULL) = (settled_at IS NULL))
);
COMMENT ON TABLE charges IS 'The price of a take, set aside at enqueue and settled once at what the provider really charged.';
COMMENT ON COLUMN charges.cost IS 'What the provider is known to have charged, all attempts together; NULL: nothing is known.';
CREATE INDEX charges_by_month ON charges (guild_id, provider, month);

-- Set aside `a_amount` for each take. ZT004: the host has not approved this. ZT005: the month's cap does not allow it.
CREATE FUNCTION reserve_dollars(a_guild bigint, a_provider text, a_takes bigint[], a_amount bigint)
RETURNS void LANGUAGE plpgsql AS $$
DECLARE
    approval approvals;
    used     spending;
    a_month  date := date_trunc('month', clock_timestamp() AT TIME ZONE 'UTC')::date;
    wanted   bigint := a_amount * cardinality(a_takes);
BEGIN
    -- Whoever withdraws or lowers the cap waits for this, and whoever reserves after that finds it.
    SELECT * INTO approval FROM approvals WHERE guild_id = a_guild AND provider = a_provider FOR SHARE;
    IF NOT FOUND THEN
        RAISE EXCEPTION 'not approved' USING ERRCODE = 'ZT004', DETAIL = '{}';
    END IF;
    INSERT INTO spending (guild_id, provider, month) VALUES (a_guild, a_provider, a_month) ON CONFLICT DO NOTHING;
    SELECT * INTO STRICT used FROM spending
        WHERE guild_id = a_guild AND provider = a_provider AND month = a_month FOR NO KEY UPDATE;
    IF used.reserved + used.spent + wanted > approval.monthly_cap THEN
        RAISE EXCEPTION 'over the monthly cap' USING ERRCODE = 'ZT005', DETAIL = json_build_object(
            'left', greatest(approval.monthly_cap - used.reserved - used.spent, 0), 'each', a_amount,
            'wanted', wanted, 'cap', approval.monthly_cap);
    END IF;
    UPDATE spending SET reserved = reserved + wanted
        WHERE guild_id = a_guild AND provider = a_provider AND month = a_month;
    INSERT INTO charges (take_id, guild_id, provider, month, reserved, total, cap)
        SELECT take, a_guild, a_provider, a_month, a_amount, used.reserved + used.spent + wanted, approval.monthly_cap
            FROM unnest(a_takes) take;
END $$;

-- Settle a take's charge at its cost; where that is not known, a clip costs its price and anything else nothing.
-- Settled before, or nobody bills it: nothing happens.
CREATE FUNCTION settle_charge(a_take bigint, a_done boolean) RETURNS void LANGUAGE plpgsql AS $$
DECLARE
    charge charges;
    paying bigint;
BEGIN
    SELECT * INTO charge FROM charges WHERE take_id = a_take AND settled_at IS NULL FOR NO KEY UPDATE;
    IF NOT FOUND THEN
        RETURN;
    END IF;
    paying := coalesce(charge.cost, CASE WHEN a_done THEN charge.reserved ELSE 0 END);
    UPDATE charges SET paid = paying, settled_at = now() WHERE take_id = a_take;
    UPDATE spending SET reserved = reserved - charge.reserved, spent = spent + paying
        WHERE guild_id = charge.guild_id AND provider = charge.provider AND month = charge.month;
END $$;

-- As before, and with it the inputs beside the photos and a provider's price.
-- ZT004: the host has not approved the provider here. ZT005: its monthly cap does not allow it.
CREATE OR REPLACE FUNCTION enqueue_request(a_ask jsonb, a_model text, a_seeds bigint[], a_cost_ms integer,
                                           a_quote bigint, a_role_weight double precision,
                                           OUT request_id bigint, OUT is_new boolean)
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
                          variation, spoiler, parent_id, parent_take, provider)
        VALUES (ask.interaction_id, ask.guild_id, ask.channel_id, ask.user_id, ask.kind, ask.lane, ask.spec, ask.plan,
                ask.photo, ask.end_photo, ask.seed, ask.variation, ask.spoiler, ask.parent_id, ask.parent_take,
                ask.provider)
        ON CONFLICT (interaction_id) DO NOTHING RETURNING requests.request_id INTO enqueue_request.request_id;
    is_new := FOUND;
    IF NOT is_new THEN
        SELECT r.request_id INTO STRICT enqueue_request.request_id FROM requests r
            WHERE r.interaction_id = ask.interaction_id;
        RETURN;
    END IF;
    IF a_ask -> 'inputs' <> '[]' THEN
        INSERT INTO request_inputs (request_id, guild_id, role, position, photo, video)
            SELECT enqueue_request.request_id, ask.guild_id, i.role, i.position, i.photo, i.video
                FROM jsonb_populate_recordset(NULL::request_inputs, a_ask -> 'inputs') i;
    END IF;

    WITH inserted AS (
        INSERT INTO takes (request_id, guild_id, user_id, lane, index, seed, model, cost_ms, state)
            SELECT enqueue_request.request_id, ask.guild_id, ask.user_id, ask.lane, i, s.seed, a_model, a_cost_ms,
                   'waiting'
                FROM unnest(a_seeds) WITH ORDINALITY AS s (seed, i)
            RETURNING take_id)
        SELECT array_agg(take_id ORDER BY take_id) INTO ids FROM inserted;
    PERFORM hold_credits(ask.guild_id, ask.user_id, ids, a_quote);
    IF ask.provider IS NOT NULL THEN
        PERFORM reserve_dollars(ask.guild_id, ask.provider, ids, (ask.plan ->> 'microdollars')::bigint);
    END IF;

    SELECT * INTO STRICT guild FROM guilds WHERE guild_id = ask.guild_id;
    IF NOT EXISTS (SELECT FROM shares WHERE guild_id = ask.guild_id AND lane = ask.lane) THEN
        INSERT INTO shares (guild_id, lane) VALUES (ask.guild_id, ask.lane) ON CONFLICT DO NOTHING;
    END IF;
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

-- As before, and a provider's charge with it.
CREATE OR REPLACE FUNCTION end_take(a_take takes, a_state text, a_gpu_ms bigint, a_charge bigint, a_error text, a_fault text)
RETURNS void LANGUAGE plpgsql AS $$
BEGIN
    UPDATE takes SET state = a_state, lease_until = NULL, finished_at = clock_timestamp(), run_at = NULL,
                     gpu_ms = coalesce(a_gpu_ms, gpu_ms), error = a_error, fault = a_fault
        WHERE take_id = a_take.take_id;
    PERFORM settle_hold(a_take.take_id, a_charge);
    PERFORM settle_charge(a_take.take_id, a_state = 'done');
    PERFORM recount_flow(a_take, a_state);
    PERFORM promote(a_take.guild_id, a_take.user_id, a_take.lane);
    PERFORM touch_request(a_take.request_id);
END $$;
