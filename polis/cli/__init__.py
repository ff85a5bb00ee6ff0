"""The command line: parse, call, render. No decisions live here."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from polis.cli.globals import Globals

EPILOG = "The options of `polis --help` are accepted before and after every command."


def build() -> typer.Typer:
    """Return the application. Commands are small files; what they need is imported when they run."""
    from polis.cli import delete, guest, listing, reset, status, stop, up, version

    app = typer.Typer(
        no_args_is_help=True,
        add_completion=True,
        rich_markup_mode=None,
        pretty_exceptions_enable=False,
        context_settings={"help_option_names": ["-h", "--help"]},
        callback=_globals,
    )
    app.command("up", epilog=EPILOG)(up.up)
    app.command("start", epilog=EPILOG, hidden=True)(up.up)
    app.command("status", epilog=EPILOG)(status.status)
    app.command("reset", epilog=EPILOG)(reset.reset)
    app.command("stop", epilog=EPILOG)(stop.stop)
    app.command("delete", epilog=EPILOG)(delete.delete)
    app.command(
        "exec", epilog=EPILOG, context_settings={"allow_interspersed_args": False, "ignore_unknown_options": True}
    )(guest.exec_)
    app.command("shell", epilog=EPILOG)(guest.shell)
    app.command("list", epilog=EPILOG)(listing.list_)
    app.command("version", epilog=EPILOG)(version.version)
    return app


def _globals(
    context: typer.Context,
    name: Annotated[str | None, typer.Option("-n", "--name", help="The workspace [default: polis].")] = None,
    driver: Annotated[str | None, typer.Option("--driver", help="Where the VM comes from: qemu.")] = None,
    config: Annotated[Path | None, typer.Option("--config", help="The configuration file [./polis.yaml].")] = None,
    json: Annotated[bool, typer.Option("--json", help="Print JSON on stdout, and nothing else.")] = False,
    quiet: Annotated[bool, typer.Option("-q", "--quiet", help="Print no progress.")] = False,
    verbose: Annotated[int, typer.Option("-v", "--verbose", count=True, help="Tell more; twice: tracebacks.")] = 0,
    no_color: Annotated[bool, typer.Option("--no-color", help="Never use colours (as NO_COLOR does).")] = False,
    yes: Annotated[bool, typer.Option("-y", "--yes", help="Answer every question with yes.")] = False,
    version: Annotated[bool, typer.Option("--version", help="Print the version and exit.")] = False,
) -> None:
    """Take a machine from nothing to a healthy, hardened workspace VM for AI agents, with one command: polis up."""
    if version:
        from polis import __version__

        print(__version__)
        raise typer.Exit
    context.obj = Globals(name, driver, config, json, quiet, verbose, no_color, yes)
