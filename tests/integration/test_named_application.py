"""What `--app` accepts, and what it says of a value that it does not."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import pytest
from click.testing import CliRunner, Result
from flask import Flask
from sqlalchemy import MetaData, create_engine
from sqlalchemy.ext.asyncio import async_sessionmaker, create_async_engine
from sqlalchemy.orm import sessionmaker

from auditspan import Actor, AuditTrail, audit_context
from auditspan.flask import AuditExtension
from auditspan_service.cli import main
from support.running import auditspan

MODULE = "shop_of_a_typo"


@pytest.fixture
def shop(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[ModuleType]:
    """A module with a trail, in the forms in which applications define one."""
    monkeypatch.setenv("AUDITSPAN_DATA_DIR", str(tmp_path / "data"))
    engine = create_engine(f"sqlite:///{tmp_path / 'shop.db'}")
    trail = AuditTrail(sessionmaker(engine), metadata=MetaData(), mac_key=None)
    app = Flask(__name__)
    AuditExtension(trail).init_app(app)
    module = ModuleType(MODULE)
    slow = create_async_engine(f"sqlite+aiosqlite:///{tmp_path / 'shop.db'}")
    async_trail = AuditTrail(async_sessionmaker(slow), metadata=MetaData(), mac_key=None)
    members = {
        "trail": trail,
        "async_trail": async_trail,
        "app": app,
        "bare": Flask("bare"),
        "create_app": lambda: app,
        "create_trail": lambda: trail,
        "broken": lambda: 1 // 0,
        "needy": lambda config: config,
        "number": 7,
    }
    vars(module).update(members)
    monkeypatch.setitem(sys.modules, MODULE, module)
    yield module
    engine.dispose()


def run(app: str, *arguments: str, **environ: str) -> Result:
    """Run one command on this application, in this process."""
    given = ("--app", app, *arguments)
    return CliRunner().invoke(main, given, env=environ, prog_name="auditspan")


@pytest.mark.usefixtures("shop")
@pytest.mark.parametrize("attribute", ["trail", "app", "create_app", "create_trail", "async_trail"])
def test_trail_application_and_factory_are_accepted(attribute: str) -> None:
    """Each leads to the trail, also of asynchronous sessions; `AUDITSPAN_APP` names it as well."""
    name = f"{MODULE}:{attribute}"
    assert 0 == run(name, "init").exit_code
    assert 0 == run(name, "events").exit_code
    done = CliRunner().invoke(main, ["events"], env={"AUDITSPAN_APP": name})
    assert (0, "No event matches.\n") == (done.exit_code, done.stderr)


@pytest.mark.usefixtures("shop")
@pytest.mark.parametrize(
    ("name", "sentence"),
    [
        ("shop", "--app shop: expected MODULE:ATTRIBUTE, such as shop:trail."),
        ("no_such_module:trail", "module no_such_module was not found in this directory"),
        (f"{MODULE}:trial", f"{MODULE} has no trial; did you mean trail?"),
        (f"{MODULE}:number", "a int is not an application with a trail: name an AuditTrail"),
        (f"{MODULE}:bare", "a Flask is not an application with a trail: name an AuditTrail"),
        (f"{MODULE}:broken", "the factory failed with ZeroDivisionError"),
        (f"{MODULE}:needy", "the factory failed with TypeError"),
    ],
)
def test_wrong_application_is_refused_in_one_sentence(name: str, sentence: str) -> None:
    """The exit code is 2, and nothing is printed on standard output."""
    done = run(name, "events")
    assert (2, "") == (done.exit_code, done.stdout)
    assert sentence in done.stderr
    assert 1 == len(done.stderr.splitlines())


@pytest.mark.usefixtures("shop")
@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        (["--app", f"{MODULE}:app"], "the application has no such bind; it has none."),
        (["--app", f"{MODULE}:trail"], "--bind visits: the application has no such bind"),
        ([], "--bind is about an application: name it with --app MODULE:ATTRIBUTE."),
    ],
)
def test_bind_of_something_without_binds_is_refused(options: list[str], sentence: str) -> None:
    """In one sentence, with exit code 2."""
    arguments = [*options, "--bind", "visits", "events"]
    done = CliRunner().invoke(main, arguments, prog_name="auditspan")
    assert (2, "", True) == (done.exit_code, done.stdout, sentence in done.stderr)


@pytest.mark.usefixtures("shop")
def test_command_of_the_service_is_refused_for_an_application() -> None:
    """The message says what to leave out."""
    done = run(f"{MODULE}:trail", "serve")
    assert (2, True) == (done.exit_code, "leave out --app and AUDITSPAN_APP" in done.stderr)


@pytest.mark.usefixtures("shop")
def test_database_without_tables_names_the_command(tmp_path: Path) -> None:
    """A reading command creates neither tables nor the database file."""
    done = run(f"{MODULE}:trail", "verify")
    assert 2 == done.exit_code
    assert f"run `auditspan --app {MODULE}:trail init`, or migrate" in done.stderr
    assert not (tmp_path / "shop.db").exists()


def test_configuration_of_flask_has_precedence(shop: ModuleType, tmp_path: Path) -> None:
    """`app.config["AUDITSPAN_…"]` wins over the environment, and an invalid value is refused."""
    shop.app.config["AUDITSPAN_MAC_KEY_FILE"] = str(tmp_path / "own.key")
    assert 0 == run(f"{MODULE}:app", "init", AUDITSPAN_MAC_KEY_FILE="/nowhere/x").exit_code
    assert (tmp_path / "own.key").exists()
    shop.app.config["AUDITSPAN_SINK"] = "kafka"
    done = run(f"{MODULE}:app", "reconcile")
    assert (2, True) == (done.exit_code, "AUDITSPAN_SINK is invalid" in done.stderr)


def test_missing_keys_of_a_production_trail_are_an_error(shop: ModuleType, tmp_path: Path) -> None:
    """New keys would not match the rows: the message names the command that creates them."""
    name = f"{MODULE}:trail"
    assert 0 == run(name, "init", AUDITSPAN_ENV="production").exit_code  # there are no rows yet
    with audit_context(actor=Actor.system("test")):
        shop.trail.record_durable("shop.opened")
    keys = tmp_path / "data" / "keys"
    for key in keys.iterdir():
        key.unlink()
    for command, remedy in (("init", "keys init"), ("worker", "checkpoint --init")):
        done = run(name, command, AUDITSPAN_ENV="production")
        assert (2, True) == (done.exit_code, f"`auditspan {remedy}`" in done.stderr)
    assert [] == list(keys.iterdir())
    assert 0 == run(name, "init").exit_code  # development


def test_command_whose_extra_is_missing_names_it(tmp_path: Path) -> None:
    """Without pydantic the help and the version work, and a command says what to install."""
    (tmp_path / "sitecustomize.py").write_text("import sys; sys.modules['pydantic'] = None\n")
    environ = {"PYTHONPATH": str(tmp_path)}
    for arguments in (("--help",), ("--version",)):
        assert 0 == auditspan(*arguments, **environ).returncode
    for command, extra in (("verify", "cli"), ("up", "service")):
        done = auditspan(command, **environ)
        assert (2, "") == (done.returncode, done.stdout)
        assert f"`auditspan {command}` needs the extra '{extra}'" in done.stderr
        assert f"pip install 'auditspan[{extra}]'" in done.stderr


SHOP = """
from sqlalchemy import MetaData, create_engine
from sqlalchemy.orm import sessionmaker

from auditspan import AuditTrail

trail = AuditTrail(sessionmaker(create_engine({url!r})), metadata=MetaData())
"""


def test_init_does_not_replace_the_mac_key_of_rows(tmp_path: Path) -> None:
    """A key file in another place is the usual reason: the message names the place and the key."""
    (tmp_path / "shop.py").write_text(SHOP.format(url=f"sqlite:///{tmp_path}/shop.db"))
    environ = {"PYTHONPATH": str(tmp_path), "AUDITSPAN_APP": "shop:trail"}
    here, other = ({**environ, "AUDITSPAN_DATA_DIR": str(tmp_path / name)} for name in "ab")
    assert 0 == auditspan("init", **here).returncode
    assert 0 == auditspan("hold", "add", "--reason", "case 12", "--actor", "7", **here).returncode
    done = auditspan("init", **other)
    assert (2, "") == (done.returncode, done.stdout)
    key_id = (tmp_path / "a" / "keys" / "mac.key").read_text().split()[1]
    assert f"{tmp_path}/b/keys/mac.key does not exist" in done.stderr
    assert f"MACs under the key {key_id}: restore the file" in done.stderr
    assert 0 == auditspan("init", **here).returncode
