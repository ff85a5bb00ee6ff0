"""Fuzz tests start no processes, wait for no disk, and end: an input that makes polis hang is a failure."""

from __future__ import annotations

import contextlib
import os
import resource
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NoReturn

import pytest

from polis.errors import RegistryUnavailable
from polis.phase import Phase
from polis.workspace import UpOptions
from tests.fuzz.effort import FACTOR
from tests.fuzz.worlds import Place

LIMIT = 120.0 * max(1, FACTOR)
"""Seconds for all examples of one test, against hangs: a test takes a few."""

MEMORY = 4 << 30
"""Bytes that a test process may have: a bomb that goes off is then a MemoryError, and no machine without memory."""

HERE = Path(__file__).parent


class Hang(BaseException):
    """Not an Exception, so that hypothesis does not try the example again."""


class ProcessStarted(BaseException):
    """Not an Exception, so that no handler of the code under test can hide it."""


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if HERE in item.path.parents:
            # For what no signal can stop. It ends the whole run, so it comes after ours.
            item.add_marker(pytest.mark.timeout(LIMIT + 60.0, method="thread"))
            item.add_marker(pytest.mark.filterwarnings("ignore:Generating overly large repr"))


@pytest.fixture(autouse=True)
def _bounded() -> Iterator[None]:
    before = resource.getrlimit(resource.RLIMIT_AS)
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY, before[1]))
    yield
    resource.setrlimit(resource.RLIMIT_AS, before)


@pytest.fixture(autouse=True)
def _ending() -> Iterator[None]:
    def end(_number: int, _frame: object) -> NoReturn:
        raise Hang(f"no end after {LIMIT:.0f} s")

    before = signal.signal(signal.SIGALRM, end)
    signal.setitimer(signal.ITIMER_REAL, LIMIT)
    yield
    signal.setitimer(signal.ITIMER_REAL, 0)
    signal.signal(signal.SIGALRM, before)


@pytest.fixture(autouse=True)
def _alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(argv: Any, *_: Any, **__: Any) -> NoReturn:
        raise ProcessStarted(f"a fuzz test started {argv!r}")

    monkeypatch.setattr(subprocess, "Popen", refuse)
    monkeypatch.setattr(os, "fsync", lambda _descriptor: None)
    monkeypatch.setenv("POLIS_HOME", str(tmp_path / "home"))
    monkeypatch.delenv("POLIS_CONFIG", raising=False)
    monkeypatch.chdir(tmp_path)


@pytest.fixture(scope="session")
def absent(tmp_path_factory: pytest.TempPathFactory) -> Place:
    """Return a place where nothing is yet."""
    place = Place(tmp_path_factory.mktemp("absent"))
    place.directory.mkdir(parents=True)
    return place


@pytest.fixture(scope="session")
def healthy(tmp_path_factory: pytest.TempPathFactory) -> Place:
    """Return a place with a healthy workspace."""
    place = Place(tmp_path_factory.mktemp("healthy"))
    place.open().up(UpOptions())
    return place


@pytest.fixture(scope="session")
def failed(tmp_path_factory: pytest.TempPathFactory) -> Place:
    """Return a place where the last `up` failed half-way."""
    place = Place(tmp_path_factory.mktemp("failed"))
    driver = place.driver()
    driver.refuse_pull = {"workspace": "503 Service Unavailable"}
    with contextlib.suppress(RegistryUnavailable):
        place.open(driver).up(UpOptions())
    return place


@pytest.fixture(scope="session")
def in_flight(tmp_path_factory: pytest.TempPathFactory) -> Place:
    """Return a place where a command is at work, or was when its process died."""
    place = Place(tmp_path_factory.mktemp("in-flight"))
    place.open().up(UpOptions(target=Phase.CONFIGURED))
    record = place.store.load().record
    assert record is not None
    record.depart(Phase.IMAGES_PULLED)
    place.store.save(record)
    return place
