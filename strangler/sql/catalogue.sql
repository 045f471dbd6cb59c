-- What the catalogue says of the tables of a move.

-- name: exists
SELECT to_regclass(%(table)s) IS NOT NULL;

-- name: slot_suffix
SELECT oid::text FROM pg_database WHERE datname = current_database();

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

-- name: drop_constraint!
ALTER TABLE {table} DROP CONSTRAINT IF EXISTS {name};

-- name: remember_constraint!
INSERT INTO strangler.dropped_constraint (module, "table", name, referenced, definition)
VALUES (%(module)s, %(table)s, %(name)s, %(referenced)s, %(definition)s) ON CONFLICT DO NOTHING;

-- name: remembered_constraints
SELECT "table", name, referenced, definition FROM strangler.dropped_constraint WHERE module = %(module)s ORDER BY 1, 2;

-- name: entrust_constraint!
-- Another move still stands between its two ends: that one's to put back.
UPDATE strangler.dropped_constraint SET module = %(module)s WHERE "table" = %(table)s AND name = %(name)s;

-- name: forget_constraint!
DELETE FROM strangler.dropped_constraint WHERE "table" = %(table)s AND name = %(name)s;

-- name: constraint_exists
SELECT EXISTS (SELECT FROM pg_constraint WHERE conrelid = %(table)s::regclass AND conname = %(name)s);

-- name: add_constraint!
-- NOT VALID holds new rows to it at once with a short lock; the rows that are there are checked afterwards without one.
ALTER TABLE {table} ADD CONSTRAINT {name} {definition} NOT VALID;

-- name: validate_constraint!
ALTER TABLE {table} VALIDATE CONSTRAINT {name};

-- name: truncate!
TRUNCATE {tables} RESTART IDENTITY;

-- name: analyze!
-- A table that has just been filled has no statistics, and the first queries at the new owner would suffer.
ANALYZE {table};

-- name: users_of_database
SELECT coalesce(nullif(application_name, ''), usename) AS who, count(*) AS sessions FROM pg_stat_activity
WHERE datname = current_database() AND pid <> pg_backend_pid() AND backend_type = 'client backend'
  AND application_name NOT LIKE 'strangler%'
GROUP BY 1 ORDER BY 1;

-- name: table_uses
-- What PostgreSQL counts of reads and writes of a table and its partitions.
SELECT coalesce(sum(s.seq_scan), 0) AS seq, coalesce(sum(s.idx_scan), 0) AS idx,
       coalesce(sum(s.n_tup_ins + s.n_tup_upd + s.n_tup_del), 0) AS written
FROM pg_stat_user_tables s
WHERE s.relid = %(table)s::regclass OR s.relid IN (SELECT relid FROM pg_partition_tree(%(table)s::regclass));

-- name: who_uses
-- Sessions in a transaction that has touched one of the tables.
SELECT DISTINCT a.pid, coalesce(nullif(a.application_name, ''), a.usename) AS who, a.state
FROM pg_locks l JOIN pg_stat_activity a USING (pid)
WHERE l.locktype = 'relation' AND l.database = (SELECT oid FROM pg_database WHERE datname = current_database())
  AND l.relation = ANY (%(tables)s::regclass[]) AND a.backend_type = 'client backend' AND a.pid <> pg_backend_pid()
  AND a.application_name NOT LIKE 'strangler%%'
ORDER BY 1;

-- name: who_names
-- Sessions whose latest statement names one of the tables.
SELECT DISTINCT coalesce(nullif(a.application_name, ''), a.usename) AS who FROM pg_stat_activity a
WHERE a.datname = current_database() AND a.pid <> pg_backend_pid() AND a.application_name NOT LIKE 'strangler%%'
  AND EXISTS (SELECT FROM unnest(%(names)s::text[]) AS t (name) WHERE strpos(lower(a.query), lower(t.name)) > 0)
ORDER BY 1;

-- name: views_of
-- Views, and rules of other tables, that name one of the tables.
SELECT DISTINCT n.nspname || '.' || v.relname AS name
FROM pg_rewrite w
JOIN pg_class v ON v.oid = w.ev_class JOIN pg_namespace n ON n.oid = v.relnamespace
JOIN pg_depend d ON d.classid = 'pg_rewrite'::regclass AND d.objid = w.oid AND d.refclassid = 'pg_class'::regclass
WHERE d.refobjid = ANY (%(tables)s::regclass[]) AND v.oid <> ALL (%(tables)s::regclass[])
ORDER BY 1;

-- name: create_archive!
CREATE SCHEMA IF NOT EXISTS strangler_retired;

-- name: archive!
ALTER TABLE {table} SET SCHEMA strangler_retired;

-- name: drop_tables!
DROP TABLE {tables};
