"""`auditspan --app … baseline`: record the rows that are older than the trail."""

from __future__ import annotations

import click

from auditspan.cli.commands.application import ApplicationTarget
from auditspan.cli.commands.console import Failure, json_option, print_result
from auditspan.cli.commands.named import load_named
from auditspan.cli.commands.progress import progress_bar
from auditspan.cli.commands.target import Target, pass_target
from auditspan.format import counted
from auditspan.reading.states import BATCH


@click.command()
@click.argument("models", metavar="[MODULE:MODEL]...", nargs=-1)
@click.option(
    "--batch",
    type=click.IntRange(min=1),
    default=BATCH,
    show_default=True,
    help="The maximum number of rows in one transaction.",
)
@json_option
@pass_target
def baseline(target: Target, *, models: tuple[str, ...], batch: int) -> None:
    """Record the rows that are older than the trail.

    Each row without a creation in the trail gets an event with its values, so that earlier states,
    reverts and `verify --state` hold for it. Without models, this is done for all of the trail. An
    interrupted baseline is resumed by running it again.
    """
    if not isinstance(target, ApplicationTarget):
        raise Failure("`baseline` is about an application: name it with --app MODULE:ATTRIBUTE.")
    wanted = [load_named(name) for name in models]
    with target.acting() as (trail, session), progress_bar() as progress:
        recorded = trail.baseline(session, *wanted, batch=batch, progress=progress)
    print_result(
        {"recorded": recorded}, [f"recorded {counted(recorded, 'row')} from before the trail"]
    )
