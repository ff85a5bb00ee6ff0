"""Commands typed as a user would, in this process, on a simulated machine: with whatever goes wrong in it."""

from __future__ import annotations

import gc
import json
import sys
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from typer.testing import CliRunner

from polis import __main__, cli, signals
from polis.cli.globals import command_of, hoist

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    import pytest
    from typer.testing import Result

    from tests.simulated import SimulatedDriver


@dataclass(frozen=True)
class Answer:
    """What a command printed and ended with."""

    code: int
    stdout: str
    stderr: str


def run(words: Sequence[str], **environ: str) -> Result:
    """Type words, with these variables set. An exception that would be told as a bug is raised."""
    hoisted = hoist(words)
    result = CliRunner().invoke(cli.build(only=command_of(hoisted)), hoisted, prog_name="polis", env=environ)
    if result.exception is not None and not isinstance(result.exception, SystemExit):
        raise result.exception
    return result


@dataclass
class Terminal:
    """Types commands as a user would, against a simulated guest."""

    driver: SimulatedDriver

    def type(self, line: str, **environ: str) -> Result:
        """Type a line."""
        return run(line.split(), **environ)

    def succeed(self, line: str, **environ: str) -> str:
        """Return all that a line prints, which must end with 0."""
        result = self.type(line, **environ)
        assert result.exit_code == 0, result.output
        return result.output

    def document(self, line: str) -> dict[str, Any]:
        """Return the JSON that a line prints, whatever it ends with."""
        value: dict[str, Any] = json.loads(self.type(line).stdout)
        return value


@dataclass
class Typist:
    """Types commands, on a machine on which something fails."""

    driver: SimulatedDriver

    def type(self, line: str) -> Answer:
        """Type a line."""
        result = run(line.split())
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
