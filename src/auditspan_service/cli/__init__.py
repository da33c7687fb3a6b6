"""The `auditspan` command line: the commands of a trail, and those of the service.

Without `--app` their target is the service. Exit codes: 0 success, 1 a problem was found, 2 the
command failed or could not check everything; the reason is one sentence on standard error. An
internal error also exits with 2. With `--json`, lists are printed as JSON Lines and everything else
as one object.
"""

from __future__ import annotations

from collections.abc import Mapping

import click

from auditspan.cli import (
    COMMANDS,
    Commands,
    Lazy,
    bind_option,
    data_option,
    set_app,
    set_target,
    use_umask,
)

_SERVICE = {
    "up": "Run the whole service, for development.",
    "tour": "Demonstrate the trail with real requests.",
    "demo": "Fill an empty trail with a believable week.",
    "serve": "Serve the API.",
    "users": "Manage users of the service and their roles.",
    "keys": "Manage API keys, and the MAC key and the erasure key of the trail.",
    "db": "Migrate, check and repair the database schema.",
    "completion": "Print the script that lets a shell complete commands.",
}
_APPLICATION = {"baseline", "init"}
"""Commands that only an application has."""

_ALL: Mapping[str, Lazy] = {
    **{
        name: Lazy(f"auditspan_service.cli.{name}:{name}", sentence, extra="service")
        for name, sentence in _SERVICE.items()
    },
    **{name: lazy for name, lazy in COMMANDS.items() if name not in {*_SERVICE, *_APPLICATION}},
}


class _Main(Commands):
    """The commands of the service, or with `--app` those of any trail."""

    def available(self, context: click.Context) -> Mapping[str, Lazy]:
        return COMMANDS if context.params.get("app") else _ALL

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        found = super().get_command(ctx, cmd_name)
        if found is None and cmd_name in _APPLICATION:
            ctx.fail(f"`{cmd_name}` is about an application: name it with --app MODULE:ATTRIBUTE.")
        if found is None and cmd_name in _SERVICE:
            ctx.fail(f"`{cmd_name}` is about the service: leave out --app and AUDITSPAN_APP.")
        return found

    def failure(self, error: Exception) -> click.ClickException:
        from auditspan_service.cli.failures import failure  # noqa: PLC0415 (only a failure needs it)

        return failure(error)


@click.group(cls=_Main, lazy=_ALL, context_settings={"help_option_names": ["-h", "--help"]})
@data_option
@click.option(
    "--app",
    metavar="MODULE:ATTRIBUTE",
    envvar="AUDITSPAN_APP",
    help="The application to act on: an AuditTrail, a Flask application with an AuditExtension, or "
    "a factory of one.  [default: the service]",
)
@bind_option
@click.version_option(package_name="auditspan", prog_name="auditspan")
@click.pass_context
def main(context: click.Context, app: str | None, bind: str | None) -> None:
    """A tamper-evident audit trail, exported through OpenTelemetry."""
    use_umask(context)
    if app:
        set_app(context, app, bind)
    elif bind:
        context.fail("--bind is about an application: name it with --app MODULE:ATTRIBUTE.")
    else:
        set_target(context, _service)


def _service() -> object:
    from auditspan_service.cli.target import ServiceTarget  # noqa: PLC0415 (imported when used)

    return ServiceTarget()
