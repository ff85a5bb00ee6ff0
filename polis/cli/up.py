"""`polis up`: reach a phase, by default healthy."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from polis.cli import output
from polis.cli.globals import Wait
from polis.cli.session import confirm, globals_of, open_workspace, reporting
from polis.phase import Phase

if TYPE_CHECKING:
    from polis.workspace import Workspace


Image = Annotated[str | None, typer.Option(help="Base image: a name, or a descriptor file.")]
CloudInit = Annotated[Path | None, typer.Option(help="Replace the shipped cloud-init document.")]
BundlePath = Annotated[Path | None, typer.Option(help="Replace the shipped bundle: a directory or a tar.")]
Version = Annotated[str | None, typer.Option(help="Version of the images, for example v0.5.0.")]


def up(
    context: typer.Context,
    to: Annotated[Phase, typer.Option(help="Stop at this phase.")] = Phase.HEALTHY,
    recreate: Annotated[bool, typer.Option("--recreate", help="Delete the VM first, with all that is in it.")] = False,
    adopt: Annotated[bool, typer.Option("--adopt", help="Take over an instance whose record was lost.")] = False,
    wait: Wait = 0.0,
    image: Image = None,
    cloud_init: CloudInit = None,
    bundle: BundlePath = None,
    version: Version = None,
) -> None:
    """Take the workspace to healthy, from wherever it is.

    Run it again after any interruption: what holds is not done again.
    """
    options = globals_of(context)
    with reporting(options, stream=True):
        workspace = open_workspace(
            options, progress=True, image=image, cloud_init=cloud_init, bundle=bundle, version=version
        )
        if recreate and workspace.exists():
            confirm(f"Delete the VM of workspace {workspace.name} with all that is in it, and make a new one?", options)
        from polis.workspace import UpOptions

        reached = workspace.up(UpOptions(target=to, recreate=recreate, adopt=adopt, wait=wait))
        tell(workspace, reached, as_json=options.json)


def tell(workspace: Workspace, reached: Phase, *, as_json: bool) -> None:
    """Tell the phase that a changing command reached."""
    from polis.events import Finished

    if as_json:
        meter = workspace.meter
        final = Finished(
            outcome=reached.value,
            phase=reached,
            exit_code=0,
            driver_calls=meter.calls,
            driver_s=round(meter.seconds, 3),
        )
        output.document(final.payload(), compact=True)
    else:
        output.result(f"{workspace.name} is {reached}")
