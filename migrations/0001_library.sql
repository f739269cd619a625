-- Bytes, photos and servers: what everything else refers to.

CREATE TABLE blobs (
    sha256     text PRIMARY KEY CHECK (sha256 ~ '^[0-9a-f]{64}$'),
    bytes      bigint NOT NULL CHECK (bytes >= 0),
    media_type text NOT NULL,
    -- Collection leaves alone what was put a short while ago: its request may not be written yet.
    touched_at timestamptz NOT NULL DEFAULT now()
);
COMMENT ON TABLE blobs IS 'One row an object in the blob store. Put and collection both lock the row, so neither can undo the other.';
CREATE INDEX blobs_by_age ON blobs (touched_at);

CREATE TABLE guilds (
    guild_id        bigint PRIMARY KEY,
    weight          double precision NOT NULL DEFAULT 1 CHECK (weight > 0),
    daily_allowance bigint NOT NULL DEFAULT 900 CHECK (daily_allowance >= 0),
    daily_budget    bigint NOT NULL DEFAULT 20000 CHECK (daily_budget >= 0),
    click_limit     bigint NOT NULL DEFAULT 450 CHECK (click_limit > 0),
    max_waiting     integer NOT NULL DEFAULT 24 CHECK (max_waiting > 0),
    max_running     integer NOT NULL DEFAULT 2 CHECK (max_running > 0),
    longest_wait    interval NOT NULL DEFAULT '1 hour',
    default_model   text
);
COMMENT ON TABLE guilds IS 'A Discord server and its rules. Guild 0 is the command line: no budget, no messages.';
COMMENT ON COLUMN guilds.weight IS 'The server''s share of the generators, divided among its active flows.';
COMMENT ON COLUMN guilds.daily_allowance IS 'Credits that each member is topped up to every day (UTC).';
COMMENT ON COLUMN guilds.daily_budget IS 'Credits that the whole server is topped up to every day (UTC).';
COMMENT ON COLUMN guilds.click_limit IS 'Most credits that one click may hold.';
COMMENT ON COLUMN guilds.max_waiting IS 'Most takes that one member may have unfinished in one lane.';
COMMENT ON COLUMN guilds.max_running IS 'Most takes of one member that render at once in one lane.';

CREATE TABLE role_weights (
    guild_id bigint NOT NULL REFERENCES guilds,
    role_id  bigint NOT NULL,
    weight   double precision NOT NULL CHECK (weight > 0),
    PRIMARY KEY (guild_id, role_id)
);

CREATE TABLE blocks (
    guild_id bigint NOT NULL REFERENCES guilds,
    user_id  bigint NOT NULL,
    reason   text NOT NULL,
    -- NULL: until staff lift it.
    until    timestamptz,
    PRIMARY KEY (guild_id, user_id)
);

CREATE TABLE photos (
    guild_id   bigint NOT NULL REFERENCES guilds,
    sha256     text NOT NULL REFERENCES blobs,
    width      integer NOT NULL CHECK (width > 0),
    height     integer NOT NULL CHECK (height > 0),
    user_id    bigint NOT NULL,
    created_at timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (guild_id, sha256)
);
-- Collection asks whether anything still refers to a blob.
CREATE INDEX photos_by_blob ON photos (sha256);
