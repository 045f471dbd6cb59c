-- What is looked at before a move is created; nothing here changes anything.

-- name: settings
SELECT current_setting('server_version_num')::int AS version, current_setting('wal_level') AS wal_level,
       current_setting('max_replication_slots')::int - (SELECT count(*)::int FROM pg_replication_slots) AS free_slots,
       current_setting('max_wal_senders')::int - (SELECT count(*)::int FROM pg_stat_replication) AS free_senders,
       current_setting('max_logical_replication_workers')::int
           - (SELECT count(*)::int FROM pg_stat_subscription WHERE pid IS NOT NULL) AS free_workers,
       coalesce(current_setting('max_active_replication_origins', true), current_setting('max_replication_slots'))::int
           - (SELECT count(*)::int FROM pg_replication_origin) AS free_origins,
       current_setting('max_sync_workers_per_subscription')::int AS sync_workers,
       (SELECT setting::bigint * 1024 * 1024 FROM pg_settings WHERE name = 'max_slot_wal_keep_size') AS slot_keeps,
       coalesce(nullif(current_setting('idle_replication_slot_timeout', true), '0'), '') AS slot_timeout,
       (SELECT rolsuper FROM pg_roles WHERE rolname = current_user) AS superuser,
       (SELECT rolsuper OR rolreplication FROM pg_roles WHERE rolname = current_user) AS may_replicate,
       (SELECT rolsuper OR pg_has_role(oid, 'pg_create_subscription', 'USAGE') FROM pg_roles WHERE rolname = current_user) AS may_subscribe,
       (SELECT rolsuper OR pg_has_role(oid, 'pg_read_all_stats', 'USAGE') FROM pg_roles WHERE rolname = current_user) AS may_watch,
       has_database_privilege(current_database(), 'CREATE') AS may_create,
       current_user AS role, current_database() AS database,
       (SELECT oid::text FROM pg_database WHERE datname = current_database()) AS oid,
       (SELECT system_identifier::text FROM pg_control_system()) AS cluster,
       pg_encoding_to_char(d.encoding) AS encoding,
       concat_ws(' ', d.datcollate, d.datlocprovider::text, coalesce(to_jsonb(d) ->> 'datlocale', to_jsonb(d) ->> 'daticulocale'),
                 d.datcollversion) AS collation
FROM pg_database d WHERE d.datname = current_database();

-- name: relation
-- What kind of thing a table is, whether we may change it, and its size with indexes and partitions, in bytes.
SELECT c.relkind::text AS kind, c.relpersistence::text AS persistence, c.relreplident::text AS identity,
       c.relispartition AS partition, c.relrowsecurity AS row_security,
       EXISTS (SELECT FROM pg_inherits i WHERE i.inhparent = c.oid AND c.relkind = 'r')
           OR EXISTS (SELECT FROM pg_inherits i WHERE i.inhrelid = c.oid AND NOT c.relispartition) AS inherits,
       pg_has_role(c.relowner, 'USAGE') AS ours,
       has_schema_privilege(c.relnamespace, 'CREATE') AS may_index, c.relnamespace::regnamespace::text AS schema,
       (SELECT coalesce(sum(pg_total_relation_size(p.relid)), pg_total_relation_size(c.oid))
        FROM pg_partition_tree(c.oid) p)::bigint AS bytes
FROM pg_class c WHERE c.oid = %(table)s::regclass;

-- name: columns
SELECT a.attname AS name, format_type(a.atttypid, a.atttypmod) AS type, a.attnotnull AS not_null,
       CASE WHEN a.attcollation <> t.typcollation THEN a.attcollation::regcollation::text END AS collation,
       CASE WHEN a.attgenerated <> '' THEN pg_get_expr(d.adbin, d.adrelid) END AS generated
FROM pg_attribute a JOIN pg_type t ON t.oid = a.atttypid
LEFT JOIN pg_attrdef d ON d.adrelid = a.attrelid AND d.adnum = a.attnum
WHERE a.attrelid = %(table)s::regclass AND a.attnum > 0 AND NOT a.attisdropped
ORDER BY a.attname;

-- name: primary_key
SELECT a.attname FROM pg_index i
JOIN pg_attribute a ON a.attrelid = i.indrelid AND a.attnum = ANY (i.indkey)
WHERE i.indrelid = %(table)s::regclass AND i.indisprimary
ORDER BY array_position(i.indkey::int2[], a.attnum);

