"""`polis exec` and `polis shell`: into the VM, or into a service's container in it."""

from __future__ import annotations

from typing import Annotated

import typer

from polis.cli import completers
from polis.cli.globals import SERVICE
from polis.cli.session import globals_of, open_workspace, reporting

Service = Annotated[
    str | None,
    typer.Option(
        SERVICE,
        metavar="NAME",
        help="In the container of this service, not in the VM itself.",
        autocompletion=completers.services,
    ),
]


def exec_(
    context: typer.Context,
    command: Annotated[list[str], typer.Argument(help="The command and its arguments.", metavar="COMMAND...")],
    service: Service = None,
) -> None:
    """Run a command in the VM; its exit code is polis's own. Stdin, stdout and stderr are yours."""
    _enter(context, command, service)


def shell(context: typer.Context, service: Service = None) -> None:
    """Open a shell in the VM."""
    _enter(context, [], service)


def _enter(context: typer.Context, argv: list[str], service: str | None) -> None:
    options = globals_of(context)
    with reporting(options):
        code = open_workspace(options).shell(argv, service=service)
    raise typer.Exit(code)
