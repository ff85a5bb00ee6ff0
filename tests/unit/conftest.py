"""Unit tests start no processes and see nothing of the developer's own Polis."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path
from typing import Any, NoReturn

import pytest

from polis import redaction


class ProcessStarted(BaseException):
    """Not an Exception, so that no handler of the code under test can hide it."""


@pytest.fixture(autouse=True)
def _no_processes(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    if request.node.get_closest_marker("processes") is not None:
        return

    def refuse(argv: Any, *_: Any, **__: Any) -> NoReturn:
        raise ProcessStarted(f"a unit test started {argv!r}")

    monkeypatch.setattr(subprocess, "Popen", refuse)


@pytest.fixture(autouse=True)
def _no_waiting_for_disks(monkeypatch: pytest.MonkeyPatch) -> None:
    """No test here cuts the power, and hundreds of real fsyncs take half a minute."""
    monkeypatch.setattr(os, "fsync", lambda _descriptor: None)


@pytest.fixture(autouse=True)
def _nothing_hidden(monkeypatch: pytest.MonkeyPatch) -> None:
    """What one test calls a secret is a word to the next."""
    monkeypatch.setattr(redaction, "_hidden", set())


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Give each test its own POLIS_HOME and no configuration from outside."""
    directory = tmp_path / "home"
    monkeypatch.setenv("POLIS_HOME", str(directory))
    monkeypatch.delenv("POLIS_CONFIG", raising=False)
    monkeypatch.chdir(tmp_path)
    return directory