-- name: types
-- The types of our own that the columns are made of, all the way down, each with what it is.
WITH RECURSIVE used (oid) AS (
    SELECT a.atttypid FROM pg_attribute a
    WHERE a.attrelid = ANY (%(tables)s::regclass[]) AND a.attnum > 0 AND NOT a.attisdropped
  UNION
    SELECT part.oid FROM used JOIN pg_type t USING (oid)
    CROSS JOIN LATERAL (
        SELECT t.typelem WHERE t.typelem <> 0
        UNION ALL SELECT t.typbasetype WHERE t.typbasetype <> 0
        UNION ALL SELECT r.rngsubtype FROM pg_range r WHERE r.rngtypid = t.oid
        UNION ALL SELECT a.atttypid FROM pg_attribute a
                  WHERE a.attrelid = t.typrelid AND t.typrelid <> 0 AND a.attnum > 0 AND NOT a.attisdropped
    ) AS part (oid)
)
SELECT format_type(t.oid, NULL) AS name, CASE t.typtype
    WHEN 'e' THEN (SELECT string_agg(quote_literal(e.enumlabel), ', ' ORDER BY e.enumsortorder)
                   FROM pg_enum e WHERE e.enumtypid = t.oid)
    WHEN 'd' THEN concat_ws(' ', format_type(t.typbasetype, t.typtypmod), CASE WHEN t.typnotnull THEN 'NOT NULL' END,
                  (SELECT string_agg(pg_get_constraintdef(c.oid), ' ' ORDER BY 1)
                   FROM pg_constraint c WHERE c.contypid = t.oid AND c.contype = 'c'))
    WHEN 'c' THEN (SELECT string_agg(a.attname || ' ' || format_type(a.atttypid, a.atttypmod), ', ' ORDER BY a.attnum)
                   FROM pg_attribute a WHERE a.attrelid = t.typrelid AND a.attnum > 0 AND NOT a.attisdropped)
    WHEN 'r' THEN (SELECT 'range of ' || format_type(r.rngsubtype, NULL) FROM pg_range r WHERE r.rngtypid = t.oid)
    ELSE 'base' END AS definition
FROM used JOIN pg_type t USING (oid)
WHERE t.typelem = 0 AND t.typnamespace <> 'pg_catalog'::regnamespace
ORDER BY 1;

-- name: rules
-- What a table makes sure of beside its primary key: unique, check, exclusion, foreign keys among the tables.
SELECT pg_get_constraintdef(c.oid) AS definition FROM pg_constraint c
WHERE c.conrelid = %(table)s::regclass AND c.contype IN ('u', 'c', 'x')
UNION
SELECT 'FOREIGN KEY ' || pg_get_constraintdef(c.oid) FROM pg_constraint c
WHERE c.conrelid = %(table)s::regclass AND c.contype = 'f' AND c.confrelid = ANY (%(tables)s::regclass[])
UNION
SELECT regexp_replace(pg_get_indexdef(i.indexrelid), '^CREATE UNIQUE INDEX .*? ON (ONLY )?\S+ ', 'UNIQUE INDEX ')
FROM pg_index i WHERE i.indrelid = %(table)s::regclass AND i.indisunique AND NOT i.indisprimary
  AND NOT EXISTS (SELECT FROM pg_constraint c WHERE c.conindid = i.indexrelid AND c.conrelid = i.indrelid)
ORDER BY 1;

-- name: counters
-- Columns that count by a sequence, and whether the sequence belongs to the column (only then does it move along).
SELECT a.attname AS "column", s.oid::regclass::text AS sequence, bool_or(d.refobjsubid IS NOT NULL) AS owned
FROM pg_attribute a
JOIN pg_attrdef f ON f.adrelid = a.attrelid AND f.adnum = a.attnum
JOIN pg_depend u ON u.classid = 'pg_attrdef'::regclass AND u.objid = f.oid AND u.refclassid = 'pg_class'::regclass
JOIN pg_class s ON s.oid = u.refobjid AND s.relkind = 'S'
LEFT JOIN pg_depend d ON d.classid = 'pg_class'::regclass AND d.objid = s.oid AND d.refclassid = 'pg_class'::regclass
    AND d.deptype IN ('a', 'i') AND d.refobjid = a.attrelid AND d.refobjsubid = a.attnum
WHERE a.attrelid = %(table)s::regclass AND a.attnum > 0 AND NOT a.attisdropped
GROUP BY 1, 2
UNION
SELECT a.attname, pg_get_serial_sequence(%(table)s::text, a.attname), true FROM pg_attribute a
WHERE a.attrelid = %(table)s::regclass AND a.attidentity <> ''
ORDER BY 1;

-- name: triggers_of
-- A table's own triggers. on_apply: whether they also fire for rows that come by replication.
SELECT g.tgname AS name, g.tgenabled IN ('A', 'R') AS on_apply, g.tgenabled = 'D' AS off FROM pg_trigger g
WHERE g.tgrelid = %(table)s::regclass AND NOT g.tgisinternal AND g.tgname <> 'strangler_fence'
ORDER BY 1;

-- name: large_objects
-- Columns that look like references to large objects, if there are any of those.
SELECT a.attname AS name FROM pg_attribute a JOIN pg_type t ON t.oid = a.atttypid
WHERE a.attrelid = %(table)s::regclass AND a.attnum > 0 AND NOT a.attisdropped AND (t.typname = 'lo' OR t.oid = 'oid'::regtype)
  AND EXISTS (SELECT FROM pg_largeobject_metadata)
ORDER BY 1;

-- name: empty
SELECT NOT EXISTS (SELECT FROM {table});
