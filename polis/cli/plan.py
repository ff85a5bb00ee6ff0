"""`polis plan`: what `polis up` would do now, and why."""

from __future__ import annotations

import shlex
from typing import TYPE_CHECKING, Annotated, Any

import typer

from polis.cli import output
from polis.cli.session import globals_of, open_workspace, reporting
from polis.cli.up import Agent, BundlePath, CloudInit, EnvFile, Image, NoAgent, Offline, Version, chosen_agent
from polis.errors import ExitCode
from polis.phase import Phase

if TYPE_CHECKING:
    from polis.plan import Plan

SWITCH = "polis stop, polis up"
"""What brings about a change that waits."""

WORDS = {"keep": "holds"}
"""Actions that are called otherwise than in `--json`."""


def plan(
    context: typer.Context,
    to: Annotated[Phase, typer.Option(help="As if `up` were to stop at this phase.")] = Phase.HEALTHY,
    recreate: Annotated[bool, typer.Option("--recreate", help="As if `up` were to delete the VM first.")] = False,
    adopt: Annotated[bool, typer.Option("--adopt", help="As if `up` were to take over the instance.")] = False,
    check: Annotated[bool, typer.Option("--check", help="Exit with 3 if anything is to be done.")] = False,
    image: Image = None,
    cloud_init: CloudInit = None,
    bundle: BundlePath = None,
    offline: Offline = None,
    version: Version = None,
    agent: Agent = None,
    no_agent: NoAgent = False,
    env_file: EnvFile = None,
) -> None:
    """Show what `polis up` would do, phase by phase, and why.

    It is asked with the same options. Changes nothing, and waits for nobody.
    """
    options = globals_of(context)
    with reporting(options):
        changed: dict[str, Any] = {"image": image, "cloud_init": cloud_init, "bundle": bundle, "version": version}
        changed |= {"env_file": env_file, "offline": offline}
        workspace = open_workspace(options, **changed, agent=chosen_agent(agent, none=no_agent))
        from polis.workspace import UpOptions

        found = workspace.plan(UpOptions(target=to, recreate=recreate, adopt=adopt))
        if options.json:
            output.document({"schema": 1, "workspace": workspace.name, **found.document()})
        else:
            globally = {"name": options.name, "driver": options.driver, "config": options.config}
            chosen = {"to": to if to is not Phase.HEALTHY else None, "adopt": adopt, **changed}
            chosen |= {"agent": agent, "no_agent": no_agent}
            output.result(render(found, workspace.name, _command({**globally, "recreate": found.recreate, **chosen})))
    if check and found.is_pending:
        raise typer.Exit(ExitCode.PENDING)


def render(found: Plan, name: str, up: str) -> str:
    """Return the plan for people; `up` is the command that would carry it out."""
    lines = [_header(found, name)]
    for step in found.steps:
        action = WORDS.get(step.action.value, step.action.value)
        lines.append(f"    {step.phase.value:<15}{action:<11}{step.reason}".rstrip())
    lines += [f"{change}: takes effect when the VM is next switched on: {SWITCH}" for change in found.deferred]
    if found.source:
        lines.append(f"the VM begins as {found.source}")
    return "\n".join([*lines, _next(found, up)])


def _header(found: Plan, name: str) -> str:
    held = "no phase holds" if found.held is Phase.ABSENT else f"{found.held} holds"
    recorded = f", {found.recorded} is recorded" if found.recorded is not found.held else ""
    return f"{name}: {held}{recorded}; the target is {found.target}"


def _next(found: Plan, up: str) -> str:
    if found.remedy and not found.recreate:
        return f"next: {found.remedy}"
    if found.next is not None:
        return f"next: {up}"
    if found.deferred:
        return f"next: polis stop, then {up}"
    return "nothing is to be done"


def _command(options: dict[str, Any]) -> str:
    """Return `polis up` with the options that were given here: without them it would do something else."""
    words = ["polis", "up"]
    for key, value in options.items():
        option = f"--{key.replace('_', '-')}"
        if value is True:
            words.append(option)
        elif value:
            words += [option, str(value)]
    return shlex.join(words)
