#!/bin/bash
# Makes the cluster, the application's account and its database, once.
#
# In a folder that gets its real name when all is done: a pod that dies half-way leaves nothing that the next one would
# take for a database. (The image's own initialisation goes on with a half-made one.)
set -euo pipefail
if [ -s "$PGDATA/PG_VERSION" ]; then
    echo "the database is there"
    exit
fi
new=$PGDATA.new
rm -rf "$new"
mkdir -p "$new"
chmod 700 "$new"
# The built-in collation is the same on every machine and in every image; the C library's changes with its version,
# and then indexes on text are wrong.
initdb --pgdata="$new" --username=postgres --pwfile=/run/secrets/postgres/admin-password \
    --auth-local=peer --auth-host=scram-sha-256 --encoding=UTF8 \
    --locale-provider=builtin --builtin-locale=C.UTF-8 --locale=C.UTF-8 --no-instructions
echo "host all all all scram-sha-256" >>"$new/pg_hba.conf"
pg_ctl --pgdata="$new" --wait --silent --options="-c listen_addresses='' -k /var/run/postgresql" start
FORUM_PASSWORD=$(cat /run/secrets/postgres/forum-password) psql --host=/var/run/postgresql --username=postgres \
    --dbname=postgres --no-psqlrc --quiet --set=ON_ERROR_STOP=1 --set=database="$DATABASE" <<'SQL'
\getenv password FORUM_PASSWORD
CREATE ROLE forum LOGIN PASSWORD :'password'; -- owns the tables, and is nothing more
CREATE DATABASE :"database" OWNER forum;
SQL
pg_ctl --pgdata="$new" --wait --silent --mode=fast stop
sync
mv "$new" "$PGDATA"
echo "made the database $DATABASE"
