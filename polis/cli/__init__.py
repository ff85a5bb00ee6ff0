"""The command line: parse, call, render. No decisions live here."""

from __future__ import annotations

import importlib
import os
from pathlib import Path
from typing import Annotated

import typer

from polis.cli import completers
from polis.cli.globals import Globals
from polis.cli.parsing import EPILOG, Group, equip

COMMANDS = {
    # a workspace's life
    "up": "up:up",
    "start": "up:up",
    "status": "status:status",
    "plan": "plan:plan",
    "stop": "stop:stop",
    "reset": "reset:reset",
    "delete": "delete:delete",
    "fleet": "fleet:app",
    # into it
    "exec": "guest:exec_",
    "shell": "guest:shell",
    "ssh-config": "ssh_config:ssh_config",
    "logs": "logs:logs",
    # what was, and what is wrong
    "list": "listing:list_",
    "history": "history:history",
    "graph": "graph:graph",
    "doctor": "doctor:doctor",
    "support-bundle": "support_bundle:support_bundle",
    # what it is made of
    "agent": "agent:app",
    "config": "config:app",
    "cloud-init": "cloud_init:app",
    "bundle": "bundle:app",
    # polis itself
    "completion": "completion:completion",
    "manual": "manual:manual",
    "exit-codes": "exit_codes:exit_codes",
    "version": "version:version",
}
"""Each command: the module of this package and the function (or group) in it, in the order in which one
meets them. `start` is another name of `up`."""

PASSED_THROUGH = {"allow_interspersed_args": False, "ignore_unknown_options": True}
"""For a command whose words belong to the guest."""


def build(only: str | None = None) -> typer.Typer:
    """Return the application, with all commands or with just the one that was typed.

    Each import costs a millisecond, and `status` sits in people's prompts.
    """
    app = typer.Typer(
        no_args_is_help=True,
        cls=Group,
        add_completion=False,  # `polis completion` does it without starting shells or loading rich
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
    equip(app)
    return app


def _nothing() -> None:
    """Stand beside a single command."""


def _print_version(wanted: bool) -> None:
    """Print the version at once, whatever else is typed."""
    if wanted:
        from polis import __version__

        print(__version__)
        raise typer.Exit


def _globals(
    context: typer.Context,
    name: Annotated[
        str | None,
        typer.Option("-n", "--name", help="The workspace [default: polis].", autocompletion=completers.workspaces),
    ] = None,
    driver: Annotated[
        str | None,
        typer.Option(
            "--driver",
            help="Where the VM comes from: multipass, qemu or incus.",
            autocompletion=completers.drivers,
        ),
    ] = None,
    config: Annotated[Path | None, typer.Option("--config", help="The configuration file [./polis.yaml].")] = None,
    json: Annotated[bool, typer.Option("--json", help="Print JSON on stdout, and nothing else.")] = False,
    quiet: Annotated[bool, typer.Option("-q", "--quiet", help="Print no progress.")] = False,
    verbose: Annotated[
        int, typer.Option("-v", "--verbose", count=True, show_default=False, help="Tell more; twice: tracebacks.")
    ] = 0,
    no_color: Annotated[bool, typer.Option("--no-color", help="Never use colours (as NO_COLOR does).")] = False,
    yes: Annotated[bool, typer.Option("-y", "--yes", help="Answer every question with yes.")] = False,
    version: Annotated[  # noqa: ARG001 -- the callback has answered
        bool, typer.Option("--version", help="Print the version and exit.", is_eager=True, callback=_print_version)
    ] = False,
) -> None:
    """Take a machine from nothing to a healthy, hardened workspace VM for AI agents, with one command: polis up."""
    no_color = no_color or bool(os.environ.get("NO_COLOR"))  # set to anything at all: https://no-color.org
    context.obj = Globals(name, driver, config, json, quiet, verbose, no_color, yes)
