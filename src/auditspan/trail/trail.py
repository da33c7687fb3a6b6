"""The facade: one object that attaches an audit trail to a session factory."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import replace
from datetime import datetime
from functools import partial
from typing import TYPE_CHECKING, Any

from sqlalchemy import MetaData
from sqlalchemy.orm import Session, scoped_session

from auditspan.capture import (
    Capture,
    Enrich,
    Recorder,
    drain_now,
    fresh_id,
    unaudited,
    utc_now,
)
from auditspan.errors import AuditConfigError
from auditspan.format import (
    KEY_ADDED,
    OWN_ACTIONS,
    TARGET,
    ErasureKey,
    Json,
    MacKey,
    Outcome,
    Service,
    Target,
    require_action,
    require_outcome,
)
from auditspan.mapping import Privacy, as_target, keep_private, privacy_of
from auditspan.reading import TrailEvents
from auditspan.reading.states import ObjectStates
from auditspan.storage import (
    AuditTables,
    CoveredRows,
    add_erasure_keys,
    audit_tables,
    find_uncovered,
)
from auditspan.telemetry import EventSignal, announce, require_signal, service_from_resource
from auditspan.trail.database import TrailDatabase
from auditspan.trail.default_keys import (
    Unset,
    announce_without_key,
    chosen_erasure_keys,
    chosen_key,
)
from auditspan.trail.erasure import TrailErasure
from auditspan.trail.ingest import TrailIngest
from auditspan.trail.sessions import (
    Sessions,
    attach_trail,
    own_transaction,
    target_without_trail,
)

if TYPE_CHECKING:
    from auditspan.trail.retention import Retention


class AuditTrail(TrailDatabase, TrailEvents, TrailIngest, TrailErasure, ObjectStates):
    """An audit trail: a row for every change of an audited table, in the change's transaction.

    Triggers capture the changes, however they are written (docs/adr/0016). The worker records
    changes written under AUTOCOMMIT or by other programs.

    Args:
        sessions: a `sessionmaker`, `scoped_session` (Flask-SQLAlchemy's `db.session` is one),
            `async_sessionmaker` or `async_scoped_session`.
        metadata: the metadata that the audit tables are added to, so that `create_all` and Alembic
            see them.
        strict: whether to refuse a change without an actor from `audit_context`: a SQLAlchemy
            statement before it runs, raw SQL when its transaction commits. Otherwise the actor is
            unknown.
        actions: the actions that `record` and `record_durable` accept; None accepts any.
        service: this program; by default as named by OpenTelemetry's resource.
        mac_key: authenticates every body and fingerprints redacted values. Without it, rows carry
            no MAC, and only the presence of a redacted value is recorded. By default the first key
            in the file of AUDITSPAN_MAC_KEY_FILE (`.auditspan/keys/mac.key`); if there is none, a
            warning is logged once per process. Pass None to run without a key. To add a key later,
            see `cover_rows_without_mac`.
        erasure_key: encrypts the keys of erasable values. By default those in the file of
            AUDITSPAN_ERASURE_KEY_FILE (`.auditspan/keys/erasure.key`), read when first needed.
        enrich: returns further metadata of every record, such as the release; canonical JSON
            values.
        privacy: personal data that is kept out of all records.
        sqlite_settings: whether to set up the engines of the sessions where they are SQLite's: WAL,
            `synchronous = FULL`, `BEGIN IMMEDIATE` for writers, foreign keys. The worker writes
            alongside the application, and without these one of them may find the file locked.
        events: whether a committed record is announced by an event on the current span, by a log
            record with an `event_name` (of OpenTelemetry's Logs API, with the ids of the span), or
            both. The record that the worker delivers does not depend on it.
        clock: returns the current time, aware.
        new_id: returns a new version 7 UUID.

    Raises:
        AuditConfigError: the sessions already have a trail, their database or `events` is
            unsupported, or `privacy` redacts a primary key.
    """

    def __init__(
        self,
        sessions: Sessions,
        *,
        metadata: MetaData,
        strict: bool = True,
        actions: Collection[str] | None = None,
        service: Service | None = None,
        mac_key: MacKey | Unset | None = Unset.UNSET,
        erasure_key: ErasureKey | Sequence[ErasureKey] | None = None,
        enrich: Enrich | None = None,
        privacy: Privacy | None = None,
        sqlite_settings: bool = True,
        events: EventSignal = "span",
        clock: Callable[[], datetime] = utc_now,
        new_id: Callable[[], str] = fresh_id,
    ) -> None:
        target = target_without_trail(sessions)
        require_signal(events)
        keep_private(metadata, privacy)
        self.tables: AuditTables = audit_tables(metadata)
        self._sessions = sessions
        self._actions = None if actions is None else frozenset({*actions, *OWN_ACTIONS})
        key = chosen_key(mac_key)
        self._capture = Capture(
            tables=self.tables,
            recorder=Recorder(
                service=service or service_from_resource(),
                clock=clock,
                new_id=new_id,
                strict=strict,
                enrich=enrich,
                privacy=privacy_of(metadata),
            ),
            mac_key=key,
            announce=partial(announce if key else announce_without_key, signal=events),
            sqlite_settings=sqlite_settings,
            erasure_keys=add_erasure_keys(metadata, chosen_erasure_keys(erasure_key)),
        )
        attach_trail(self._capture, target)

    def record(
        self,
        session: Session | scoped_session[Any],
        action: str,
        *,
        target: object = None,
        outcome: Outcome = "success",
        reason: str | None = None,
        metadata: Mapping[str, Json] | None = None,
    ) -> str:
        """Record an event that changes no row, in the caller's transaction; return its id.

        It commits or rolls back with the transaction, and is announced only after the commit.

        Args:
            session: a session of this trail.
            action: ``type.verb``, as in ``invoice.exported``.
            target: an audited object, a `Target`, or None.
            outcome: the outcome of the action.
            reason: the reason, in words.
            metadata: further details; canonical JSON values.

        Raises:
            AuditConfigError: the action is not `type.verb` or not registered, or the target is not
                an audited object.
            AuditBodyError: a value cannot be represented losslessly.
            AuditWriteError: the row could not be written; the transaction can only be rolled back.
        """
        require_action(action, self._actions)
        require_outcome(outcome)
        session.flush()  # gives a new target its primary key
        connection = session.connection()
        drain_now(connection)
        record = self._capture.recorder.record(
            action,
            tx_id=self._capture.tx_id(connection),
            target=as_target(target),
            outcome=outcome,
            reason=reason,
            metadata=metadata,
        )
        self._capture.write(connection, [record])
        return record.event_id

    def record_durable(
        self,
        action: str,
        *,
        target: object = None,
        outcome: Outcome = "success",
        reason: str | None = None,
        metadata: Mapping[str, Json] | None = None,
    ) -> str:
        """Record an event in a transaction of its own, unaffected by the caller's rollback.

        The event is committed when this returns. On SQLite, which has one writer at a time, it MUST
        NOT be called while the same thread has uncommitted writes: it would wait for itself until
        the driver's timeout, and then fail.

        Returns:
            The event id.

        Raises:
            AuditConfigError: as `record`, and if the sessions are asynchronous.
            AuditBodyError: a value cannot be represented losslessly.
            AuditWriteError: the row could not be written.
        """
        with own_transaction(self._sessions) as session:
            return self.record(
                session, action, target=target, outcome=outcome, reason=reason, metadata=metadata
            )

    def cover_rows_without_mac(
        self,
        session: Session | scoped_session[Any],
        *,
        reason: str | None = None,
        later: bool = False,
        earlier_keys: Sequence[MacKey] = (),
    ) -> CoveredRows | None:
        """Record that the rows sealed before the trail had a MAC key have no MAC; return them.

        The event is `trail.key_added`. From then on, `verify` with the key accepts these rows, but
        no row without a MAC that is sealed later. Changes and insertions among them before this
        call cannot be detected. So call it as soon as every process that writes has the key, and
        the worker has sealed the existing rows. Returns None if no row is left to cover.

        Args:
            session: a session of this trail; the record commits with it.
            reason: the reason, which is recorded.
            later: also cover rows without a MAC that follow a row with one.
            earlier_keys: MAC keys that the trail had before its present one.

        Raises:
            AuditConfigError: the trail has no key, rows without a MAC are not sealed yet or follow
                a row with one, or the sealed rows are not those of the last checkpoint.
            MissingActorError: no actor is set.
        """
        key = self.mac_key
        if key is None:
            raise AuditConfigError("this trail has no MAC key: pass AuditTrail(mac_key=...) first")
        found = find_uncovered(session.connection(), self.tables, (key, *earlier_keys), later=later)
        if found is None:
            return None
        about = Target(type=TARGET[0], id=TARGET[1])
        metadata = found.statement.metadata(key)
        event_id = self.record(session, KEY_ADDED, target=about, reason=reason, metadata=metadata)
        return replace(found, event_id=event_id)

    @property
    def retention(self) -> Retention:
        """Purges of old events, and legal holds."""
        from auditspan.trail.retention import Retention  # noqa: PLC0415 (it imports the delivery)

        return Retention(
            capture=self._capture,
            open_engine=self.opened_engine,
            record=self.record,
            mac_keys=(self.mac_key,) if self.mac_key else (),
        )

    unaudited = staticmethod(unaudited)
