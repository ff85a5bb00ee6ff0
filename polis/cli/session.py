"""What every command shares: opening a workspace, asking, and ending with the right exit code."""

from __future__ import annotations

import contextlib
import gc
import sys
from typing import TYPE_CHECKING, Any

from polis.cli import output
from polis.cli.globals import Globals
from polis.errors import PolisError, UsageError, interrupted

if TYPE_CHECKING:
    from collections.abc import Iterator

    import typer

    from polis.config import Spec
    from polis.workspace import Workspace


def globals_of(context: typer.Context) -> Globals:
    """Return the global options of this call."""
    options: Globals = context.ensure_object(Globals)
    return options


def specification(options: Globals, **overrides: Any) -> Spec:
    """Return what the command line, the environment and the file ask for. Raises ConfigurationError."""
    from polis import config, paths

    flags = {**options.overrides, **overrides}
    return config.load(flags, file=options.config, user_directory=paths.find().config)


def open_workspace(options: Globals, *, progress: bool = False, **overrides: Any) -> Workspace:
    """Return the workspace that the command line, the environment and the file describe.

    With `progress`, events are shown: as JSON lines with --json, else as plain lines.
    """
    from polis import assembly, events, paths
    from polis.store import Store
    from polis.workspace import Workspace

    places = paths.find()
    spec = specification(options, **overrides)
    stream = events.Stream()
    if progress:
        stream.add(output.JsonLines() if options.json else output.PlainLines(quiet=options.quiet))
    elif not options.json:
        stream.add(output.PlainLines(quiet=True))
    gc.freeze()
    gc.enable()  # start-up is over; see polis.__main__
    record = Store(places.workspace(spec.name)).load().record
    driver = assembly.driver(
        spec,
        places,
        lambda text: stream.emit(events.Disclosed(message=text)),
        recorded=record.driver if record is not None else None,
    )
    return Workspace(spec, places, stream, driver)


@contextlib.contextmanager
def reporting(options: Globals, *, stream: bool = False) -> Iterator[None]:
    """Turn a failure into its words and its exit code; a `stream` of events ends with a result event instead."""
    import typer

    try:
        yield
    except KeyboardInterrupt as interruption:
        problem: PolisError = interrupted(interruption, "interrupted", hint="run the same command again")
    except PolisError as caught:
        problem = caught
    else:
        return
    _report(problem, options, stream=stream)
    raise typer.Exit(int(problem.exit_code))


def confirm(question: str, options: Globals) -> None:
    """Ask before something is lost; --yes answers, and without a terminal there is nobody to ask.

    Raises UsageError if the answer is no, or if nobody can answer.
    """
    if options.yes:
        return
    if not sys.stdin.isatty():
        raise UsageError("this needs a confirmation, and there is no terminal to ask on", hint="add --yes")
    print(f"{question} [y/N] ", end="", file=sys.stderr, flush=True)
    if sys.stdin.readline().strip().lower() not in ("y", "yes"):
        raise UsageError("not confirmed", remains="nothing was changed")


def _report(problem: PolisError, options: Globals, *, stream: bool) -> None:
    from polis.events import Finished, describe
    from polis.phase import Phase

    if options.json and stream:
        phase = problem.phase or Phase.ABSENT
        final = Finished(outcome="failed", phase=phase, exit_code=int(problem.exit_code), error=describe(problem))
        output.document(final.payload(), compact=True)
    elif options.json:
        output.document({"schema": 1, "exit_code": int(problem.exit_code), "error": describe(problem)})
    else:
        output.error(problem)
