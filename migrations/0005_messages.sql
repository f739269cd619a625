-- What Discord is told, and what it told us: intakes, drafts, deliveries.

CREATE TABLE intakes (
    interaction_id bigint PRIMARY KEY,
    guild_id       bigint NOT NULL,
    channel_id     bigint NOT NULL,
    user_id        bigint NOT NULL,
    -- The interaction's token: edits the ephemeral answer for 15 minutes, then worthless and erased.
    token          text,
    wish           jsonb NOT NULL,
    created_at     timestamptz NOT NULL DEFAULT now(),
    -- Set in the transaction that enqueues or when it was refused.
    finished_at    timestamptz,
    request_id     bigint REFERENCES requests,
    refusal        text
);
COMMENT ON TABLE intakes IS 'Written before the photo is downloaded, so that a restart takes it up again.';
CREATE INDEX intakes_open ON intakes (created_at) WHERE finished_at IS NULL;

CREATE TABLE drafts (
    draft_id   bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    guild_id   bigint NOT NULL,
    user_id    bigint NOT NULL,
    wish       jsonb NOT NULL,
    created_at timestamptz NOT NULL DEFAULT now()
);
COMMENT ON TABLE drafts IS 'What a modal or a panel will need when it comes back; its id is in the custom_id.';
CREATE INDEX drafts_by_age ON drafts (created_at);

CREATE TABLE deliveries (
    delivery_id  bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    request_id   bigint NOT NULL REFERENCES requests,
    kind         text NOT NULL CHECK (kind IN ('card', 'reply')),
    guild_id     bigint NOT NULL,
    channel_id   bigint NOT NULL,
    wanted_rev   integer NOT NULL DEFAULT 1,
    posted_rev   integer NOT NULL DEFAULT 0 CHECK (posted_rev <= wanted_rev),
    posted_at    timestamptz,
    message_id   bigint,
    -- Set before a message is first sent: after a crash the channel is searched before another is sent.
    sending      boolean NOT NULL DEFAULT false,
    -- The takes already attached, with Discord's attachment ids: {"take id": "attachment id"}.
    attached     jsonb NOT NULL DEFAULT '{}',
    -- When the member was last mentioned: a later mention follows only where it has news.
    mentioned_at timestamptz,
    -- The message has its last form: nothing of the request can change it but a button.
    closed       boolean NOT NULL DEFAULT false,
    -- The largest file that the channel was seen to take; NULL: what Discord says.
    limit_bytes  bigint,
    attempts     integer NOT NULL DEFAULT 0,
    next_at      timestamptz NOT NULL DEFAULT now(),
    lease_owner  uuid,
    lease_until  timestamptz,
    -- Why it can never be posted (message or channel gone); staff see it.
    failure      text,
    UNIQUE (request_id, kind)
);
COMMENT ON TABLE deliveries IS 'A message of a request. Whoever leases the row renders it from all takes and sets posted_rev to what it read.';
CREATE INDEX deliveries_due ON deliveries (next_at) WHERE posted_rev < wanted_rev AND failure IS NULL;
-- Live cards, the longest unchanged first: their place and progress are told again.
CREATE INDEX deliveries_live ON deliveries (posted_at)
    WHERE kind = 'card' AND message_id IS NOT NULL AND NOT closed AND failure IS NULL;

CREATE TABLE discord_blocks (
    scope         text PRIMARY KEY,
    blocked_until timestamptz NOT NULL
);
COMMENT ON TABLE discord_blocks IS 'Rate limits that one process met, for all that share the token.';

-- When a delivery may be leased: after its back-off and another's lease, no card more often than every 3 s, and nothing
-- into what Discord has blocked.
CREATE FUNCTION due_at(a_delivery deliveries) RETURNS timestamptz LANGUAGE sql STABLE AS $$
    SELECT greatest(a_delivery.next_at, a_delivery.lease_until,
        CASE a_delivery.kind WHEN 'card' THEN a_delivery.posted_at + interval '3 seconds' END,
        (SELECT max(blocked_until) FROM discord_blocks
         WHERE scope IN ('global', 'channel ' || a_delivery.channel_id)))
$$;
