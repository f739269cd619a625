-- What may still cost something counts in the month until it is known; and uploads that nothing came of are let go.

-- A host may have several keys, and what one account has another neither finds nor fetches.
ALTER TABLE hosted_jobs ADD COLUMN account text;
COMMENT ON COLUMN hosted_jobs.account IS 'Whose job it is at the provider, by the provider''s name for them; NULL: not known.';

-- Whether a provider may yet charge for a take: its job there, or the intent of one, has no end that is known.
CREATE FUNCTION may_still_cost(a_take bigint) RETURNS boolean LANGUAGE sql STABLE AS $$
    SELECT EXISTS (SELECT FROM hosted_jobs WHERE take_id = a_take AND outcome IS NULL)
$$;

COMMENT ON COLUMN charges.paid IS 'What it was settled at: what is known to have been charged, and its price while that may grow.';

-- As before, but what ends while its job may still cost something is settled at its price: otherwise whoever cancels and
-- asks again spends beyond the cap before the provider's word comes. `note_cost` puts it right then.
CREATE OR REPLACE FUNCTION settle_charge(a_take bigint, a_done boolean) RETURNS void LANGUAGE plpgsql AS $$
DECLARE
    charge charges;
    paying bigint;
BEGIN
    SELECT * INTO charge FROM charges WHERE take_id = a_take AND settled_at IS NULL FOR NO KEY UPDATE;
    IF NOT FOUND THEN
        RETURN;
    END IF;
    -- Asked in a statement of its own, after the lock: whoever settles the job notes its cost under the same one.
    paying := CASE WHEN may_still_cost(a_take) THEN coalesce(charge.cost, 0) + charge.reserved
                   ELSE coalesce(charge.cost, CASE WHEN a_done THEN charge.reserved ELSE 0 END) END;
    UPDATE charges SET paid = paying, settled_at = now() WHERE take_id = a_take;
    UPDATE spending SET reserved = reserved - charge.reserved, spent = spent + paying
        WHERE guild_id = charge.guild_id AND provider = charge.provider AND month = charge.month;
END $$;

-- As before, but a cost beside the job's own (of one too many) frees nothing of what the job itself may still cost.
CREATE OR REPLACE FUNCTION note_cost(a_take bigint, a_cost bigint) RETURNS void LANGUAGE plpgsql AS $$
DECLARE
    charge charges;
    known  bigint;
    paying bigint;
BEGIN
    SELECT * INTO charge FROM charges WHERE take_id = a_take FOR NO KEY UPDATE;
    IF NOT FOUND THEN
        RETURN;
    END IF;
    known := coalesce(charge.cost, 0) + a_cost;
    IF charge.settled_at IS NULL THEN
        UPDATE charges SET cost = known WHERE take_id = a_take;
        RETURN;
    END IF;
    paying := known + CASE WHEN may_still_cost(a_take) THEN charge.reserved ELSE 0 END;
    UPDATE charges SET cost = known, paid = paying WHERE take_id = a_take;
    UPDATE spending SET spent = spent + paying - charge.paid
        WHERE guild_id = charge.guild_id AND provider = charge.provider AND month = charge.month;
END $$;

-- What was settled at nothing before this, and is still open.
SELECT note_cost(take_id, 0) FROM charges JOIN hosted_jobs USING (take_id)
    WHERE settled_at IS NOT NULL AND outcome IS NULL;

-- An upload goes only once nothing names it; without these each one that goes would read all requests.
CREATE INDEX requests_by_photo ON requests (guild_id, photo);
CREATE INDEX requests_by_end_photo ON requests (guild_id, end_photo) WHERE end_photo IS NOT NULL;
CREATE INDEX request_inputs_by_photo ON request_inputs (guild_id, photo) WHERE photo IS NOT NULL;
CREATE INDEX request_inputs_by_video ON request_inputs (guild_id, video) WHERE video IS NOT NULL;

-- Forget photos and motion videos last put longer ago than `a_grace` that no request, no draft and no open intake names;
-- how many. Their blobs are collected after that.
CREATE FUNCTION forget_uploads(a_grace interval) RETURNS bigint LANGUAGE plpgsql AS $$
DECLARE
    forgotten bigint;
BEGIN
    WITH named AS MATERIALIZED (
        SELECT guild_id, photo AS sha256 FROM requests WHERE photo IS NOT NULL
        UNION SELECT guild_id, end_photo FROM requests WHERE end_photo IS NOT NULL
        UNION SELECT guild_id, coalesce(photo, video) FROM request_inputs
        -- Wherever in a wish it is: a word too many only keeps an upload for as long as the wish.
        UNION SELECT guild_id, jsonb_path_query(wish, '$.** ? (@.type() == "string")') #>> '{}' FROM drafts
        UNION SELECT guild_id, jsonb_path_query(wish, '$.** ? (@.type() == "string")') #>> '{}' FROM intakes
            WHERE finished_at IS NULL),
    unnamed AS MATERIALIZED (
        SELECT guild_id, sha256 FROM photos UNION SELECT guild_id, sha256 FROM motion_videos
        EXCEPT SELECT guild_id, sha256 FROM named),
    -- A put touches its blob before it notes the upload. One under way is skipped, one that has just been is seen here,
    -- and one that begins now waits, and then notes its upload anew.
    locked AS MATERIALIZED (
        SELECT sha256 FROM blobs
            WHERE touched_at < clock_timestamp() - a_grace AND sha256 IN (SELECT sha256 FROM unnamed)
            FOR UPDATE SKIP LOCKED),
    old AS MATERIALIZED (SELECT guild_id, sha256 FROM unnamed JOIN locked USING (sha256)),
    photos_gone AS (DELETE FROM photos p USING old
        WHERE (p.guild_id, p.sha256) = (old.guild_id, old.sha256) RETURNING p.sha256),
    videos_gone AS (DELETE FROM motion_videos v USING old
        WHERE (v.guild_id, v.sha256) = (old.guild_id, old.sha256) RETURNING v.sha256)
    SELECT (SELECT count(*) FROM photos_gone) + (SELECT count(*) FROM videos_gone) INTO forgotten;
    RETURN forgotten;
END $$;
