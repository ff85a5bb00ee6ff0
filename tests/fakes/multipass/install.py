"""Putting the program on PATH, and what tests do to its state."""

from __future__ import annotations

import json
import os
import shlex
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from polis.process import Completed, Runner
from tests.fakes.multipass import printing, program
from tests.fakes.multipass.daemon import Daemon
from tests.fakes.multipass.guest import Guest
from tests.fakes.multipass.world import World


@dataclass(frozen=True)
class Fake:
    """An installed fake, seen by a test."""

    directory: Path

    @property
    def world(self) -> World:
        return World(self.directory)

    def takes(self, name: str = "*", **seconds: float) -> None:
        """Set how long things take, for one instance or for all (world.Times)."""
        path = self.directory / "times.json"
        table = json.loads(path.read_text()) if path.exists() else {}
        table.setdefault(name, {}).update(seconds)
        path.write_text(json.dumps(table))

    def order(self, fault: str, times: int | None = None) -> None:
        """Let a fault strike, from now on or so many times."""
        (self.world.faults / fault).write_text("" if times is None else str(times))

    def lift(self, fault: str) -> None:
        (self.world.faults / fault).unlink(missing_ok=True)

    def call(self, *argv: str, stdin: str = "") -> Completed:
        """Call it in this process."""
        return InProcess()(["multipass", *argv], timeout=0.0, stdin=stdin.encode())

    def multipass(self, *argv: str, **options: Any) -> subprocess.CompletedProcess[str]:
        """Call it as somebody else on this machine does."""
        return subprocess.run(
            ["multipass", *argv], capture_output=True, text=True, check=False, **{"input": "", **options}
        )

    def calls(self, *verbs: str) -> list[list[str]]:
        """Return the argument lists of the calls so far, of these verbs."""
        path = self.directory / "calls.jsonl"
        lines = path.read_text().splitlines() if path.exists() else []
        return [argv for argv in map(json.loads, lines) if not verbs or argv[0] in verbs]

    def forget_calls(self) -> None:
        (self.directory / "calls.jsonl").unlink(missing_ok=True)

    def states(self) -> dict[str, str]:
        daemon = Daemon(self.world)
        with self.world.machines() as machines:
            daemon.settle(machines)
            return {name: daemon.state(machine) for name, machine in machines.items() if machine.created}

    def guest(self, name: str) -> Guest:
        with self.world.machines() as machines:
            return Daemon(self.world).guest(machines[name])

    def destroy(self) -> None:
        """End what still runs of the guests."""
        with self.world.machines() as machines:
            for machine in machines.values():
                Daemon(self.world).guest(machine).destroy()


class InProcess(Runner):
    """Stands for process.run, but calls the fake in this process: ten times as fast, and no limit ends it."""

    def __call__(
        self,
        argv: Sequence[str],
        *,
        timeout: float,
        stdin: bytes | Path | None = None,
        stdout_to: Path | None = None,
        on_line: Callable[[str], None] | None = None,
        cwd: Path | None = None,
    ) -> Completed:
        begun = time.monotonic()
        with ExitStack() as stack:
            given: Any = stack.enter_context(tempfile.TemporaryFile(buffering=0))
            out: Any = stack.enter_context(tempfile.TemporaryFile(buffering=0))
            err: Any = stack.enter_context(tempfile.TemporaryFile(buffering=0))
            if isinstance(stdin, bytes):
                given.write(stdin)
                given.seek(0)
            elif stdin is not None:
                given = stack.enter_context(stdin.open("rb"))
            streams = printing.streams
            streams.stdin, streams.stderr = given, err
            streams.stdout = out if stdout_to is None else stack.enter_context(stdout_to.open("wb", buffering=0))
            code = program.main(list(argv[1:]))
            printed, said = (_text(each) for each in (out, err))
        if on_line is not None:
            for line in printed.splitlines():
                on_line(line)
        return Completed(tuple(argv), code, printed, said, time.monotonic() - begun)


def _text(file: Any) -> str:
    file.seek(0)
    text: str = file.read().decode("utf-8", "replace")
    return text


@contextmanager
def installed(directory: Path) -> Iterator[Fake]:
    """Give a fake that is on PATH, for this process and those that it starts."""
    binaries, state = directory / "bin", directory / "state"
    binaries.mkdir(parents=True)
    state.mkdir()
    program = Path(__file__).with_name("program.py")
    line = f"exec {shlex.quote(sys.executable)} -S -E {shlex.quote(str(program))}"
    (binaries / "multipass").write_text(f'#!/bin/sh\n{line} "$@"\n')
    (binaries / "multipass").chmod(0o755)
    fake = Fake(state)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PATH", f"{binaries}{os.pathsep}{os.environ['PATH']}")
        patch.setenv("POLIS_FAKE_MULTIPASS", str(state))
        try:
            yield fake
        finally:
            fake.destroy()
