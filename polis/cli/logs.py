"""`polis logs`: what was logged by the services, in the VM, on its console, and by polis itself."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any

import typer

from polis.cli import completers, output
from polis.cli.session import globals_of, open_workspace, reporting
from polis.errors import interrupted
from polis.phase import Phase

if TYPE_CHECKING:
    from collections.abc import Callable
    from datetime import datetime

    from polis.logs.lines import Take
    from polis.workspace import Workspace

LINES = 200
MOST = 10_000
"""Lines, so that the one document of `--json` stays within memory."""

Service = Annotated[
    list[str] | None,
    typer.Option(
        "--service",
        metavar="NAME",
        help="Only this service; may be given again.",
        autocompletion=completers.services,
    ),
]
Within = Annotated[Phase | None, typer.Option("--phase", help="What polis did for this phase.")]
Since = Annotated[str | None, typer.Option(help="Only what is newer: 90s, 10m, 2h, 1d ago, or a time.")]
Lines = Annotated[int, typer.Option("-l", "--lines", min=1, max=MOST, help="How many of the last lines.")]


@dataclass(frozen=True)
class Asked:
    """What is asked for; `source` is services, guest, console, polis, or nothing in particular."""

    source: str
    lines: int
    services: tuple[str, ...]
    phase: Phase | None
    since: datetime | None
    follow: bool


def logs(
    context: typer.Context,
    service: Service = None,
    guest: Annotated[bool, typer.Option("--guest", help="The VM's own journal.")] = False,
    console: Annotated[bool, typer.Option("--console", help="The VM's console, be it on or off.")] = False,
    own: Annotated[bool, typer.Option("--polis", help="Polis's own log of this workspace.")] = False,
    phase: Within = None,
    follow: Annotated[bool, typer.Option("-f", "--follow", help="Go on with what is added, until Ctrl-C.")] = False,
    lines: Lines = LINES,
    since: Since = None,
) -> None:
    """Show the last lines that the services logged; without a VM that is on, what polis did."""
    options = globals_of(context)
    with reporting(options, compact=follow):
        from polis import hiding, paths
        from polis.logs.lines import moment

        given = {"services": bool(service), "guest": guest, "console": console, "polis": own or phase is not None}
        asked = Asked(
            source=_one([name for name, is_given in given.items() if is_given]),
            lines=lines,
            services=tuple(service or ()),
            phase=phase,
            since=moment(since) if since is not None else None,
            follow=follow,
        )
        workspace = open_workspace(options)
        # This process has read no secret yet, and others' words are full of them.
        hiding.learn(workspace.name, paths.find(), workspace.spec)
        source = _chosen(workspace, asked)
        heading = {"schema": 1, "workspace": workspace.name, "source": source}
        collected: list[str] = []
        take = _taker(heading, collected, as_json=options.json, follow=follow)
        try:
            _read(workspace, source, asked, take)
        except KeyboardInterrupt as interruption:
            if not follow:
                raise
            # There is no other end to it: nothing failed, and nothing has to be told.
            raise typer.Exit(int(interrupted(interruption, "").exit_code)) from None
        if options.json and not follow:
            output.document({**heading, "lines": collected})


def _one(given: list[str]) -> str:
    """Return the one source that is asked for, or nothing. Raises UsageError for several."""
    from polis.errors import UsageError

    if len(given) > 1:
        raise UsageError("--service, --guest, --console and --polis (or --phase) exclude each other")
    return "".join(given)


def _chosen(workspace: Workspace, asked: Asked) -> str:
    """Return the source: what is asked for, else what the workspace has. Raises NotFound, UsageError."""
    from polis import paths
    from polis.drivers.base import InstanceState
    from polis.errors import NotFound, UsageError

    is_known = paths.find().workspace(workspace.name).is_dir()
    if asked.source == "polis" and is_known:
        return asked.source  # a file on this host, whatever becomes of the driver
    instance = workspace.vm.driver.find(name=workspace.name)
    if instance is None and not is_known:
        raise NotFound(f"there is no workspace {workspace.name}", hint="`polis list` shows all, `polis up` makes one")
    if asked.source == "console" and asked.since is not None:
        raise UsageError("--since: the lines of the console have no times")
    if asked.source:
        return asked.source
    if instance is not None and instance.state is InstanceState.RUNNING:
        return "services"
    state = "there is no VM" if instance is None else f"the VM is {instance.state}"
    output.say(f"{state}: this is what polis did (`--console` shows the VM's last words)")
    return "polis"


def _taker(heading: dict[str, Any], collected: list[str], *, as_json: bool, follow: bool) -> Take:
    """Return what takes each line: for people at once, for scripts collected, or each by itself if it never ends."""
    if not as_json:
        return output.result
    if not follow:
        return collected.append
    return lambda line: output.document({**heading, "line": line}, compact=True)


def _require_own(workspace: Workspace) -> None:
    """Raise ForeignInstance for a VM of this name that is somebody else's: nothing of it is shown."""
    from polis import ownership, paths
    from polis.store import Store

    ownership.require_own(workspace.vm, Store(paths.find().workspace(workspace.name)).load().record)


def _read(workspace: Workspace, source: str, asked: Asked, take: Take) -> None:
    if source != "polis":
        _require_own(workspace)
    if source == "console":
        from polis.logs import console

        end = console.read(workspace.vm, asked.lines, take)
        if asked.follow:
            console.follow(workspace.vm, end, take)
    elif source == "polis":
        _read_own(workspace, asked, take)
    else:
        from polis.logs import inside

        request = inside.Request(source, asked.lines, asked.services, asked.since, asked.follow)
        inside.read(workspace.vm, request, take)


def _read_own(workspace: Workspace, asked: Asked, take: Take) -> None:
    from polis import paths
    from polis.logs import own

    directory = paths.find().workspace(workspace.name)
    phase = asked.phase.value if asked.phase is not None else None
    end, within = own.read(directory, asked.lines, take, phase=phase, since=asked.since)
    if asked.phase is Phase.LAUNCHED:
        _read_first_boot(workspace, asked.lines, take)
    if asked.follow:
        own.follow(directory, end, within, take)


def _read_first_boot(workspace: Workspace, lines: int, take: Take) -> None:
    """Show what cloud-init printed: from within the VM if it answers, else what of it the console has."""
    from polis.errors import PolisError
    from polis.logs import console, inside

    def told(heading: str, read: Callable[[Take], object]) -> PolisError | None:
        found: list[str] = []
        try:
            read(found.append)
        except PolisError as error:
            return error
        for line in (f"--- {heading}:", *found):
            take(line)
        return None

    try:
        _require_own(workspace)
    except PolisError as error:
        output.say(f"what cloud-init printed cannot be had: {error}")
        return
    request = inside.Request("cloud-init", lines)
    if told("cloud-init's output in the VM", lambda each: inside.read(workspace.vm, request, each)) is None:
        return
    problem = told("the VM's console", lambda each: console.read(workspace.vm, lines, each))
    if problem is not None:
        output.say(f"what cloud-init printed cannot be had: {problem}")
