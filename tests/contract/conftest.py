"""One suite, every driver: a driver joins by a class in subjects.py and a line in `subject` below.

The suite boots real machines, as few as it can: one for the whole session, a second one beside it for a moment.
"""

from __future__ import annotations

import contextlib
import dataclasses
import os
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from lab.lxd import Lxd
from polis.drivers.base import Driver, LaunchRequest
from tests.contract.subjects import (
    ROOT,
    LxdSubject,
    MultipassSubject,
    QemuSubject,
    RealMultipassSubject,
    Subject,
    lab_image,
)
from tests.fakes.multipass.install import installed

KINDS = ["qemu", "multipass", "lxd", *(["multipass-real"] if os.environ.get("POLIS_TEST_MULTIPASS") == "real" else [])]


@pytest.fixture(scope="session", params=KINDS)
def subject(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Subject]:
    with contextlib.ExitStack() as stack:
        chosen = _subject(request.param, tmp_path_factory, stack)
        try:
            yield chosen
        finally:
            for name in ("contract", "beside"):
                chosen.driver.delete(name=name)


def _subject(kind: str, directories: pytest.TempPathFactory, stack: contextlib.ExitStack) -> Subject:
    if kind == "qemu":
        runtime = stack.enter_context(tempfile.TemporaryDirectory(prefix="polis-"))
        return QemuSubject(directories.mktemp("qemu"), Path(runtime), lab_image())
    if kind == "multipass-real":
        return RealMultipassSubject()
    if kind == "lxd":
        # Not pytest's directory: that is closed to all but its owner, and a container's root is somebody else.
        directory = ROOT / ".lab" / "lxd-contract"
        stack.enter_context(Lxd(directory, shared=ROOT / ".lab"))
        return LxdSubject(directory)
    fake = stack.enter_context(installed(directories.mktemp("multipass")))
    fake.takes("contract", prepare=0.1, boot=0.4)
    fake.takes("beside", prepare=0.5, boot=5.0)  # longer than all the launches that are killed
    return MultipassSubject(fake)


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
