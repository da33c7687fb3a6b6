"""The wheel, installed as users install it."""

from __future__ import annotations

import json
import shutil
import zipfile
from pathlib import Path

import click
import pytest

from auditspan_service.cli import main
from wheels.conftest import Install
from wheels.environment import ROOT

EVERYTHING = "flask,postgres,service"
SHOWN = ("ok", "rows", "span_events", "log_records")
IMPORT_ALL = """
import importlib, pkgutil, sys
missing = set()
for name in sys.argv[1:]:
    package = importlib.import_module(name)
    for module in pkgutil.walk_packages(package.__path__, f"{name}.", onerror=lambda _: None):
        if ".migrations." in module.name:
            continue  # Alembic loads them by path
        try:
            importlib.import_module(module.name)
        except ModuleNotFoundError as error:
            missing.add(error.name.partition(".")[0])
print(*sorted(missing))
"""
TUTORIAL = """
from after import create_app, db, trail
from auditspan.verify import check_state, verify_trail

app = create_app("sqlite:///tutorial.db")
print(app.test_client().post("/users", data={"username": "kim"}).status_code)
with app.app_context(), db.engine.connect() as connection:
    verified = verify_trail(connection, trail.tables, None, [])
    state = check_state(connection, trail.tables, db.metadata, mac_key=None)
print(verified.rows, verified.findings, state.ok)
"""


def test_wheel_contains_every_file_of_the_packages(built: Path) -> None:
    """The wheel has the files below src, the configuration of the collector, and no others."""
    source = ROOT / "src"
    expected = {
        str(path.relative_to(source))
        for path in source.rglob("*")
        if path.is_file() and "__pycache__" not in path.parts
    }
    bundled = {"otel-collector.yaml"} | {
        f"collector/{path.relative_to(ROOT / 'deploy' / 'collector')}"
        for path in (ROOT / "deploy" / "collector").rglob("*")
        if path.is_file()
    }
    expected |= {f"auditspan_service/bundled/{name}" for name in bundled}
    names = zipfile.ZipFile(built).namelist()
    assert expected == {name for name in names if ".dist-info/" not in name}


@pytest.mark.parametrize(
    ("extras", "missing"),
    [
        ("", "alembic celery dramatiq flask google pytest rich rq urllib3"),
        ("flask", "alembic celery dramatiq google pytest rich rq urllib3"),
        ("flask,worker", "alembic celery dramatiq opentelemetry pytest rich rq"),
        (EVERYTHING, "celery dramatiq pytest rq"),
    ],
)
def test_modules_of_the_library_need_only_named_extras(
    install: Install, extras: str, missing: str
) -> None:
    """Every module can be imported, except those that integrate a package not installed."""
    assert missing == install(extras).python(IMPORT_ALL, "auditspan").strip()


def test_base_install_is_small(install: Install) -> None:
    """The request path needs at most eight packages, with those that they need themselves."""
    listed = install("").python(
        "from importlib.metadata import distributions as d; print(*{x.name for x in d()})"
    )
    assert {"auditspan", "click", "opentelemetry-api"} < set(listed.split())
    assert len(listed.split()) <= 8


def test_modules_of_the_service_need_only_its_extras(install: Install) -> None:
    """With its extras, every module of the service can be imported."""
    assert "" == install(EVERYTHING).python(IMPORT_ALL, "auditspan_service").strip()


def test_command_prints_the_version_of_the_wheel(install: Install, built: Path) -> None:
    """`auditspan --version` prints the version in the name of the wheel."""
    version = built.name.split("-")[1]
    said = install(EVERYTHING).run("auditspan", "--version")
    assert f"auditspan, version {version}\n" == said


def test_help_lists_every_command(install: Install) -> None:
    """`auditspan --help` lists the commands of this checkout."""
    said = install(EVERYTHING).run("auditspan", "--help").partition("Commands:\n")[2]
    listed = [line.split()[0] for line in said.splitlines() if line[2:3].strip()]
    assert main.list_commands(click.Context(main)) == listed


def test_commands_without_their_extra_name_it(install: Install) -> None:
    """Without extras, help and version work, and a command says in a sentence what it needs."""
    bare = install("")
    assert bare.run("auditspan", "--help").startswith("Usage: auditspan ")
    assert bare.run("auditspan", "--version").startswith("auditspan, version ")
    code, said = bare.end("auditspan", "verify")
    assert (2, True) == (code, "needs the extra 'cli': pip install 'auditspan[cli]'" in said)


def test_kafka_destination_without_its_extra_names_it(install: Install) -> None:
    """The sink of a topic is refused when it is made, in a sentence; with the extra it is made."""
    program = (
        "from auditspan.trail.settings import TrailSettings, load_settings, make_sink\n"
        "settings = load_settings(TrailSettings, audit_endpoint='kafka://one/audit')\n"
        "print(type(make_sink(settings, 'otlp')).__name__)\n"
    )
    code, said = install("flask,worker").end("python", "-c", program)
    assert (1, True) == (code, "pip install 'auditspan[kafka]'" in said)
    assert "KafkaSink" == install("kafka,worker").python(program).strip()


def test_viewer_without_its_extra_names_it(install: Install) -> None:
    """The error says what to install."""
    program = (
        "from flask import Flask; from sqlalchemy import MetaData\n"
        "from sqlalchemy.orm import sessionmaker\n"
        "from auditspan import AuditTrail; from auditspan.flask import AuditExtension\n"
        "trail = AuditTrail(sessionmaker(), metadata=MetaData(), mac_key=None)\n"
        "AuditExtension(trail, viewer='/audit').init_app(Flask('shop'))\n"
    )
    code, said = install("flask").end("python", "-c", program)
    assert (1, True) == (code, "pip install 'auditspan[flask,worker]'" in said)


def test_tutorial_application_is_recorded(install: Install) -> None:
    """The tutorial's application, with the extras that it uses, has a trail that verifies."""
    environment = install("flask,worker", "flask-sqlalchemy")
    shutil.copy(ROOT / "examples" / "tutorial" / "after.py", environment.directory)
    assert "201\n1 [] True\n" == environment.python(TUTORIAL)


def test_tour_succeeds(install: Install) -> None:
    """`auditspan tour` runs service, worker and collector from the wheel, and proves its story."""
    said = json.loads(install(EVERYTHING).run("auditspan", "tour", "--json", "--data", "data"))
    assert (True, 15, 15, 15) == tuple(said[name] for name in SHOWN)
