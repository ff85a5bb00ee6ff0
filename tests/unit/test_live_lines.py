"""Never a silent minute: what is added to plain lines and to JSON while nothing else is told."""

from __future__ import annotations

import json

import pytest

from polis import events
from polis.cli import output
from polis.cli.progress.heartbeat import SILENCE, Heartbeat
from polis.phase import Phase
from tests.unit.live_screen import Clock

BEGIN = events.CommandStarted(command="up", target=Phase.HEALTHY, pid=1)
STARTED = events.PhaseStarted(phase=Phase.LAUNCHED)
BOOTING = events.PhaseProgress(phase=Phase.LAUNCHED, detail="booting")


class Kept:
    """A sink that keeps what it is told."""

    def __init__(self) -> None:
        self.taken: list[events.Event] = []

    def take(self, event: events.Event) -> None:
        self.taken.append(event)

    @property
    def added(self) -> list[str]:
        return [each.detail for each in self.taken if isinstance(each, events.PhaseProgress) if "still" in each.detail]


class Run:
    """A heartbeat that is looked at once a second."""

    def __init__(self, *told: events.Event) -> None:
        self.clock, self.kept = Clock(), Kept()
        self.heartbeat = Heartbeat(self.kept, clock=self.clock, interval=None)
        for event in told:
            self.heartbeat.take(event)

    def wait(self, seconds: int) -> list[str]:
        for _ in range(seconds):
            self.clock.now += 1
            self.heartbeat.tick()
        return self.kept.added


def test_a_phase_at_work_tells_every_twenty_seconds() -> None:
    run = Run(BEGIN, STARTED, BOOTING)
    assert run.wait(19) == []
    assert run.wait(66) == [
        "still at it (20 s): booting",
        "still at it (40 s): booting",
        "still at it (1 min 0 s): booting",
        "still at it (1 min 20 s): booting",
    ]


def test_news_begin_the_wait_anew_and_repetitions_do_not() -> None:
    run = Run(BEGIN, STARTED, BOOTING)
    run.wait(15)
    run.heartbeat.take(events.PhaseProgress(phase=Phase.LAUNCHED, detail="booting on"))
    assert run.wait(15) == []
    run.heartbeat.take(events.PhaseProgress(phase=Phase.LAUNCHED, detail="booting on"))
    assert run.wait(5) == ["still at it (35 s): booting on"]


def test_without_a_phase_at_work_there_is_nothing_to_tell() -> None:
    done = events.PhaseCompleted(phase=Phase.LAUNCHED, duration_s=1.0)
    for told in ((), (BEGIN,), (BEGIN, STARTED, done)):
        assert Run(*told).wait(120) == []


def test_what_only_the_record_hears_of_is_no_sign_of_life() -> None:
    run = Run(BEGIN, STARTED)
    run.wait(19)
    run.heartbeat.take(events.PhaseFailed(phase=Phase.HEALTHY, kind="x", message="x"))
    assert run.wait(1) == ["still at it (20 s)"]


def test_a_wait_for_the_next_attempt_says_so() -> None:
    retry = events.PhaseRetry(phase=Phase.LAUNCHED, reason="503", attempt=1, attempts=6, delay_s=45.0)
    assert Run(BEGIN, STARTED, retry).wait(50) == [
        "still at it (20 s): attempt 1 of 6 failed, next in 25 s: 503",
        "still at it (40 s): attempt 1 of 6 failed, next in 5 s: 503",
    ]


def test_every_event_is_handed_on_as_it_is() -> None:
    told = (BEGIN, STARTED, BOOTING, BOOTING)
    assert Run(*told).kept.taken == list(told)


def test_it_ends_with_the_command() -> None:
    kept = Kept()
    heartbeat = Heartbeat(kept)
    heartbeat.take(BEGIN)
    ticker = heartbeat._ticker
    assert ticker is not None
    ended = events.CommandEnded(command="up", outcome="done", exit_code=0, duration_s=1.0)
    heartbeat.take(ended)
    assert (heartbeat._ticker, ticker._thread) == (None, None)
    assert kept.taken == [BEGIN, ended]


def test_people_read_a_line(capsys: pytest.CaptureFixture[str]) -> None:
    clock = Clock()
    heartbeat = Heartbeat(output.PlainLines(), clock=clock, interval=None)
    counted = events.PhaseProgress(phase=Phase.IMAGES_PULLED, detail="gate", done=3, total=9)
    for event in (BEGIN, events.PhaseStarted(phase=Phase.IMAGES_PULLED)):
        heartbeat.take(event)
    heartbeat._progress.take(counted, clock.now)
    clock.now += SILENCE
    heartbeat.tick()
    assert capsys.readouterr().err.splitlines()[-1] == "00:00  images-pulled: [3/9] still at it (20 s): gate"


def test_scripts_read_an_event(capsys: pytest.CaptureFixture[str]) -> None:
    clock = Clock()
    heartbeat = Heartbeat(output.JsonLines(), clock=clock, interval=None)
    heartbeat.take(BEGIN)
    heartbeat.take(STARTED)
    clock.now += SILENCE
    heartbeat.tick()
    last = json.loads(capsys.readouterr().out.splitlines()[-1])
    assert (last["event"], last["phase"], last["detail"]) == ("phase.progress", "launched", "still at it (20 s)")
