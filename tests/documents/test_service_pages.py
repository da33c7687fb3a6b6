"""How-to pages about the service and its commands, done on a service that has run."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import create_engine, text
from sqlalchemy.orm import sessionmaker

from auditspan import Actor, AuditTrail, audit_context
from auditspan.storage.keys import load_or_create_erasure_keys, load_or_create_mac_key
from auditspan_service.models import Base
from documents.conftest import Service
from documents.lists import reason_not_to_run
from documents.page import HOW_TO, ROOT, Block, blocks
from documents.runs import RUN
from documents.walk import problems, walk

OF_A_TRAIL = (
    ("prove-and-export.md", 2),
    ("check-the-state.md", 0),
    ("guard-the-tables.md", 1),
    ("record-from-another-service.md", -1),
    ("verify.md", -1),
)
"""Python blocks that use the names of an application, by page and place on it."""

SHOP = """
from auditspan import Exempt
from auditspan_service.models import Base
"""


def shell_blocks(page: str) -> list[Block]:
    return [one for one in blocks(HOW_TO / page) if one.is_shell and not one.is_settings]


PAGES = [page for page, test in RUN.items() if test == Path(__file__).name and shell_blocks(page)]


@pytest.mark.parametrize("page", PAGES)
def test_commands_end_well(service: Service, page: str) -> None:
    """Every command that needs no Docker, in order, on one data directory."""
    (service.directory / "shop.py").write_text(SHOP)
    todo = [one for one in shell_blocks(page) if not reason_not_to_run(one)]
    environ = service.environ | {"PYTHONPATH": str(service.directory)}
    assert [] == problems(walk(todo, service.directory, environ, service.replace))


def test_proof_and_export_are_checked_as_the_page_says(
    service: Service, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """With the public key, and the answers of the service in files."""
    monkeypatch.chdir(service.directory)
    for name, content in (
        ("public.key", service.public_key),
        ("proof.json", service.proof),
        ("audit-events.ndjson", service.export),
    ):
        Path(name).write_text(content, encoding="utf-8")
    for block in blocks(HOW_TO / "prove-and-export.md")[:2]:
        exec(block.text, {})  # noqa: S102 (the page)
    said = "the event is in the signed trail\ncomplete and unchanged\n"
    assert said == capsys.readouterr().out


def test_python_of_the_pages_runs_on_the_trail(service: Service) -> None:
    """Blocks that use an application's names, on the service's database."""
    keys = service.data / "keys"
    key = load_or_create_mac_key(keys / "mac.key", create=False)
    # The models of the service may have erasable values already, if another test has started it.
    erasure_keys = load_or_create_erasure_keys(keys / "erasure.key", create=False)
    engine = create_engine(f"sqlite:///{service.data / 'auditspan.db'}")
    sessions = sessionmaker(engine)
    trail = AuditTrail(sessions, metadata=Base.metadata, mac_key=key, erasure_key=erasure_keys)
    with sessions() as session:
        event_id = next(iter(trail.events(session))).event_id
    names: dict[str, Any] = {
        "engine": engine,
        "trail": trail,
        "Base": Base,
        "mac_key": key,
        "Session": sessions,
        "event_id": event_id,
        "target": (service.directory / "export").open("w"),
        "Actor": Actor,
        "audit_context": audit_context,
    }
    for page, index in OF_A_TRAIL:
        block = [one for one in blocks(HOW_TO / page) if one.language == "python"][index]
        # SQLite has no such level: a connection that reads there sees one state.
        exec(block.text.replace("REPEATABLE READ", "SERIALIZABLE"), names)  # noqa: S102 (the page)
    names["target"].close()
    assert names["report"].ok
    assert event_id in str(names["proof"].resource())
    assert "manifest" in (service.directory / "export").read_text()
    assert names["receipts"][0].is_new
    engine.dispose()


def test_sql_of_the_pages_runs_on_the_tables(service: Service) -> None:
    """The queries name tables and columns that exist."""
    engine = create_engine(f"sqlite:///{service.data / 'auditspan.db'}")
    pages = (HOW_TO / "send-to-a-second-collector.md", ROOT / "docs/errors/sink-rejected.md")
    with engine.connect() as connection:
        for page in pages:
            for block in blocks(page):
                if block.language == "sql":
                    connection.execute(text(block.text)).all()
    engine.dispose()
