"""The `auditspan` command line.

Exit codes: 0 success, 1 a problem was found, 2 the command failed or could not check everything;
the reason is one sentence on standard error. An internal error also exits with 2. With `--json`,
lists are printed as JSON Lines and everything else as one object.
"""

from __future__ import annotations

import os
from functools import partial

import click

from auditspan_service.cli.checkpoint import checkpoint
from auditspan_service.cli.console import Commands, data_option
from auditspan_service.cli.coverage import coverage_
from auditspan_service.cli.db import db
from auditspan_service.cli.doctor import doctor
from auditspan_service.cli.events import events, history, show
from auditspan_service.cli.export import export
from auditspan_service.cli.keys import keys
from auditspan_service.cli.reconcile import reconcile
from auditspan_service.cli.restored import restored
from auditspan_service.cli.serve import serve
from auditspan_service.cli.tour import tour
from auditspan_service.cli.trace import trace
from auditspan_service.cli.up import up
from auditspan_service.cli.users import users
from auditspan_service.cli.verify import verify
from auditspan_service.cli.worker import worker
from auditspan_service.files.private_files import UMASK


@click.group(cls=Commands, context_settings={"help_option_names": ["-h", "--help"]})
@data_option
@click.version_option(package_name="auditspan", prog_name="auditspan")
@click.pass_context
def main(context: click.Context) -> None:
    """A tamper-evident audit trail, exported through OpenTelemetry."""
    # Applies to the files of every command and of the collector; restored when the command ends.
    context.call_on_close(partial(os.umask, os.umask(UMASK)))


for _command in (
    *(up, tour, serve, worker),
    *(db, users, keys, doctor),
    *(events, show, history, trace),
    *(verify, reconcile, export, checkpoint, coverage_),
):
    main.add_command(_command)
db.add_command(restored)
