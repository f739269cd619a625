-- Requests, takes and the fair queue: start-time fair queueing with one ready head a flow.

CREATE TABLE requests (
    request_id     bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    -- A second delivery of the same interaction, or a second try, finds its request here. Below zero: the command line's.
    interaction_id bigint UNIQUE,
    guild_id       bigint NOT NULL REFERENCES guilds,
    channel_id     bigint NOT NULL,
    user_id        bigint NOT NULL,
    kind           text NOT NULL CHECK (kind IN ('animate', 'reroll', 'remix', 'vary', 'retry')),
    lane           text NOT NULL CHECK (lane IN ('fast', 'relaxed')),
    spec           jsonb NOT NULL,
    plan           jsonb NOT NULL,
    photo          text NOT NULL,
    end_photo      text,
    seed           bigint NOT NULL,
    variation      double precision CHECK (variation BETWEEN 0 AND 1),
    spoiler        boolean NOT NULL DEFAULT false,
    parent_id      bigint REFERENCES requests,
    parent_take    bigint,
    -- The take with the star: what the buttons of the reply act on. NULL: the first finished one.
    chosen_take    bigint,
    trace_id       uuid NOT NULL DEFAULT gen_random_uuid(),
    created_at     timestamptz NOT NULL DEFAULT now(),
    FOREIGN KEY (guild_id, photo) REFERENCES photos (guild_id, sha256),
    FOREIGN KEY (guild_id, end_photo) REFERENCES photos (guild_id, sha256),
    -- A variation is a variation of something.
    CHECK (variation IS NULL OR parent_take IS NOT NULL)
);
COMMENT ON TABLE requests IS 'What a member asked for. Its status is derived from its takes and stored nowhere.';
CREATE INDEX requests_by_member ON requests (guild_id, user_id, request_id DESC);

CREATE TABLE generators (
    generator_id uuid PRIMARY KEY,
    name         text NOT NULL,
    models       text[] NOT NULL,
    loaded       text[] NOT NULL DEFAULT '{}',
    started_at   timestamptz NOT NULL DEFAULT now(),
    seen_at      timestamptz NOT NULL DEFAULT now()
);
COMMENT ON TABLE generators IS 'Who renders what. A row is renewed by its heartbeat; 30 s of silence and its models no longer count as alive.';

CREATE TABLE flows (
    guild_id    bigint NOT NULL REFERENCES guilds,
    user_id     bigint NOT NULL,
    lane        text NOT NULL CHECK (lane IN ('fast', 'relaxed')),
    vtime       double precision NOT NULL DEFAULT 0,
    role_weight double precision NOT NULL DEFAULT 1 CHECK (role_weight > 0),
    max_running integer NOT NULL,
    -- How many of its takes are where. A wrong count would stop a member for ever: below zero is refused at once.
    waiting     integer NOT NULL DEFAULT 0 CHECK (waiting >= 0),
    ready       integer NOT NULL DEFAULT 0 CHECK (ready BETWEEN 0 AND 1),
    running     integer NOT NULL DEFAULT 0 CHECK (running >= 0),
    aside       integer NOT NULL DEFAULT 0 CHECK (aside >= 0),
    queued_ms   bigint NOT NULL DEFAULT 0 CHECK (queued_ms >= 0),
    PRIMARY KEY (guild_id, user_id, lane)
);
COMMENT ON TABLE flows IS 'The fair queue''s unit: (server, member, lane) with a virtual time in weighted GPU-seconds.';
COMMENT ON COLUMN flows.aside IS 'Takes in backoff or parked: counted for the cap, not for the virtual time.';
COMMENT ON COLUMN flows.queued_ms IS 'Expected GPU-milliseconds of its waiting and ready takes, for places and times.';
-- The largest virtual time, for a flow that joins an idle queue.
CREATE INDEX flows_by_vtime ON flows (lane, vtime);
-- Places are counted over the active flows only.
CREATE INDEX flows_active ON flows (lane) WHERE waiting + ready + running > 0;

-- A promotion that was missed is found without reading every flow.
CREATE INDEX flows_stalled ON flows (guild_id) WHERE waiting > 0 AND ready = 0;

CREATE TABLE shares (
    guild_id bigint NOT NULL REFERENCES guilds,
    lane     text NOT NULL,
    active   integer NOT NULL DEFAULT 0 CHECK (active >= 0),
    PRIMARY KEY (guild_id, lane)
);
COMMENT ON TABLE shares IS 'Active flows a server: its weight is divided by them, or a large server would crowd out a small one.';

