-- What the catalogue says of the tables of a move.

-- name: exists
SELECT to_regclass(%(table)s) IS NOT NULL;

-- name: settings
SELECT current_setting('server_version_num')::int AS version, current_setting('wal_level') AS wal_level,
       current_setting('max_replication_slots')::int - (SELECT count(*)::int FROM pg_replication_slots) AS free_slots,
       current_setting('max_wal_senders')::int - (SELECT count(*)::int FROM pg_stat_replication) AS free_senders,
       (SELECT rolsuper OR rolreplication FROM pg_roles WHERE rolname = current_user) AS may_replicate,
       (SELECT rolsuper OR pg_has_role(oid, 'pg_create_subscription', 'USAGE') FROM pg_roles WHERE rolname = current_user) AS may_subscribe,
       current_database() AS database;

-- name: slot_suffix
SELECT oid::text FROM pg_database WHERE datname = current_database();

-- name: columns
SELECT a.attname AS name, format_type(a.atttypid, a.atttypmod) AS type, a.attnotnull AS not_null, a.attgenerated <> '' AS generated
FROM pg_attribute a
WHERE a.attrelid = %(table)s::regclass AND a.attnum > 0 AND NOT a.attisdropped
ORDER BY a.attname;

-- name: primary_key
SELECT a.attname FROM pg_index i
JOIN pg_attribute a ON a.attrelid = i.indrelid AND a.attnum = ANY (i.indkey)
WHERE i.indrelid = %(table)s::regclass AND i.indisprimary
ORDER BY array_position(i.indkey::int2[], a.attnum);

-- name: crossing_foreign_keys
-- With one end in the tables and the other elsewhere.
SELECT n.nspname || '.' || t.relname AS "table", c.conname AS name,
       rn.nspname || '.' || r.relname AS referenced, pg_get_constraintdef(c.oid) AS definition
FROM pg_constraint c
JOIN pg_class t ON t.oid = c.conrelid JOIN pg_namespace n ON n.oid = t.relnamespace
JOIN pg_class r ON r.oid = c.confrelid JOIN pg_namespace rn ON rn.oid = r.relnamespace
WHERE c.contype = 'f' AND c.conparentid = 0
  AND (c.conrelid = ANY (%(tables)s::regclass[])) <> (c.confrelid = ANY (%(tables)s::regclass[]))
ORDER BY 1, 2;

-- name: drop_constraint
ALTER TABLE {table} DROP CONSTRAINT IF EXISTS {name};

-- name: remember_constraint
INSERT INTO strangler.dropped_constraint (module, "table", name, referenced, definition)
VALUES (%(module)s, %(table)s, %(name)s, %(referenced)s, %(definition)s) ON CONFLICT DO NOTHING;

-- name: remembered_constraints
SELECT "table", name, referenced, definition FROM strangler.dropped_constraint WHERE module = %(module)s ORDER BY 1, 2;

-- name: entrust_constraint
-- Another move still stands between its two ends: that one's to put back.
UPDATE strangler.dropped_constraint SET module = %(module)s WHERE "table" = %(table)s AND name = %(name)s;

-- name: forget_constraint
DELETE FROM strangler.dropped_constraint WHERE "table" = %(table)s AND name = %(name)s;

-- name: constraint_exists
SELECT EXISTS (SELECT FROM pg_constraint WHERE conrelid = %(table)s::regclass AND conname = %(name)s);

-- name: add_constraint
-- NOT VALID holds new rows to it at once with a short lock; the rows that are there are checked afterwards without one.
ALTER TABLE {table} ADD CONSTRAINT {name} {definition} NOT VALID;

-- name: validate_constraint
ALTER TABLE {table} VALIDATE CONSTRAINT {name};

-- name: empty
SELECT NOT EXISTS (SELECT FROM {table});

-- name: truncate
TRUNCATE {tables} RESTART IDENTITY;

-- name: users_of_database
-- Who else is connected, and since when: `complete` must not pull tables from under an application.
SELECT application_name, usename AS "user", count(*) AS sessions FROM pg_stat_activity
WHERE datname = current_database() AND pid <> pg_backend_pid() AND backend_type = 'client backend'
  AND application_name NOT LIKE 'strangler%'
GROUP BY 1, 2 ORDER BY 1, 2;

-- name: create_archive
CREATE SCHEMA IF NOT EXISTS strangler_retired;

-- name: archive
ALTER TABLE {table} SET SCHEMA strangler_retired;
