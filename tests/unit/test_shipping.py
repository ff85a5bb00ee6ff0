"""The modules for the guest, run here as they would run there: from nothing but a command line."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys

import pytest

from polis.guest import shipping
from polis.guest.remote import alone, images, main

WINDOWS_LIMIT = 32_000
"""Characters of a command line on Windows."""


@pytest.mark.processes
@pytest.mark.parametrize("name", shipping.COMMANDS)
def test_each_command_loads_from_its_command_line_alone(name: str) -> None:
    argv = shipping.command(name, {})
    module, function = shipping.COMMANDS[name]
    code = argv[5].replace(
        'sys.exit(sys.modules["polis.guest.remote.main"].main(*sys.argv[1:]))',
        f'print(sys.modules["polis.guest.remote.{module}"].{function}.__name__)',
    )
    assert code != argv[5]
    done = subprocess.run(
        [sys.executable, "-I", "-S", "-c", code], capture_output=True, text=True, check=False, cwd="/"
    )
    assert (done.stdout.strip(), done.stderr) == (function, "")


@pytest.mark.processes
def test_a_refusal_is_a_sentence_and_no_traceback() -> None:
    argv = [sys.executable, *shipping.command("pull", {})[3:]]
    done = subprocess.run(argv, capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert done.stderr == "KeyError: 'images'\n"


@pytest.mark.processes
def test_the_answer_is_the_last_line() -> None:
    argv = [sys.executable, *shipping.command("pull", {"images": [], "silence": 1})[3:]]
    done = subprocess.run(argv, capture_output=True, text=True, check=True)
    assert json.loads(done.stdout) == {"answer": {"pulled": []}}


@pytest.mark.parametrize("name", shipping.COMMANDS)
def test_a_command_line_fits_every_platform(name: str) -> None:
    assert sum(map(len, shipping.command(name, {}))) < WINDOWS_LIMIT / 2


def test_a_command_that_is_ended_says_so_in_a_sentence(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def pull(_arguments: object, _say: object) -> None:
        os.kill(os.getpid(), signal.SIGTERM)

    before = signal.signal(signal.SIGTERM, alone._end)
    monkeypatch.setattr(images, "pull", pull)
    try:
        assert main.main("images", "pull", "{}") == 1
    finally:
        signal.signal(signal.SIGTERM, before)
    assert capsys.readouterr().err == "Ended: at its time limit, or by a newer command\n"
