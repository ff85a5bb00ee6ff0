"""The page of all commands, from the parser: the same source as `--help` and the manual page."""

from __future__ import annotations

import inspect
import re
from typing import TYPE_CHECKING, Any

import typer

from docsite.markdown import code, plain, table
from polis import cli
from polis.cli import variables
from polis.cli.examples import EXAMPLES
from polis.cli.parsing import EPILOG

if TYPE_CHECKING:
    from collections.abc import Iterator

_VARIABLE = re.compile(r"env var: ([A-Z_]+)")
_NOTE = re.compile(r"  \[([^\[]*)\]\s*$")


def page() -> str:
    """Return all commands with their options, variables and examples."""
    root: Any = typer.main.get_command(cli.build())
    top = root.context_class(root, info_name="polis", resilient_parsing=True)
    lines = ["## Options of every command", "", EPILOG, "", *_options(top)]
    for context in _commands(top):
        lines += _command(context)
    return "\n".join([*lines, *_without_variable()])


def _commands(parent: Any) -> Iterator[Any]:
    for name in parent.command.list_commands(parent):
        command = parent.command.commands[name]
        if command.hidden:
            continue
        context = command.context_class(command, info_name=name, parent=parent, resilient_parsing=True)
        if hasattr(command, "commands"):
            yield from _commands(context)
        else:
            yield context


def _command(context: Any) -> Iterator[str]:
    path = variables.command_path(context)
    yield from (f"## polis {' '.join(path)}", "")
    usage = " ".join(context.command.collect_usage_pieces(context))
    yield from (f"    polis {' '.join(path)} {usage}", "")
    for paragraph in re.split(r"\n\s*\n", inspect.cleandoc(context.command.help or "")):
        yield from (plain(paragraph), "")
    yield from _options(context)
    lines = EXAMPLES.get(" ".join(path), ())
    if lines:
        yield from ("```sh", *lines, "```", "")


def _options(context: Any) -> Iterator[str]:
    rows = []
    for param in context.command.get_params(context):
        record = param.get_help_record(context)
        if record is not None and "--help" not in param.opts:
            rows.append(_option(*record))
    if rows:
        yield from table(("option", "meaning", "variable"), rows)


def _option(names: str, said: str) -> tuple[str, str, str]:
    """Return the row of an option from what `--help` says: words, then a note of variable, default and limits."""
    note = _NOTE.search(said)
    notes = [part.strip() for part in note[1].split(";")] if note else []
    variable = next((found[1] for part in notes if (found := _VARIABLE.fullmatch(part))), "")
    rest = "; ".join(part for part in notes if not _VARIABLE.fullmatch(part))
    words = said[: note.start()] if note else said
    return code(names), plain(f"{words} ({rest})" if rest else words), code(variable)


def _without_variable() -> Iterator[str]:
    yield from ("## Options without a variable", "")
    yield from ("No variable stands for these, so that nothing of the kind is inherited.", "")
    yield from table(("option", "why"), ((code(name), plain(why)) for name, why in variables.NOT_INHERITED.items()))
