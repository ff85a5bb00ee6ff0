"""The live list on terminals that are small, dumb, resized or interrupted, and what must never be lost."""

from __future__ import annotations

import io
import sys
import threading
from pathlib import Path

import pytest

from polis import config, events, paths
from polis.cli import output, progress, terminal
from polis.cli.globals import Globals
from polis.cli.progress.heartbeat import Heartbeat
from polis.cli.progress.live import LiveList
from polis.cli.progress.ticker import Ticker
from polis.cli.session import confirm
from polis.errors import Interrupted, PolisError
from polis.phase import ORDER, Phase
from polis.workspace import UpOptions, Workspace
from tests.simulated import SimulatedDriver
from tests.unit.live_screen import Scene

BEGIN = events.CommandStarted(command="up", target=Phase.HEALTHY, pid=1)
END = events.CommandEnded(command="up", outcome="done", exit_code=0, duration_s=1.0, phase=Phase.HEALTHY)
RETRY = events.PhaseRetry(phase=Phase.IMAGES_PULLED, reason="cannot pull it: 503", attempt=1, attempts=6, delay_s=60.0)


def at_work(scene: Scene, phase: Phase = Phase.IMAGES_PULLED, detail: str = "x" * 300) -> None:
    scene.tell(BEGIN, events.PhaseStarted(phase=phase), events.PhaseProgress(phase=phase, detail=detail))


def up(scene: Scene, driver: SimulatedDriver) -> Phase:
    spec = config.Spec.model_validate({"retry": {"attempts": 2, "base": 0.001, "cap": 0.001}})
    return Workspace(spec, paths.find(), events.Stream([scene.sink]), driver).up(UpOptions())


def test_a_real_up_ends_with_its_list_and_the_cursor_beneath_it(tmp_path: Path) -> None:
    scene = Scene(80)
    assert up(scene, SimulatedDriver(path=tmp_path / "world.json")) is Phase.HEALTHY
    assert [line.split()[:2] for line in scene.shown[1:]] == [["✓", str(phase)] for phase in ORDER]
    assert scene.shown[0].startswith("up to healthy  ")
    assert (scene.screen.cursor.x, scene.screen.cursor.y) == (0, 7)


@pytest.mark.parametrize("moment", ["before", "during"])
def test_after_a_ctrl_c_at_work_the_terminal_is_usable(tmp_path: Path, moment: str) -> None:
    def interfere(call: str, now: str) -> None:
        if (call, now) == ("exec:pull", moment):
            raise KeyboardInterrupt("SIGINT")

    scene = Scene(80)
    with pytest.raises(Interrupted):
        up(scene, SimulatedDriver(path=tmp_path / "world.json", interfere=interfere))
    assert scene.shown[4].split()[:2] == ["!", "images-pulled"]
    assert scene.screen.cursor.y == len(scene.shown)
    assert not scene.screen.cursor.hidden


@pytest.mark.parametrize("columns", [2, 5, 20, 40, 59, 60, 61, 80, 200])
@pytest.mark.parametrize("event", [RETRY, None])
def test_no_line_is_wider_than_the_terminal(columns: int, event: events.Event | None) -> None:
    scene = Scene(columns)
    at_work(scene)
    scene.tell(*([event] if event else []))
    scene.tell(after=1)
    scene.tell(after=1)
    assert scene.screen.cursor.y == 0, "each drawing begins where the last one did"
    assert not scene.screen.history.top
    assert all(line[columns - 1 :] == "" for line in scene.shown), "the last column stays free"


@pytest.mark.parametrize("lines", range(1, 12))
def test_a_low_terminal_shows_what_is_at_work_first(lines: int) -> None:
    scene = Scene(40, lines)
    at_work(scene, detail="a detail")
    scene.tell(RETRY)
    scene.tell(after=1)
    assert len(scene.shown) <= lines
    assert sum("images-pulled" in line for line in scene.shown) == 1
    assert len(scene.screen.history.top) == 0, "nothing was pushed out by the list"
    scene.tell(END)
    everything = len(scene.screen.history.top) + len(scene.shown)
    assert everything >= len(ORDER), "the last list is whole, even where it has to scroll"


@pytest.mark.parametrize(("before", "after"), [((80, 24), (40, 24)), ((40, 24), (80, 24)), ((80, 24), (80, 10))])
def test_after_a_resize_there_is_one_list(before: tuple[int, int], after: tuple[int, int]) -> None:
    scene = Scene(*before)
    scene.tell(events.Warned(message="mind this"))
    at_work(scene)
    scene.resize(*after)
    scene.tell(after=0.25)
    scene.tell(after=0.25)
    assert sum(line.startswith("up to healthy") for line in scene.shown) == 1
    assert sum("images-pulled" in line for line in scene.shown) == 1
    if before[1] == after[1]:  # where lines go that a terminal has no room for is its own affair
        assert scene.shown[0].endswith("warning: mind this")


def test_what_matters_stays_above_however_much_comes() -> None:
    scene = Scene(80, 12)
    at_work(scene)
    for number in range(30):
        scene.tell(events.Warned(message=f"warning number {number}"), after=1)
    scene.tell(END)
    rows = ["".join(line[column].data for column in range(80)) for line in scene.screen.history.top]
    kept = [line for line in [*rows, *scene.shown] if "warning number" in line]
    assert [line.split()[-1] for line in kept] == [str(number) for number in range(30)]


def test_of_endless_words_only_the_beginning_is_kept() -> None:
    scene = Scene(80)
    at_work(scene, detail="x" * 10**6)
    scene.tell(events.PhaseRetry(phase=Phase.IMAGES_PULLED, reason="y" * 10**6, attempt=1, attempts=2, delay_s=1.0))
    row = scene.sink._progress.rows[Phase.IMAGES_PULLED]
    assert row.retry is not None
    assert (len(row.detail), len(row.retry.reason)) == (1000, 1000)


