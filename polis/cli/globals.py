"""Options that every command takes, before or after its name."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from collections.abc import Sequence

VALUED = {"-n": "--name", "--name": "--name", "--driver": "--driver", "--config": "--config"}
FLAGS = ("--json", "-q", "--quiet", "-v", "--verbose", "--no-color", "-y", "--yes")
PASSING = ("exec", "shell")
"""Commands whose words belong to a command in the guest, from the first that is not an option."""
SERVICE = "--service"
"""Their own option with a value, which is no such word."""
WAIT = "--wait"
"""The one option whose value may be left out; the parser knows no such options."""

Wait = Annotated[
    float,
    typer.Option(
        WAIT,
        metavar="[SECONDS]",
        min=0,
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

    @property
    def overrides(self) -> dict[str, Any]:
        """Return the configuration values given on the command line."""
        return {"name": self.name, "driver": self.driver}


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

    `--wait` without a number gets one: no limit. Words after `--`, and those that `exec` and `shell` pass into the
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
        elif option in VALUED:
            front += [word, *words[:1]]
            words = words[1:]
        elif word == SERVICE and command in PASSING:
            rest += [word, *words[:1]]
            words = words[1:]
        elif word == WAIT and command not in PASSING and not _is_number("".join(words[:1])):
            rest.append(f"{WAIT}=inf")  # in one word, so that nobody takes the value for a command
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
