#!/bin/sh
# Gives the roles their rights: grants.sql, as auditspan_migrator. In the `grants` service of compose.yaml,
# and in the migration job of deploy/kubernetes.
set -eu

url=$(cat "${MIGRATOR_DATABASE_URL_FILE:-/run/secrets/migrator_database_url}")
where=${url##*@}
password=${url%@*}
password=${password#*://*:}
# Through the environment and not in the arguments, which every process of the machine could read.
export PGPASSWORD="$password"

exec psql --no-psqlrc --quiet --file /etc/auditspan/grants.sql "postgresql://auditspan_migrator@$where"
