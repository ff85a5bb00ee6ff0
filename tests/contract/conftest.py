"""One suite, every driver: a driver joins by a class in subjects.py and a line in `subject` below.

The suite boots real machines, as few as it can: one for the whole session, a second one beside it for a moment.
"""

from __future__ import annotations

import dataclasses
import os
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from polis.drivers.base import Driver, LaunchRequest
from tests.contract.subjects import QemuSubject, Subject, lab_image


@pytest.fixture(scope="session", params=["qemu"])
def subject(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Subject]:
    assert request.param == "qemu"
    with tempfile.TemporaryDirectory(prefix="polis-") as runtime:
        chosen = QemuSubject(tmp_path_factory.mktemp("qemu"), Path(runtime), lab_image())
        try:
            yield chosen
        finally:
            for name in ("contract", "beside"):
                chosen.driver.delete(name=name)


@pytest.fixture(scope="session")
def driver(subject: Subject) -> Driver:
    return subject.driver


@pytest.fixture(scope="session")
def machine(subject: Subject) -> LaunchRequest:
    """Return the request of the one machine that the whole suite shares, launched and answering."""
    request = subject.request("contract", "owner-1")
    assert subject.driver.find(name="contract") is None
    progress: list[str] = []
    subject.driver.launch(request=request, on_progress=progress.append)
    assert progress
    return request


@pytest.fixture
def beside(subject: Subject, machine: LaunchRequest) -> LaunchRequest:
    """Return a request for a second machine."""
    return dataclasses.replace(subject.request("beside", "owner-2"), memory=machine.memory // 2)


@pytest.fixture
def big_file(tmp_path: Path) -> Path:
    path = tmp_path / "five MiB"
    path.write_bytes(os.urandom(5 * 1024**2))
    return path
