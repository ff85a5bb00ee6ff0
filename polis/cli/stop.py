"""`polis stop`: stop the services, then the VM; nothing is lost."""

from __future__ import annotations

import typer

from polis.cli import output
from polis.cli.globals import Wait
from polis.cli.session import globals_of, open_workspace, reporting


def stop(
    context: typer.Context,
    wait: Wait = 0.0,
) -> None:
    """Stop the services, then switch the VM off. `polis up` brings all back in seconds."""
    options = globals_of(context)
    with reporting(options):
        workspace = open_workspace(options, progress=not options.json)
        stopped = workspace.stop(wait=wait)
        if options.json:
            output.document({"schema": 1, "workspace": workspace.name, "stopped": stopped})
        else:
            output.result(f"{workspace.name} is off" if stopped else f"{workspace.name} was off already")
