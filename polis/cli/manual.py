"""`polis manual`: the manual page polis(1), made from the parser, so that it cannot lag behind it."""

from __future__ import annotations

import inspect
import re
from typing import TYPE_CHECKING, Any

import typer

from polis import __version__
from polis.cli import output
from polis.cli.session import globals_of, reporting

if TYPE_CHECKING:
    from collections.abc import Iterator

INTRODUCTION = """\
Polis takes a machine from nothing to a healthy, hardened workspace VM for AI agents, with one command that can be
interrupted anywhere and run again.
A workspace goes through six phases: absent, launched, configured, images-pulled, running, healthy.
Each is a fact about the world: it holds when its evidence is seen in the VM."""

FILES = (
    ("polis.yaml", "The configuration: in the current directory, else in the user's configuration directory."),
    (
        "~/.config/polis",
        "Records, keys and agents (on Linux; the platform's own place elsewhere, or below POLIS_HOME).",
    ),
)
VARIABLES = (
    ("POLIS_<KEY>", "Each key of polis.yaml; wins over the file. Lists and mappings are written as YAML."),
    ("POLIS_CONFIG", "The configuration file."),
    ("POLIS_HOME", "One directory for configuration, data, cache and logs."),
    ("NO_COLOR", "If set to anything, no colours are used."),
)


def manual(context: typer.Context) -> None:
    """Print the manual page polis(1), in roff.

    It has every command, option, variable and exit code.
    """
    options = globals_of(context)
    with reporting(options):
        text = page()
        if options.json:
            output.document({"schema": 1, "name": "polis", "section": 1, "roff": text})
        else:
            output.verbatim(text)


def page() -> str:
    """Return the page in roff, with the macros of man(7)."""
    from polis.cli import build
    from polis.cli.parsing import EPILOG

    root = typer.main.get_command(build())
    top = root.context_class(root, info_name="polis", resilient_parsing=True)
    lines = [
        f'.TH POLIS 1 "" "polis {__version__}" "Polis"',
        ".nh",  # names of variables are to be copied
        ".ad l",
        ".SH NAME",
        r"polis \- a healthy, hardened workspace VM for AI agents, with one command",
        ".SH SYNOPSIS",
        r".B polis",
        r"[\fIOPTIONS\fR] \fICOMMAND\fR [\fIARGUMENTS\fR]",
        ".SH DESCRIPTION",
        _text(INTRODUCTION),
        ".SH OPTIONS",
        _text(EPILOG),
        *_options(top),
        ".SH COMMANDS",
        *_commands(root, top),
        ".SH ENVIRONMENT",
        "Each option has the variable that is named with it.",
        *_list(VARIABLES),
        ".SH FILES",
        *_list(FILES),
        ".SH EXIT STATUS",
        *_list(_exit_codes()),
    ]
    return "\n".join(lines) + "\n"


def _commands(group: Any, parent: Any) -> Iterator[str]:
    for name in group.list_commands(parent):
        command = group.commands[name]
        if command.hidden:
            continue
        context = command.context_class(command, info_name=name, parent=parent, resilient_parsing=True)
        if hasattr(command, "commands"):
            yield from _commands(command, context)
            continue
        usage = " ".join(command.collect_usage_pieces(context))
        yield f'.SS "{_escape(context.command_path)} {_escape(usage)}"'
        yield from _paragraphs(inspect.cleandoc(command.help or ""))
        yield from _options(context)
        yield from _examples(context)


def _options(context: Any) -> Iterator[str]:
    for param in context.command.get_params(context):
        record = param.get_help_record(context)
        if record is None or "--help" in param.opts:
            continue
        yield ".TP"
        yield rf"\fB{_escape(record[0])}\fR"
        yield _text(record[1].replace("  [", " [")) or "."


def _examples(context: Any) -> Iterator[str]:
    from polis.cli.examples import EXAMPLES
    from polis.cli.variables import command_path

    lines = EXAMPLES.get(" ".join(command_path(context)), ())
    if lines:
        yield from (".PP", "Examples:", ".PP", ".nf", ".RS")
        yield from (_text(line) for line in lines)
        yield from (".RE", ".fi")


def _exit_codes() -> Iterator[tuple[str, str]]:
    from polis.cli.exit_codes import row
    from polis.errors import ExitCode

    for code in ExitCode:
        yield str(int(code)), row(code)["meaning"]


def _list(rows: Any) -> Iterator[str]:
    for term, text in rows:
        yield from (".TP", rf"\fB{_escape(term)}\fR", _text(text))


def _paragraphs(text: str) -> Iterator[str]:
    for index, part in enumerate(re.split(r"\n\s*\n", text)):
        if index:
            yield ".PP"
        yield _text(" ".join(part.split()))


def _text(text: str) -> str:
    """Return text that roff takes for nothing else: no line of it begins with a request."""
    return "\n".join(rf"\&{line}" if line[:1] in {".", "'"} else line for line in _escape(text).split("\n"))


def _escape(text: str) -> str:
    special = {"\\": r"\e", "-": r"\-", "`": r"\(ga", "'": r"\(aq", '"': r"\(dq", "^": r"\(ha", "~": r"\(ti"}
    return "".join(special.get(char, char if char.isascii() else rf"\[u{ord(char):04X}]") for char in text)
