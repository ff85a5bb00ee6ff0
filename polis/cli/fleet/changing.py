"""`polis fleet up`, `stop`, `reset` and `delete`: what a single command does, with every member that is meant."""

from __future__ import annotations

import shlex
from typing import TYPE_CHECKING, Annotated

import typer

from polis.cli import output
from polis.cli.fleet.opening import PARALLEL, File, Parallel, Select, members_of, shown
from polis.cli.globals import Wait
from polis.cli.session import confirm, globals_of, reporting
from polis.phase import Phase

if TYPE_CHECKING:
    from pathlib import Path

    from polis.cli.globals import Globals
    from polis.fleet.run import Deed, Result
    from polis.fleet.spec import Fleet
    from polis.workspace import Workspace

Unavailable = Annotated[
    str | None,
    typer.Option(
        "--max-unavailable",
        metavar="N|N%",
        help="Upgrade by turns: never more than so many members down, and none after the first failure.",
    ),
]


def up(
    context: typer.Context,
    to: Annotated[Phase, typer.Option(help="Stop at this phase.")] = Phase.HEALTHY,
    recreate: Annotated[
        bool,
        typer.Option("--recreate", help="Delete the VMs of members that need a new one, with all that is in them."),
    ] = False,
    max_unavailable: Unavailable = None,
    file: File = None,
    selector: Select = None,
    parallel: Parallel = PARALLEL,
    wait: Wait = 0.0,
) -> None:
    """Take every member to healthy, from wherever each is.

    One member's failure stops no other; the exit code is that of the worst. Run it again after any interruption: what
    holds is not done again.
    """
    options = globals_of(context)
    with reporting(options, stream=True):
        from polis.errors import UsageError
        from polis.fleet import rolling, run, schedule
        from polis.workspace import UpOptions

        fleet, members, places = members_of(options, file, selector)
        limit = schedule.limit(max_unavailable, len(members)) if max_unavailable is not None else None
        if limit is not None and to is not Phase.HEALTHY:
            raise UsageError("--max-unavailable and --to contradict each other", hint="only healthy members are up")
        if recreate:
            confirm(
                f"Delete the VMs of those of {len(members)} members that need a new one, and make new ones?", options
            )
        wanted = UpOptions(target=to, wait=wait)

        def deed(workspace: Workspace) -> str:
            anew = recreate and workspace.plan(wanted).recreate
            return workspace.up(UpOptions(target=to, recreate=anew, wait=wait)).value

        with shown(options, "up", fleet, members, places, parallel) as setting:
            if limit is None:
                result = run.run(members, schedule.InOrder(members), deed, setting)
            else:
                result = rolling.upgrade(members, deed, setting, wanted, limit, recreate=recreate)
    _end(options, result, fleet, selector, ["--max-unavailable", max_unavailable] if max_unavailable else [])


def stop(
    context: typer.Context,
    file: File = None,
    selector: Select = None,
    parallel: Parallel = PARALLEL,
    wait: Wait = 0.0,
) -> None:
    """Stop every member's services, then switch its VM off. `polis fleet up` brings all back."""
    _carry_out(
        context,
        "stop",
        file,
        selector,
        parallel,
        lambda workspace: ("stopped" if workspace.stop(wait=wait) else "off") if workspace.exists() else "none",
    )


def reset(
    context: typer.Context,
    to: Annotated[Phase | None, typer.Option(help="Leave all phases above this one.")] = None,
    file: File = None,
    selector: Select = None,
    parallel: Parallel = PARALLEL,
    wait: Wait = 0.0,
) -> None:
    """Leave the current phase of every member, or several.

    Without --to it is one back; `--to absent` deletes the VMs.
    """
    question = "Delete the VMs of {} members with all that is in them: {}?" if to is Phase.ABSENT else ""
    _carry_out(
        context,
        "reset",
        file,
        selector,
        parallel,
        lambda workspace: workspace.reset(to, wait=wait).value if workspace.exists() else "none",
        question,
    )


def delete(
    context: typer.Context,
    everything: Annotated[
        bool, typer.Option("--all", help="Also destroy the members' keys and passwords, and their agents'.")
    ] = False,
    file: File = None,
    selector: Select = None,
    parallel: Parallel = PARALLEL,
    wait: Wait = 0.0,
) -> None:
    """Delete every member's VM with all that is in it, and its record.

    Keys and passwords stay, for VMs of the same names, unless --all is given.
    """
    also = ", and their keys and passwords for good" if everything else ""
    _carry_out(
        context,
        "delete",
        file,
        selector,
        parallel,
        lambda workspace: "deleted" if workspace.delete(wait=wait, secrets=everything) else "none",
        f"Delete {{}} members with all that is in them{also}: {{}}?",
    )


def _carry_out(
    context: typer.Context,
    command: str,
    file: Path | None,
    selector: str | None,
    parallel: int,
    deed: Deed,
    question: str = "",
) -> None:
    """Do something with every member that is meant, after the question if there is one."""
    options = globals_of(context)
    with reporting(options, stream=True):
        from polis.fleet import run
        from polis.fleet.schedule import InOrder

        fleet, members, places = members_of(options, file, selector)
        if question:
            names = ", ".join(member.name for member in members[:8]) + (", …" if len(members) > 8 else "")  # noqa: PLR2004 -- a line
            confirm(question.format(len(members), names), options)
        with shown(options, command, fleet, members, places, parallel) as setting:
            result = run.run(members, InOrder(members), deed, setting)
    _end(options, result, fleet, selector, [])


def _end(options: Globals, result: Result, fleet: Fleet, selector: str | None, more: list[str]) -> None:
    """Tell how it ended, and end with the exit code of the worst member."""
    from polis.cli.fleet import summary

    if options.json:
        output.document(summary.document(result), compact=True)
    else:
        words = ["polis", *options.command.split(), "-f", str(fleet.file)]
        words += ["--selector", selector] if selector else []
        summary.tell(result, fleet.file, shlex.join([*words, *more]))
    if result.exit_code:
        raise typer.Exit(int(result.exit_code))
