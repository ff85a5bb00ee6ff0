"""`polis reset`: leave a phase, or several."""

from __future__ import annotations

from typing import Annotated

import typer

from polis.cli.globals import Wait
from polis.cli.session import confirm, globals_of, open_workspace, reporting
from polis.cli.up import tell
from polis.phase import Phase


def reset(
    context: typer.Context,
    to: Annotated[Phase | None, typer.Option(help="Leave all phases above this one.")] = None,
    stepwise: Annotated[
        bool, typer.Option("--stepwise", help="Undo phase by phase even where there is a snapshot: volumes stay.")
    ] = False,
    wait: Wait = 0.0,
) -> None:
    """Leave the current phase, or several.

    Without --to it is one back; `--to absent` deletes the VM. `--to launched` restores the VM's snapshot, if there is
    one (`snapshots` in the configuration), after a question: what is in volumes is lost.
    """
    options = globals_of(context)
    with reporting(options, stream=True):
        workspace = open_workspace(options, progress=True)
        if to is Phase.ABSENT:
            confirm(f"Delete the VM of workspace {workspace.name} with all that is in it?", options)
        elif to is Phase.LAUNCHED and not stepwise and workspace.loses(to):
            confirm(f"Restore the VM of workspace {workspace.name} to its snapshot, and lose its volumes?", options)
        reached = workspace.reset(to, wait=wait, stepwise=stepwise)
        tell(workspace, reached, as_json=options.json)
