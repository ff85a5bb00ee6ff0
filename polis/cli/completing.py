"""What a shell offers for the word under the cursor, worked out from the parser itself.

A script of `polis completion` calls polis with the words of the command line as they are, `_POLIS_COMPLETE` set to the
shell's name. The answer is a line for each candidate (`value<TAB>description`), and a last line that says whether
files are wanted as well. typer's own way would render each description with rich, and does not know that global
options may stand behind the command.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from polis.cli import completers

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

VARIABLE = "_POLIS_COMPLETE"
WORD = "_POLIS_COMPLETE_WORD"
"""The word under the cursor, from a shell that cannot pass an empty one."""

FILES = ":files"
NOTHING = ":none"

LIMIT = 80
"""Characters of a description."""

BY_NAME = {"--service": completers.services}
"""What is offered for an option of this name in any command that says nothing itself."""

FILE_NAMES = ("--image",)
"""Options whose value may be a file though their type does not say so."""


@dataclass(frozen=True)
class Offer:
    """A value and what it is; a value that ends a bash word behind `=` is offered without what stands before."""

    value: str
    text: str = ""


@dataclass(frozen=True)
class Answer:
    """What to offer, and whether file names fit too."""

    offers: tuple[Offer, ...] = ()
    files: bool = False

    @property
    def lines(self) -> list[str]:
        """Return the answer as the scripts read it."""
        return [
            *(f"{offer.value}\t{offer.text}".rstrip("\t") for offer in self.offers),
            FILES if self.files else NOTHING,
        ]


def main(shell: str, arguments: Sequence[str]) -> None:
    """Print the answer for the words behind `polis`, the last of which is being typed."""
    words = list(arguments)
    if shell == "powershell":
        words.append(os.environ.get(WORD, ""))
    split = shell == "bash" and "=" in words[-2:]
    for line in answer(joined(words) if shell == "bash" else words, only_value=split).lines:
        print(line)


def joined(words: Sequence[str]) -> list[str]:
    """Return the words of bash with `--to` `=` `healthy` put together again: it breaks words at `=`."""
    whole: list[str] = []
    for word in words:
        if whole and whole[-1].startswith("--") and (word == "=" or whole[-1].endswith("=")):
            whole[-1] += word
        else:
            whole.append(word)
    return whole


def answer(words: Sequence[str], *, only_value: bool = False) -> Answer:
    """Return what to offer for the last word; with `only_value`, without the `--option=` before it."""
    *before, current = words or [""]
    place = _Place(before)
    if place.passed_through:
        return Answer()
    if place.pending is not None:
        return _values(place, place.pending, current)
    if current.startswith("-") and not place.only_arguments:
        name, equals, part = current.partition("=")
        if not equals:
            return Answer(tuple(_options(place, current)))
        option = place.options.get(name)
        found = _values(place, option, part) if option is not None else Answer()
        front = "" if only_value else f"{name}="
        return Answer(tuple(Offer(front + offer.value, offer.text) for offer in found.offers), found.files)
    if place.group is not None:
        return Answer(tuple(_commands(place, current)))
    argument = place.argument
    return _values(place, argument, current) if argument is not None else Answer()


class _Place:
    """Where in the command line the cursor is."""

    def __init__(self, before: Sequence[str]) -> None:
        import typer

        from polis.cli import build
        from polis.cli.globals import PASSING, command_of, hoist

        typed = command_of(hoist(before))
        root = typer.main.get_command(build(only=typed))
        self.context: Any = root.context_class(root, info_name="polis", resilient_parsing=True)
        self._root = dict(_named(self.context))
        self._passing = PASSING
        self.options: dict[str, Any] = self._root
        self.pending: Any = None
        self.only_arguments = False
        self.passed_through = False
        self._arguments = 0
        for word in before:
            self._walk(word)

    @property
    def group(self) -> Any:
        """Return the group whose command comes next, None if the command is known."""
        command = self.context.command
        return command if hasattr(command, "commands") else None

    @property
    def argument(self) -> Any:
        """Return the argument that comes next, if the command takes one more."""
        taken = [param for param in self.context.command.params if param.param_type_name == "argument"]
        if taken and taken[-1].nargs == -1:
            return taken[min(self._arguments, len(taken) - 1)]
        return taken[self._arguments] if self._arguments < len(taken) else None

    def _walk(self, word: str) -> None:
        if self.pending is not None:
            self.pending = None
        elif word == "--":
            self.only_arguments = True
        elif word.startswith("-") and not self.only_arguments:
            option = self.options.get(word)
            takes_value = option is not None and not (option.is_flag or option.count)
            self.pending = option if takes_value and not _may_lack_value(word) else None
        elif self.group is not None:
            self._enter(word)
        else:
            self._arguments += 1
            self.passed_through = self.context.info_name in self._passing

    def _enter(self, word: str) -> None:
        command = self.group.commands.get(word)
        if command is None:
            self.passed_through = True  # nothing is known behind an unknown command
            return
        self.context = command.context_class(command, info_name=word, parent=self.context, resilient_parsing=True)
        self.options = {**self._root, **dict(_named(self.context))}


def _named(context: Any) -> Iterator[tuple[str, Any]]:
    for param in context.command.get_params(context):
        if param.param_type_name == "option" and not param.hidden:
            for name in param.opts:
                yield name, param


def _may_lack_value(word: str) -> bool:
    from polis.cli.globals import LEFT_OUT

    return word in LEFT_OUT


def _options(place: _Place, current: str) -> Iterator[Offer]:
    for name, param in place.options.items():
        if name.startswith(current) and (name.startswith("--") or current == name):
            yield Offer(name, _short((param.help or "").partition("  [")[0]))


def _commands(place: _Place, current: str) -> Iterator[Offer]:
    for name in place.group.list_commands(place.context):
        command = place.group.commands[name]
        if name.startswith(current) and not command.hidden:
            yield Offer(name, _short(command.get_short_help_str(LIMIT)))


def _values(place: _Place, param: Any, current: str) -> Answer:
    """Return what the parameter itself offers; for what is a path, that files are wanted."""
    by_name = [Offer(value) for name in param.opts if name in BY_NAME for value in BY_NAME[name](current)]
    if by_name:
        return Answer(tuple(by_name))
    found = param.shell_complete(place.context, current)
    kinds = {item.type for item in found}
    offers = [Offer(_short(item.value), _short(item.help or "")) for item in found if item.type == "plain"]
    files = bool(kinds & {"file", "dir"}) or any(name in FILE_NAMES for name in param.opts)
    return Answer(tuple(offers), files or type(param.type).__name__ in ("TyperPath", "Path"))


def _short(text: str) -> str:
    """Return a text without what could steer a terminal or break a line."""
    line = "".join(char if char.isprintable() else " " for char in text)
    return line if len(line) <= LIMIT else f"{line[: LIMIT - 1]}…"
