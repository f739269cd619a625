-- What some models take beside the photo, or in its place: reference pictures, and a video whose motion they follow.

-- A model that makes a clip from words alone has no photo.
ALTER TABLE requests ALTER COLUMN photo DROP NOT NULL;

CREATE TABLE motion_videos (
    guild_id   bigint NOT NULL REFERENCES guilds,
    sha256     text NOT NULL REFERENCES blobs,
    width      integer NOT NULL CHECK (width > 0),
    height     integer NOT NULL CHECK (height > 0),
    seconds    double precision NOT NULL CHECK (seconds > 0),
    user_id    bigint NOT NULL,
    created_at timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (guild_id, sha256)
);
COMMENT ON TABLE motion_videos IS 'Videos that members uploaded to be followed, without their metadata; as photos are, each server''s own.';
-- Collection asks whether anything still refers to a blob.
CREATE INDEX motion_videos_by_blob ON motion_videos (sha256);

CREATE TABLE request_inputs (
    request_id bigint NOT NULL REFERENCES requests,
    guild_id   bigint NOT NULL,
    role       text NOT NULL CHECK (role IN ('reference', 'motion_video')),
    position   smallint NOT NULL CHECK (position BETWEEN 1 AND 7),
    photo      text,
    video      text,
    PRIMARY KEY (request_id, role, position),
    -- Only what the same server's members uploaded: another's bytes cannot be asked for by their name.
    FOREIGN KEY (guild_id, photo) REFERENCES photos (guild_id, sha256),
    FOREIGN KEY (guild_id, video) REFERENCES motion_videos (guild_id, sha256),
    -- A role says which of the two it is, and exactly one is there.
    CHECK ((role = 'reference') = (photo IS NOT NULL)),
    CHECK ((role = 'motion_video') = (video IS NOT NULL)),
    -- A motion is taken from one video.
    CHECK (role <> 'motion_video' OR position = 1)
);
COMMENT ON TABLE request_inputs IS 'What a request has beside its photos, in the order in which the member gave it.';

CREATE OR REPLACE FUNCTION blob_is_referenced(a_sha256 text) RETURNS boolean LANGUAGE sql STABLE AS $$
    SELECT EXISTS (SELECT FROM photos WHERE sha256 = a_sha256)
        OR EXISTS (SELECT FROM motion_videos WHERE sha256 = a_sha256)
        OR EXISTS (SELECT FROM clips WHERE master = a_sha256)
        OR EXISTS (SELECT FROM copies WHERE copy = a_sha256)
$$;
