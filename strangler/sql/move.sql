-- A move: publications, slots, subscriptions, and the switch.

-- name: claim!
-- The source owns the module until a switch says otherwise.
INSERT INTO strangler.ownership (module, owner, epoch) VALUES (%(module)s, %(owner)s, 1) ON CONFLICT DO NOTHING;

-- name: disclaim!
DELETE FROM strangler.ownership WHERE module = %(module)s;

-- name: ownership
SELECT owner, epoch FROM strangler.ownership WHERE module = %(module)s;

-- name: others
-- Modules other than this one that have an ownership row here.
SELECT module FROM strangler.ownership WHERE module <> %(module)s;

-- name: record!
INSERT INTO strangler.event (module, actor, action, epoch, detail)
VALUES (%(module)s, %(actor)s, %(action)s, %(epoch)s, %(detail)s) RETURNING at;

-- name: events
SELECT at, actor, action, epoch, detail FROM strangler.event WHERE module = %(module)s ORDER BY id;

-- name: since
SELECT extract(epoch FROM clock_timestamp() - max(at))::float8 FROM strangler.event
WHERE module = %(module)s AND action = %(action)s;

-- name: controller
-- One `strangler` process at a time works on a module. Held by the session, so a killed one lets go.
SELECT pg_advisory_lock({lock_class}, hashtext('controller of ' || %(module)s));

-- name: let_go
SELECT pg_advisory_unlock({lock_class}, hashtext('controller of ' || %(module)s));

-- name: still_used
-- Whether the kit still has something to do here for another module.
SELECT EXISTS (SELECT FROM strangler.ownership WHERE module <> %(module)s)
    OR EXISTS (SELECT FROM pg_trigger WHERE tgname = 'strangler_fence');

-- name: publication_exists
SELECT EXISTS (SELECT FROM pg_publication WHERE pubname = %(name)s);

-- name: create_publication!
-- A partitioned table goes by its own name, so that the other site may have other partitions, or none.
CREATE PUBLICATION {name} FOR TABLE {tables}, TABLE strangler.ownership WHERE (module = {module})
    WITH (publish_via_partition_root = true);

-- name: drop_publication!
DROP PUBLICATION IF EXISTS {name};

-- name: slot
SELECT active_pid, wal_status, pg_wal_lsn_diff(pg_current_wal_lsn(), confirmed_flush_lsn)::bigint AS behind,
       pg_wal_lsn_diff(pg_current_wal_lsn(), restart_lsn)::bigint AS kept, safe_wal_size AS room,
       (SELECT extract(epoch FROM a.replay_lag)::float8 FROM pg_stat_replication a WHERE a.pid = active_pid) AS lag_seconds
FROM pg_replication_slots WHERE slot_name = %(name)s;

-- name: wait_for_ever!
-- In a transaction, before a statement that makes nobody wait while it waits.
SET LOCAL lock_timeout = 0;

-- name: wait_at_most
-- For the rest of the transaction.
SET LOCAL lock_timeout = {milliseconds};

-- name: create_slot!
-- Waits for the end of every transaction that is open here and has written.
SELECT pg_create_logical_replication_slot(%(name)s, 'pgoutput');

-- name: drop_slots!
-- Also what an interrupted first copy leaves (`pg_<subscription>_sync_<table>_<system>`).
SELECT pg_drop_replication_slot(slot_name) FROM pg_replication_slots
WHERE (slot_name = %(name)s OR slot_name LIKE %(sync)s) AND database = current_database() AND active_pid IS NULL;

-- name: end_senders!
SELECT pg_terminate_backend(active_pid) FROM pg_replication_slots
WHERE (slot_name = %(name)s OR slot_name LIKE %(sync)s) AND database = current_database() AND active_pid IS NOT NULL;

-- name: subscription
SELECT s.oid, s.subslotname AS slot, s.subsynccommit AS synchronous, s.subenabled AS enabled,
       -- since PostgreSQL 17 the same is worker_type = 'apply'
       EXISTS (SELECT FROM pg_stat_subscription a
               WHERE a.subid = s.oid AND a.pid IS NOT NULL AND a.relid IS NULL AND a.leader_pid IS NULL) AS working,
       coalesce((SELECT bool_and(r.srsubstate = 'r') FROM pg_subscription_rel r WHERE r.srsubid = s.oid), false) AS ready,
       x.apply_error_count AS apply_errors, x.sync_error_count AS sync_errors,
       -- since PostgreSQL 18; which kinds there are differs from release to release
       (SELECT coalesce(jsonb_object_agg(replace(key, 'confl_', ''), value), '{{}}')
        FROM jsonb_each(to_jsonb(x)) WHERE key LIKE 'confl_%%' AND value <> '0') AS conflicts
