"""`polis status`: what is remembered, what is seen, what is missing."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import typer

from polis.cli import output
from polis.cli.session import globals_of, open_workspace, reporting
from polis.errors import ExitCode

if TYPE_CHECKING:
    from polis.status import Status

SHOWN = 3
"""Failed checks that are told to people."""


def status(
    context: typer.Context,
    check: Annotated[bool, typer.Option("--check", help="Exit with 3 unless the workspace is healthy.")] = False,
) -> None:
    """Show the phase that really holds, and why the next one does not. Changes nothing, waits for nobody."""
    options = globals_of(context)
    with reporting(options):
        found = open_workspace(options).status()
        if options.json:
            output.document(found.document)
        else:
            output.result(render(found))
    if check and found.document["pending"]:
        raise typer.Exit(ExitCode.PENDING)


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
    return f"{instance['name']} ({instance['driver']}), {instance['state']} {' '.join(instance['ipv4'])}".rstrip()


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
    failed = [entry for entry in checks if not entry["ok"]]
    rows = [("failing", f"{entry['name']}: {entry['detail']}") for entry in failed[:SHOWN]]
    if len(failed) > SHOWN:
        rows.append(("", f"and {len(failed) - SHOWN} more checks (`polis status --json` has them all)"))
    return rows


def _service(entry: dict[str, Any]) -> str:
    state = entry["state"] if entry["exit_code"] is None else f"{entry['state']} ({entry['exit_code']})"
    health = "" if entry["health"] == "none" else entry["health"]
    return f"{entry['name']:<14}{state:<14}{health}".rstrip()
