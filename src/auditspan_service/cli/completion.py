"""`auditspan completion`: completion of commands and options by a shell."""

from __future__ import annotations

import click
from click.shell_completion import get_completion_class

_VARIABLE = "_AUDITSPAN_COMPLETE"


@click.command()
@click.argument("shell", type=click.Choice(["bash", "zsh", "fish"]))
@click.pass_context
def completion(context: click.Context, shell: str) -> None:
    """Print the script that lets a shell complete commands.

    \b
    bash: add to ~/.bashrc   eval "$(auditspan completion bash)"
    zsh:  add to ~/.zshrc    eval "$(auditspan completion zsh)"
    fish: auditspan completion fish > ~/.config/fish/completions/auditspan.fish
    """  # noqa: D301 (click's mark of lines that are not wrapped)
    found = get_completion_class(shell)
    assert found is not None  # noqa: S101 (one of click's own shells)
    click.echo(found(context.find_root().command, {}, "auditspan", _VARIABLE).source())
