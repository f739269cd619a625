-- Generators that rest: paused by their host, or in their quiet hours. And what they are told besides.

ALTER TABLE generators
    -- The name of its host, by which the host gives orders, and the device that it renders on.
    ADD COLUMN machine text NOT NULL DEFAULT '',
    ADD COLUMN device text NOT NULL DEFAULT '',
    -- It claims nothing: until then, or until its host says so.
    ADD COLUMN rests_until timestamptz,
    ADD COLUMN paused boolean NOT NULL DEFAULT false;

CREATE TABLE orders (
    -- A host's name; empty for every machine that has no row of its own.
    machine    text PRIMARY KEY,
    pause      text NOT NULL DEFAULT 'no' CHECK (pause IN ('no', 'after take', 'now')),
    -- When the GPU's memory was last asked back.
    free_at    timestamptz,
    ordered_at timestamptz NOT NULL DEFAULT now()
);
COMMENT ON TABLE orders IS 'What hosts told their generators. Kept while none runs: a paused machine is paused after a restart too.';

-- Tell where a generator is and until when its quiet hours last (NULL: they are over); learn what its host wants.
CREATE FUNCTION obey_orders(a_generator uuid, a_machine text, a_device text, a_quiet_until timestamptz,
                            OUT pause text, OUT free_at timestamptz) LANGUAGE plpgsql AS $$
DECLARE
    own     orders;
    general orders;
BEGIN
    SELECT * INTO own FROM orders o WHERE o.machine = a_machine;
    SELECT * INTO general FROM orders o WHERE o.machine = '';
    pause := coalesce(own.pause, general.pause, 'no');
    free_at := greatest(own.free_at, general.free_at);
    UPDATE generators g SET machine = a_machine, device = a_device, rests_until = a_quiet_until, paused = (pause <> 'no')
        WHERE g.generator_id = a_generator
          AND (g.machine, g.device, g.rests_until, g.paused)
              IS DISTINCT FROM (a_machine, a_device, a_quiet_until, pause <> 'no');
    -- Somebody may wait for just this.
    IF FOUND AND pause = 'no' AND a_quiet_until IS NULL THEN
        PERFORM pg_notify('takes_ready', '');
    END IF;
END $$;

-- Whether all generators that run a model rest; until when, NULL where nobody knows; and how many seconds that is.
CREATE FUNCTION rest_of(a_model text, OUT resting boolean, OUT until timestamptz, OUT seconds double precision)
LANGUAGE plpgsql STABLE AS $$
BEGIN
    SELECT coalesce(bool_and(paused OR coalesce(rests_until > clock_timestamp(), false)), false),
           min(rests_until) FILTER (WHERE NOT paused)
        INTO resting, until
        FROM generators WHERE a_model = ANY (models) AND seen_at > clock_timestamp() - interval '30 seconds';
    IF NOT resting THEN
        until := NULL;
    END IF;
    seconds := coalesce(greatest(extract(epoch FROM until - clock_timestamp()), 0), 0);
END $$;
