-- What each role may do with each table. Run as auditspan_migrator after every migration; the
-- rights are those written here and no others, so a new table is closed until it gets its lines.
-- One transaction: who is at work meanwhile sees the rights before or those after.
--
-- Nobody may change what is in the trail, and nobody needs TRUNCATE. What a sealed and delivered event
-- trail.purge authorises, auditspan_purger removes by a function of the owner, and nobody else.

\set ON_ERROR_STOP on

BEGIN;

REVOKE ALL ON ALL TABLES IN SCHEMA public
FROM PUBLIC, auditspan_app, auditspan_worker, auditspan_auditor, auditspan_purger;

-- Readiness and the commands compare the schema's revision with their own.
GRANT SELECT ON alembic_version TO auditspan_app, auditspan_worker, auditspan_auditor, auditspan_purger;

-- The service: its own tables, and new rows in the trail. Id, transaction id and time of an audit
-- row are the database's, so the service has no right to give them.
GRANT SELECT, INSERT, UPDATE, DELETE ON users, api_keys, roles, user_roles, api_key_uses TO auditspan_app;
GRANT SELECT ON audit_event, audit_leaf, audit_checkpoint, audit_delivery, audit_delivery_status, audit_quarantine TO auditspan_app;
GRANT INSERT (
    event_id, occurred_at, actor_type, actor_id, action, outcome, target_type, target_id,
    trace_id, span_id, tx_id, tenant, body, mac, mac_key_id
) ON audit_event TO auditspan_app;

-- Erasable values, and the encrypted keys of their subjects: the service adds and reads them, and
-- removes those of one subject at a time by a function of the owner, which it records as an event.
GRANT SELECT, INSERT ON audit_disclosure, audit_subject_key TO auditspan_app, auditspan_worker;
GRANT EXECUTE ON FUNCTION auditspan_erase(text, text) TO auditspan_app;

-- What its own transaction has staged, the service takes by a function of the owner, and nothing else.
REVOKE ALL ON SEQUENCE audit_change_id_seq
FROM PUBLIC, auditspan_app, auditspan_worker, auditspan_auditor;
GRANT EXECUTE ON FUNCTION auditspan_drain(integer) TO auditspan_app;
GRANT USAGE ON SEQUENCE audit_change_id_seq TO auditspan_app;

-- The worker: seals what is in the trail, and remembers what it has sent.
GRANT SELECT ON audit_event TO auditspan_worker;
GRANT SELECT, INSERT ON audit_leaf, audit_checkpoint, audit_quarantine TO auditspan_worker;
GRANT SELECT, INSERT, UPDATE ON audit_delivery, audit_delivery_status TO auditspan_worker;

-- Where the trail is partitioned, the worker makes the partitions of the months ahead.
DO $$
BEGIN
    IF to_regprocedure('auditspan_make_partitions()') IS NOT NULL THEN
        GRANT EXECUTE ON FUNCTION auditspan_make_partitions() TO auditspan_worker;
    END IF;
END $$;

-- The worker records what other programs wrote (docs/adr/0016). It locks rows while it does, which
-- needs UPDATE of a column, one that nothing depends on.
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

-- The auditor: the trail and its seal; not who the users are, and no hash of a key.
GRANT SELECT ON audit_event, audit_leaf, audit_checkpoint, audit_delivery, audit_delivery_status, audit_quarantine TO auditspan_auditor;
GRANT SELECT ON audit_disclosure, audit_subject_key TO auditspan_auditor;

COMMIT;
