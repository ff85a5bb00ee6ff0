"""`polis history`: what was done to the workspace, how long it took, and why it failed."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from polis.cli import output
from polis.cli.session import globals_of, open_workspace, reporting
from polis.durations import readable
from polis.errors import NotFound, UsageError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from polis.cli.globals import Globals
    from polis.history import PhaseRun, Run, Summary
    from polis.timeline import Timeline

TEXT_LIMIT = 300
"""Characters of a message that are shown; `--json` has all."""

PICTURES = (".svg", ".html")
"""How the name of a picture's file may end."""


MOST_RUNS = 10_000
"""How far back a run can be drawn: so many are kept in memory while the journal is read."""


def history(
    context: typer.Context,
    last: Annotated[int, typer.Option("-l", "--last", min=0, help="How many commands to show; 0: all.")] = 10,
    plot: Annotated[
        Path | None,
        typer.Option("--plot", metavar="FILE", help="Draw an `up` or `reset` over time instead, as .svg or .html."),
    ] = None,
    run: Annotated[
        int | None,
        typer.Option("--run", min=1, max=MOST_RUNS, help="Which one is drawn, counted from the last [default: 1]."),
    ] = None,
    force: Annotated[bool, typer.Option("--force", help="Replace a file that polis did not draw.")] = False,
) -> None:
    """Show the commands that changed the workspace, newest last, and what each phase usually takes."""
    options = globals_of(context)
    with reporting(options):
        if plot is not None:
            _plot(options, plot, run or 1, force=force)
            return
        if _is_typed(context, "run") or _is_typed(context, "force"):
            raise UsageError("`--run` and `--force` are about a picture", hint="add --plot FILE.svg")
        from polis import history as past

        workspace = open_workspace(options)
        found = workspace.history()
        past.mark_at_work(found)
        shown = found[-last:] if last else found
        summary = past.summarise(found)
        if options.json:
            output.document(
                {
                    "schema": 1,
                    "workspace": workspace.name,
                    "runs": [run.document() for run in shown],
                    "summary": [phase.document() for phase in summary],
                }
            )
        else:
            output.result(render(shown, len(found), summary))


def _is_typed(context: typer.Context, option: str) -> bool:
    """Return whether an option stands on the command line: a variable for it may be set once and for all."""
    source = context.get_parameter_source(option)
    return source is not None and source.name == "COMMANDLINE"


def _plot(options: Globals, target: Path, back: int, *, force: bool) -> None:
    """Draw one command. Raises UsageError for a file that cannot be meant, NotFound if there was no such command."""
    from polis.pictures import files

    files.require(target, PICTURES, force=force)
    found = _timeline(options, back)
    files.write(target, _drawn(found, target))
    if options.json:
        output.document({"schema": 1, "file": str(target), **found.document()})
    else:
        times = f"{_time(found.started_at)}, {readable(found.total_s)}"
        output.result(f"{target} shows `{_line(found.command)}` ({times}): {_outcome(found.outcome)}")


def _timeline(options: Globals, back: int) -> Timeline:
    from polis import paths, timeline
    from polis.journal import Journal

    workspace = open_workspace(options)
    directory = paths.find().workspace(workspace.name)
    found = timeline.find(workspace.name, Journal(directory).read(), back, datetime.now(UTC))
    if found is not None:
        return found
    workspace.history()  # tells if there is no workspace at all
    which = "`up` or `reset`" if back == 1 else f"`up` or `reset` number {back} from the last"
    raise NotFound(
        f"the history of workspace {workspace.name} has no {which}",
        remains="no file was written",
        hint="`polis history --last 0` shows what there is",
    )


def _drawn(found: Timeline, target: Path) -> str:
    from polis.pictures import drawing, page
    from polis.pictures import timeline as pictured

    return drawing.render(pictured.draw(found)) if target.suffix.lower() == ".svg" else page.render(found)


def render(shown: Sequence[Run], total: int, summary: Sequence[Summary]) -> str:
    """Return the last commands, and the summary of all, for people."""
    if not shown:
        return "nothing was done to this workspace yet"
    lines = [line for run in shown for line in _run(run)]
    if len(shown) < total:
        lines.insert(0, f"({total - len(shown)} earlier commands: `polis history --last 0` shows all)")
    return "\n".join([*lines, *_summary(summary, total)])


def _run(run: Run) -> list[str]:
    code = f"exit code {run.exit_code}" if run.exit_code is not None else ""
    words = [_outcome(run.outcome), code, readable(run.duration_s)]
    if not any(part.reason for part in run.phases) and run.error is not None:
        words.append(_line(run.error["message"]))
    return [
        f"{_time(run.started_at)}  {_typed(run)}: {', '.join(word for word in words if word)}",
        *[f"    {part.phase:<15}{_part(part)}" for part in run.phases],
        *[f"    warning: {_line(text)}" for text in run.warnings],
    ]


def _typed(run: Run) -> str:
    """Return the command with the target of an `up` that was to stop earlier."""
    to = f" --to {run.target}" if run.command == "up" and run.target not in ("", "healthy") else ""
    return _line(f"{run.command}{to}")


def _part(part: PhaseRun) -> str:
    words = [_outcome(part.outcome)]
    if part.duration_s is not None:
        words.append(f"in {readable(part.duration_s)}")
    if part.attempts > 1:
        words.append(f"at attempt {part.attempts}")
    if part.retries:
        words.append(f"after {part.retries} retries (the last because: {_line(part.retry_reason)})")
    told = " ".join(words)
    why = f": {_line(part.reason)}" if part.reason else ""
    drift = f"; it had held before: {_line(part.drift)}" if part.drift else ""
    return f"{told}{why}{drift}"


def _summary(summary: Sequence[Summary], total: int) -> list[str]:
    if not summary:
        return []
    rows = [
        f"    {phase.phase:<15}{phase.entered:>8}{phase.failed:>8}   {readable(phase.median_s) or '-'}"
        for phase in summary
    ]
    return [
        "",
        f"in all {total} command{'s' if total != 1 else ''}:",
        f"    {'':<15}{'entered':>8}{'failed':>8}   median",
        *rows,
    ]


def _outcome(outcome: str) -> str:
    return outcome.replace("-", " ")


def _time(text: str) -> str:
    """Return the time in UTC, to the second; a text that is none as it is."""
    try:
        return f"{datetime.fromisoformat(text).astimezone(UTC):%Y-%m-%d %H:%M:%S}Z"
    except (ValueError, OverflowError):
        return f"{_line(text)[:20]:<20}"


def _line(text: str) -> str:
    """Return a message on one line of bearable length."""
    line = " ".join(text.split())
    return line if len(line) <= TEXT_LIMIT else f"{line[:TEXT_LIMIT]}…"
