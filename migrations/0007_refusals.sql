-- Refusals are counted apart from outages: an hour without Discord must not use up the patience that a missing permission
-- is met with.
ALTER TABLE deliveries ADD COLUMN refusals integer NOT NULL DEFAULT 0 CHECK (refusals >= 0);
COMMENT ON COLUMN deliveries.attempts IS 'Failures since it was last posted that pass by themselves: they only space out the next attempts.';
COMMENT ON COLUMN deliveries.refusals IS 'Failures since it was last posted that a person has to mend. After a few the message is given up.';
