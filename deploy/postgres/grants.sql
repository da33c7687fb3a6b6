-- The privileges of each role on each table. Run as auditspan_migrator after every migration. All other
-- privileges are revoked, so a new table is closed until it gets its lines here. One transaction: other
-- sessions see the old privileges or the new ones, never a mixture.
--
-- No role may change rows of the trail, and none needs TRUNCATE. Only auditspan_purger removes rows, by a
-- function of the owner, and only those that a sealed and delivered event trail.purge authorises.

\set ON_ERROR_STOP on

BEGIN;

REVOKE ALL ON ALL TABLES IN SCHEMA public
FROM PUBLIC, auditspan_app, auditspan_worker, auditspan_auditor, auditspan_purger;

-- Readiness and the commands compare the schema's revision with their own.
GRANT SELECT ON alembic_version TO auditspan_app, auditspan_worker, auditspan_auditor, auditspan_purger;

-- The service: its own tables, and new rows in the trail. The database sets id, transaction id and time
-- of an audit row, so the service has no privilege to set them.
GRANT SELECT, INSERT, UPDATE, DELETE ON users, api_keys, roles, user_roles, api_key_uses, idempotency_keys TO auditspan_app;
GRANT SELECT ON audit_event, audit_leaf, audit_checkpoint, audit_delivery, audit_delivery_status, audit_quarantine TO auditspan_app;
GRANT INSERT (
    event_id, occurred_at, actor_type, actor_id, action, outcome, target_type, target_id,
    trace_id, span_id, tx_id, tenant, body, mac, mac_key_id
) ON audit_event TO auditspan_app;

-- Erasable values, and the encrypted keys of their subjects: the service adds and reads them, and
-- removes those of one subject at a time by a function of the owner, which it records as an event.
GRANT SELECT, INSERT ON audit_disclosure, audit_subject_key TO auditspan_app, auditspan_worker;
GRANT EXECUTE ON FUNCTION auditspan_erase(text, text) TO auditspan_app;

-- The service takes the staged changes of its own transaction, by a function of the owner.
REVOKE ALL ON SEQUENCE audit_change_id_seq
FROM PUBLIC, auditspan_app, auditspan_worker, auditspan_auditor;
GRANT EXECUTE ON FUNCTION auditspan_drain(integer) TO auditspan_app;
GRANT USAGE ON SEQUENCE audit_change_id_seq TO auditspan_app;

-- The worker: seals the trail, and stores what it has sent.
GRANT SELECT ON audit_event TO auditspan_worker;
GRANT SELECT, INSERT ON audit_leaf, audit_checkpoint, audit_quarantine TO auditspan_worker;
GRANT SELECT, INSERT, UPDATE ON audit_delivery, audit_delivery_status TO auditspan_worker;

-- In a partitioned trail, the worker creates the partitions of coming months.
DO $$
BEGIN
    IF to_regprocedure('auditspan_make_partitions()') IS NOT NULL THEN
        GRANT EXECUTE ON FUNCTION auditspan_make_partitions() TO auditspan_worker;
    END IF;
END $$;

-- The worker records what other programs wrote (docs/adr/0016). To lock rows it needs UPDATE on a column:
-- on one that nothing depends on.
GRANT SELECT, DELETE, UPDATE (position) ON audit_change TO auditspan_worker;
GRANT INSERT (
    event_id, occurred_at, actor_type, actor_id, action, outcome, target_type, target_id,
    trace_id, span_id, tx_id, tenant, body, mac, mac_key_id
) ON audit_event TO auditspan_worker;

-- The purger: removes rows as the trail authorises it (docs/adr/0020), and records nothing.
GRANT SELECT ON audit_event, audit_leaf, audit_checkpoint, audit_delivery, audit_quarantine TO auditspan_purger;
REVOKE ALL ON FUNCTION auditspan_purge(bigint, bigint), auditspan_purge_partitions()
FROM PUBLIC, auditspan_app, auditspan_worker, auditspan_auditor;
GRANT EXECUTE ON FUNCTION auditspan_purge(bigint, bigint), auditspan_purge_partitions() TO auditspan_purger;

-- The auditor: the trail and its seal, without the tables of users and keys.
GRANT SELECT ON audit_event, audit_leaf, audit_checkpoint, audit_delivery, audit_delivery_status, audit_quarantine TO auditspan_auditor;
GRANT SELECT ON audit_disclosure, audit_subject_key TO auditspan_auditor;

COMMIT;
