-- Secondary indexes of a table to be filled: dropped before the copy, built again after it.

-- name: puts_aside
SELECT to_regclass('strangler.aside_index') IS NOT NULL;

-- name: droppable_indexes
-- Not: what identifies rows, what another constraint leans on, and what a definition does not tell all of.
SELECT n.nspname || '.' || c.relname AS name, k.conname AS "constraint",
       coalesce(pg_get_constraintdef(k.oid), pg_get_indexdef(c.oid)) AS definition
FROM pg_index i
JOIN pg_class t ON t.oid = i.indrelid AND t.relkind = 'r' AND NOT t.relispartition
JOIN pg_class c ON c.oid = i.indexrelid JOIN pg_namespace n ON n.oid = c.relnamespace
LEFT JOIN pg_constraint k ON k.conindid = i.indexrelid AND k.conrelid = i.indrelid AND k.contype = 'u'
WHERE i.indrelid = %(table)s::regclass
  AND NOT i.indisprimary AND NOT i.indisreplident AND NOT i.indisexclusion AND NOT i.indisclustered AND i.indisvalid
  AND c.reltablespace = 0
  AND NOT EXISTS (SELECT FROM pg_constraint f WHERE f.contype = 'f' AND f.conindid = i.indexrelid)
  AND NOT EXISTS (SELECT FROM pg_description d WHERE (d.classoid, d.objoid) = ('pg_class'::regclass, c.oid)
                                                 OR (d.classoid, d.objoid) = ('pg_constraint'::regclass, k.oid))
  AND NOT EXISTS (SELECT FROM pg_attribute a WHERE a.attrelid = c.oid AND a.attstattarget >= 0)
  AND NOT EXISTS (SELECT FROM pg_depend d WHERE d.classid = 'pg_class'::regclass AND d.objid = c.oid AND d.deptype = 'x')
ORDER BY 1;

-- name: aside_indexes
SELECT "table", name, "constraint", definition FROM strangler.aside_index WHERE module = %(module)s ORDER BY name;

-- name: put_index_aside!
INSERT INTO strangler.aside_index (module, "table", name, "constraint", definition)
VALUES (%(module)s, %(table)s, %(name)s, %(constraint)s, %(definition)s);

-- name: drop_index!
DROP INDEX {name};

-- name: memory_for_indexes!
SELECT set_config('maintenance_work_mem', '256MB', false)
WHERE pg_size_bytes(current_setting('maintenance_work_mem')) < pg_size_bytes('256MB');

-- name: build_index!
{definition};

-- name: add_unique!
ALTER TABLE {table} ADD CONSTRAINT {name} {definition};

-- name: forget_index!
DELETE FROM strangler.aside_index WHERE name = %(name)s;
