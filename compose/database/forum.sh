#!/bin/sh
# At the first start of a database: the account of the application, which owns the database and nothing more.
set -eu
psql --quiet --set ON_ERROR_STOP=1 --set database="$POSTGRES_DB" --username postgres --dbname postgres <<'SQL'
\set password `cat /run/secrets/forum`
CREATE ROLE forum LOGIN PASSWORD :'password';
ALTER DATABASE :"database" OWNER TO forum;
SQL
