"""Every command in the documentation is one that there is, with options that it has; and what is shown runs."""

from __future__ import annotations

import re

import pytest
import typer

from lab.__main__ import parser as lab_parser
from tests.documents import INSTALLED, ROOT, SHELLS, Command, blocks, commands, pages, programs
from tests.unit.test_habits import contexts, parse

FOUND = [(page, list(commands(page))) for page in pages()]
EVERY = {(each.words): each for _, found in FOUND for each in found}
"""Each command once, with one of the places where it stands."""

PLACES = {"PHASE": "launched", "SHELL": "bash", "SECONDS": "5"}
"""What is filled in where a page leaves a place that takes only certain values."""

HALF_TYPED = ("st",)
"""What is being completed where completion is measured."""

OTHER_PROGRAMS = frozenset(
    {"cd", "cp", "curl", "export", "git", "jq", "man", "mkdir", "pip", "pipx", "python", "sed", "ssh"}
)
"""What else a block for a shell may begin with."""


def words_of(command: Command) -> list[str]:
    """Return what polis gets, with places filled in and without what only stands for more of the same."""
    words = [word.strip("[]") for word in command.words[1:] if word not in ("…", "...")]
    return [PLACES.get(word, word) for word in words]


def of(program: str) -> list[object]:
    return [
        pytest.param(each, id=f"{each.page}:{each}") for words, each in sorted(EVERY.items()) if words[0] == program
    ]


@pytest.mark.parametrize("command", of("polis"))
def test_the_parser_takes_every_command(command: Command) -> None:
    if command.words[1:] in (("--version",), HALF_TYPED):
        return
    if not command.shown and command.words[1:] in {path for path, _ in contexts()}:
        return  # named, though it may need more to be typed
    try:
        parse(words_of(command))
    except Exception as problem:
        if isinstance(problem, typer.Exit) and problem.exit_code == 0:
            return
        raise AssertionError(f"{command.page}:{command.line}: {command}: {problem}") from problem


@pytest.mark.parametrize("command", of("make"))
def test_every_target_is_there(command: Command) -> None:
    targets = set(re.findall(r"^([a-z0-9-]+):", (ROOT / "Makefile").read_text(encoding="utf-8"), re.MULTILINE))
    asked = [word for word in command.words[1:] if "=" not in word]
    assert set(asked) <= targets, f"{command.page}:{command.line}"


@pytest.mark.parametrize("command", of("python"))
def test_the_lab_takes_every_command(command: Command) -> None:
    lab_parser().parse_args(command.words[3:])


def test_no_line_for_a_shell_goes_unread() -> None:
    for page in pages():
        for block in blocks(page):
            for line in block.typed if block.language in SHELLS else ():
                first = line.split()[0].removeprefix(INSTALLED)
                assert list(programs(line)) or first in OTHER_PROGRAMS, f"{page.name}:{block.line}: {line}"


def test_commands_are_found_in_blocks_and_in_sentences() -> None:
    assert {each.shown for _, found in FOUND for each in found} == {True, False}
    assert len(EVERY) > 100
    assert list(programs("MY=1 polis up && polis -n x status | head # polis no")) == [
        ("polis", "up"),
        ("polis", "-n", "x", "status"),
    ]


def test_a_command_that_there_is_not_is_found_out() -> None:
    for line in ("polis nothing", "polis up --nothing", "polis graph too many words", "polis reset --to nowhere"):
        command = Command("here", 1, tuple(line.split()), shown=True)
        with pytest.raises(AssertionError, match=r"here:1"):
            test_the_parser_takes_every_command(command)
