"""Files as a child's stdin and stdout: passed on as they are, never held in memory."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from polis import process

pytestmark = pytest.mark.processes

COPY = "import shutil, sys; shutil.copyfileobj(sys.stdin.buffer, sys.stdout.buffer)"


def test_a_file_goes_in_and_a_file_comes_out(tmp_path: Path) -> None:
    source, target = tmp_path / "in", tmp_path / "out"
    source.write_bytes(b"\x00\xff" * 500_000)
    target.write_bytes(b"old and longer" * 200_000)
    done = process.run([sys.executable, "-c", COPY], timeout=30, stdin=source, stdout_to=target)
    assert (done.code, done.stdout) == (0, "")
    assert target.read_bytes() == source.read_bytes()


def test_a_new_file_is_private(tmp_path: Path) -> None:
    process.run([sys.executable, "-c", "print('x')"], timeout=30, stdout_to=tmp_path / "out")
    assert (tmp_path / "out").stat().st_mode & 0o777 == 0o600


def test_a_missing_file_starts_nothing(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        process.run([sys.executable, "-c", COPY], timeout=30, stdin=tmp_path / "none")
