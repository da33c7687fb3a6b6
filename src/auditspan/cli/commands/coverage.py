"""`auditspan coverage`: a check that every model is audited, or exempt with a reason."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

import click

from auditspan.cli.commands.console import FOUND, Failure, json_option, wants_json
from auditspan.cli.commands.named import load_named
from auditspan.cli.commands.table import print_rows
from auditspan.cli.commands.target import Target, pass_target
from auditspan.verify import Decision, coverage, metadata_of

_SHOWN = ("model", "table", "decision", "type", "reason")


@click.command(name="coverage")
@click.option(
    "--app",
    metavar="MODULE:OBJECT",
    help="The models to check: a MetaData, declarative base, AuditTrail, or Flask application "
    "with Flask-SQLAlchemy.  [default: those of the trail]",
)
@json_option
@pass_target
def coverage_(target: Target, *, app: str | None) -> None:
    """Check that every model is audited, or exempt with a reason.

    Exits with 1 if a model or a table has no decision.
    """
    found = metadata_of(load_named(app)) if app else target.models()
    decisions = [decision for metadata in found for decision in coverage(metadata)]
    if not decisions:
        raise Failure("No models were found: name an object whose module imports all models.")
    missing = [decision for decision in decisions if decision.decision == "missing"]
    if wants_json():
        print_rows([decision.to_dict() for decision in decisions])
    else:
        _print(decisions, missing)
    if missing:
        raise SystemExit(FOUND)


def _print(decisions: Sequence[Decision], missing: Sequence[Decision]) -> None:
    rows = [decision.to_dict() for decision in decisions]
    print_rows([{name: row[name] for name in _SHOWN} for row in rows])
    click.echo()
    for decision in missing:
        click.echo(f"{decision.model or decision.table} has no decision: {decision.advice}")
    counts = Counter(decision.decision for decision in decisions)
    click.echo(
        f"{counts['audited']} audited, {counts['exempt']} exempt, "
        f"{counts['missing']} without a decision"
    )
