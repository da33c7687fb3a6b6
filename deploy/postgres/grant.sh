#!/bin/sh
# Run grants.sql as auditspan_migrator. The service `grants` of compose.yaml and the migration job of
# deploy/kubernetes use it.
set -eu

url=$(cat "${MIGRATOR_DATABASE_URL_FILE:-/run/secrets/migrator_database_url}")
where=${url##*@}
password=${url%@*}
password=${password#*://*:}
# By the environment: every process of the machine can read arguments.
export PGPASSWORD="$password"

exec psql --no-psqlrc --quiet --file /etc/auditspan/grants.sql "postgresql://auditspan_migrator@$where"
