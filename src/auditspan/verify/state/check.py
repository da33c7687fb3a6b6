"""`check_state`: replay of the trail and comparison with the live tables."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from itertools import islice

from sqlalchemy import Connection, MetaData, func, select

from auditspan.capture import busy
from auditspan.format import Keyring, MacKeys, may_have_commitments
from auditspan.mapping import LinkTable
from auditspan.reading.replay import (
    Agreement,
    ObjectStore,
    ObjectType,
    Replay,
    links,
    object_types,
    pin_settings,
)
from auditspan.storage import AuditTables, last_purge, lift_time_limits, read_disclosures
from auditspan.storage.dialects import DIALECTS, require_supported
from auditspan.verify.state.chronology import Row, read_in_change_order
from auditspan.verify.state.comparison import Comparison
from auditspan.verify.state.report import StateReport

_CHUNK = 1000
_DISCLOSED = 200
"""Events whose disclosures are read together."""

Progress = Callable[[int, int], None]
"""Receives the number of rows read since the last call, and the number of all rows."""


def check_state(
    connection: Connection,
    tables: AuditTables,
    metadata: MetaData,
    *,
    mac_key: MacKeys = None,
    progress: Progress | None = None,
) -> StateReport:
    """Replay the whole trail, sealed or not, and compare it with the live tables.

    Events are replayed in the order of the changes, including those that the worker recorded late.

    Trail and tables are read in one snapshot: the connection MUST be in, or able to begin, a
    transaction with one snapshot. On PostgreSQL that is REPEATABLE READ or SERIALIZABLE; on SQLite
    it is every transaction, and one is begun if the driver would not begin it. Nothing is written.

    Memory does not grow with the trail or the tables, only with the differences that are found:
    objects beyond a fixed number are kept in a temporary SQLite file, in the directory given by
    SQLITE_TMPDIR or TMPDIR.

    Args:
        connection: the connection to read from.
        tables: the audit tables.
        metadata: the metadata of the audited models, which MUST be imported already.
        mac_key: the key of the fingerprints, or all past and present keys. Without the right key,
            only the presence of a redacted value is compared.
        progress: called after every 1,000 rows of the trail and after the last.

    Raises:
        AuditConfigError: the transaction has no single snapshot, no model is audited, or there is
            no room for the temporary file.
    """
    lift_time_limits(connection)
    require_supported(connection.dialect)
    DIALECTS.of(connection).require_snapshot(connection)
    pin_settings(connection)
    keys, types, link_tables = Keyring(mac_key), object_types(metadata), links(metadata)
    with busy(connection), ObjectStore() as store:  # its reads are not writes of the application
        replay = Replay(
            types={type_.name: type_ for type_ in types},
            links=link_tables,
            store=store,
            agreement=Agreement(keys=keys),
            is_purged=last_purge(connection, tables, keys) is not None,
        )
        _replay(connection, tables, replay, progress)
        return _compared(connection, replay, types, link_tables)


def _compared(
    connection: Connection,
    replay: Replay,
    types: Sequence[ObjectType],
    link_tables: Mapping[tuple[str, str], LinkTable],
) -> StateReport:
    """Compare the objects of the replay with the tables."""
    differences = replay.finish()
    comparison = Comparison(connection=connection, store=replay.store, agreement=replay.agreement)
    for type_ in types:
        differences += comparison.compare(type_)
    for link in link_tables.values():
        differences += comparison.compare_links(link)
    differences += comparison.missing(replay.types, link_tables)
    return StateReport(events=replay.events, objects=comparison.objects, differences=differences)


def _replay(
    connection: Connection, tables: AuditTables, replay: Replay, progress: Progress | None
) -> None:
    total = _count(connection, tables) if progress else 0
    read = 0
    for row, disclosures in _disclosed(connection, tables):
        replay.apply(row.row_id, row.body, row.mac_key_id, disclosures)
        read += 1
        if read == _CHUNK and progress:
            progress(read, total)
            read = 0
    if read and progress:
        progress(read, total)


def _disclosed(
    connection: Connection, tables: AuditTables
) -> Iterator[tuple[Row, dict[str, str | None]]]:
    """Read the trail, with the disclosures of each event, some hundred events at a time."""
    rows = read_in_change_order(connection, tables)
    while some := [*islice(rows, _DISCLOSED)]:
        ids = [row.event_id for row in some if may_have_commitments(row.body)]
        found = read_disclosures(connection, tables, ids)
        for row in some:
            yield row, {one.sha256: one.text for one in found.get(row.event_id, ())}


def _count(connection: Connection, tables: AuditTables) -> int:
    return connection.execute(select(func.count()).select_from(tables.event)).scalar_one()
