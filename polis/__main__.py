"""The entry: nothing heavy is imported before the command is known."""

from __future__ import annotations

import gc
import os
import sys


def main() -> None:
    """Run the command line and exit with its code."""
    arguments = sys.argv[1:]
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
    from polis.cli.globals import command_of, hoist

    signals.install()
    sys.argv[1:] = hoist(arguments)
    try:
        build(only=command_of(sys.argv[1:]))(prog_name="polis")
    except KeyboardInterrupt:
        sys.exit(130)
    except BrokenPipeError:
        sys.exit(0)  # the reader of our output has seen enough
    except Exception as error:  # noqa: BLE001 -- the last line of defence; everything expected is a PolisError
        _confess(error, verbose=sum(word in ("-v", "--verbose") for word in arguments) + ("-vv" in arguments) * 2)
        sys.exit(1)


def _confess(error: Exception, *, verbose: int) -> None:
    if verbose > 1:
        import traceback

        traceback.print_exception(error)
    print(f"error: internal error: {type(error).__name__}: {error}", file=sys.stderr)
    print("this is a bug in polis; run the command again with -vv for the traceback, and report it", file=sys.stderr)


if __name__ == "__main__":
    main()
