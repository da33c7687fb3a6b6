"""A record that a sink has refused is undelivered until that sink has taken it after all."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

import pytest
from click.testing import CliRunner, Result
from sqlalchemy import insert

from auditspan.delivery.cursors import Cursors, save_cursors
from auditspan.delivery.log_record import ExportRecord
from auditspan.delivery.sinks import AUDIT_FILE, FileSink
from auditspan.errors import SinkRejectedError
from auditspan.storage import snapshot
from auditspan.storage.event_filter import EventFilter
from auditspan.storage.events import find_events
from auditspan.storage.quarantine import mark_accepted, quarantined
from auditspan.verify import Resent, accepted_since, reconcile, resend
from auditspan_service.cli import main
from auditspan_service.database.engine import make_engine
from auditspan_service.database.schema import upgrade
from integration.sinks.faulty import GOOD, faulty_collector
from integration.trust.world import MAC, Trail, opened
from support.migrated import migrated_sqlite
from support.roles import deployed_database


class Particular(FileSink):
    """A sink that writes files and refuses every batch with a record of these targets."""

    def __init__(self, directory: Path, *targets: str) -> None:
        super().__init__(directory)
        self._targets = set(targets)

    def send(self, records: Sequence[ExportRecord]) -> None:
        """Refuse, or write."""
        for record in records:
            if record.attributes.get("audit.target.id") in self._targets:
                raise SinkRejectedError("too large")
        super().send(records)


def delivered(trail: Trail) -> list[bool]:
    """Return whether each row counts as delivered, in the order of their ids."""
    with snapshot(trail.engine) as connection:
        found = find_events(connection, trail.tables, EventFilter(), after=0)
    return [event.delivered for event in found]


def refused(trail: Trail, *targets: str) -> list[str]:
    """Write four rows and deliver them to a sink that refuses some; the ids in quarantine."""
    trail.write(4)
    trail.seal()
    trail.deliver(Particular(trail.folder, *targets))
    with snapshot(trail.engine) as connection:
        return quarantined(connection, trail.tables, "file")


def send_again(trail: Trail, *targets: str) -> tuple[Resent, list[str]]:
    """Send what is missing again, to a sink that refuses these; and what counts as taken since."""
    sink = Particular(trail.folder, *targets)
    with snapshot(trail.engine) as connection:
        report = reconcile(connection, trail.tables, [trail.folder])
        done = resend(connection, trail.tables, sink, report.missing)
        taken = accepted_since(connection, trail.tables, sink, report, done)
    sink.close()
    with trail.engine.begin() as connection:
        assert len(taken) == mark_accepted(connection, trail.tables, sink.name, taken)
    return done, taken


def test_a_refused_record_is_undelivered(fresh: Trail) -> None:
    """It alone; the rest flows."""
    assert 1 == len(refused(fresh, "1"))
    assert [True, False, True, True] == delivered(fresh)


def test_a_record_that_is_taken_later_is_delivered(fresh: Trail) -> None:
    """A record that is resent and acknowledged counts, and one that is refused again does not."""
    one, other = refused(fresh, "1", "2")
    done, taken = send_again(fresh, "2")
    assert ([one], [one], [other]) == (done.sent, taken, list(done.refused))
    assert [True, True, False, True] == delivered(fresh)
    assert [other] == send_again(fresh)[1]
    assert [True] * 4 == delivered(fresh)
    assert ([], []) == (send_again(fresh)[1], still_refused(fresh))


def test_a_record_that_is_there_already_is_delivered(fresh: Trail) -> None:
    """The files show that it arrived without being noted, and nothing is sent."""
    (one,) = refused(fresh, "1")
    put_there(fresh, one)
    assert [True, False, True, True] == delivered(fresh)
    done, taken = send_again(fresh)
    assert ([], [one]) == (done.sent, taken)
    assert [True] * 4 == delivered(fresh)


def test_another_body_is_not_that_record(fresh: Trail) -> None:
    """Another record under its id in the files is an alarm and not a delivery."""
    (one,) = refused(fresh, "1")
    put_there(fresh, one)
    path = fresh.folder / AUDIT_FILE
    head, _, last = path.read_text().rpartition('{"resourceLogs"')
    path.write_text(f'{head}{{"resourceLogs"{last.replace("kim", "eve")}')
    assert [] == send_again(fresh)[1]
    assert [True, False, True, True] == delivered(fresh)


def put_there(trail: Trail, event_id: str) -> None:
    """Send a record, and note nothing."""
    sink = FileSink(trail.folder)
    with snapshot(trail.engine) as connection:
        resend(connection, trail.tables, sink, [event_id])
    sink.close()


def still_refused(trail: Trail) -> list[str]:
    """The ids of the records that are in quarantine."""
    with snapshot(trail.engine) as connection:
        return quarantined(connection, trail.tables, "file")


def reconciled(trail: Trail, url: str, *options: str, **settings: str) -> Result:
    """`auditspan reconcile --resend` on this trail, with the file sink."""
    data = trail.folder.parent
    (data / "keys").mkdir(exist_ok=True)
    (data / "keys" / "mac.key").write_text(MAC.dump())
    environ = {"AUDITSPAN_DATA_DIR": str(data), "AUDITSPAN_DATABASE_URL": url}
    environ |= {"AUDITSPAN_SINK": "file", **settings}
    return CliRunner().invoke(main, ["reconcile", "--resend", "--json", *options], env=environ)


@pytest.mark.parametrize("kind", ["sqlite", "postgresql"])
def test_the_command_notes_it(kind: str, tmp_path: Path, request: pytest.FixtureRequest) -> None:
    """`reconcile --resend` sends it, and from then on the event is delivered."""
    url = f"sqlite:///{tmp_path / 'trail.db'}"
    if kind == "postgresql":
        url = request.getfixturevalue("postgres_url")
    engine = make_engine(url)
    upgrade(engine)
    engine.dispose()
    with opened(url, tmp_path / "collector") as trail:
        (one,) = refused(trail, "1")
        done = reconciled(trail, url)
        assert [one] == json.loads(done.stdout)["resent"]["sent"]
        assert "The sink now has 1 record that it refused before." in done.stderr
        assert [True] * 4 == delivered(trail)
        assert 0 == reconciled(trail, url).exit_code


def test_it_is_sent_to_the_sink_that_is_named(tmp_path: Path) -> None:
    """Only the one of AUDITSPAN_MORE_SINKS is used; an unknown name is an error."""
    url = migrated_sqlite(tmp_path / "trail.db")
    with (
        opened(url, tmp_path / "collector") as trail,
        faulty_collector(lambda _: GOOD) as archive,
    ):
        (one,) = refused(trail, "1")
        with trail.engine.begin() as connection:
            save_cursors(connection, trail.tables, "archive", Cursors(sent=3, safe=3))
        more = {"AUDITSPAN_MORE_SINKS": json.dumps({"archive": archive.url})}
        assert 1 == reconciled(trail, url, "--sink", "archive", **more).exit_code
        assert [one] == archive.taken
        done = reconciled(trail, url, "--sink", "archiv", **more)
        assert (2, True) == (done.exit_code, "expected one of: file, archive." in done.stderr)


def test_resend_without_write_privilege_is_reported(tmp_path: Path) -> None:
    """An auditor's role can send, and cannot write: the event stays undelivered, in a sentence."""
    with deployed_database() as place:
        superuser = place.superuser.render_as_string(hide_password=False)
        with opened(superuser, tmp_path / "collector") as trail:
            (one,) = refused(trail, "1")
            done = reconciled(trail, place.url("auditor"))
            assert (1, [one]) == (done.exit_code, json.loads(done.stdout)["resent"]["sent"])
            assert "with the worker's privileges" in done.stderr
            assert [True, False, True, True] == delivered(trail)
            assert 0 == reconciled(trail, place.url("worker")).exit_code
            assert [True] * 4 == delivered(trail)


def test_a_record_that_is_not_in_the_table_was_not_taken(fresh: Trail) -> None:
    """It is in no report, since its row was deleted: that does not prove its arrival."""
    (one,) = refused(fresh, "1")
    gone = "017f22e2-79b0-7cc3-98c4-dc0c0c07398f"
    with fresh.engine.begin() as connection:
        values = {"sink": "file", "seq": 99, "event_id": gone, "reason": "too large"}
        connection.execute(insert(fresh.tables.quarantine), values)
    assert [one] == send_again(fresh)[1]
    assert [gone] == still_refused(fresh)
