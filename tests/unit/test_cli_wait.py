"""`--wait [SECONDS]`: how long a changing command waits for another polis."""

from __future__ import annotations

import math
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from polis import assembly, cli, lock, paths
from polis.cli.globals import command_of, hoist
from tests.simulated import SimulatedDriver


@pytest.mark.parametrize(
    ("typed", "expected"),
    [
        ("up --wait", "up --wait=inf"),
        ("up --wait 30", "up --wait 30"),
        ("up --wait 0.5 --json", "--json up --wait 0.5"),
        ("up --wait=30", "up --wait=30"),
        ("up --wait --json", "--json up --wait=inf"),
        ("up --wait --to running", "up --wait=inf --to running"),
        ("reset --wait -n other", "-n other reset --wait=inf"),
        ("stop --wait 30s", "stop --wait=inf 30s"),
        ("exec --wait ls", "exec --wait ls"),
        ("exec ls --wait", "exec ls --wait"),
        ("exec -- ls --wait", "exec -- ls --wait"),
        ("up -- --wait", "up -- --wait"),
        ("-n --wait up", "-n --wait up"),
    ],
)
def test_a_number_after_wait_may_be_left_out(typed: str, expected: str) -> None:
    assert hoist(typed.split()) == expected.split()


def test_an_option_in_the_wrong_place_does_not_hide_the_command() -> None:
    assert command_of(hoist(["--wait", "up"])) == "up"


@pytest.fixture
def asked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """Return what the lock is asked to wait, command by command."""
    driver = SimulatedDriver(path=tmp_path / "world.json")
    monkeypatch.setattr(assembly, "driver", lambda *_, **__: driver)
    waits: list[float] = []

    def hold(directory: Path, command: str, *, wait: float, tell: Any) -> Any:
        waits.append(wait)
        return really(directory, command, wait=wait, tell=tell)

    really = lock.hold
    monkeypatch.setattr(lock, "hold", hold)
    return waits


@pytest.mark.parametrize(("option", "seconds"), [("", 0.0), (" --wait", math.inf), (" --wait 30", 30.0)])
def test_every_changing_command_waits_as_it_is_told(asked: list[float], option: str, seconds: float) -> None:
    for command in ("up", "reset", "stop", "delete -y"):
        words = hoist(f"{command}{option}".split())
        assert CliRunner().invoke(cli.build(only=command_of(words)), words).exit_code == 0
    assert asked == [seconds] * 4


def test_a_word_that_is_no_number_of_seconds_is_refused(asked: list[float]) -> None:
    words = hoist(["stop", "--wait", "30s"])
    assert CliRunner().invoke(cli.build(only="stop"), words).exit_code == 2
    assert asked == []


HOLD = """
import sys
from pathlib import Path
from polis import lock
with lock.hold(Path(sys.argv[1]), "up"):
    print("held", flush=True)
    sys.stdin.readline()
"""


@pytest.mark.processes
def test_waiting_without_limit_ends_when_the_lock_is_free(asked: list[float]) -> None:
    directory = paths.find().workspace("polis")
    argv = [sys.executable, "-c", HOLD, str(directory)]
    with subprocess.Popen(argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as child:
        assert child.stdout is not None
        assert child.stdout.readline() == "held\n"
        assert CliRunner().invoke(cli.build(only="up"), ["up", "--wait", "0.01"]).exit_code == 5
        told = threading.Event()

        def finish() -> None:
            told.set()
            child.communicate("\n")

        timer = threading.Timer(0.2, finish)
        timer.start()
        assert CliRunner().invoke(cli.build(only="up"), hoist(["up", "--wait"])).exit_code == 0
        assert told.is_set()
        timer.join()
