-- A prediction too many, found or told of too late, is ended and may be charged for all the same.

-- Each is noted once, however often the provider's list shows it.
ALTER TABLE hosted_jobs ADD COLUMN surplus text[] NOT NULL DEFAULT '{}';
COMMENT ON COLUMN hosted_jobs.surplus IS 'The provider''s names of further jobs of the take, whose price is in its charge and whose clips nobody wants.';
