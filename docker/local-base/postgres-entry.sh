#!/bin/bash
# What the entry of the official PostgreSQL image does for a first start, and no more: make the cluster, run the SQL
# files of /docker-entrypoint-initdb.d once, then become the server. A first start that did not end is begun again.
set -euo pipefail

if [ "${1:-}" = postgres ] && [ ! -e "$PGDATA/initialised" ]; then
  [ -n "${POSTGRES_PASSWORD:-}" ] || { echo "POSTGRES_PASSWORD is not set: run make env" >&2; exit 1; }
  find "$PGDATA" -mindepth 1 -delete
  initdb --username=postgres --auth-local=trust --auth-host=scram-sha-256 --encoding=UTF8 --locale=C.UTF-8 \
    --pwfile=<(printf '%s\n' "$POSTGRES_PASSWORD") > /dev/null
  printf 'host all all all scram-sha-256\n' >> "$PGDATA/pg_hba.conf"
  pg_ctl --silent --wait --options="-c listen_addresses=''" start
  for file in /docker-entrypoint-initdb.d/*.sql; do
    [ -e "$file" ] && psql --quiet --no-psqlrc --set ON_ERROR_STOP=1 --username=postgres --dbname=postgres --file="$file"
  done
  pg_ctl --silent --wait --mode=fast stop
  touch "$PGDATA/initialised"
fi
exec "$@"
