-- The ledger: two accounts pay for a take, the member's and the server's. Both must have the credits.

CREATE TABLE accounts (
    account_id   bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    guild_id     bigint NOT NULL REFERENCES guilds,
    -- NULL: the server's own budget.
    user_id      bigint,
    -- A member's own daily allowance; NULL: what the server gives everybody.
    allowance    bigint CHECK (allowance >= 0),
    available    bigint NOT NULL DEFAULT 0 CHECK (available >= 0),
    held         bigint NOT NULL DEFAULT 0 CHECK (held >= 0),
    spent        bigint NOT NULL DEFAULT 0 CHECK (spent >= 0),
    topped_up_on date,
    UNIQUE NULLS NOT DISTINCT (guild_id, user_id)
);
COMMENT ON TABLE accounts IS 'Credits by bucket. The buckets are sums of `entries`, kept here so that a hold is one conditional UPDATE.';

CREATE TABLE entries (
    entry_id   bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    account_id bigint NOT NULL REFERENCES accounts,
    -- One row names both sides, so an unbalanced entry cannot be written.
    debit      text NOT NULL CHECK (debit IN ('issued', 'available', 'held', 'spent')),
    credit     text NOT NULL CHECK (credit IN ('issued', 'available', 'held', 'spent')),
    amount     bigint NOT NULL CHECK (amount > 0),
    reason     text NOT NULL CHECK (reason IN ('allowance', 'grant', 'revoke', 'hold', 'settle', 'release')),
    take_id    bigint REFERENCES takes,
    actor_id   bigint,
    note       text,
    -- The command that staff gave or took back with. NULL: not by a command.
    interaction_id bigint,
    at         timestamptz NOT NULL DEFAULT now(),
    CHECK (debit <> credit),
    CHECK ((reason IN ('hold', 'settle', 'release')) = (take_id IS NOT NULL))
);
COMMENT ON TABLE entries IS 'Double entry, append-only.';
-- A take is held, settled and released at most once an account, whatever crashes and retries.
CREATE UNIQUE INDEX entries_once_a_take ON entries (take_id, reason, account_id) WHERE take_id IS NOT NULL;
-- A grant whose commit got no answer, or that Discord sent twice, counts once.
CREATE UNIQUE INDEX entries_once_an_interaction ON entries (interaction_id) WHERE interaction_id IS NOT NULL;
CREATE INDEX entries_by_account ON entries (account_id, entry_id DESC);

CREATE TABLE holds (
    take_id    bigint PRIMARY KEY REFERENCES takes,
    guild_id   bigint NOT NULL,
    user_id    bigint NOT NULL,
    amount     bigint NOT NULL CHECK (amount >= 0),
    charged    bigint CHECK (charged BETWEEN 0 AND amount),
    settled_at timestamptz,
    CHECK ((charged IS NULL) = (settled_at IS NULL))
);
COMMENT ON TABLE holds IS 'The quote of a take, set aside at enqueue and settled once at min(quote, measured).';

-- Lock an account, made on first use and topped up on the first use of a day. What is still held counts as there: it may
-- come back, and a hold over midnight must not be a way to save up.
CREATE FUNCTION open_account(a_guild bigint, a_user bigint) RETURNS accounts LANGUAGE plpgsql AS $$
DECLARE
    account accounts;
    today   date;
    wanted  bigint;
BEGIN
    -- Nearly always it is there, and an insert that comes to nothing is not free. Two ways to ask, because an index helps
    -- with IS NULL and with =, and not with IS NOT DISTINCT FROM.
    LOOP
        IF a_user IS NULL THEN
            SELECT * INTO account FROM accounts WHERE guild_id = a_guild AND user_id IS NULL FOR NO KEY UPDATE;
        ELSE
            SELECT * INTO account FROM accounts WHERE guild_id = a_guild AND user_id = a_user FOR NO KEY UPDATE;
        END IF;
        EXIT WHEN FOUND;
        INSERT INTO accounts (guild_id, user_id) VALUES (a_guild, a_user) ON CONFLICT DO NOTHING;
    END LOOP;
    -- Read with the lock held: whoever waited for it over midnight would top up for yesterday, and the next for today.
    today := (clock_timestamp() AT TIME ZONE 'UTC')::date;
    IF account.topped_up_on >= today THEN
        RETURN account;
    END IF;
    SELECT CASE WHEN a_user IS NULL THEN daily_budget ELSE coalesce(account.allowance, daily_allowance) END - account.held
        INTO wanted FROM guilds WHERE guild_id = a_guild;
    UPDATE accounts SET topped_up_on = today, available = greatest(available, wanted)
        WHERE account_id = account.account_id;
    IF wanted > account.available THEN
        INSERT INTO entries (account_id, debit, credit, amount, reason)
            VALUES (account.account_id, 'issued', 'available', wanted - account.available, 'allowance');
    END IF;
    SELECT * INTO account FROM accounts WHERE account_id = account.account_id;
    RETURN account;
