-- What a database has as a site of a move. {site} and the like are filled in, quoted, by strangler/sql/__init__.py.

-- name: install!
-- Both databases get it; safe to repeat. Applications may look at who owns, nobody but the kit may change it.
CREATE SCHEMA IF NOT EXISTS strangler;
GRANT USAGE ON SCHEMA strangler TO PUBLIC;

CREATE TABLE IF NOT EXISTS strangler.ownership (
    module    text PRIMARY KEY,
    owner     text NOT NULL,
    epoch     bigint NOT NULL,
    -- where the tables' sequences stood at the switch: an array of objects with table, column, last_value and is_called
    sequences jsonb NOT NULL DEFAULT '[]'
);
GRANT SELECT ON strangler.ownership TO PUBLIC;

-- The fence: a write waits while a switch is in progress (shared against the switch's exclusive lock), then goes
-- through only where the module is owned. Under REPEATABLE READ the snapshot may be older than the switch; FOR SHARE
-- turns that into a serialization failure. Under READ COMMITTED each statement of a function has a snapshot of its
-- own, so reading after the lock is enough.
-- It runs with the rights and the search_path of whoever writes, which costs less than others' and is why everything is
-- qualified, operators too; and an expression (IF) costs less than a query (PERFORM).
CREATE OR REPLACE FUNCTION strangler.fence() RETURNS trigger LANGUAGE plpgsql AS $fence$
DECLARE
    current_owner text;
BEGIN
    -- CASE, because AND promises no order.
    IF (CASE WHEN pg_catalog.pg_advisory_xact_lock_shared({lock_class}, pg_catalog.hashtext(TG_ARGV[0])) IS NOT NULL
             THEN pg_catalog.current_setting('transaction_isolation') OPERATOR(pg_catalog.=) 'read committed' END)
    THEN
        SELECT o.owner INTO current_owner FROM strangler.ownership o WHERE o.module OPERATOR(pg_catalog.=) TG_ARGV[0];
    ELSE
        current_owner := strangler.owner_for_share(TG_ARGV[0]);
    END IF;
    IF current_owner OPERATOR(pg_catalog.=) TG_ARGV[1] THEN
        RETURN NULL;
    END IF;
    RAISE EXCEPTION 'module % is owned by %, not by %', TG_ARGV[0], coalesce(current_owner, 'nobody here'), TG_ARGV[1]
        USING ERRCODE = {sqlstate}, HINT = 'Send the request to the owner.';
END
$fence$;

-- FOR SHARE needs the right to update, which those who write do not have.
CREATE OR REPLACE FUNCTION strangler.owner_for_share(module text) RETURNS text
LANGUAGE sql SECURITY DEFINER SET search_path = '' AS $share$
    SELECT o.owner FROM strangler.ownership o WHERE o.module = $1 FOR SHARE;
$share$;

-- Ownership arrives as a replicated row, behind every write that came before it. What does not replicate, the
-- positions of sequences, travels in the row and is set here, before the first write is let in.
CREATE OR REPLACE FUNCTION strangler.arrive() RETURNS trigger
LANGUAGE plpgsql SET search_path = '' AS $arrive$
DECLARE
    position record;
BEGIN
    IF NEW.owner = TG_ARGV[0] THEN
        FOR position IN
            SELECT s."table", s."column", s.last_value, s.is_called
            FROM pg_catalog.jsonb_to_recordset(NEW.sequences)
                AS s("table" text, "column" text, last_value bigint, is_called boolean)
        LOOP
            PERFORM pg_catalog.setval(
                pg_catalog.pg_get_serial_sequence(position."table", position."column")::pg_catalog.regclass,
                position.last_value, position.is_called);
        END LOOP;
    END IF;
    RETURN NULL;
END
$arrive$;

CREATE OR REPLACE TRIGGER arrive AFTER INSERT OR UPDATE ON strangler.ownership
    FOR EACH ROW EXECUTE FUNCTION strangler.arrive({site});
-- apply workers are replicas: only an ALWAYS trigger fires for them
ALTER TABLE strangler.ownership ENABLE ALWAYS TRIGGER arrive;

-- What happened here. A switch writes its line in the transaction that moves ownership.
CREATE TABLE IF NOT EXISTS strangler.event (
    id     bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    at     timestamptz NOT NULL DEFAULT clock_timestamp(),
    module text NOT NULL,
    actor  text NOT NULL,
    action text NOT NULL,
    epoch  bigint NOT NULL,
    detail jsonb NOT NULL
);

-- name: install_target!
-- What only the target remembers: indexes to build again after the copy.
CREATE TABLE IF NOT EXISTS strangler.aside_index (
    module       text NOT NULL,
    "table"      text NOT NULL,
    name         text PRIMARY KEY,
    "constraint" text,
    definition   text NOT NULL
);

-- name: install_source!
-- What only the source remembers: constraints to put back.
CREATE TABLE IF NOT EXISTS strangler.dropped_constraint (
    module     text NOT NULL,
    "table"    text NOT NULL,
    name       text NOT NULL,
    referenced text NOT NULL,
    definition text NOT NULL,
    PRIMARY KEY ("table", name)
);

-- How far a comparison of the copies has come, so that a killed one goes on, and what the last one found. A module's go
-- with its ownership row.
CREATE TABLE IF NOT EXISTS strangler.diff_run (
    id       bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    module   text NOT NULL REFERENCES strangler.ownership ON DELETE CASCADE,
    owner    text NOT NULL,
    epoch    bigint NOT NULL,
    started  timestamptz NOT NULL DEFAULT clock_timestamp(),
    finished timestamptz
);
CREATE TABLE IF NOT EXISTS strangler.diff_table (
    run         bigint NOT NULL REFERENCES strangler.diff_run ON DELETE CASCADE,
    "table"     text NOT NULL,
    -- the key of the last row compared, each column as text
    position    text[],
    done        boolean NOT NULL,
    rows        bigint NOT NULL,
    differences bigint NOT NULL,
    PRIMARY KEY (run, "table")
);
-- The first of the rows that differ: to be judged again when a killed comparison goes on.
CREATE TABLE IF NOT EXISTS strangler.diff_row (
    run     bigint NOT NULL,
    "table" text NOT NULL,
    key     text[] NOT NULL,
    kind    text NOT NULL,
    FOREIGN KEY (run, "table") REFERENCES strangler.diff_table ON DELETE CASCADE
);
CREATE INDEX IF NOT EXISTS diff_row_table ON strangler.diff_row (run, "table");

-- name: uninstall!
DROP SCHEMA IF EXISTS strangler CASCADE;

-- name: installed
SELECT to_regclass('strangler.ownership') IS NOT NULL;

-- name: add_fence!
CREATE OR REPLACE TRIGGER strangler_fence BEFORE INSERT OR UPDATE OR DELETE OR TRUNCATE ON {table}
    FOR EACH STATEMENT EXECUTE FUNCTION strangler.fence({module}, {site});

-- name: drop_fence!
DROP TRIGGER IF EXISTS strangler_fence ON {table};

-- name: raise_fence!
-- Waits for whoever has written to the table; whoever writes to it later meets the fence, whatever his snapshot or his
-- prepared statements are, since triggers are looked up with each statement.
ALTER TABLE {table} ENABLE TRIGGER strangler_fence;

-- name: lower_fence!
ALTER TABLE {table} DISABLE TRIGGER strangler_fence;

-- name: send_autovacuum_away
-- Whoever waits for a table sends autovacuum away from it only after deadlock_timeout (1 s), and the kit waits for less.
-- Not everybody may set it.
SELECT set_config('deadlock_timeout', '10ms', false) WHERE has_parameter_privilege('deadlock_timeout', 'SET');

-- name: in_a_hurry
-- A crash that takes back what did not wait for the disk takes back the switch that followed, too.
SELECT set_config('lock_timeout', {milliseconds}, false), set_config('synchronous_commit', 'off', false);

-- name: not_in_a_hurry
RESET lock_timeout; RESET synchronous_commit;

-- name: arrives
-- Whether the row's arrival is noticed here.
SELECT EXISTS (SELECT FROM pg_trigger
               WHERE tgrelid = 'strangler.ownership'::regclass AND tgname = 'arrive' AND tgenabled = 'A');

-- name: fences
-- The tables and all their partitions, a table first: a trigger for each statement fires only for the one it names. And
-- whether its fence is up; null where there is none.
SELECT n.nspname || '.' || c.relname AS name, g.tgenabled = 'O' AS up
FROM unnest(%(tables)s::regclass[]) WITH ORDINALITY AS t(oid, place)
CROSS JOIN LATERAL (
    SELECT relid, level FROM pg_partition_tree(t.oid)
    UNION ALL SELECT t.oid, 0 WHERE NOT EXISTS (SELECT FROM pg_partition_tree(t.oid))
) AS p
JOIN pg_class c ON c.oid = p.relid JOIN pg_namespace n ON n.oid = c.relnamespace
LEFT JOIN pg_trigger g ON g.tgrelid = c.oid AND g.tgname = 'strangler_fence'
WHERE c.relkind IN ('r', 'p')
ORDER BY t.place, p.level, 1;
