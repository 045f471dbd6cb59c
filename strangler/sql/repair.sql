-- Giving the side that does not own a module the owner's rows.

-- name: repair_reader
-- At the owner, whose rows are locked but never written.
SET default_transaction_read_only = off; SET application_name = 'strangler repair';

-- name: repair_writer
-- At the other side: as a replica, so that neither fence nor foreign keys nor triggers answer.
SET default_transaction_read_only = off; SET application_name = 'strangler repair'; SET session_replication_role = replica;

-- name: repair_hold
-- As the fence does: no switch while a batch is repaired.
SELECT pg_advisory_xact_lock_shared({lock_class}, hashtext(%(module)s));

-- name: repair_lock
-- Keeps writers off the rows, but not foreign keys that look at them. A row that somebody writes is left out.
SELECT v.n FROM unnest({wanted}) WITH ORDINALITY AS v({names}, n) JOIN {table} t ON ({key}) = ({values})
FOR NO KEY UPDATE OF t SKIP LOCKED;

-- name: repair_delete!
-- Only the rows that were seen: what has come since is none of ours.
DELETE FROM {table} t USING unnest({wanted}, {versions}::text[]) AS v({names}, version)
WHERE ({key}) = ({values}) AND t.xmin::text = v.version;

-- name: repair_read
COPY (SELECT {stored} FROM (VALUES {keys}) AS v({names}) JOIN {table} t ON ({key}) = ({values})) TO STDOUT;

-- name: repair_write!
-- COPY takes the values of identity columns as they come.
COPY {table} ({plain}) FROM STDIN;

-- name: repair_origin!
-- What a session with an origin writes is not sent on: streams are `origin = none`. A killed repair's is used again.
SELECT pg_replication_origin_create(%(name)s) WHERE NOT EXISTS (SELECT FROM pg_replication_origin WHERE roname = %(name)s);

-- name: repair_use_origin
SELECT pg_replication_origin_session_setup(%(name)s);

-- name: repair_leave_origin
SELECT pg_replication_origin_session_reset();

-- name: repair_origin_exists
SELECT EXISTS (SELECT FROM pg_replication_origin WHERE roname = %(name)s);

-- name: repair_drop_origin!
SELECT pg_replication_origin_drop(roname) FROM pg_replication_origin WHERE roname = %(name)s;