END $$;

-- Set aside `a_amount` credits for each take, from the member and from the server. ZT001, ZT002: who lacks them.
CREATE FUNCTION hold_credits(a_guild bigint, a_user bigint, a_takes bigint[], a_amount bigint)
RETURNS void LANGUAGE plpgsql AS $$
DECLARE
    payer   bigint;
    account accounts;
    total   bigint := a_amount * cardinality(a_takes);
BEGIN
    INSERT INTO holds (take_id, guild_id, user_id, amount)
        SELECT take, a_guild, a_user, a_amount FROM unnest(a_takes) take;
    IF a_amount = 0 THEN
        RETURN;
    END IF;
    FOREACH payer IN ARRAY ARRAY[a_user, NULL] LOOP
        account := open_account(a_guild, payer);
        IF account.available < total THEN
            RAISE EXCEPTION 'short of credits' USING
                ERRCODE = CASE WHEN payer IS NULL THEN 'ZT002' ELSE 'ZT001' END,
                DETAIL = json_build_object('available', account.available, 'wanted', total);
        END IF;
        UPDATE accounts SET available = available - total, held = held + total
            WHERE account_id = account.account_id;
        INSERT INTO entries (account_id, debit, credit, amount, reason, take_id)
            SELECT account.account_id, 'available', 'held', a_amount, 'hold', take FROM unnest(a_takes) take;
    END LOOP;
END $$;

-- Settle a take's hold at min(quote, measured) and release the rest. Settled before: nothing happens.
CREATE FUNCTION settle_hold(a_take bigint, a_measured bigint) RETURNS void LANGUAGE plpgsql AS $$
DECLARE
    hold    holds;
    payer   bigint;
    paying  bigint;
    account bigint;
BEGIN
    SELECT * INTO hold FROM holds WHERE take_id = a_take AND settled_at IS NULL FOR NO KEY UPDATE;
    IF NOT FOUND THEN
        RETURN;
    END IF;
    paying := least(hold.amount, greatest(a_measured, 0));
    UPDATE holds SET charged = paying, settled_at = now() WHERE take_id = a_take;
    IF hold.amount = 0 THEN
        RETURN;
    END IF;
    FOREACH payer IN ARRAY ARRAY[hold.user_id, NULL] LOOP
        UPDATE accounts
            SET held = held - hold.amount, spent = spent + paying, available = available + hold.amount - paying
            WHERE guild_id = hold.guild_id AND user_id IS NOT DISTINCT FROM payer
            RETURNING account_id INTO STRICT account;
        IF paying > 0 THEN
            INSERT INTO entries (account_id, debit, credit, amount, reason, take_id)
                VALUES (account, 'held', 'spent', paying, 'settle', a_take);
        END IF;
        IF paying < hold.amount THEN
            INSERT INTO entries (account_id, debit, credit, amount, reason, take_id)
                VALUES (account, 'held', 'available', hold.amount - paying, 'release', a_take);
        END IF;
    END LOOP;
END $$;

-- Staff give credits (or, below zero, take back what is still there). Returns what really moved, and the same again for
-- the same interaction.
CREATE FUNCTION grant_credits(a_guild bigint, a_user bigint, a_amount bigint, a_actor bigint, a_note text,
                              a_interaction bigint)
RETURNS bigint LANGUAGE plpgsql AS $$
DECLARE
    account accounts := open_account(a_guild, a_user);
    moved   bigint;
BEGIN
    SELECT CASE reason WHEN 'grant' THEN amount ELSE -amount END INTO moved
        FROM entries WHERE interaction_id = a_interaction;
    IF FOUND THEN
        RETURN moved;
    END IF;
    moved := greatest(a_amount, -account.available);
    IF moved = 0 THEN
        RETURN 0;
    END IF;
    UPDATE accounts SET available = available + moved WHERE account_id = account.account_id;
    INSERT INTO entries (account_id, debit, credit, amount, reason, actor_id, note, interaction_id) VALUES (
        account.account_id,
        CASE WHEN moved > 0 THEN 'issued' ELSE 'available' END,
        CASE WHEN moved > 0 THEN 'available' ELSE 'issued' END,
        abs(moved), CASE WHEN moved > 0 THEN 'grant' ELSE 'revoke' END, a_actor, a_note, a_interaction);
    RETURN moved;
END $$;
