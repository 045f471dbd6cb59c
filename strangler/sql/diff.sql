-- Comparing a table at two sites while writes go on. Both sessions use the settings of `session`.

-- name: session
-- So that the text of a value depends on the value alone.
SET TimeZone = 'UTC'; SET DateStyle = 'ISO, YMD'; SET IntervalStyle = 'iso_8601'; SET extra_float_digits = 1;
SET bytea_output = 'hex'; SET search_path = pg_catalog; SET default_transaction_read_only = on;
SET application_name = 'strangler diff';

-- name: boundary
-- The last key of the next chunk after a key.
SELECT {key} FROM {table} WHERE {after} ORDER BY {key} OFFSET {rows} - 1 LIMIT 1;

-- name: checksum
-- Of all rows of a range: their number, and a sum of hashes that does not depend on their order.
SELECT count(*), coalesce(sum(hashtextextended(ROW({columns})::text, 0)::numeric), 0)::text FROM {table} WHERE {range};

-- name: row_hashes
SELECT ROW({key})::text, md5(ROW({columns})::text), xmin::text, {key} FROM {table} WHERE {range};

-- name: row_hash
SELECT md5(ROW({columns})::text), xmin::text FROM {table} WHERE ({key}) = ({values});
