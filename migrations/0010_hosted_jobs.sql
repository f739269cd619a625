-- What is rendered elsewhere: the one job that a take has at a provider, so that it is never paid twice.

CREATE TABLE hosted_jobs (
    -- One job a take, for ever: no attempt makes a second one, whatever became of the first.
    take_id      bigint PRIMARY KEY REFERENCES takes,
    guild_id     bigint NOT NULL,
    provider     text NOT NULL,
    -- What tells this take's job from any other in the provider's own list: a file's address that is in its input alone.
    -- NULL: its input has no file, and is told apart as a whole.
    mark         text,
    -- What the provider is asked for, to the letter: asked again, it is the same job.
    body         jsonb NOT NULL,
    -- What it should cost, in millionths of a dollar: where the provider's word cannot be had, that is taken for its cost.
    price        bigint NOT NULL DEFAULT 0 CHECK (price >= 0),
    -- The provider's ids of what was uploaded for it, to be deleted there.
    files        text[] NOT NULL DEFAULT '{}',
    -- Written before each time that the provider is asked to create the job. Without an external id nobody knows whether
    -- there is one: the provider's list is searched.
    intended_at  timestamptz NOT NULL DEFAULT clock_timestamp(),
    external_id  text,
    outcome      text CHECK (outcome IN ('succeeded', 'failed', 'cancelled', 'undecided')),
    -- What the provider charged for it.
    microdollars bigint CHECK (microdollars >= 0),
    created_at   timestamptz NOT NULL DEFAULT now(),
    ended_at     timestamptz,
    CHECK ((outcome IS NULL) = (ended_at IS NULL)),
    CHECK ((outcome IS NULL) = (microdollars IS NULL)),
    -- Nothing comes of a job that nobody knows.
    CHECK (outcome IS DISTINCT FROM 'succeeded' OR external_id IS NOT NULL)
);
COMMENT ON TABLE hosted_jobs IS 'Work at a provider, known before it is paid for. Written by the generators; its take decides what becomes of it.';
-- Two takes that wait for one job would both be charged for it.
CREATE UNIQUE INDEX hosted_jobs_external ON hosted_jobs (provider, external_id);
-- A mark that two takes share tells neither of them apart.
CREATE UNIQUE INDEX hosted_jobs_mark ON hosted_jobs (provider, mark);
-- Jobs that their takes left behind are looked for every minute.
CREATE INDEX hosted_jobs_open ON hosted_jobs (provider) WHERE outcome IS NULL;
-- The host is told of what could not be decided.
CREATE INDEX hosted_jobs_undecided ON hosted_jobs (ended_at) WHERE outcome = 'undecided';

-- Why a generator offers less than it was told to: a refused key, no credit left, a server that is down.
ALTER TABLE generators ADD COLUMN troubles text[] NOT NULL DEFAULT '{}';
-- How many takes of each of its models it has rendered at once: one on its own machine, several at a provider.
ALTER TABLE generators ADD COLUMN rooms integer[] NOT NULL DEFAULT '{}';
COMMENT ON COLUMN generators.rooms IS 'Beside `models`, one number each; where it is missing, one take at a time.';
COMMENT ON COLUMN generators.troubles IS 'What the host has to mend, in sentences, for as long as it lasts.';

-- As before, but what a provider was paid for costs what it was quoted, however long it took: a clip that its next attempt
-- only had to fetch is no cheaper. The measured time stays what it was, for estimates.
CREATE OR REPLACE FUNCTION record_take(a_take bigint, a_generator uuid, a_fence integer, a_gpu_ms bigint, a_master text,
                                       a_width integer, a_height integer, a_frames integer, a_fps double precision,
                                       a_has_sound boolean, a_recipe jsonb)
RETURNS text LANGUAGE plpgsql AS $$
DECLARE
    take   takes := lock_own_take(a_take, a_generator, a_fence);
    charge bigint := ceil(a_gpu_ms / 1000.0);
BEGIN
    IF take.take_id IS NULL THEN
        RETURN coalesce(
            (SELECT state FROM takes WHERE take_id = a_take AND state IN ('done', 'cancelled')
                AND generator_id = a_generator AND fence = a_fence),
            'fenced');
    END IF;
    IF EXISTS (SELECT FROM hosted_jobs WHERE take_id = a_take AND price > 0) THEN
        SELECT amount INTO STRICT charge FROM holds WHERE take_id = a_take;
    END IF;
    IF take.cancel_requested THEN
        PERFORM end_take(take, 'cancelled', a_gpu_ms, charge, NULL, NULL);
        RETURN 'cancelled';
    END IF;
    INSERT INTO clips (take_id, guild_id, master, width, height, frames, fps, has_sound, recipe)
        VALUES (a_take, take.guild_id, a_master, a_width, a_height, a_frames, a_fps, a_has_sound, a_recipe);
    PERFORM end_take(take, 'done', a_gpu_ms, charge, NULL, NULL);
    RETURN 'done';
END $$;

-- As before, but a take whose job a provider has already, and may charge for, is given up after the sixth failure and not
-- after the third: another attempt only waits for the clip and fetches it.
CREATE OR REPLACE FUNCTION lose_attempt(a_take takes, a_retry boolean, a_delay interval, a_error text, a_fault text)
RETURNS text LANGUAGE plpgsql AS $$
DECLARE
    hosted boolean := EXISTS (SELECT FROM hosted_jobs
                              WHERE take_id = a_take.take_id AND price > 0 AND external_id IS NOT NULL);
    most   integer := CASE WHEN hosted THEN 5 ELSE 2 END;
BEGIN
    IF a_take.cancel_requested THEN
        PERFORM end_take(a_take, 'cancelled', NULL, 0, NULL, a_fault);
        RETURN 'cancelled';
    END IF;
    IF a_retry AND a_take.attempts < most THEN
        PERFORM return_take(a_take, a_delay, a_take.attempts + 1, a_fault);
        RETURN 'again';
    END IF;
    PERFORM end_take(a_take, 'failed', NULL, 0, CASE WHEN hosted AND a_fault = 'lease lost'
        THEN 'The generator stopped again and again while this was rendered elsewhere. Try again later.'
        ELSE a_error END, a_fault);
    RETURN 'failed';
END $$;
