"""The parser's commands: with a variable for each option, with examples, and with errors as JSON where that is asked.

All of it happens only when it is needed: examples are imported by `--help` alone.
"""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any

import typer
from typer._click.exceptions import ClickException
from typer.core import TyperCommand, TyperGroup, TyperOption

from polis.cli import variables

if TYPE_CHECKING:
    from collections.abc import Sequence

    from typer._click.core import Context, Parameter
    from typer._click.formatting import HelpFormatter

EPILOG = "The options of `polis --help` are accepted before and after every command."

FLEET = ("up", "stop", "reset", "delete")
STREAMING = (("up",), ("reset",), ("bundle", "export"), *(("fleet", name) for name in FLEET))
"""Commands that with --json print events, the last of which is the result."""


class Command(TyperCommand):
    """A command."""

    def get_params(self, ctx: Context) -> list[Parameter]:
        """Return the options, each with its variable."""
        return _with_variables(super().get_params(ctx), ctx)

    def format_help_text(self, ctx: Context, formatter: HelpFormatter) -> None:
        """Write what the command does, and examples."""
        super().format_help_text(ctx, formatter)
        _write_examples(ctx, formatter)


class Group(TyperGroup):
    """A group of commands, and polis itself."""

    def get_params(self, ctx: Context) -> list[Parameter]:
        """Return the options, each with its variable."""
        return _with_variables(super().get_params(ctx), ctx)

    def format_help_text(self, ctx: Context, formatter: HelpFormatter) -> None:
        """Write what the command does, and examples."""
        super().format_help_text(ctx, formatter)
        _write_examples(ctx, formatter)

    def list_commands(self, ctx: Context) -> list[str]:
        """Return the names of the commands; those of polis itself in the order of the table, groups among them."""
        from polis.cli import COMMANDS

        names = super().list_commands(ctx)
        return names if ctx.parent is not None else sorted(names, key=[*COMMANDS, *names].index)

    def main(
        self,
        args: Sequence[str] | None = None,
        prog_name: str | None = None,
        complete_var: str | None = None,
        standalone_mode: bool = True,
        windows_expand_args: bool = True,
        **extra: Any,
    ) -> Any:
        """Run the command line; what the parser refuses is told as JSON, too, if JSON was asked for."""
        words = list(sys.argv[1:] if args is None else args)
        try:
            code = super().main(args, prog_name, complete_var, False, windows_expand_args, **extra)
        except ClickException as problem:
            if not standalone_mode:
                raise
            code = _refuse(problem, words)
        except typer.Abort:
            if not standalone_mode:
                raise
            print("Aborted!", file=sys.stderr)
            code = 1
        if not standalone_mode:
            return code
        sys.exit(code if isinstance(code, int) else 0)


def equip(app: typer.Typer) -> None:
    """Make every command of an application, and of the groups in it, one of these."""
    for command in app.registered_commands:
        command.cls = Command
    for group in app.registered_groups:
        group.cls = Group
        if group.typer_instance is not None:
            equip(group.typer_instance)


def _with_variables(params: list[Parameter], context: Context) -> list[Parameter]:
    path = variables.command_path(context)
    for param in params:
        if not isinstance(param, TyperOption):
            continue
        name = variables.long_name(param.opts)
        variable = variables.variable(path, name)
        if variable is not None and variables.is_read_by_parser(name):
            param.envvar = variable
        elif variable is not None and f"[env var: {variable}" not in (param.help or ""):
            param.help = f"{param.help or ''}  [env var: {variable}]"
    return params


def _write_examples(context: Context, formatter: HelpFormatter) -> None:
    from polis.cli.examples import EXAMPLES

    lines = EXAMPLES.get(" ".join(variables.command_path(context)), ())
    if lines:
        with formatter.section("Examples"):
            for line in lines:  # never wrapped: they are there to be copied
                formatter.write(f"{'':{formatter.current_indent}}{line}\n")


def _refuse(problem: ClickException, words: list[str]) -> int:
    from polis.cli.globals import Globals, is_json

    if not is_json(words):
        problem.show()
        return problem.exit_code
    from polis.cli.session import reporting
    from polis.errors import UsageError

    context = getattr(problem, "ctx", None)
    path = variables.command_path(context) if context is not None else ()
    message = problem.format_message().splitlines() or [""]
    # Without any command the "message" is the whole help.
    told = message[0] if len(message) == 1 else "no command is given"
    try:
        with reporting(Globals(json=True), stream=path in STREAMING):
            raise UsageError(told, hint=f"`{' '.join(('polis', *path))} --help` shows what there is")
    except typer.Exit as ending:
        return ending.exit_code
