"""Files that are there whole or not at all, with their mode from the beginning."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from lab.placing import place


def test_a_file_replaces_the_old_one_and_leaves_nothing_beside_it(tmp_path: Path) -> None:
    path = tmp_path / "deep/down/file"
    (tmp_path / "deep/down").mkdir(parents=True)
    (tmp_path / "deep/down/.file.new").write_text("left by one who was interrupted, and longer")
    place(path, b"one")
    place(path, b"two", mode=0o600)
    assert path.read_bytes() == b"two"
    assert path.stat().st_mode & 0o777 == 0o600
    assert list(path.parent.iterdir()) == [path]


@pytest.mark.parametrize("umask", [0o000, 0o077])
@pytest.mark.parametrize("mode", [0o600, 0o644])
def test_the_callers_umask_changes_nothing(tmp_path: Path, mode: int, umask: int) -> None:
    before = os.umask(umask)
    try:
        place(tmp_path / "file", b"", mode=mode)
    finally:
        os.umask(before)
    assert (tmp_path / "file").stat().st_mode & 0o777 == mode


def test_an_interrupted_write_leaves_the_old_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "file"
    place(path, b"old")

    def interrupt(_descriptor: int, _mode: int) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(os, "fchmod", interrupt)
    with pytest.raises(KeyboardInterrupt):
        place(path, b"new")
    assert path.read_bytes() == b"old"
