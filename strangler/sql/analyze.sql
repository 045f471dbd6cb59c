-- What the catalogue says of ties between modules. Left out: what extensions own, temporary tables, and the kit's own.

-- name: search_path
SELECT current_schemas(false) AS schemas;

-- name: relations
-- Tables, views, materialized views and foreign tables; of a partition also the table that it is a part of.
SELECT n.nspname || '.' || c.relname AS name, c.relkind::text AS kind, rn.nspname || '.' || r.relname AS root
FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
LEFT JOIN pg_class r ON c.relispartition AND r.oid = pg_partition_root(c.oid)
LEFT JOIN pg_namespace rn ON rn.oid = r.relnamespace
WHERE c.relkind IN ('r', 'p', 'v', 'm', 'f') AND c.relpersistence <> 't'
  AND n.nspname NOT IN ('pg_catalog', 'information_schema', 'pg_toast', 'strangler', 'strangler_retired')
  AND NOT EXISTS (SELECT FROM pg_depend d WHERE d.classid = 'pg_class'::regclass AND d.objid = c.oid AND d.deptype = 'e')
ORDER BY 1;

-- name: foreign_keys
SELECT n.nspname || '.' || t.relname AS "table", c.conname AS name,
       rn.nspname || '.' || r.relname AS referenced, pg_get_constraintdef(c.oid) AS definition
FROM pg_constraint c
JOIN pg_class t ON t.oid = c.conrelid JOIN pg_namespace n ON n.oid = t.relnamespace
JOIN pg_class r ON r.oid = c.confrelid JOIN pg_namespace rn ON rn.oid = r.relnamespace
WHERE c.contype = 'f' AND c.conparentid = 0
ORDER BY 1, 2;

-- name: triggers
SELECT n.nspname || '.' || t.relname AS "table", g.tgname AS name, g.tgfoid::regprocedure::text AS function
FROM pg_trigger g
JOIN pg_class t ON t.oid = g.tgrelid JOIN pg_namespace n ON n.oid = t.relnamespace
WHERE NOT g.tgisinternal AND g.tgparentid = 0
ORDER BY 1, 2;

-- name: view_uses
-- Relations that a view, or a rule of a table, names itself.
SELECT DISTINCT n.nspname || '.' || v.relname AS name, un.nspname || '.' || u.relname AS uses
FROM pg_rewrite w
JOIN pg_class v ON v.oid = w.ev_class JOIN pg_namespace n ON n.oid = v.relnamespace
JOIN pg_depend d ON d.classid = 'pg_rewrite'::regclass AND d.objid = w.oid AND d.refclassid = 'pg_class'::regclass
JOIN pg_class u ON u.oid = d.refobjid AND u.oid <> v.oid AND u.relkind IN ('r', 'p', 'v', 'm', 'f')
JOIN pg_namespace un ON un.oid = u.relnamespace
WHERE n.nspname NOT IN ('pg_catalog', 'information_schema')
ORDER BY 1, 2;

-- name: functions
-- With the tables that the catalogue knows them to use: those of BEGIN ATOMIC bodies. All others are only text.
SELECT p.oid::regprocedure::text AS signature, p.proname AS name, p.prosrc AS source,
       p.prosqlbody IS NOT NULL AS known,
       (SELECT coalesce(array_agg(DISTINCT n.nspname || '.' || u.relname ORDER BY n.nspname || '.' || u.relname), '{{}}')
        FROM pg_depend d JOIN pg_class u ON u.oid = d.refobjid AND u.relkind IN ('r', 'p', 'v', 'm', 'f')
        JOIN pg_namespace n ON n.oid = u.relnamespace
        WHERE d.classid = 'pg_proc'::regclass AND d.objid = p.oid AND d.refclassid = 'pg_class'::regclass) AS uses
FROM pg_proc p JOIN pg_namespace n ON n.oid = p.pronamespace JOIN pg_language l ON l.oid = p.prolang
WHERE p.prokind IN ('f', 'p') AND l.lanname NOT IN ('c', 'internal')
  AND n.nspname NOT IN ('pg_catalog', 'information_schema', 'strangler')
  AND NOT EXISTS (SELECT FROM pg_depend d WHERE d.classid = 'pg_proc'::regclass AND d.objid = p.oid AND d.deptype = 'e')
ORDER BY 1;

-- name: sequence_uses
-- Tables that own a sequence, or take defaults from it. A nextval() whose argument is text is not seen.
SELECT DISTINCT sn.nspname || '.' || s.relname AS name, n.nspname || '.' || t.relname AS "table"
FROM pg_class s
JOIN pg_namespace sn ON sn.oid = s.relnamespace
CROSS JOIN LATERAL (
    SELECT a.adrelid AS oid FROM pg_depend d JOIN pg_attrdef a ON a.oid = d.objid
    WHERE d.classid = 'pg_attrdef'::regclass AND d.refclassid = 'pg_class'::regclass AND d.refobjid = s.oid
    UNION
    SELECT d.refobjid FROM pg_depend d
    WHERE d.classid = 'pg_class'::regclass AND d.objid = s.oid AND d.refclassid = 'pg_class'::regclass
      AND d.deptype IN ('a', 'i')
) AS uses
JOIN pg_class t ON t.oid = uses.oid JOIN pg_namespace n ON n.oid = t.relnamespace
WHERE s.relkind = 'S'
ORDER BY 1, 2;
