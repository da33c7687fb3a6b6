#!/bin/sh
# Gives the roles their rights: grants.sql, as auditspan_migrator. In the `grants` service of compose.yaml.
set -eu

url=$(cat /run/secrets/migrator_database_url)
password=${url#*://*:}
# Through the environment and not in the arguments, which every process of the machine could read.
export PGPASSWORD="${password%%@*}"

exec psql --no-psqlrc --quiet --host postgres --username auditspan_migrator --dbname auditspan --file /etc/auditspan/grants.sql
