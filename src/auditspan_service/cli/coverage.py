"""`auditspan coverage`: a check that every model is audited, or exempt with a reason."""

from __future__ import annotations

import difflib
import sys
from collections import Counter
from collections.abc import Sequence
from importlib import import_module
from pathlib import Path
from types import ModuleType

import click

from auditspan import AuditError
from auditspan.verify import Decision, coverage, metadata_of
from auditspan_service.cli.console import FOUND, Failure, json_option, print_rows
from auditspan_service.models import Base

_SHOWN = ("model", "table", "decision", "type", "reason")


@click.command(name="coverage")
@click.option(
    "--app",
    metavar="MODULE:OBJECT",
    help="The application to check: a MetaData, declarative base, AuditTrail, or Flask application "
    "with Flask-SQLAlchemy.  [default: this service]",
)
@json_option
def coverage_(*, app: str | None, as_json: bool) -> None:
    """Check that every model is audited, or exempt with a reason.

    Exits with 1 if a model or a table has no decision.
    """
    found = metadata_of(_loaded(app) if app else Base)
    decisions = [decision for metadata in found for decision in coverage(metadata)]
    if not decisions:
        raise Failure("No models were found: name an object whose module imports all models.")
    missing = [decision for decision in decisions if decision.decision == "missing"]
    if as_json:
        print_rows([decision.to_dict() for decision in decisions], as_json=True)
    else:
        _print(decisions, missing)
    if missing:
        raise SystemExit(FOUND)


def _print(decisions: Sequence[Decision], missing: Sequence[Decision]) -> None:
    rows = [decision.to_dict() for decision in decisions]
    print_rows([{name: row[name] for name in _SHOWN} for row in rows], as_json=False)
    click.echo()
    for decision in missing:
        click.echo(f"{decision.model or decision.table} has no decision: {decision.advice}")
    counts = Counter(decision.decision for decision in decisions)
    click.echo(
        f"{counts['audited']} audited, {counts['exempt']} exempt, "
        f"{counts['missing']} without a decision"
    )


def _loaded(app: str) -> object:
    module_name, colon, path = app.partition(":")
    if not (module_name and colon and path):
        raise Failure(f"--app {app}: expected MODULE:OBJECT, such as shop.models:Base.")
    found: object = _imported(module_name)
    for name in path.split("."):
        if not hasattr(found, name):
            raise Failure(f"--app {app}: {module_name} has no {path}{_nearest(name, found)}.")
        found = getattr(found, name)
    return found


def _imported(name: str) -> ModuleType:
    here = str(Path.cwd())
    if here not in sys.path:
        sys.path.insert(0, here)  # as `python -m` and `flask --app` do
    try:
        return import_module(name)
    except AuditError:
        raise
    except ModuleNotFoundError as error:
        if error.name and f"{name}.".startswith(f"{error.name}."):
            raise Failure(
                f"--app: module {name} was not found in this directory or on Python's path."
            ) from error
        raise Failure(f"--app: {name} needs {error.name}, which is not installed.") from error
    except Exception as error:
        raise Failure(
            f"--app: importing {name} failed with {type(error).__name__}: run "
            f'`python -c "import {name}"` to see why.'
        ) from error


def _nearest(name: str, found: object) -> str:
    near = difflib.get_close_matches(name, dir(found), n=1)
    return f"; did you mean {near[0]}?" if near else ""
