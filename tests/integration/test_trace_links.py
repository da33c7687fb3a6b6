"""The commands link events and traces to the backend of AUDITSPAN_TRACE_URL."""

from __future__ import annotations

import json

import pytest
from click.testing import CliRunner
from flask import Flask
from sqlalchemy import MetaData, create_engine
from sqlalchemy.orm import sessionmaker

from auditspan import AuditTrail
from auditspan.flask import AuditExtension
from auditspan_service.cli import main
from integration.trust.world import opened
from support.collector import traces
from support.migrated import migrated_sqlite
from support.running import AUDITSPAN
from support.terminal import on_terminal

TRACE_ID = "0af7651916cd43dd8448eb211c80319c"
URL = f"https://jaeger.example.org/trace/{TRACE_ID}"


@pytest.fixture(scope="module")
def environ(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """The settings of a trail with one event of a trace, whose span is in a collector's file."""
    folder = tmp_path_factory.mktemp("links")
    url = migrated_sqlite(folder / "trail.db")
    with opened(url, folder / "collector") as trail:
        trail.grow(1)
    file = folder / "collector" / "telemetry" / "traces.jsonl"
    file.parent.mkdir(parents=True)
    file.write_text(json.dumps(traces("GET /")) + "\n")
    return {
        "AUDITSPAN_DATABASE_URL": url,
        "AUDITSPAN_COLLECTOR_FILES": str(folder / "collector"),
        "AUDITSPAN_DATA_DIR": str(folder),
        "AUDITSPAN_TRACE_URL": "https://jaeger.example.org/trace/{trace_id}",
    }


def run(environ: dict[str, str], *arguments: str) -> str:
    """What a command prints."""
    done = CliRunner().invoke(main, arguments, env=environ)
    assert 0 == done.exit_code, done.output
    return done.stdout


def event_id(environ: dict[str, str]) -> str:
    """The id of the event."""
    return str(json.loads(run(environ, "events", "--json"))["event_id"])


def test_json_of_events_and_traces_has_their_url(environ: dict[str, str]) -> None:
    """`events`, `show` and `trace` name the page of the trace."""
    shown = ("show", event_id(environ))
    for command in (("events",), shown, ("trace", TRACE_ID)):
        assert URL == json.loads(run(environ, *command, "--json"))["trace_url"]


def test_texts_for_people_name_the_url(environ: dict[str, str]) -> None:
    """`show` and `trace` print it; the table of `events` keeps its columns when it is piped."""
    assert URL in run(environ, "show", event_id(environ))
    assert URL == run(environ, "trace", TRACE_ID).splitlines()[-1]
    assert "https:" not in run(environ, "events")


def test_trace_ids_are_links_on_a_terminal(environ: dict[str, str]) -> None:
    """The trace id in the table leads to the page (OSC 8)."""
    printed = on_terminal([str(AUDITSPAN), "events"], environ, columns=200)
    assert f";{URL}\x1b\\{TRACE_ID}" in printed


def test_nothing_is_linked_without_a_backend(environ: dict[str, str]) -> None:
    """The output has no URL, and its JSON no further member."""
    unset = {**environ, "AUDITSPAN_TRACE_URL": ""}
    assert "trace_url" not in run(unset, "events", "--json")
    assert "https:" not in run(unset, "trace", TRACE_ID)


def test_flask_application_may_set_the_url(environ: dict[str, str]) -> None:
    """`flask audit trace` reads the files and the URL in the configuration of the application."""
    app = Flask(__name__)
    names = ("AUDITSPAN_COLLECTOR_FILES", "AUDITSPAN_TRACE_URL")
    app.config.update({name: environ[name] for name in names})
    engine = create_engine("sqlite://")
    AuditExtension(AuditTrail(sessionmaker(engine), metadata=MetaData())).init_app(app)
    printed = app.test_cli_runner().invoke(args=["audit", "trace", TRACE_ID]).stdout
    engine.dispose()
    assert URL == printed.splitlines()[-1]