FROM pg_subscription s JOIN pg_stat_subscription_stats x ON x.subid = s.oid
WHERE s.subname = %(name)s AND s.subdbid = (SELECT oid FROM pg_database WHERE datname = current_database());

-- name: create_subscription!
-- The slot is made beforehand, so that a kill between the two leaves nothing that the next try would stumble over.
-- origin = none: what came by replication is not sent back.
-- synchronous_commit: a worker that copies drops its slot at the publisher, then commits that it is done. Were that
-- commit lost in a crash, it would ask for the slot for ever (see `copied`); so it is not left to the WAL writer.
CREATE SUBSCRIPTION {name} CONNECTION {dsn} PUBLICATION {name}
    WITH (create_slot = false, slot_name = {slot}, copy_data = {copy}, origin = none, synchronous_commit = on);

-- name: apply_asynchronously!
-- After the copy; what a crash takes back then is applied again. Else each transaction would wait for the disk.
ALTER SUBSCRIPTION {name} SET (synchronous_commit = off);

-- name: disable_subscription!
ALTER SUBSCRIPTION {name} DISABLE;

-- name: enable_subscription!
ALTER SUBSCRIPTION {name} ENABLE;

-- name: forget_slot!
ALTER SUBSCRIPTION {name} SET (slot_name = NONE);

-- name: drop_subscription!
DROP SUBSCRIPTION IF EXISTS {name};

-- name: copying
-- Per table: its state in the subscription (i, d, f, s, r) and, where a copy is running, rows so far and since when, in s.
SELECT n.nspname || '.' || t.relname AS "table", r.srsubstate::text AS state, p.tuples_processed AS copied,
       extract(epoch FROM clock_timestamp() - a.backend_start)::float8 AS seconds
FROM pg_subscription_rel r
JOIN pg_class t ON t.oid = r.srrelid JOIN pg_namespace n ON n.oid = t.relnamespace
JOIN pg_subscription s ON s.oid = r.srsubid
LEFT JOIN pg_stat_progress_copy p ON p.relid = r.srrelid AND p.datname = current_database()
LEFT JOIN pg_stat_activity a ON a.pid = p.pid
WHERE s.subname = %(name)s AND s.subdbid = (SELECT oid FROM pg_database WHERE datname = current_database())
  AND r.srrelid <> 'strangler.ownership'::regclass
ORDER BY 1;

-- name: copied
-- Tables whose rows are there and which have yet to catch up, each with the slot at the publisher that its worker made
-- for that, and whether there is such a worker now.
SELECT n.nspname || '.' || t.relname AS "table",
       format('pg_%%s_sync_%%s_%%s', s.oid, t.oid, (SELECT system_identifier FROM pg_control_system())) AS slot,
       EXISTS (SELECT FROM pg_stat_subscription a WHERE a.subid = s.oid AND a.relid = t.oid AND a.pid IS NOT NULL) AS working
FROM pg_subscription_rel r JOIN pg_subscription s ON s.oid = r.srsubid
JOIN pg_class t ON t.oid = r.srrelid JOIN pg_namespace n ON n.oid = t.relnamespace
WHERE s.subname = %(name)s AND s.subdbid = (SELECT oid FROM pg_database WHERE datname = current_database())
  AND r.srsubstate = 'f'
ORDER BY 1;

-- name: rows
-- The planner's estimate; good enough for a progress bar. Unknown (-1) before the first ANALYZE.
SELECT greatest(sum(c.reltuples) FILTER (WHERE c.reltuples >= 0), -1)::bigint FROM pg_class c
WHERE c.oid = %(table)s::regclass OR c.oid IN (SELECT relid FROM pg_partition_tree(%(table)s::regclass));

-- name: position
-- The end of everything committed so far. A message of ours rather than pg_current_wal_insert_lsn(), which at the end of
-- a page is past any record and would be waited for until somebody writes; and one that commits, because what does not
-- is sent only when the WAL writer comes round (wal_writer_delay, 200 ms).
SELECT pg_logical_emit_message(true, 'strangler', '')::text;

