-- A price that a member said yes to.

ALTER TABLE drafts ADD COLUMN request_id bigint REFERENCES requests;
COMMENT ON COLUMN drafts.request_id IS 'What it led to, where it is good for one request only: a second press of Render pays for nothing twice.';
