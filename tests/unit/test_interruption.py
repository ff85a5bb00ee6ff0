"""Threads that are asked to stop: they notice it where they would have waited, and once."""

from __future__ import annotations

import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from polis import interruption, lock, process, redaction
from polis.drivers.metered import MeteredDriver
from polis.interruption import Interruption
from tests.simulated import SimulatedDriver

LONG = 600.0
"""Seconds that nobody waits here."""


def noticed_by(work: Callable[[], object], stop: Interruption, *, begun: threading.Event | None = None) -> list[object]:
    """Return what the work ended with in a thread of its own, once it was asked to stop after it had begun."""
    ended: list[object] = []

    def body() -> None:
        with stop.heeded():
            try:
                ended.append(work())
            except KeyboardInterrupt as noticed:
                ended.append(noticed.args)

    thread = threading.Thread(target=body)
    thread.start()
    if begun is not None:
        assert begun.wait(LONG)
    stop.ask("SIGTERM")
    thread.join()
    return ended


def test_a_pause_ends_when_it_is_asked() -> None:
    begun = threading.Event()

    def pause() -> None:
        begun.set()
        interruption.sleep(LONG)

    assert noticed_by(pause, Interruption(), begun=begun) == [("SIGTERM",)]


def test_it_is_noticed_once_so_that_cleaning_up_comes_to_its_end() -> None:
    stop = Interruption()
    stop.ask()
    with stop.heeded():
        with pytest.raises(KeyboardInterrupt, match="SIGINT"):
            interruption.check()
        interruption.check()
        interruption.sleep(0.0)
    with stop.heeded(), pytest.raises(KeyboardInterrupt):  # other work has not noticed yet
        interruption.sleep(LONG)


def test_who_heeds_nothing_is_not_stopped() -> None:
    Interruption().ask()
    interruption.check()
    interruption.sleep(0.0)


def test_the_signal_that_asked_first_is_told() -> None:
    stop = Interruption()
    stop.ask("SIGTERM")
    stop.ask("SIGINT")
    assert stop.signal == "SIGTERM"


def test_no_driver_call_begins_any_more(tmp_path: Path) -> None:
    driver = MeteredDriver(SimulatedDriver(path=tmp_path / "world.json"))
    stop = Interruption()
    stop.ask()
    with stop.heeded(), pytest.raises(KeyboardInterrupt):
        driver.find(name="polis")
    assert driver.meter.calls == 0


@pytest.mark.processes
def test_a_child_process_is_ended(tmp_path: Path) -> None:
    note, begun = tmp_path / "pid", threading.Event()
    program = "import os, time; print(os.getpid(), flush=True); time.sleep(600)"

    def child() -> None:
        def noted(line: str) -> None:
            note.write_text(line)
            begun.set()

        process.run([sys.executable, "-c", program], timeout=LONG, on_line=noted)

    assert noticed_by(child, Interruption(), begun=begun) == [("SIGTERM",)]
    assert not Path(f"/proc/{note.read_text()}").exists()


def test_waiting_for_another_polis_ends(tmp_path: Path) -> None:
    begun = threading.Event()

    def wait() -> None:
        with lock.hold(tmp_path, "up", wait=LONG, tell=lambda _text: begun.set()):
            raise AssertionError("the lock is held")

    with lock.hold(tmp_path, "reset"):
        assert noticed_by(wait, Interruption(), begun=begun) == [("SIGTERM",)]


def test_a_lock_is_still_waited_for_longer_than_a_slice(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lock, "SLICE", 0.01)
    told, got = threading.Event(), threading.Event()

    def wait() -> None:
        with lock.hold(tmp_path, "up", wait=LONG, tell=lambda _text: told.set()):
            got.set()

    with lock.hold(tmp_path, "reset"):
        thread = threading.Thread(target=wait)
        thread.start()
        assert told.wait(LONG)
        time.sleep(0.05)  # some slices
        assert not got.is_set()
    thread.join()
    assert got.is_set()


# ---- secrets of one workspace among many


def test_what_is_hidden_apart_is_hidden_nowhere_else() -> None:
    redaction.hide(["for-everybody"])
    with redaction.apart():
        redaction.hide(["for-one-member"])
        assert redaction.redact("for-everybody for-one-member") == "[redacted] [redacted]"
        assert redaction.redact_all({"key": ["for-one-member"]}) == {"key": ["[redacted]"]}
        assert redaction.without_beginning("ends in for-one-") == "ends in "
    assert redaction.redact("for-everybody for-one-member") == "[redacted] for-one-member"


@pytest.mark.processes
def test_what_a_child_says_is_read_with_the_secrets_of_who_started_it() -> None:
    heard: list[str] = []
    with redaction.apart():
        redaction.hide(["for-one-member"])
        argv = [sys.executable, "-c", "print('it is for-one-member')"]
        process.run(argv, timeout=60, on_line=lambda line: heard.append(redaction.redact(line)))
    assert heard == ["it is [redacted]"]
