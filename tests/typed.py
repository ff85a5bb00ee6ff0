"""Commands typed as a user would, in this process, on a simulated machine: with whatever goes wrong in it."""

from __future__ import annotations

import gc
import sys
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from typer.testing import CliRunner

from polis import __main__, cli, signals
from polis.cli.globals import command_of, hoist

if TYPE_CHECKING:
    from collections.abc import Callable

    import pytest

    from tests.simulated import SimulatedDriver


@dataclass(frozen=True)
class Answer:
    """What a command printed and ended with."""

    code: int
    stdout: str
    stderr: str


@dataclass
class Typist:
    """Types commands."""

    driver: SimulatedDriver
    runner: CliRunner = field(default_factory=CliRunner)

    def type(self, line: str) -> Answer:
        """Type a line. An exception that would be told as a bug is raised."""
        words = hoist(line.split())
        result = self.runner.invoke(cli.build(only=command_of(words)), words, prog_name="polis")
        if result.exception is not None and not isinstance(result.exception, SystemExit):
            raise result.exception
        return Answer(result.exit_code, result.stdout, result.stderr)

    def fail(self, call: str, problem: Callable[[], BaseException]) -> None:
        """Let a driver call fail from now on; commands of the guest are called `exec:<command>`."""

        def interfere(name: str, moment: str) -> None:
            if name == call and moment == "before":
                raise problem()

        self.driver.interfere = interfere

    def mend(self) -> None:
        """Let nothing fail any more."""
        self.driver.interfere = lambda _call, _moment: None


def through_the_entry(line: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Answer:
    """Type a line where bugs are told too: through `polis.__main__`."""
    monkeypatch.setattr(signals, "install", lambda: None)
    monkeypatch.setattr(gc, "disable", lambda: None)
    monkeypatch.setattr(gc, "freeze", lambda: None)
    monkeypatch.setattr(sys, "argv", ["polis", *line.split()])
    capsys.readouterr()
    code = 0
    try:
        __main__.main()
    except SystemExit as ending:
        code = int(ending.code or 0)
    told = capsys.readouterr()
    return Answer(code, told.out, told.err)