CREATE TABLE takes (
    take_id          bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    request_id       bigint NOT NULL REFERENCES requests,
    guild_id         bigint NOT NULL,
    user_id          bigint NOT NULL,
    -- The flow that it stands in: its request's lane, or fast once a relaxed take was raised for its age.
    lane             text NOT NULL,
    index            smallint NOT NULL CHECK (index BETWEEN 1 AND 4),
    seed             bigint NOT NULL,
    model            text NOT NULL,
    cost_ms          integer NOT NULL CHECK (cost_ms > 0),
    state            text NOT NULL CHECK (state IN
                     ('waiting', 'ready', 'running', 'backoff', 'parked', 'done', 'failed', 'cancelled')),
    vkey             double precision,
    -- What its claim added to the flow's virtual time; taken back once if the lease is lost or the take given back.
    vcharge          double precision NOT NULL DEFAULT 0,
    -- Rises with every claim. Every later write of a generator names it, so a stalled one cannot finish another's work.
    fence            integer NOT NULL DEFAULT 0,
    attempts         smallint NOT NULL DEFAULT 0,
    generator_id     uuid,
    lease_until      timestamptz,
    cancel_requested boolean NOT NULL DEFAULT false,
    phase            text,
    done             integer NOT NULL DEFAULT 0,
    total            integer NOT NULL DEFAULT 0,
    -- When a take in backoff is due, when a parked one is given up.
    run_at           timestamptz,
    queued_at        timestamptz NOT NULL DEFAULT now(),
    started_at       timestamptz,
    finished_at      timestamptz,
    gpu_ms           bigint,
    error            text,
    fault            text,
    UNIQUE (request_id, index),
    CHECK ((state = 'running') = (lease_until IS NOT NULL)),
    CHECK ((state IN ('done', 'failed', 'cancelled')) = (finished_at IS NOT NULL)),
    CHECK (state NOT IN ('ready', 'running') OR vkey IS NOT NULL),
    CHECK (state <> 'failed' OR error IS NOT NULL)
);
COMMENT ON COLUMN takes.error IS 'Why it failed, in a sentence for the member.';
COMMENT ON COLUMN takes.fault IS 'Why it failed, for staff: the trace.';
-- At most one head a flow: what keeps the ready index small and makes a cancel re-tag nothing.
CREATE UNIQUE INDEX takes_one_head ON takes (guild_id, user_id, lane) WHERE state = 'ready';
CREATE INDEX takes_ready ON takes (lane, vkey, take_id) WHERE state = 'ready';
CREATE INDEX takes_waiting ON takes (guild_id, user_id, lane, take_id) WHERE state = 'waiting';
CREATE INDEX takes_running_key ON takes (lane, vkey) WHERE state = 'running';
CREATE INDEX takes_lease ON takes (lease_until) WHERE state = 'running';
CREATE INDEX takes_due ON takes (run_at) WHERE state IN ('backoff', 'parked');

CREATE TABLE clips (
    take_id    bigint PRIMARY KEY REFERENCES takes,
    guild_id   bigint NOT NULL,
    master     text REFERENCES blobs,
    width      integer NOT NULL,
    height     integer NOT NULL,
    frames     integer NOT NULL CHECK (frames > 0),
    fps        double precision NOT NULL CHECK (fps > 0),
    has_sound  boolean NOT NULL,
    recipe     jsonb NOT NULL,
    created_at timestamptz NOT NULL DEFAULT now(),
    deleted_at timestamptz,
    CHECK ((master IS NULL) = (deleted_at IS NOT NULL))
);
COMMENT ON TABLE clips IS 'The finished video of a take. A deleted clip keeps its row, so that the record stays whole, and loses its bytes.';
CREATE INDEX clips_by_master ON clips (master);

CREATE TABLE copies (
    take_id     bigint NOT NULL REFERENCES clips,
    limit_bytes bigint NOT NULL CHECK (limit_bytes > 0),
    copy        text NOT NULL REFERENCES blobs,
    PRIMARY KEY (take_id, limit_bytes)
);
COMMENT ON TABLE copies IS 'Smaller copies, made where a channel does not take the master.';
CREATE INDEX copies_by_blob ON copies (copy);

CREATE FUNCTION blob_is_referenced(a_sha256 text) RETURNS boolean LANGUAGE sql STABLE AS $$
    SELECT EXISTS (SELECT FROM photos WHERE sha256 = a_sha256)
        OR EXISTS (SELECT FROM clips WHERE master = a_sha256)
        OR EXISTS (SELECT FROM copies WHERE copy = a_sha256)
$$;
