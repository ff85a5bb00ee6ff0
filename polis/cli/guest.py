"""`polis exec` and `polis shell`: into the VM."""

from __future__ import annotations

from typing import Annotated

import typer

from polis.cli.session import globals_of, open_workspace, reporting


def exec_(
    context: typer.Context,
    command: Annotated[list[str], typer.Argument(help="The command and its arguments.", metavar="COMMAND...")],
) -> None:
    """Run a command in the VM; its exit code is polis's own. Stdin, stdout and stderr are yours."""
    _enter(context, command)


def shell(context: typer.Context) -> None:
    """Open a shell in the VM."""
    _enter(context, [])


def _enter(context: typer.Context, argv: list[str]) -> None:
    options = globals_of(context)
    with reporting(options):
        code = open_workspace(options).shell(argv)
    raise typer.Exit(code)
