"""The fake program, and the driver in front of it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from polis.drivers.multipass.driver import MultipassDriver
from tests.fakes.multipass.install import Fake, installed
from tests.unit.multipass_driver.driving import QUICK, calling_here


@pytest.fixture
def fake(tmp_path: Path) -> Iterator[Fake]:
    with installed(tmp_path / "fake") as made:
        yield made


@pytest.fixture
def driver() -> MultipassDriver:
    """Return a driver that calls the fake in this process."""
    return calling_here(QUICK)


@pytest.fixture
def real() -> MultipassDriver:
    """Return a driver that starts the program on PATH: for what is about limits, or about the caller's terminal."""
    return MultipassDriver(patience=QUICK)
