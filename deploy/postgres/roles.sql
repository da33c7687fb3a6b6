-- The roles of the database. The postgres image runs this once, when it initialises the cluster. Run it
-- again to set the passwords of changed secret files:
--   docker compose exec postgres psql --file /docker-entrypoint-initdb.d/10-roles.sql auditspan
--
--   auditspan_owner     owns everything; cannot log in
--   auditspan_migrator  becomes the owner when it logs in; for the two one-shots, never for service or worker
--   auditspan_app       the service
--   auditspan_worker    the sealer and the relay
--   auditspan_auditor   reads the trail
--   auditspan_purger    removes old rows as the trail authorises it; cannot log in: grant it to the role of the
--                       person who purges, which must be a member of none of the others
--
-- grants.sql has their privileges.

\set ON_ERROR_STOP on

-- Each password is the one in its role's URL, so that there is one copy. It is read from a file: every
-- process of the machine can read arguments.
\set migrator `sed -n 's|^postgresql://auditspan_migrator:\([A-Za-z0-9_-]\{16,\}\)@.*|\1|p' /run/secrets/migrator_database_url`
\set app `sed -n 's|^postgresql://auditspan_app:\([A-Za-z0-9_-]\{16,\}\)@.*|\1|p' /run/secrets/app_database_url`
\set worker `sed -n 's|^postgresql://auditspan_worker:\([A-Za-z0-9_-]\{16,\}\)@.*|\1|p' /run/secrets/worker_database_url`
\set auditor `sed -n 's|^postgresql://auditspan_auditor:\([A-Za-z0-9_-]\{16,\}\)@.*|\1|p' /run/secrets/auditor_database_url`

-- Failed statements are logged, and these have passwords.
SET log_min_error_statement = panic;
SET log_statement = none;
SET log_min_duration_statement = -1;
SET client_min_messages = warning;

SELECT '' <> ALL (ARRAY[:'migrator', :'app', :'worker', :'auditor']) AS complete \gset
\if :complete
\else
DO $$ BEGIN
    RAISE EXCEPTION 'a file *_database_url under /run/secrets is missing or unusable'
        USING HINT = 'each holds postgresql://auditspan_ROLE:PASSWORD@HOST/DATABASE; the password has at least 16 letters, digits, - or _';
END $$;
\endif

BEGIN;

SELECT format('CREATE ROLE %I', name)
FROM unnest(ARRAY['auditspan_owner', 'auditspan_migrator', 'auditspan_app', 'auditspan_worker', 'auditspan_auditor', 'auditspan_purger']) name
WHERE NOT EXISTS (SELECT FROM pg_roles WHERE rolname = name)
\gexec

ALTER ROLE auditspan_owner NOLOGIN PASSWORD NULL;
ALTER ROLE auditspan_purger NOLOGIN PASSWORD NULL;
-- NOINHERIT: it has the owner's privileges only as the owner, so that the owner owns what it creates.
ALTER ROLE auditspan_migrator LOGIN NOINHERIT PASSWORD :'migrator';
ALTER ROLE auditspan_app LOGIN PASSWORD :'app';
ALTER ROLE auditspan_worker LOGIN PASSWORD :'worker';
ALTER ROLE auditspan_auditor LOGIN PASSWORD :'auditor';

GRANT auditspan_owner TO auditspan_migrator;
ALTER ROLE auditspan_migrator IN DATABASE :"DBNAME" SET role = 'auditspan_owner';
ALTER ROLE auditspan_auditor IN DATABASE :"DBNAME" SET default_transaction_read_only = on;

ALTER DATABASE :"DBNAME" OWNER TO auditspan_owner;
REVOKE ALL ON DATABASE :"DBNAME", postgres, template1 FROM PUBLIC;
GRANT CONNECT ON DATABASE :"DBNAME"
TO auditspan_migrator, auditspan_app, auditspan_worker, auditspan_auditor, auditspan_purger;

ALTER SCHEMA public OWNER TO auditspan_owner;
REVOKE ALL ON SCHEMA public FROM PUBLIC;
GRANT USAGE ON SCHEMA public TO auditspan_app, auditspan_worker, auditspan_auditor, auditspan_purger;

COMMIT;
