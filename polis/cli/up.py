"""`polis up`: reach a phase, by default healthy."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from polis.cli import completers, output
from polis.cli.globals import Wait
from polis.cli.session import confirm, globals_of, open_workspace, reporting
from polis.phase import Phase

if TYPE_CHECKING:
    from polis.workspace import Workspace


Image = Annotated[
    str | None, typer.Option(help="Base image: a name, or a descriptor file.", autocompletion=completers.images)
]
CloudInit = Annotated[Path | None, typer.Option(help="Replace the shipped cloud-init document.")]
BundlePath = Annotated[Path | None, typer.Option(help="Replace the shipped bundle: a directory or a tar.")]
Offline = Annotated[Path | None, typer.Option(help="Take packages, images and bundle from this file, not the network.")]
Agent = Annotated[
    str | None,
    typer.Option("--agent", help="The agent that the workspace gets, and keeps.", autocompletion=completers.agents),
]
NoAgent = Annotated[bool, typer.Option("--no-agent", help="Take the agent from the workspace.")]
EnvFile = Annotated[Path | None, typer.Option("--env-file", help="A file with the agent's keys: NAME=value lines.")]
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
    offline: Offline = None,
    agent: Agent = None,
    no_agent: NoAgent = False,
    env_file: EnvFile = None,
) -> None:
    """Take the workspace to healthy, from wherever it is.

    Run it again after any interruption: what holds is not done again.
    """
    options = globals_of(context)
    with reporting(options, stream=True):
        workspace = open_workspace(
            options,
            progress=True,
            image=image,
            cloud_init=cloud_init,
            bundle=bundle,
            version=version,
            offline=offline,
            agent=chosen_agent(agent, none=no_agent),
            env_file=env_file,
        )
        if recreate and workspace.exists():
            confirm(f"Delete the VM of workspace {workspace.name} with all that is in it, and make a new one?", options)
        from polis.workspace import UpOptions

        reached = workspace.up(UpOptions(target=to, recreate=recreate, adopt=adopt, wait=wait))
        tell(workspace, reached, as_json=options.json)


def chosen_agent(name: str | None, *, none: bool) -> str | None:
    """Return the value of `agent` in the configuration: an empty name for no agent. Raises UsageError for both."""
    from polis.errors import UsageError

    if none and name is not None:
        raise UsageError("--agent and --no-agent contradict each other")
    return "" if none else name


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
