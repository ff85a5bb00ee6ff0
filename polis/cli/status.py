"""`polis status`: what is remembered, what is seen, what is missing."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import typer

from polis.cli import output
from polis.cli.globals import WATCH, seconds
from polis.cli.session import globals_of, open_workspace, reporting
from polis.errors import ExitCode, UsageError

if TYPE_CHECKING:
    from polis.status import Status

FIELDS = ("workspace", "phase", "target", "pending", "driver", "state", "agent", "error", "next")
"""What `--format` can name."""

SHOWN = 3
"""Failed checks that are told to people."""


def status(
    context: typer.Context,
    check: Annotated[bool, typer.Option("--check", help="Exit with 3 unless the workspace is healthy.")] = False,
    watch: Annotated[
        float | None,
        typer.Option(
            WATCH,
            metavar="[SECONDS]",
            min=0.2,
            callback=seconds,
            show_default=False,
            help="Look again and again, every 2 seconds or so often, until Ctrl-C.",
        ),
    ] = None,
    template: Annotated[
        str | None,
        typer.Option(
            "--format",
            metavar="TEXT",
            help="Print this, with {phase} and the like filled in: " + ", ".join(FIELDS) + "; {{ is a brace.",
        ),
    ] = None,
) -> None:
    """Show the phase that really holds, and what is missing.

    Changes nothing, waits for nobody. With --watch, what is seen is drawn anew on a terminal; elsewhere what changed is
    printed with its time (with --json a document a line). That a look failed is shown, and does not end it.
    """
    options = globals_of(context)
    with reporting(options):
        if template is not None and options.json:
            raise UsageError("--format and --json contradict each other", hint="`polis status --json` has all")
        if watch is not None and check:
            raise UsageError("--watch and --check contradict each other", hint="`polis status --check` looks once")
        parts = parse(template) if template is not None else None
        workspace = open_workspace(options)
        if watch is not None:
            from polis.cli import watching

            shown = (lambda seen: fill(parts, seen)) if parts is not None else render
            code = watching.watch(workspace.status, watch, watching.sink(options, shown))
            raise typer.Exit(code)
        found = workspace.status()
        if options.json:
            output.document(found.document)
        else:
            output.result(fill(parts, found) if parts is not None else render(found))
    if check and found.document["pending"]:
        raise typer.Exit(ExitCode.PENDING)


def parse(template: str) -> list[tuple[str, str | None]]:
    """Return the literal parts of a template, each with the field behind it. Raises UsageError.

    str.format itself would follow attributes and indices wherever they lead, so only plain names are taken.
    """
    from string import Formatter

    try:
        parts = list(Formatter().parse(template))
    except ValueError as error:
        raise UsageError(f"--format: {error}", hint="`{{` and `}}` stand for braces") from error
    for _, name, how, conversion in parts:
        if name is not None and (name not in FIELDS or how or conversion):
            bad = name + (f"!{conversion}" if conversion else "") + (f":{how}" if how else "")
            raise UsageError(
                f"--format: there is no field {{{output.one_line(bad)}}}", hint=f"the fields are {', '.join(FIELDS)}"
            )
    return [(literal, name) for literal, name, _, _ in parts]


def fill(parts: list[tuple[str, str | None]], found: Status) -> str:
    """Return a parsed template with its fields filled in; what there is nothing of is empty."""
    values = _fields(found)
    return "".join(literal + (output.one_line(values[name]) if name is not None else "") for literal, name in parts)


def _fields(found: Status) -> dict[str, str]:
    document = found.document
    instance, agent = document["instance"] or {}, document["agent"] or {}
    return {
        "workspace": document["workspace"],
        "phase": document["phase"],
        "target": document["target"],
        "pending": ",".join(document["pending"]),
        "driver": instance.get("driver") or "",
        "state": instance.get("state") or "",
        "agent": agent.get("name") or "",
        "error": (document["last_error"] or {}).get("message") or "",
        "next": found.next_command,
    }


def render(found: Status) -> str:
    """Return the status for people."""
    document = found.document
    rows = [
        ("workspace", document["workspace"]),
        ("phase", _phase(document)),
        ("instance", _instance(document["instance"])),
        *_agent(document["agent"]),
        *[("note", note) for note in found.notes],
        *[("drift", f"{entry['phase']}: {entry['reason']}") for entry in document["drift"]],
        *([("pending", ", ".join(document["pending"]))] if document["pending"] else []),
        *_obstacle(document),
        *_transition(document["transition"]),
        *_last_error(document["last_error"]),
        *_failing(document["checks"]),
        *[("service", _service(entry)) for entry in document["services"]],
        *([("next", found.next_command)] if found.next_command else []),
    ]
    return "\n".join(f"{label:<11}{output.one_line(text)}" for label, text in rows)


def _obstacle(document: dict[str, Any]) -> list[tuple[str, str]]:
    obstacle = document["obstacle"]
    if obstacle is None or document["instance"] is None or document["drift"]:
        return []
    return [("because", f"{obstacle['phase']}: {obstacle['reason']}")]


def _phase(document: dict[str, Any]) -> str:
    instance, phase = document["instance"], document["phase"]
    if phase == "absent" and instance is not None:
        return f"none holds: the VM is there, but {_condition(instance['state'])}"
    if document["recorded_phase"] != phase:
        return f"{phase} (recorded: {document['recorded_phase']})"
    return str(phase)


def _condition(state: str) -> str:
    return {"stopped": "off", "running": "not ready"}.get(state, state)


def _instance(instance: dict[str, Any] | None) -> str:
    if instance is None:
        return "none"
    kind = "" if instance["kind"] == "vm" else f", {instance['kind']}"
    return f"{instance['name']} ({instance['driver']}{kind}), {instance['state']} {' '.join(instance['ipv4'])}".rstrip()


def _agent(agent: dict[str, Any] | None) -> list[tuple[str, str]]:
    if agent is None:
        return []
    given = f", given {', '.join(agent['variables'])}" if agent["variables"] else ""
    return [("agent", f"{agent['name'] or ''}{given}" if agent["problem"] is None else agent["problem"])]


def _transition(transition: dict[str, Any] | None) -> list[tuple[str, str]]:
    if transition is None:
        return []
    if transition["alive"]:
        return [("at work", f"on the way to {transition['to']} (pid {transition['pid']})")]
    return [("broken off", f"on the way to {transition['to']}, at {transition['started_at']}")]


def _last_error(error: dict[str, Any] | None) -> list[tuple[str, str]]:
    if error is None:
        return []
    attempts = f", {error['attempts']} attempts" if error["attempts"] > 1 else ""
    rows = [("last error", f"{error['phase']}: {error['message']} ({error['at']}{attempts})")]
    return [*rows, ("hint", error["hint"])] if error["hint"] else rows


def _failing(checks: list[dict[str, Any]]) -> list[tuple[str, str]]:
    """Return the first checks that failed: after a first boot that broke off, nearly all of them do."""
    failed = [entry for entry in checks if entry["state"] == "failed"]
    rows = [("failing", f"{entry['name']}: {entry['detail']}") for entry in failed[:SHOWN]]
    if len(failed) > SHOWN:
        rows.append(("", f"and {len(failed) - SHOWN} more checks (`polis status --json` has them all)"))
    return rows


def _service(entry: dict[str, Any]) -> str:
    state = entry["state"] if entry["exit_code"] is None else f"{entry['state']} ({entry['exit_code']})"
    health = "" if entry["health"] == "none" else entry["health"]
    return f"{entry['name']:<14}{state:<14}{health}".rstrip()
