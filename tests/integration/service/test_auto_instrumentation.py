"""The service under OpenTelemetry's command that instruments programs by itself."""

from __future__ import annotations

import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx
import pytest

from auditspan.telemetry.otlp.files import SpanRecord, read_logs, read_spans
from integration.service.test_commands import Place, wait_until_ready
from support.patience import PATIENCE
from support.ports import free_port
from support.running import clean_environment

PROGRAMS = Path(sys.executable).parent
CLIENT_TRACE = "0af7651916cd43dd8448eb211c80319c"
CLIENT_SPAN = "b7ad6b7169203331"
GUNICORN = "python:auditspan_service.server.gunicorn_conf"
COMMANDS = {
    "up": ("auditspan", "up", "--port", "{port}"),
    "serve": ("auditspan", "serve", "--port", "{port}"),
    "gunicorn": (
        "gunicorn",
        "-c",
        "python:auditspan_service.server.gunicorn_conf",
        "-b",
        ":{port}",
    ),
}


@contextmanager
def instrumented(place: Place, command: str, **environ: str) -> Iterator[str]:
    """The URL of a service that `opentelemetry-instrument` has started."""
    port = free_port()
    program, *arguments = (one.format(port=port) for one in COMMANDS[command])
    with (place.folder / "service.log").open("wb") as log:
        process = subprocess.Popen(
            [PROGRAMS / "opentelemetry-instrument", PROGRAMS / program, *arguments],
            env={**clean_environment(), **place.environ, "AUDITSPAN_SINK": "file", **environ},
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
        )
        try:
            wait_until_ready(f"http://127.0.0.1:{port}", process)
            yield f"http://127.0.0.1:{port}"
        finally:
            process.send_signal(signal.SIGTERM)
            process.wait(PATIENCE)


def exercised(place: Place, command: str, **environ: str) -> str:
    """The trace of a request to such a service whose client has sent a `traceparent`."""
    for arguments in (("db", "upgrade"), ("keys", "init")):
        place.objects(*arguments)
    (made,) = place.objects("keys", "create", "--username", "kim", "--scope", "admin")
    headers = {
        "Authorization": f"Bearer {made['key']}",
        "traceparent": f"00-{CLIENT_TRACE}-{CLIENT_SPAN}-01",
    }
    with instrumented(place, command, **environ) as url:
        answer = httpx.post(
            f"{url}/v1/users",
            json={"username": "max"},
            headers=headers,
            trust_env=False,
            timeout=PATIENCE,
        )
    assert 201 == answer.status_code
    return answer.headers["traceresponse"].split("-")[1]


class Runs:
    """Services that served one request each, with the files that they wrote."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._traces: dict[str, str] = {}

    def files(self, name: str, **environ: str) -> Path:
        """The telemetry files of a command; the service is started the first time."""
        folder = self._folder / name
        if name not in self._traces:
            folder.mkdir()
            place = Place(folder / "data", f"sqlite:///{folder / 'auditspan.db'}")
            self._traces[name] = exercised(place, name.split(maxsplit=1)[0], **environ)
        return folder / "data" / "collector"

    def spans(self, name: str, **environ: str) -> list[SpanRecord]:
        """The spans of its request, in the order of their start."""
        found = list(read_spans(self.files(name, **environ)))
        trace = self._traces[name]
        return sorted((one for one in found if one.trace_id == trace), key=lambda one: one.start)


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> Runs:
    """The runs of this file: starting a service takes longer than anything else here."""
    return Runs(tmp_path_factory.mktemp("instrumented"))


@pytest.mark.parametrize(
    "command", ["up", "serve", pytest.param("gunicorn", marks=pytest.mark.slow)]
)
def test_an_instrumented_service_links_to_the_span_of_its_client(runs: Runs, command: str) -> None:
    """The server span has a trace of its own, and a link to the span that the client claimed."""
    server, *_ = runs.spans(command)
    links = [(link.trace_id, link.span_id) for link in server.links]
    assert [(CLIENT_TRACE, CLIENT_SPAN)] == links
    assert CLIENT_TRACE != server.trace_id


def test_an_instrumented_service_makes_the_same_spans(runs: Runs) -> None:
    """A request has no span more and no span less than without the command."""
    plain = runs.spans("serve plain", OTEL_PYTHON_DISABLED_INSTRUMENTATIONS="*")
    found = runs.spans("serve")
    assert [(one.name, one.kind) for one in plain] == [(one.name, one.kind) for one in found]


def test_an_instrumented_service_makes_no_spans_of_probes(runs: Runs) -> None:
    """The only server span is that of the request."""
    spans = read_spans(runs.files("serve"))
    assert {"POST /v1/users"} == {one.name for one in spans if one.kind == "SERVER"}


def test_an_instrumented_service_exports_log_records_once(runs: Runs) -> None:
    """No log record comes twice."""
    logged = [(one.time, one.body) for one in read_logs(runs.files("serve"))]
    assert sorted(set(logged)) == sorted(logged) != []


APPLICATION = """
import sys
from flask import Flask
from opentelemetry import trace
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from sqlalchemy import create_engine, event
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column, sessionmaker
from auditspan import Actor, AuditTrail
from auditspan.flask import AuditExtension

class Base(DeclarativeBase): ...

class Thing(Base):
    __tablename__ = "thing"
    __audit__ = True
    id: Mapped[int] = mapped_column(primary_key=True)

spans, provider = InMemorySpanExporter(), TracerProvider()
provider.add_span_processor(SimpleSpanProcessor(spans))
trace.set_tracer_provider(provider)
engine = create_engine(f"sqlite:///{sys.argv[1]}")
Session = sessionmaker(engine)
trail = AuditTrail(Session, metadata=Base.metadata, mac_key=None)
Base.metadata.create_all(engine)
app = Flask(__name__)
AuditExtension(trail, actor=lambda: Actor.user(1)).init_app(app)

@app.post("/things")
def create():
    with Session.begin() as session:
        session.add(Thing())
    return "", 201

spans.clear()
statements = []
event.listen(engine, "before_cursor_execute", lambda *given: statements.append(given[2]))
assert app.test_client().post("/things").status_code == 201
found = spans.get_finished_spans()
servers = [one for one in found if one.kind is trace.SpanKind.SERVER]
executed = [one for one in found if "db.statement" in one.attributes]
announced = [event.name for one in found for event in one.events]
print(len(servers), len(executed) == len(statements) > 0, announced)
"""


def test_an_instrumented_application_is_instrumented_once(tmp_path: Path) -> None:
    """A request of an application with a trail has one server span, and each statement one span."""
    script = tmp_path / "application.py"
    script.write_text(APPLICATION)
    done = subprocess.run(
        [PROGRAMS / "opentelemetry-instrument", sys.executable, script, tmp_path / "things.db"],
        env=clean_environment(),
        capture_output=True,
        text=True,
        check=False,
        timeout=PATIENCE,
    )
    assert "1 True ['audit.thing.create']" == done.stdout.strip(), done.stderr
