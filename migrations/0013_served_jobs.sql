-- Jobs on the host's own servers cost nothing and are struck out once their takes are over.

-- They are looked for every minute, among all those that were paid for.
CREATE INDEX hosted_jobs_free ON hosted_jobs (provider) WHERE price = 0;