-- name: replayed
-- Whether the subscriber of a slot has applied everything up to a position of ours.
SELECT coalesce((SELECT a.replay_lsn >= %(position)s::pg_lsn FROM pg_stat_replication a
                 JOIN pg_replication_slots s ON s.active_pid = a.pid WHERE s.slot_name = %(name)s), false);

-- name: sequences
-- The sequences that the tables' columns own.
SELECT format('%%I.%%I', n.nspname, t.relname) AS "table", a.attname AS "column",
       sn.nspname || '.' || s.relname AS sequence
FROM pg_depend d
JOIN pg_class s ON s.oid = d.objid AND s.relkind = 'S' JOIN pg_namespace sn ON sn.oid = s.relnamespace
JOIN pg_class t ON t.oid = d.refobjid JOIN pg_namespace n ON n.oid = t.relnamespace
JOIN pg_attribute a ON a.attrelid = t.oid AND a.attnum = d.refobjsubid
WHERE d.classid = 'pg_class'::regclass AND d.refclassid = 'pg_class'::regclass AND d.deptype IN ('a', 'i')
  AND t.oid = ANY (%(tables)s::regclass[])
ORDER BY 1, 2;

-- name: lock_exclusive!
-- Waits for writers in flight; new ones queue behind. `lock_timeout` bounds both.
SELECT pg_advisory_xact_lock({lock_class}, hashtext(%(module)s));

-- name: hold!
-- Keeps any hand-over from this site waiting for as long as this session lasts; writers are in nobody's way.
SELECT pg_advisory_lock_shared({lock_class}, hashtext(%(module)s));

-- name: lock_shared
-- The same for the rest of the transaction.
SELECT pg_advisory_xact_lock_shared({lock_class}, hashtext(%(module)s));

-- name: lock_readers!
-- Waits for whoever has read here, while it was so, that this site owns the module; without a fence he would write.
LOCK TABLE strangler.ownership IN ACCESS EXCLUSIVE MODE;

-- name: hand_over!
-- The switch. From its commit on this site's fence is closed; the other's opens when the row arrives there.
UPDATE strangler.ownership SET owner = %(to)s, epoch = epoch + 1, sequences = {sequences}
WHERE module = %(module)s AND owner = %(from)s RETURNING epoch;

-- name: holders
-- Who is in a switch's way: who holds the module's lock or has a lock on a table that raising its fence waits for.
SELECT a.pid, a.backend_type, coalesce(nullif(a.application_name, ''), a.usename, a.backend_type) AS who, a.state,
       extract(epoch FROM clock_timestamp() - a.xact_start)::float8 AS seconds
FROM pg_stat_activity a
WHERE a.pid <> pg_backend_pid() AND EXISTS (
    SELECT FROM pg_locks l
    WHERE l.pid = a.pid AND l.granted AND l.database = (SELECT oid FROM pg_database WHERE datname = current_database())
      AND (l.locktype = 'advisory' AND l.classid = {lock_class}::oid AND l.objsubid = 2
               AND l.objid = (hashtext(%(module)s)::bigint & 4294967295)::oid
           OR l.locktype = 'relation' AND l.relation = ANY (%(tables)s::regclass[])
               AND l.mode NOT IN ('AccessShareLock', 'RowShareLock')))
ORDER BY a.xact_start;

-- name: long_transactions
-- What the creation of a slot waits for, oldest first: everything that has written, and what was prepared.
SELECT a.pid::text AS pid, coalesce(nullif(a.application_name, ''), a.usename) AS who, a.state,
       extract(epoch FROM clock_timestamp() - a.xact_start)::float8 AS seconds
FROM pg_stat_activity a
WHERE a.backend_xid IS NOT NULL AND a.pid <> pg_backend_pid() AND a.backend_type = 'client backend'
  AND a.xact_start < clock_timestamp() - make_interval(secs => %(seconds)s)
UNION ALL
SELECT 'prepared ' || x.gid, x.owner, 'prepared', extract(epoch FROM clock_timestamp() - x.prepared)::float8
FROM pg_prepared_xacts x WHERE x.prepared < clock_timestamp() - make_interval(secs => %(seconds)s)
ORDER BY 4 DESC;
