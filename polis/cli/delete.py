"""`polis delete`: remove the VM and all that Polis remembers of it."""

from __future__ import annotations

import typer

from polis.cli import output
from polis.cli.globals import Wait
from polis.cli.session import confirm, globals_of, open_workspace, reporting


def delete(
    context: typer.Context,
    wait: Wait = 0.0,
) -> None:
    """Delete the VM with all that is in it, and the record. Downloaded base images stay in the cache."""
    options = globals_of(context)
    with reporting(options):
        workspace = open_workspace(options)
        if workspace.exists():
            confirm(f"Delete workspace {workspace.name}: the VM with all that is in it, and its record?", options)
        deleted = workspace.delete(wait=wait)
        if options.json:
            output.document({"schema": 1, "workspace": workspace.name, "deleted": deleted})
        else:
            output.result(f"{workspace.name} is deleted" if deleted else f"there is no workspace {workspace.name}")
