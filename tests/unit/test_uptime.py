"""How long a guest has been on: a container not as long as its server."""

from __future__ import annotations

import os
import time
from pathlib import Path

import pytest

from polis.guest.remote import containers, uptime


@pytest.fixture
def init(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    path = tmp_path / "stat"
    # The command's name may hold anything.
    fields = ["S", *["0"] * 18, str(900 * os.sysconf("SC_CLK_TCK")), "0", "0"]
    path.write_text(f"1 (init) ) ({' '.join(fields)}\n".replace("(S", "init) S"))
    monkeypatch.setattr(uptime, "INIT", path)
    monkeypatch.setattr(uptime, "CONTAINER", tmp_path / "container")
    monkeypatch.setattr(time, "clock_gettime", lambda _clock: 1000.0)
    return tmp_path / "container"


def test_a_machine_with_a_kernel_of_its_own_is_as_old_as_that(init: Path) -> None:
    assert not init.exists()
    assert (uptime.begun(), uptime.seconds()) == (0.0, 1000.0)


def test_a_container_is_as_old_as_its_init(init: Path) -> None:
    init.write_text("lxc\n")
    assert (uptime.begun(), uptime.seconds()) == (900.0, 100.0)
    assert time.time() - containers.booted_at() == pytest.approx(100.0, abs=60)
