-- Each statement returns the rows that break its promise. All empty: the books and the queue are in order.

-- promise: Flow counts are the counts of its takes.
SELECT f.* FROM flows f LEFT JOIN LATERAL (
    SELECT count(*) FILTER (WHERE state = 'waiting') AS waiting, count(*) FILTER (WHERE state = 'ready') AS ready,
           count(*) FILTER (WHERE state = 'running') AS running,
           count(*) FILTER (WHERE state IN ('backoff', 'parked')) AS aside,
           coalesce(sum(cost_ms) FILTER (WHERE state IN ('waiting', 'ready')), 0) AS queued_ms
    FROM takes t WHERE t.guild_id = f.guild_id AND t.user_id = f.user_id AND t.lane = f.lane) t ON true
WHERE (f.waiting, f.ready, f.running, f.aside, f.queued_ms)
    IS DISTINCT FROM (t.waiting, t.ready, t.running, t.aside, t.queued_ms);

-- promise: Every unfinished take stands in a flow.
SELECT t.* FROM takes t LEFT JOIN flows f USING (guild_id, user_id, lane)
WHERE f.guild_id IS NULL AND t.state NOT IN ('done', 'failed', 'cancelled');

-- promise: A server's share counts its active flows.
SELECT s.*, f.active AS really FROM shares s CROSS JOIN LATERAL (
    SELECT count(*) AS active FROM flows f
    WHERE f.guild_id = s.guild_id AND f.lane = s.lane AND f.waiting + f.ready + f.running > 0) f
WHERE s.active <> f.active;

-- promise: No flow waits for a promotion that nobody will make, beyond the moment that a reaper needs.
SELECT f.* FROM flows f WHERE f.waiting > 0 AND f.ready = 0 AND f.running = 0;

-- promise: An account's buckets are the sums of its entries.
SELECT a.*, e.* FROM accounts a LEFT JOIN LATERAL (
    SELECT coalesce(sum(CASE 'available' WHEN credit THEN amount WHEN debit THEN -amount END), 0) AS available,
           coalesce(sum(CASE 'held' WHEN credit THEN amount WHEN debit THEN -amount END), 0) AS held,
           coalesce(sum(CASE 'spent' WHEN credit THEN amount WHEN debit THEN -amount END), 0) AS spent
    FROM entries WHERE account_id = a.account_id) e ON true
WHERE (a.available, a.held, a.spent) IS DISTINCT FROM (e.available, e.held, e.spent);

-- promise: What an account holds is the sum of its open holds, what it spent, of the settled ones.
SELECT a.* FROM accounts a LEFT JOIN LATERAL (
    SELECT coalesce(sum(amount) FILTER (WHERE settled_at IS NULL), 0) AS held, coalesce(sum(charged), 0) AS spent
    FROM holds h WHERE h.guild_id = a.guild_id AND (a.user_id IS NULL OR h.user_id = a.user_id)) h ON true
WHERE (a.held, a.spent) IS DISTINCT FROM (h.held, h.spent);

-- promise: Every take has a hold, open exactly as long as the take is unfinished.
SELECT t.take_id, t.state, h.* FROM takes t LEFT JOIN holds h USING (take_id)
WHERE h.take_id IS NULL OR (h.settled_at IS NULL) = (t.state IN ('done', 'failed', 'cancelled'));

-- promise: A failure costs nothing.
SELECT t.take_id, h.charged FROM takes t JOIN holds h USING (take_id) WHERE t.state = 'failed' AND h.charged > 0;

-- promise: A take is done exactly if it has a clip.
SELECT t.take_id, t.state FROM takes t LEFT JOIN clips c USING (take_id)
WHERE (t.state = 'done') <> (c.take_id IS NOT NULL);

-- promise: Every request has takes, and in a server a card and a reply.
SELECT r.request_id FROM requests r
WHERE NOT EXISTS (SELECT FROM takes t WHERE t.request_id = r.request_id)
   OR (r.guild_id <> 0 AND (SELECT count(*) FROM deliveries d WHERE d.request_id = r.request_id) <> 2);

-- promise: An intake that ended led to a request or to a refusal.
SELECT i.interaction_id FROM intakes i WHERE i.finished_at IS NOT NULL AND i.request_id IS NULL AND i.refusal IS NULL;

-- promise: What a server has reserved and spent in a month is the sum of its charges.
SELECT s.*, c.* FROM spending s LEFT JOIN LATERAL (
    SELECT coalesce(sum(c.reserved) FILTER (WHERE settled_at IS NULL), 0) AS open, coalesce(sum(paid), 0) AS paid
    FROM charges c WHERE (c.guild_id, c.provider, c.month) = (s.guild_id, s.provider, s.month)) c ON true
WHERE (s.reserved, s.spent) IS DISTINCT FROM (c.open, c.paid);

-- promise: A take has a charge exactly if a provider bills it, open as long as the take is unfinished.
SELECT t.take_id, t.state, r.provider, c.* FROM takes t JOIN requests r USING (request_id) LEFT JOIN charges c USING (take_id)
WHERE r.provider IS DISTINCT FROM c.provider
   OR (c.take_id IS NOT NULL AND (c.settled_at IS NULL) = (t.state IN ('done', 'failed', 'cancelled')));

-- promise: What may still cost something counts in its month, at its price at least.
SELECT c.* FROM charges c JOIN hosted_jobs j USING (take_id)
WHERE j.outcome IS NULL AND j.price > 0 AND c.paid < c.reserved;

-- promise: Nobody is asked for more than was reserved.
SELECT j.* FROM hosted_jobs j LEFT JOIN charges c USING (take_id, provider)
WHERE j.price > coalesce(c.reserved, 0);

-- promise: A clip that a provider made has its job, known and ended well.
SELECT j.* FROM hosted_jobs j JOIN takes t USING (take_id)
WHERE t.state = 'done' AND j.outcome IS DISTINCT FROM 'succeeded';

-- promise: Nobody writes down work at a provider for a take that was never claimed.
SELECT j.* FROM hosted_jobs j JOIN takes t USING (take_id) WHERE t.fence = 0 OR j.guild_id <> t.guild_id;
