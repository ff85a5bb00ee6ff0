"""`polis ssh-config`: for ssh, scp, rsync and editors."""

from __future__ import annotations

import typer

from polis.cli import output
from polis.cli.session import globals_of, open_workspace, reporting


def ssh_config(context: typer.Context) -> None:
    """Print how OpenSSH reaches the VM, for its configuration file: for `ssh polis-NAME`, scp, rsync and editors."""
    options = globals_of(context)
    with reporting(options):
        workspace = open_workspace(options)
        access = workspace.ssh_access()
        if options.json:
            named = {"workspace": workspace.name, "host": access.host, "options": dict(access.options)}
            forwards = [{"port": port, "to": target} for port, target in access.forwards.items()]
            output.document({"schema": 1, **named, "forwards": forwards})
        else:
            output.result(access.text)
