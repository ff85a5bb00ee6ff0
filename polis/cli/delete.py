"""`polis delete`: remove the VM and all that Polis remembers of it."""

from __future__ import annotations

from typing import Annotated

import typer

from polis.cli import output
from polis.cli.globals import Wait
from polis.cli.session import confirm, globals_of, open_workspace, reporting


def delete(
    context: typer.Context,
    everything: Annotated[
        bool, typer.Option("--all", help="Also destroy its keys and passwords, its agent's, and its template.")
    ] = False,
    wait: Wait = 0.0,
) -> None:
    """Delete the VM with all that is in it, and the record.

    The workspace's keys and passwords stay, for a VM of the same name, unless --all is given. Downloaded base images
    stay in the cache. --all also removes the template that such workspaces begin as, unless another was made like it.
    """
    options = globals_of(context)
    with reporting(options):
        workspace = open_workspace(options, progress=not options.json)
        doomed = [
            *(["the VM with all that is in it, and its record"] if workspace.exists() else []),
            *(["its keys and passwords for good"] if everything and workspace.has_secrets() else []),
        ]
        if doomed:
            confirm(f"Delete workspace {workspace.name}: {'; '.join(doomed)}?", options)
        deleted = workspace.delete(wait=wait, secrets=everything)
        kept = workspace.has_secrets()
        if options.json:
            output.document({"schema": 1, "workspace": workspace.name, "deleted": deleted, "secrets_kept": kept})
        else:
            done = f"{workspace.name} is deleted" if deleted else f"there is no workspace {workspace.name}"
            output.result(f"{done}; its keys and passwords stay (`polis delete --all` destroys them)" if kept else done)
