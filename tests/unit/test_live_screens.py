"""What is on the screen in each phase of a command. POLIS_WRITE_SCREENS=1 writes tests/data/screens anew."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from polis import events
from polis.cli import output
from polis.errors import RegistryUnavailable, Unhealthy
from polis.phase import ORDER, Phase
from tests.unit.live_screen import Scene

SCREENS = Path(__file__).parents[1] / "data" / "screens"
REGISTRY = "ghcr.io/odralabshq"
OUTAGE = "received unexpected HTTP status: 503 Service Unavailable"

Moments = Iterator[str]


def begin(command: str = "up", target: Phase = Phase.HEALTHY) -> events.CommandStarted:
    return events.CommandStarted(command=command, target=target, pid=1)


def end(command: str = "up", outcome: str = "done", phase: Phase = Phase.HEALTHY) -> events.CommandEnded:
    return events.CommandEnded(command=command, outcome=outcome, exit_code=0, duration_s=1.0, phase=phase)


def news(phase: Phase, detail: str, done: int | None = None, total: int | None = None) -> events.PhaseProgress:
    return events.PhaseProgress(phase=phase, detail=detail, done=done, total=total)


def done(phase: Phase, seconds: float) -> events.PhaseCompleted:
    return events.PhaseCompleted(phase=phase, duration_s=seconds)


def held(*phases: Phase) -> list[events.Event]:
    return [events.PhaseSkipped(phase=phase) for phase in phases]


def started(phase: Phase) -> events.PhaseStarted:
    return events.PhaseStarted(phase=phase)


def a_full_up(scene: Scene) -> Moments:
    scene.tell(events.Disclosed(message="no hardware virtualization: the VM is emulated, and slow"))
    yield "before it begins"
    scene.tell(begin(), started(Phase.LAUNCHED), news(Phase.LAUNCHED, "verifying the base image"), after=1)
    yield "launched: the machine"
    line = "Setting up docker-ce (5:26.1.3-1~ubuntu.24.04~noble) ..."
    scene.tell(news(Phase.LAUNCHED, f"cloud-init modules-final: {line}"), after=59)
    yield "launched: cloud-init"
    scene.tell(events.Warned(message="cloud-init: a module was skipped"), after=6)
    scene.tell(done(Phase.LAUNCHED, 66.2), started(Phase.CONFIGURED))
    scene.tell(news(Phase.CONFIGURED, "sending 19 files, 50 KiB"))
    yield "configured"
    image = f"{REGISTRY}/polis-gate:v0.5.0: 12.0 of 50.1 MB"
    scene.tell(done(Phase.CONFIGURED, 1.5), started(Phase.IMAGES_PULLED), news(Phase.IMAGES_PULLED, image, 3, 9))
    yield "images-pulled"
    scene.tell(done(Phase.IMAGES_PULLED, 61.0), started(Phase.RUNNING), after=61)
    scene.tell(news(Phase.RUNNING, "gate starting, toolbox waiting for gate", 7, 9), after=2)
    yield "running"
    scene.tell(done(Phase.RUNNING, 12.0), started(Phase.HEALTHY), after=10)
    scene.tell(news(Phase.HEALTHY, "gate starting", 8, 9), after=3)
    yield "healthy"
    scene.tell(done(Phase.HEALTHY, 5.0), end(), after=2)
    yield "the end"


def an_outage(scene: Scene) -> Moments:
    scene.tell(begin(), *held(Phase.LAUNCHED, Phase.CONFIGURED), started(Phase.IMAGES_PULLED))
    error = RegistryUnavailable(f"cannot pull {REGISTRY}/polis-gate:v0.5.0 from ghcr.io", OUTAGE)

    def retry(attempt: int, delay: float) -> events.PhaseRetry:
        return events.PhaseRetry(
            phase=Phase.IMAGES_PULLED, reason=str(error), attempt=attempt, attempts=3, delay_s=delay
        )

    scene.tell(retry(1, 8.0), after=9)
    yield "an attempt failed"
    scene.tell(after=5)
    yield "five seconds later"
    scene.tell(after=4)
    yield "the next attempt"
    scene.tell(news(Phase.IMAGES_PULLED, f"{REGISTRY}/polis-gate:v0.5.0: 1.0 of 50.1 MB", 3, 9), after=1)
    yield "it answers"
    scene.tell(retry(2, 4.0), after=8)
    yield "that failed too"
    failed = events.PhaseFailed(phase=Phase.IMAGES_PULLED, kind=error.kind, message=str(error), duration_s=36.0)
    scene.tell(failed, end(outcome="failed", phase=Phase.CONFIGURED), after=9)
    error.remains = "the VM is up and configured, 3 of 9 images are pulled"
    error.phase = Phase.IMAGES_PULLED
    error.hint = "when the registry answers again, `polis up` goes on from here"
    output.error(error, log=Path("/home/me/polis.log"))
    yield "the error beneath the list"


def a_failure(scene: Scene) -> Moments:
    scene.tell(begin(), *held(*ORDER[1:5]), started(Phase.HEALTHY))
    scene.tell(news(Phase.HEALTHY, "gate unhealthy", 8, 9), after=30)
    yield "before it"
    error = Unhealthy("not healthy: gate (unhealthy)", "gate: no route to its upstream", phase=Phase.HEALTHY)
    failed = events.PhaseFailed(phase=Phase.HEALTHY, kind=error.kind, message=str(error), duration_s=900.0)
    scene.tell(failed, end(outcome="failed", phase=Phase.RUNNING), after=870)
    output.error(error)
    yield "after it"


def drift(scene: Scene) -> Moments:
    scene.tell(begin(), events.DriftFound(phase=Phase.RUNNING, reason="gate has no container"))
    scene.tell(*held(*ORDER[1:4]), started(Phase.RUNNING), news(Phase.RUNNING, "gate starting", 8, 9), after=1)
    yield "repaired"
    scene.tell(done(Phase.RUNNING, 3.0), started(Phase.HEALTHY), done(Phase.HEALTHY, 1.0), end(), after=4)
    yield "the end"


def a_reset(scene: Scene) -> Moments:
    scene.tell(begin("reset", Phase.CONFIGURED), events.PhaseLeft(phase=Phase.HEALTHY, duration_s=0.2))
    scene.tell(news(Phase.RUNNING, "taking the services down"), after=1)
    yield "running is left"
    scene.tell(events.PhaseLeft(phase=Phase.RUNNING, duration_s=4.0), after=3)
    scene.tell(news(Phase.IMAGES_PULLED, "removing 9 images"), after=1)
    yield "images-pulled is left"
    left = events.PhaseLeft(phase=Phase.IMAGES_PULLED, duration_s=2.0)
    scene.tell(left, end("reset", phase=Phase.CONFIGURED), after=1)
    yield "the end"


def a_deletion(scene: Scene) -> Moments:
    scene.tell(begin("delete", Phase.ABSENT), news(Phase.LAUNCHED, "deleting the VM"))
    yield "at work"
    left = events.PhaseLeft(phase=Phase.RUNNING, duration_s=2.0)
    scene.tell(left, end("delete", phase=Phase.ABSENT), after=2)
    yield "the end"


def an_interruption(scene: Scene) -> Moments:
    scene.tell(begin(target=Phase.CONFIGURED), started(Phase.LAUNCHED), news(Phase.LAUNCHED, "booting"), after=3)
    failed = events.PhaseFailed(phase=Phase.LAUNCHED, kind="interrupted", message="interrupted", duration_s=20.0)
    scene.tell(failed, end(outcome="interrupted", phase=Phase.ABSENT), after=20)
    yield "after Ctrl-C"


SCENES: dict[str, Callable[[Scene], Moments]] = {
    "a_full_up": a_full_up,
    "an_outage": an_outage,
    "a_failure": a_failure,
    "drift": drift,
    "a_reset": a_reset,
    "a_deletion": a_deletion,
    "an_interruption": an_interruption,
}


@pytest.mark.parametrize("columns", [40, 80])
@pytest.mark.parametrize("name", SCENES)
def test_screens(name: str, columns: int, monkeypatch: pytest.MonkeyPatch) -> None:
    scene = Scene(columns)
    monkeypatch.setattr(sys, "stderr", scene.wire)
    monkeypatch.setenv("TERM", "xterm-256color")
    text = ""
    for moment in SCENES[name](scene):
        assert not scene.screen.cursor.hidden
        text += f"==== {moment}\n" + "".join(f"{line}\n" for line in scene.shown)
    path = SCREENS / f"{name}-{columns}.txt"
    if os.environ.get("POLIS_WRITE_SCREENS"):
        path.write_text(text, encoding="utf-8")
    assert text == path.read_text(encoding="utf-8")


def test_every_picture_belongs_to_a_scene() -> None:
    wanted = {f"{name}-{columns}.txt" for name in SCENES for columns in (40, 80)}
    assert {path.name for path in SCREENS.iterdir()} == wanted
