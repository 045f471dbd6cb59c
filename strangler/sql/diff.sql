-- Comparing a table at two sites while writes go on. Every session uses the settings of `session`. Lists of keys are
-- given as arrays of text ($1, $2 ..., one for each column of the key), of which `names` are the columns.

-- name: session
-- So that the text of a value depends on the value alone, that no row is hidden, and that a range of keys is read by the
-- key's index, whatever the planner believes of a table that was just copied.
SET client_encoding = 'UTF8'; SET TimeZone = 'UTC'; SET DateStyle = 'ISO, YMD'; SET IntervalStyle = 'iso_8601';
SET extra_float_digits = 1; SET bytea_output = 'hex'; SET lc_monetary = 'C'; SET quote_all_identifiers = off;
SET row_security = off; SET search_path = pg_catalog;
SET default_transaction_read_only = on; SET default_transaction_isolation = 'read committed'; SET statement_timeout = 0;
SET jit = off; SET max_parallel_workers_per_gather = 0; SET enable_seqscan = off; SET enable_bitmapscan = off;
SET enable_sort = off; SET enable_hashjoin = off; SET enable_mergejoin = off;
SET application_name = 'strangler diff';

-- name: key_columns
-- In the key's order: name, type (with its schema), and the schema of the operators that order it.
SELECT a.attname, format_type(a.atttypid, a.atttypmod), n.nspname
FROM pg_index i
CROSS JOIN LATERAL unnest(i.indkey::int2[], i.indclass::oid[]) WITH ORDINALITY AS k(attnum, opclass, n)
JOIN pg_attribute a ON a.attrelid = i.indrelid AND a.attnum = k.attnum
JOIN pg_opclass c ON c.oid = k.opclass
JOIN pg_amop m ON m.amopfamily = c.opcfamily AND m.amopstrategy = 1
    AND m.amoplefttype = c.opcintype AND m.amoprighttype = c.opcintype
JOIN pg_operator o ON o.oid = m.amopopr JOIN pg_namespace n ON n.oid = o.oprnamespace
WHERE i.indrelid = %(table)s::regclass AND i.indisprimary AND k.n <= i.indnkeyatts
ORDER BY k.n;

-- name: key_operators
-- Operators of a key's type that an extension brought (citext) are found in its schema.
SET search_path = pg_catalog, {schemas};

-- name: boundary
-- The last key of the next so many rows of a range.
SELECT {key_text} FROM {table} t WHERE {range} ORDER BY {key} OFFSET {rows} - 1 LIMIT 1;

-- name: checksum
-- Of all rows of a range: their number, and a sum of hashes that does not depend on their order. hash_record adds up the
-- columns' hashes, so it is hashed once more: else the sum would be the same when two rows swapped a value.
SELECT count(*), coalesce(sum(hashtextextended(hash_record_extended(ROW({texts}), 0)::text, 0)), 0)::text
FROM {table} t WHERE {range};

-- name: keys
SELECT {key_text} FROM {table} t WHERE {range} ORDER BY {key} LIMIT {rows};

-- name: rows_by_key
-- Of the wanted keys those that there are: number in the list, hash, xmin. In UTF-8, should the encodings differ.
SELECT v.n, encode(sha256(convert_to(ROW({columns})::text, 'UTF8')), 'hex'), t.xmin::text
FROM unnest({wanted}) WITH ORDINALITY AS v({names}, n) JOIN {table} t ON ({key}) = ({values});

-- name: active_sessions
-- Client sessions at work in this database, the kit's own left out.
SELECT count(*) FROM pg_stat_activity
WHERE datname = current_database() AND backend_type = 'client backend' AND state = 'active'
  AND pid <> pg_backend_pid() AND application_name NOT LIKE 'strangler%';

-- What is kept of a comparison, in the source's database.

-- name: diff_installed
SELECT to_regclass('strangler.diff_row') IS NOT NULL;

-- name: diff_lock
-- One comparison at a time of a module. Held by the session, so a killed one lets go.
SELECT pg_advisory_lock({lock_class}, hashtext('diff of ' || %(module)s));

-- name: diff_let_go
SELECT pg_advisory_unlock({lock_class}, hashtext('diff of ' || %(module)s));

-- name: diff_unfinished
-- A comparison that was killed; of an earlier epoch or owner it would say nothing of now.
SELECT max(id) FROM strangler.diff_run
WHERE module = %(module)s AND owner = %(owner)s AND epoch = %(epoch)s AND finished IS NULL;

-- name: diff_begin!
INSERT INTO strangler.diff_run (module, owner, epoch) VALUES (%(module)s, %(owner)s, %(epoch)s) RETURNING id;

-- name: diff_drop_unfinished!
DELETE FROM strangler.diff_run WHERE module = %(module)s AND finished IS NULL;

-- name: diff_tables
SELECT t."table", t.position, t.done, t.rows, t.differences,
       (SELECT coalesce(json_agg(r.key), '[]') FROM strangler.diff_row r WHERE (r.run, r."table") = (t.run, t."table")) AS kept
FROM strangler.diff_table t WHERE t.run = %(run)s;

-- name: diff_checkpoint!
INSERT INTO strangler.diff_table (run, "table", position, done, rows, differences)
VALUES (%(run)s, %(table)s, %(position)s, %(done)s, %(rows)s, %(differences)s)
ON CONFLICT (run, "table") DO UPDATE
SET position = EXCLUDED.position, done = EXCLUDED.done, rows = EXCLUDED.rows, differences = EXCLUDED.differences;

-- name: diff_forget_rows!
DELETE FROM strangler.diff_row WHERE run = %(run)s AND "table" = %(table)s;

-- name: diff_keep_row!
INSERT INTO strangler.diff_row (run, "table", key, kind) VALUES (%(run)s, %(table)s, %(key)s, %(kind)s);

-- name: diff_finish!
-- And what came before it is of no interest any more.
WITH finished AS (UPDATE strangler.diff_run SET finished = clock_timestamp() WHERE id = %(run)s RETURNING id, module)
DELETE FROM strangler.diff_run r USING finished f WHERE r.module = f.module AND r.id <> f.id;

-- name: last_diff
SELECT r.started, r.finished, r.owner, r.epoch, coalesce(sum(t.rows), 0)::bigint AS rows,
       coalesce(sum(t.differences), 0)::bigint AS differences
FROM strangler.diff_run r LEFT JOIN strangler.diff_table t ON t.run = r.id
WHERE r.module = %(module)s AND r.finished IS NOT NULL
GROUP BY r.id ORDER BY r.id DESC LIMIT 1;
