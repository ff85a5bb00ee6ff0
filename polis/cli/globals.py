"""Options that every command takes, before or after its name."""

from __future__ import annotations

import math
import os
import re
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from collections.abc import Sequence

VALUED = {"-n": "--name", "--name": "--name", "--driver": "--driver", "--config": "--config"}
FLAGS = ("--json", "-q", "--quiet", "-v", "--verbose", "--no-color", "-y", "--yes")
TOGETHER = re.compile("-[qvy]{2,}")
"""Flags of one letter that were typed in one word."""
PASSING = ("exec", "shell")
"""Commands whose words belong to a command in the guest, from the first that is not an option."""
SERVICE = "--service"
"""Their own option with a value, which is no such word."""
WAIT = "--wait"
"""An option whose value may be left out; the parser knows no such options."""
WATCH = "--watch"
"""The other one."""
LEFT_OUT = {WAIT: "inf", WATCH: "2"}
"""What stands for a value that was left out: no limit; and as often as one looks oneself."""


def seconds(value: float | None) -> float | None:
    """Return seconds that somebody typed. Raises BadParameter for what is no number: no comparison would refuse it."""
    if value is not None and math.isnan(value):
        raise typer.BadParameter("nan is no number of seconds")
    return value


Wait = Annotated[
    float,
    typer.Option(
        WAIT,
        metavar="[SECONDS]",
        min=0,
        callback=seconds,
        show_default=False,
        help="Wait for another polis to finish: so long, or as long as it takes.",
    ),
]
"""How a changing command takes that option."""


@dataclass
class Globals:
    """What the global options say."""

    name: str | None = None
    driver: str | None = None
    config: Path | None = None
    json: bool = False
    quiet: bool = False
    verbose: int = 0
    no_color: bool = False
    yes: bool = False
    command: str = ""
    """What was typed of the commands' names, for the log."""

    @property
    def overrides(self) -> dict[str, Any]:
        """Return the configuration values given on the command line."""
        return {"name": self.name, "driver": self.driver}


def is_json(words: Sequence[str]) -> bool:
    """Return whether a hoisted command line, or the environment, asks for JSON."""
    waiting = iter(words)
    for word in waiting:
        if word == "--json":
            return True
        if word in VALUED:
            next(waiting, None)
        elif not word.startswith("-"):
            break
    return os.environ.get("POLIS_JSON", "").lower() in ("1", "t", "true", "y", "yes", "on")


def verbosity(words: Sequence[str]) -> int:
    """Return how much a hoisted command line, or the environment, wants to be told."""
    own = words[: words.index(command)] if (command := command_of(words)) is not None else words
    inherited = os.environ.get("POLIS_VERBOSE", "")
    return sum(word in ("-v", "--verbose") for word in own) or (int(inherited) if inherited.isdecimal() else 0)


def command_of(words: Sequence[str]) -> str | None:
    """Return the command of a hoisted command line, if it names one."""
    waiting = iter(words)
    for word in waiting:
        if word in VALUED:
            next(waiting, None)
        elif not word.startswith("-"):
            return word
    return None


def hoist(argv: Sequence[str]) -> list[str]:
    """Return the command line with its global options moved to the front, where the parser expects them.

    `--wait` and `--watch` without a number get one. Words after `--`, and those that `exec` and `shell` pass into the
    guest, stay untouched.
    """
    front: list[str] = []
    rest: list[str] = []
    words = list(argv)
    command = ""
    while words:
        word = words.pop(0)
        option = word.partition("=")[0]
        if word == "--" or (command in PASSING and not word.startswith("-")):
            rest += [word, *words]
            break
        if word in FLAGS or (option in VALUED and "=" in word):
            front.append(word)
        elif TOGETHER.fullmatch(word):
            front += [f"-{letter}" for letter in word[1:]]
        elif option in VALUED:
            front += [word, *words[:1]]
            words = words[1:]
        elif word == SERVICE and command in PASSING:
            rest += [word, *words[:1]]
            words = words[1:]
        elif word in LEFT_OUT and command not in PASSING and not _is_number("".join(words[:1])):
            rest.append(f"{word}={LEFT_OUT[word]}")  # in one word, so that nobody takes the value for a command
        else:
            command = command or ("" if word.startswith("-") else word)
            rest.append(word)
    return front + rest


def _is_number(word: str) -> bool:
    try:
        float(word)
    except ValueError:
        return False
    return True
