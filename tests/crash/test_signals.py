"""Signals to the real process: the first ends it cleanly, the second at once, and neither harms the record."""

from __future__ import annotations

import json
import os
import pty
import signal
from pathlib import Path

import pytest

from polis.waiting import wait_until
from tests.crash.running import PATIENCE, Home

pytestmark = pytest.mark.timeout(600)

HANG = {"SIMULATED_HANG": "during exec:pull"}


@pytest.fixture
def home(tmp_path: Path) -> Home:
    return Home(tmp_path)


@pytest.mark.parametrize(
    ("number", "code"),
    [(signal.SIGINT, 130), (signal.SIGTERM, 143), (signal.SIGHUP, 143)],
    ids=str,
)
def test_the_first_signal_ends_the_step_and_says_what_is_there(home: Home, number: signal.Signals, code: int) -> None:
    with home.start("up", **HANG) as child:
        home.await_file("hanging", child)
        child.send_signal(number)
        _, err = child.communicate(timeout=PATIENCE)
    assert child.returncode == code, err
    assert "error: interrupted on the way to images-pulled" in err
    assert "still there: the VM is running; phase configured holds" in err
    assert "next: `polis up` goes on from here" in err
    assert "Traceback" not in err
    status = home.status()
    assert (status["phase"], status["transition"]) == ("configured", None)
    assert status["last_error"]["kind"] == "interrupted"
    assert home.run("up").returncode == 0
    assert home.status()["phase"] == "healthy"


def test_the_second_signal_ends_it_at_once_and_the_next_command_knows(home: Home) -> None:
    with home.start("up", SIMULATED_STUBBORN="1", **HANG) as child:
        home.await_file("hanging", child)
        child.send_signal(signal.SIGINT)
        home.await_file("stubborn", child)
        assert child.poll() is None
        assert home.status()["transition"]["alive"] is True
        child.send_signal(signal.SIGINT)
        _, err = child.communicate(timeout=PATIENCE)
    assert child.returncode == 130
    assert "Traceback" not in err
    status = home.status()
    assert status["phase"] == "configured"
    assert (status["transition"]["to"], status["transition"]["alive"]) == ("images-pulled", False)
    assert home.run("up").returncode == 0
    assert home.status()["transition"] is None


def test_a_terminal_that_is_closed_ends_it_without_harm(home: Home) -> None:
    child, terminal = pty.fork()
    if child == 0:
        os.chdir(home.directory)
        # A terminal of its own is what `subprocess` cannot give a child.
        os.execve(home.argv()[0], home.argv("up"), home.env(**HANG))  # noqa: S606 -- no shell is wanted
    home.await_file("hanging")
    os.close(terminal)
    status = _wait_for(child)
    assert os.waitstatus_to_exitcode(status) == 143
    seen = home.status()
    assert (seen["phase"], seen["transition"]) == ("configured", None)
    assert home.run("up").returncode == 0


def test_output_that_nobody_reads_any_more_does_not_stop_the_work(home: Home) -> None:
    with home.start("up", SIMULATED_PACE="0.05") as child:
        home.await_file("calls.log", child)
        assert child.stderr is not None
        child.stderr.close()
        assert child.stdout is not None
        out = child.stdout.read()
    assert child.returncode == 0
    assert out == "polis is healthy\n"
    assert home.status()["phase"] == "healthy"


def test_waiting_for_the_lock_can_be_interrupted_and_changes_nothing(home: Home) -> None:
    with home.start("up", **HANG) as holder:
        home.await_file("hanging", holder)
        with home.start("reset", "--wait", "600") as waiting:
            assert waiting.stderr is not None
            assert f"waiting for another polis: `polis up` (pid {holder.pid})" in waiting.stderr.readline()
            waiting.send_signal(signal.SIGINT)
            _, err = waiting.communicate(timeout=PATIENCE)
        assert waiting.returncode == 130, err
        assert "Traceback" not in err
        assert f"{waiting.pid} before exec" not in (home.directory / "calls.log").read_text()
        refused = home.run("stop", "--json")
        assert refused.returncode == 5
        error = json.loads(refused.stdout)["error"]
        assert f"`polis up` (pid {holder.pid})" in error["cause"]
        holder.send_signal(signal.SIGINT)
        holder.communicate(timeout=PATIENCE)
    assert home.run("up", "--wait", "60").returncode == 0


def _wait_for(child: int) -> int:
    def ended(_left: float) -> tuple[int, int] | None:
        done, status = os.waitpid(child, os.WNOHANG)
        return (done, status) if done else None

    answer = wait_until(ended, timeout=PATIENCE)
    assert answer is not None, "it did not end"
    return answer[1]
