"""`polis fleet plan` and `polis fleet status`: what would be done, and what is known."""

from __future__ import annotations

import threading
from collections import Counter
from typing import TYPE_CHECKING, Annotated, Any

import typer

from polis.cli import output
from polis.cli.fleet.opening import PARALLEL, File, Parallel, Select, many, members_of
from polis.cli.session import globals_of, reporting
from polis.errors import ExitCode
from polis.phase import Phase

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from polis import events
    from polis.fleet.outcome import Outcome
    from polis.fleet.run import Deed, Result
    from polis.fleet.spec import Member
    from polis.paths import Paths
    from polis.workspace import Workspace


def plan(
    context: typer.Context,
    to: Annotated[Phase, typer.Option(help="As if `up` were to stop at this phase.")] = Phase.HEALTHY,
    check: Annotated[bool, typer.Option("--check", help="Exit with 3 if anything is to be done.")] = False,
    file: File = None,
    selector: Select = None,
    parallel: Parallel = PARALLEL,
) -> None:
    """Show what `polis fleet up` would do with every member, and why. Changes nothing, and waits for nobody."""
    options = globals_of(context)
    with reporting(options):
        from polis.fleet.outcome import worst
        from polis.workspace import UpOptions

        fleet, members, places = members_of(options, file, selector)
        found: dict[str, dict[str, Any]] = {}
        lock = threading.Lock()

        def deed(workspace: Workspace) -> str:
            document = workspace.plan(UpOptions(target=to)).document()
            with lock:
                found[workspace.name] = document
            return str(document["phase"])

        result = _quietly(members, deed, fleet.file, places, "plan", parallel)
        rows = [_planned(outcome, found.get(outcome.member)) for outcome in result.outcomes]
        pending = any(row["plan"] is None or row["plan"]["pending"] for row in rows)
        if options.json:
            output.document({"schema": 1, "file": str(fleet.file), "pending": pending, "members": rows})
        else:
            width = max(len(row["member"]) for row in rows)
            output.result("\n".join(f"{row['member']:<{width}}  {_in_words(row)}".rstrip() for row in rows))
    code = worst([result.exit_code, ExitCode.PENDING if check and pending else ExitCode.OK])
    if code:
        raise typer.Exit(int(code))


def status(
    context: typer.Context,
    check: Annotated[bool, typer.Option("--check", help="Exit with 3 unless all members are healthy.")] = False,
    probe: Annotated[bool, typer.Option("--probe", help="Ask every guest what really holds.")] = False,
    file: File = None,
    selector: Select = None,
    parallel: Parallel = PARALLEL,
) -> None:
    """Show every member's phase, as it is remembered, and whether its VM is on.

    Each engine is asked once, however many members it has. With --probe every guest is asked what really holds, as
    `polis status` does.
    """
    options = globals_of(context)
    with reporting(options):
        from polis.fleet import looking
        from polis.fleet.outcome import worst

        fleet, members, places = members_of(options, file, selector)
        sights = looking.look(members, places)
        rows = {sight.member.name: sight.document() for sight in sights}
        code = worst(sight.problem.exit_code for sight in sights if sight.problem is not None)
        if probe:
            known = [sight.member for sight in sights if sight.problem is None]
            code = worst([code, _probe(known, rows, setting=(fleet.file, places, parallel))])
        counts = dict(Counter(row["phase"] for row in rows.values()))
        if options.json:
            output.document({"schema": 1, "file": str(fleet.file), "counts": counts, "members": list(rows.values())})
        else:
            output.result("\n".join(_table(list(rows.values()))))
    if check and counts.get(Phase.HEALTHY.value, 0) < len(rows):
        code = worst([code, ExitCode.PENDING])
    if code:
        raise typer.Exit(int(code))


class _Silent:
    """A watcher that tells nothing: what was found is told at the end."""

    def begun(self, member: str) -> None:
        """Say nothing."""

    def happened(self, member: str, event: events.Event) -> None:
        """Say nothing."""

    def ended(self, outcome: Outcome) -> None:
        """Say nothing."""


def _quietly(members: Sequence[Member], deed: Deed, file: Path, places: Paths, command: str, parallel: int) -> Result:
    """Do something that changes nothing with every member. Raises Interrupted."""
    from polis.fleet.run import Setting, run
    from polis.fleet.schedule import InOrder

    result = run(members, InOrder(members), deed, Setting(places, file, f"fleet {command}", parallel, _Silent()))
    if result.interruption is not None:
        raise result.interruption
    return result


def _planned(outcome: Outcome, found: dict[str, Any] | None) -> dict[str, Any]:
    return {"member": outcome.member, "plan": found, "exit_code": int(outcome.exit_code), "error": outcome.error}


def _in_words(row: dict[str, Any]) -> str:
    """Return in one line what would be done with a member."""
    plan = row["plan"]
    if plan is None:
        return f"error: {output.one_line(row['error']['message'])}"
    step = next((step for step in plan["steps"] if step["action"] != "keep"), None)
    if step is None:
        later = "; ".join(plan["deferred"])
        return f"{plan['phase']}: {f'when it is next switched on: {later}' if later else 'nothing is to be done'}"
    way = f"{plan['phase']} → {plan['target']}"
    anew = " (needs --recreate)" if plan["recreate"] else ""
    return f"{way}: {step['phase']} {step['action']}{anew}  {output.one_line(step['reason'])}".rstrip()


def _probe(members: Sequence[Member], rows: dict[str, dict[str, Any]], *, setting: tuple[Path, Paths, int]) -> ExitCode:
    """Ask the guests, and write what holds into the rows; return the exit code of the worst."""
    file, places, parallel = setting
    lock = threading.Lock()

    def deed(workspace: Workspace) -> str:
        seen = workspace.status().document
        with lock:
            rows[workspace.name].update(
                phase=seen["phase"],
                remembered=False,
                pending=seen["pending"],
                obstacle=seen["obstacle"],
                state=seen["instance"]["state"] if seen["instance"] is not None else None,
            )
        return str(seen["phase"])

    result = _quietly(members, deed, file, places, "status", parallel)
    for outcome in result.outcomes:
        if outcome.error is not None:
            rows[outcome.member]["error"] = outcome.error
    return result.exit_code


def _table(rows: Sequence[dict[str, Any]]) -> list[str]:
    width = max(len("member"), *(len(row["member"]) for row in rows))
    lines = [f"{'member':<{width}}  {'phase':<14} {'VM':<10} {'driver':<10} detail"]
    for row in rows:
        told = f"{row['member']:<{width}}  {row['phase']:<14} {row['state'] or 'none':<10} {row['driver'] or '-':<10}"
        lines.append(f"{told} {_detail(row)}".rstrip())
    counts = ", ".join(f"{count} {phase}" for phase, count in Counter(row["phase"] for row in rows).items())
    how = "as remembered; --probe asks the guests" if any(row["remembered"] for row in rows) else "as seen"
    return [*lines, f"{many(len(rows))}: {counts} ({how})"]


def _detail(row: dict[str, Any]) -> str:
    """Return in one line what is not as it should be."""
    if row["error"] is not None:
        return f"error: {output.one_line(row['error']['message'])}"
    if row["transition"] is not None:
        word = "on the way to" if row["transition"]["alive"] else "broken off on the way to"
        return f"{word} {row['transition']['to']}"
    if row.get("obstacle"):
        return output.one_line(row["obstacle"]["reason"])
    if row["last_error"] is not None:
        return f"last error: {output.one_line(row['last_error']['message'])}"
    return f"{row['recorded_phase']} is remembered" if row["phase"] != row["recorded_phase"] else ""
