"""What every command shares: opening a workspace, asking, and ending with the right exit code."""

from __future__ import annotations

import contextlib
import gc
import os
import sys
from typing import TYPE_CHECKING, Any

from polis.cli import output
from polis.cli.globals import Globals
from polis.errors import PolisError, UsageError, interrupted

if TYPE_CHECKING:
    from collections.abc import Iterator

    import typer

    from polis.config import Spec
    from polis.log import RunLog
    from polis.workspace import Workspace

CHANGING = (
    "up",
    "start",
    "reset",
    "stop",
    "delete",
    "bundle export",
    *(f"fleet {name}" for name in ("up", "stop", "reset", "delete")),
)
"""Commands that change something, as they are typed."""


def globals_of(context: typer.Context) -> Globals:
    """Return the global options of this call."""
    options: Globals = context.ensure_object(Globals)
    options.command = " ".join(context.command_path.split()[1:])
    return options


def specification(options: Globals, **overrides: Any) -> Spec:
    """Return what the command line, the environment and the file ask for. Raises ConfigurationError."""
    from polis import defaults, paths

    flags = {**options.overrides, **overrides}
    directory = paths.find().config
    plain = defaults.unconfigured(flags, file=options.config, user_directory=directory, environ=os.environ)
    if plain is not None:
        return plain
    from polis import config

    return config.load(flags, file=options.config, user_directory=directory)


def open_workspace(options: Globals, *, progress: bool = False, **overrides: Any) -> Workspace:
    """Return the workspace that the command line, the environment and the file describe.

    With `progress`, events are shown: as JSON lines with --json, as a live list on a terminal, else as plain lines.
    """
    from polis import assembly, events, log, paths
    from polis.store import Store
    from polis.workspace import Workspace

    places = paths.find()
    spec = specification(options, **overrides)
    own_log = log.begin(places.workspace(spec.name), options.command)
    stream = events.Stream([own_log])
    if progress:
        from polis.cli.progress import sink

        stream.add(sink(json=options.json, quiet=options.quiet, no_color=options.no_color, lines=options.verbose > 0))
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
    workspace = Workspace(spec, places, stream, driver)
    workspace.meter.listener = stream.emit if options.verbose else own_log.take
    if options.verbose and not options.json:
        from polis.cli.calls import CallLines

        stream.add(CallLines())
    return workspace


@contextlib.contextmanager
def reporting(options: Globals, *, stream: bool = False, compact: bool = False) -> Iterator[None]:
    """Turn a failure into its words and its exit code; a `stream` of events ends with a result event instead.

    `compact` is for a command that prints an object a line: its error document is one of them.
    """
    import typer

    from polis import log

    log.forget()
    try:
        yield
    except KeyboardInterrupt as interruption:
        problem: PolisError = interrupted(interruption, "interrupted", hint="run the same command again")
    except PolisError as caught:
        problem = caught
    else:
        return
    _report(problem, options, stream=stream, compact=compact)
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


def _report(problem: PolisError, options: Globals, *, stream: bool, compact: bool) -> None:
    from polis import log
    from polis.events import Finished, describe
    from polis.phase import Phase

    own_log = log.current()
    if own_log is not None:
        own_log.failed(problem)
    if options.json and stream:
        phase = problem.phase or Phase.ABSENT
        final = Finished(outcome="failed", phase=phase, exit_code=int(problem.exit_code), error=describe(problem))
        output.document(final.payload(), compact=True)
    elif options.json:
        document = {"schema": 1, "exit_code": int(problem.exit_code), "error": describe(problem)}
        output.document(document, compact=compact)
    else:
        path = own_log.path if own_log is not None and _is_told_in(own_log, options) else None
        output.error(problem, log=path, colour=not options.no_color)


def _is_told_in(own_log: RunLog, options: Globals) -> bool:
    """Return whether a user is to be led to the log: a reading command has little to tell there."""
    return own_log.is_written and options.command in CHANGING and own_log.path.exists()
