"""The entry: nothing heavy is imported before the command is known."""

from __future__ import annotations

import contextlib
import errno
import gc
import os
import sys


def main() -> None:
    """Run the command line and exit with its code; with 141 and no words if nobody reads its output any more."""
    try:
        try:
            _run(sys.argv[1:])
        finally:
            _flush()
    except BrokenPipeError:
        _end_unread()
    except SystemExit as ending:
        # typer makes 1 of a broken pipe, polis.cli.output makes 141.
        if not isinstance(ending.__context__, BrokenPipeError):
            raise
        _end_unread()


def _run(arguments: list[str]) -> None:
    if arguments == ["--version"]:
        from polis import __version__

        print(__version__)
        return
    # Nothing that is imported from here on becomes garbage, and no plugin of the model library is wanted: collecting
    # and looking for them take a tenth of the start-up.
    gc.disable()
    os.environ.setdefault("PYDANTIC_DISABLE_PLUGINS", "__all__")
    from polis import signals
    from polis.cli import build
    from polis.cli.globals import command_of, hoist, verbosity

    signals.install()
    if shell := os.environ.pop("_POLIS_COMPLETE", ""):
        from polis.cli import completing

        completing.main(shell, arguments)
        return
    sys.argv[1:] = hoist(arguments)
    try:
        build(only=command_of(sys.argv[1:]))(prog_name="polis")
    except KeyboardInterrupt:
        sys.exit(130)
    except BrokenPipeError:
        raise  # no bug: `main` knows what it means
    except Exception as error:  # noqa: BLE001 -- the last line of defence; everything expected is a PolisError
        _confess(error, verbose=verbosity(sys.argv[1:]))
        _confess_to_scripts(error, sys.argv[1:])
        sys.exit(1)


def _flush() -> None:
    """Write what is still buffered: it would fail at the very end, with Python's words."""
    try:
        print(end="", flush=True)
    except OSError as error:
        if error.errno != errno.EIO:
            raise
        _silence(1)  # the terminal was closed: a signal said so, and its exit code counts


def _end_unread() -> None:
    from polis.errors import ExitCode

    # Python flushes both once more on its way out; see "Note on SIGPIPE" in the documentation of its signal module.
    # Restoring SIGPIPE's own action is no way: a guest that breaks off would end polis too.
    _silence(1, 2)
    sys.exit(ExitCode.READER_GONE)


def _silence(*descriptors: int) -> None:
    nowhere = os.open(os.devnull, os.O_WRONLY)
    for descriptor in descriptors:
        os.dup2(nowhere, descriptor)


def _confess(error: Exception, *, verbose: int) -> None:
    if verbose > 1:
        import traceback

        traceback.print_exception(error)
    from polis import log
    from polis.redaction import redact

    own_log = log.current()
    if own_log is not None:
        own_log.broke(error)
    print(f"error: internal error: {redact(f'{type(error).__name__}: {error}')}", file=sys.stderr)
    if own_log is not None and own_log.is_written:
        print(f"log: {own_log.path}", file=sys.stderr)
    print("this is a bug in polis; run the command again with -vv for the traceback, and report it", file=sys.stderr)


def _confess_to_scripts(error: Exception, words: list[str]) -> None:
    """Print the document that a script waits for, which asked for JSON; `words` are hoisted."""
    from polis.cli.globals import Globals, command_of, is_json

    if not is_json(words):
        return
    import typer

    from polis.cli.session import reporting
    from polis.errors import PolisError

    command = command_of(words)
    stream = command in ("up", "start", "reset") or (command == "bundle" and "export" in words)
    stream = stream or (command == "fleet" and any(word in words for word in ("up", "stop", "reset", "delete")))
    with contextlib.suppress(typer.Exit), reporting(Globals(json=True), stream=stream):
        raise PolisError(
            f"internal error: {type(error).__name__}: {error}",
            hint="this is a bug in polis; run the command again with -vv for the traceback, and report it",
        )


if __name__ == "__main__":
    main()
