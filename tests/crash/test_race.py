"""Fifty processes at once on one workspace: one acts at a time, nobody waits for ever, every record read is valid."""

from __future__ import annotations

import json
import subprocess
import threading
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.crash.running import PATIENCE, Home
from tests.crash.stage import SCHEMA

pytestmark = pytest.mark.timeout(900)

WAIT = ("--wait", "600")
CROWD: list[tuple[str, ...]] = [
    *[("up", *WAIT)] * 8,
    *[("up", "--json")] * 5,
    *[("reset", "--to", "launched", *WAIT)] * 4,
    *[("reset", *WAIT)] * 4,
    *[("stop", *WAIT)] * 5,
    *[("stop",)] * 3,
    *[("delete", "--yes", *WAIT)] * 3,
    *[("delete", "--yes")] * 2,
    *[("plan", "--json")] * 4,
    *[("history", "--json")] * 2,
    *[("status", "--json")] * 10,
]
"""What the processes do, interleaved; some wait for each other, some give up at once."""

EXPECTED = {0, 4, 5, 70, 75}
"""Done; nothing there (deleted by another); locked; and a guest that another one switched off under a reader."""

READERS = {"plan", "history", "status"}


class Watcher(threading.Thread):
    """Reads the record as fast as it can and keeps what is wrong with it."""

    def __init__(self, state: Path) -> None:
        super().__init__()
        self._state = state
        self._over = threading.Event()
        self.reads = 0
        self.problems: list[str] = []

    def run(self) -> None:
        while not self._over.is_set():
            try:
                content = self._state.read_bytes()
            except FileNotFoundError:
                continue
            self.reads += 1
            self.problems += self._problems(content)

    def stop(self) -> None:
        self._over.set()
        self.join()

    @staticmethod
    def _problems(content: bytes) -> list[str]:
        try:
            return [error.message for error in SCHEMA.iter_errors(json.loads(content))]
        except ValueError as error:
            return [f"{error}: {content[:200]!r}"]


def test_fifty_processes(tmp_path: Path, tell: Callable[..., None]) -> None:
    home = Home(tmp_path, {"SIMULATED_PACE": "0.005"})
    assert home.run("up").returncode == 0
    watcher = Watcher(home.state)
    watcher.start()
    order = sorted(range(len(CROWD)), key=lambda index: index * 7 % len(CROWD))
    children = [(CROWD[index], home.start(*CROWD[index])) for index in order]
    ended = [(words, *_end(child)) for words, child in children]
    watcher.stop()
    for words, code, out, err in ended:
        assert code in EXPECTED, (words, code, out, err)
        assert "Traceback" not in err, (words, err)
        assert "internal error" not in err + out, (words, err)
        assert words[0] not in READERS or code in (0, 4), (words, code, out, err)
        if words[0] in READERS or "--json" in words:
            assert [json.loads(line) for line in (out.splitlines() if words[0] == "up" else [out])], words
    assert watcher.problems == []
    assert watcher.reads > 0
    assert _overlaps((tmp_path / "calls.log").read_text()) == []
    assert home.run("up", *WAIT).returncode == 0
    assert home.status()["phase"] == "healthy"
    assert len(home.driver.world.load()["instances"]) == 1
    assert home.driver.machine_of()["needless"] == []
    codes = Counter(code for _, code, _, _ in ended)
    assert codes[5] > 0, "nobody met anybody: the test showed nothing"
    tell(
        f"{len(CROWD)} processes at once ({watcher.reads} records read)",
        points=len(CROWD),
        tried=len(CROWD),
        passed=len(CROWD),
    )


def _end(child: subprocess.Popen[str]) -> tuple[int, str, str]:
    out, err = child.communicate(timeout=5 * PATIENCE)
    return child.returncode, out, err


def _overlaps(log: str) -> list[str]:
    """Return where a process changed something while another was between begin and end of a changing call."""
    found, inside = [], ""
    for line in log.splitlines():
        pid, moment, call = line.split(" ", 2)
        if call in ("find", "exec:probe"):
            continue
        if inside not in ("", pid):
            found.append(f"{line} while {inside} was at work")
        inside = {"before": pid, "during": pid, "after": ""}[moment]
    return found