def test_time_passes_without_events() -> None:
    scene = Scene(80)
    at_work(scene, Phase.LAUNCHED, "booting")
    scene.tell(after=75)
    assert scene.shown[0] == "up to healthy  01:15"
    assert scene.shown[2].split()[1:] == ["launched", "01:15", "booting"]


def test_lines_for_people_go_above_the_list_while_there_is_one(monkeypatch: pytest.MonkeyPatch) -> None:
    scene = Scene(80)
    monkeypatch.setattr(sys, "stderr", scene.wire)
    at_work(scene)
    output.say("00:01  exec (polis): done")
    scene.tell()
    assert scene.shown[:2] == ["00:01  exec (polis): done", "up to healthy  00:00"]
    for _ in range(6):
        output.say("ab")
    scene.tell()
    assert scene.shown[1:8] == ["ab"] * 6 + ["up to healthy  00:00"], "nothing shows through of the list before"
    scene.tell(END)
    output.say("after it")
    assert scene.shown[-1] == "after it"


def test_a_question_is_never_drawn_over(monkeypatch: pytest.MonkeyPatch) -> None:
    scene = Scene(80)
    monkeypatch.setattr(sys, "stderr", scene.wire)
    answer = io.StringIO("y\n")
    monkeypatch.setattr(answer, "isatty", lambda: True)
    monkeypatch.setattr(sys, "stdin", answer)
    scene.tell(events.Disclosed(message="the VM is emulated"))
    confirm("Delete it?", Globals())
    assert scene.shown == ["00:00  the VM is emulated", "Delete it? [y/N]"]


def test_a_terminal_without_the_characters_gets_others() -> None:
    scene = Scene(40, encoding="ascii")
    at_work(scene, Phase.CONFIGURED, "überlang " * 20)
    scene.tell(events.PhaseCompleted(phase=Phase.CONFIGURED, duration_s=1.0), events.Warned(message="für dich"))
    assert scene.shown[0].endswith("warning: f?r dich")
    assert scene.shown[4].split() == ["+", "configured", "00:01"]
    assert scene.shown[5].split() == [".", "images-pulled"]


@pytest.mark.parametrize("switch", ["option", "variable", "neither"])
def test_colours_can_be_switched_off(switch: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TERM", "xterm-256color")
    monkeypatch.delenv("NO_COLOR", raising=False)
    if switch == "variable":
        monkeypatch.setenv("NO_COLOR", "1")
    scene = Scene(80, colour=switch != "option")
    at_work(scene)
    monkeypatch.setattr(sys, "stderr", scene.wire)
    scene.tell(events.PhaseFailed(phase=Phase.IMAGES_PULLED, kind="x", message="x", duration_s=1.0), END)
    output.error(PolisError("no", "why", hint="do"), colour=switch != "option")
    colours = {cell.fg for line in scene.screen.buffer.values() for cell in line.values()} - {"default"}
    assert bool(colours) is (switch == "neither")


def test_what_a_guest_says_does_not_steer_the_terminal() -> None:
    scene = Scene(80)
    at_work(scene, detail="\x1b[2J\x1b[31m[bold]red[/bold]\r\nup to healthy")
    scene.tell(events.Warned(message="\x1b[H\x07 top\nfake line"))
    assert "[bold]red[/bold]" in scene.shown[5]
    assert sum(line.startswith("up to healthy") for line in scene.shown) == 1
    assert scene.shown[0].endswith("top fake line")


@pytest.mark.parametrize(
    ("term", "drawn"), [("xterm-256color", True), ("screen", True), ("dumb", False), ("", False), ("unknown", False)]
)
@pytest.mark.skipif(sys.platform == "win32", reason="no TERM there")
def test_who_gets_the_list(term: str, drawn: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TERM", term)
    assert terminal.can_be_drawn_on(Scene(80).wire) is drawn
    assert not terminal.can_be_drawn_on(io.StringIO())
    monkeypatch.setattr(sys, "stderr", Scene(80).wire)
    assert isinstance(progress.sink(), LiveList if drawn else Heartbeat)
    assert isinstance(progress.sink(json=True), Heartbeat)
    assert isinstance(progress.sink(quiet=True), output.PlainLines)


def test_it_is_drawn_by_itself_and_its_thread_ends_with_the_command(monkeypatch: pytest.MonkeyPatch) -> None:
    scene = Scene(80)
    drawn = threading.Event()
    ticking = LiveList(scene.sink._terminal, clock=scene.clock, interval=0.001)
    monkeypatch.setattr(ticking, "draw", drawn.set)
    before = threading.active_count()
    ticking.take(BEGIN)
    assert drawn.wait(timeout=60)
    ticking.take(END)
    assert threading.active_count() == before
    assert scene.shown[0] == "up to healthy  00:00  done"


def test_a_terminal_that_is_gone_ends_the_drawing_without_a_word() -> None:
    ended = threading.Event()

    def tick() -> None:
        ended.set()
        raise BrokenPipeError

    ticker = Ticker(0.0, tick)
    ticker.start()
    assert ended.wait(timeout=60)
    ticker.stop()


def test_a_command_that_ends_without_a_word_leaves_a_usable_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    scene = Scene(80)
    kept: list[object] = []
    monkeypatch.setattr("atexit.register", kept.append)
    at_work(scene)
    assert kept == [scene.sink.close]
    scene.sink.close()
    assert scene.screen.cursor.y == len(scene.shown)
    scene.sink.close()
    assert scene.screen.cursor.y == len(scene.shown)
