"""The command line: parse, call, render. No decisions live here."""

from __future__ import annotations

import importlib
from pathlib import Path
from typing import Annotated

import typer

from polis.cli.globals import Globals

EPILOG = "The options of `polis --help` are accepted before and after every command."


COMMANDS = {
    "up": "up:up",
    "start": "up:up",
    "status": "status:status",
    "plan": "plan:plan",
    "reset": "reset:reset",
    "stop": "stop:stop",
    "delete": "delete:delete",
    "exec": "guest:exec_",
    "shell": "guest:shell",
    "ssh-config": "ssh_config:ssh_config",
    "list": "listing:list_",
    "history": "history:history",
    "doctor": "doctor:doctor",
    "version": "version:version",
    "cloud-init": "cloud_init:app",
    "bundle": "bundle:app",
    "agent": "agent:app",
}
"""Each command: the module of this package and the function (or group) in it. `start` is another name of `up`."""

PASSED_THROUGH = {"allow_interspersed_args": False, "ignore_unknown_options": True}
"""For a command whose words belong to the guest."""


def build(only: str | None = None) -> typer.Typer:
    """Return the application, with all commands or with just the one that was typed.

    Each import costs a millisecond, and `status` sits in people's prompts.
    """
    app = typer.Typer(
        no_args_is_help=True,
        add_completion=True,
        rich_markup_mode=None,
        pretty_exceptions_enable=False,
        context_settings={"help_option_names": ["-h", "--help"]},
        callback=_globals,
    )
    for name, place in COMMANDS.items():
        if only in COMMANDS and name != only:
            continue
        module, _, function = place.partition(":")
        body = getattr(importlib.import_module(f"polis.cli.{module}"), function)
        if isinstance(body, typer.Typer):
            app.add_typer(body, name=name, epilog=EPILOG)
            continue
        settings = PASSED_THROUGH if name == "exec" else {}
        app.command(name, epilog=EPILOG, hidden=name == "start", context_settings=settings)(body)
    if only in COMMANDS:
        app.command("help", hidden=True)(_nothing)  # with a single command, typer would leave its name out
    return app


def _nothing() -> None:
    """Stand beside a single command."""


def _globals(
    context: typer.Context,
    name: Annotated[str | None, typer.Option("-n", "--name", help="The workspace [default: polis].")] = None,
    driver: Annotated[str | None, typer.Option("--driver", help="Where the VM comes from: multipass or qemu.")] = None,
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
