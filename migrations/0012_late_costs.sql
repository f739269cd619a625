-- A provider's word may come after the take has ended: a cancel that it did not hear in time is charged all the same.

COMMENT ON COLUMN charges.paid IS 'What it was settled at, and once the cost is known, that.';

-- Note what an attempt at a take cost. Where its charge was settled before anybody knew, it is put right.
CREATE FUNCTION note_cost(a_take bigint, a_cost bigint) RETURNS void LANGUAGE plpgsql AS $$
DECLARE
    charge charges;
    known  bigint;
BEGIN
    SELECT * INTO charge FROM charges WHERE take_id = a_take FOR NO KEY UPDATE;
    IF NOT FOUND THEN
        RETURN;
    END IF;
    known := coalesce(charge.cost, 0) + a_cost;
    UPDATE charges SET cost = known, paid = CASE WHEN settled_at IS NULL THEN NULL ELSE known END WHERE take_id = a_take;
    IF charge.settled_at IS NOT NULL THEN
        UPDATE spending SET spent = spent + known - charge.paid
            WHERE guild_id = charge.guild_id AND provider = charge.provider AND month = charge.month;
    END IF;
END $$;
