"""`polis fleet …` as it is typed: what people are told, and what it ends with."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from polis import assembly
from polis.cli.fleet.board import Board
from polis.cli.fleet.lines import SILENCE, PlainLines
from polis.cli.fleet.table import lines
from polis.cli.progress import frame
from polis.cli.progress.model import State
from polis.errors import ExitCode, GuestUnreachable, Unhealthy
from polis.events import PhaseProgress, PhaseRetry, PhaseStarted, Warned
from polis.fleet.outcome import Outcome
from polis.phase import Phase
from tests.simulated import SimulatedDriver
from tests.simulated.many import Machines
from tests.typed import Typist

FLEET = "defaults: {cpus: 2}\nmembers: [{name: gate}, {name: web, count: 3, labels: {tier: front}}]\n"


class Yard:
    def __init__(self, machines: Machines) -> None:
        self.machines = machines
        self.typist = Typist(SimulatedDriver(path=machines.directory / "unused"))
        self.type = self.typist.type

    def fail(self, **problems: Exception) -> None:
        """Let members fail when files are pushed to them; `web_1` is web-1."""

        def interfere(name: str, call: str, moment: str) -> None:
            if (call, moment) == ("push", "before") and name.replace("-", "_") in problems:
                raise problems[name.replace("-", "_")]

        self.machines.interfere = interfere


@pytest.fixture
def yard(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Yard:
    machines = Machines(tmp_path / "machines")
    monkeypatch.setattr(assembly, "driver", machines)
    monkeypatch.setenv("POLIS_RETRY", "{attempts: 2, base: 0.001, cap: 0.001}")
    Path("fleet.yaml").write_text(FLEET)
    return Yard(machines)


def test_up_tells_of_each_member_and_counts_them_in_the_end(yard: Yard) -> None:
    answer = yard.type("fleet up")
    assert (answer.code, answer.stdout) == (0, "4 members: 4 healthy\n")
    told = answer.stderr.splitlines()
    assert sum("launched: done in" in line for line in told) == 4
    assert all(line[2] == ":" for line in told), "each line has a time"
    again = yard.type("fleet up")
    assert len(again.stderr.splitlines()) == 4, "of what holds nothing is told but the end"
    assert yard.type("fleet up -q").stderr == ""


def test_failures_are_told_in_short_with_the_next_command_and_the_worst_exit_code(yard: Yard) -> None:
    yard.fail(web_1=GuestUnreachable("no answer", cause="one\ntwo"), web_3=Unhealthy("not healthy: gate"))
    answer = yard.type("fleet up -q")
    assert (answer.code, answer.stdout) == (70, "4 members: 2 healthy, 2 failed\n")
    assert "web-1: no answer (phase configured)\n  | two\n" in answer.stderr
    assert answer.stderr.count("  still there: the VM is running; phase launched holds\n") == 2
    start = "polis --config fleet.yaml -n web-1"
    assert f"  next: `{start} up`" in answer.stderr or f"  next: `{start} status`" in answer.stderr
    yard.machines.interfere = lambda *_: None
    assert yard.type("fleet up").code == 0


def test_the_suggested_command_works(yard: Yard) -> None:
    assert yard.type("fleet up -q").code == 0
    answer = yard.type("--config fleet.yaml -n web-2 plan --check")
    assert answer.code == 0, answer.stdout
    assert yard.type("--config fleet.yaml status").code == 78
    changed = yard.type("-n web-2 plan")  # by the defaults alone it would have other processors
    assert "cpus" in changed.stdout or "processors" in changed.stdout


def test_a_selector_leaves_the_others_alone(yard: Yard) -> None:
    assert yard.type("fleet up --selector tier=front -q").stdout == "3 members: 3 healthy\n"
    assert yard.type("fleet stop --selector name=web-1 -q").stdout == "1 member: 1 stopped\n"
    assert yard.type("fleet stop -q").stdout == "4 members: 1 none, 1 off, 2 stopped\n"
    assert yard.type("fleet delete --selector phase=healthy -y -q").stdout == "3 members: 3 deleted\n"


def test_plan_tells_what_up_would_do_with_each(yard: Yard) -> None:
    yard.type("fleet up -q --selector tier=front")
    told = yard.type("fleet plan").stdout.splitlines()
    assert told[0] == "gate   absent → healthy: launched enter  there is no instance"
    assert told[1] == "web-1  healthy: nothing is to be done"
    assert yard.type("fleet plan --check").code == 3
    assert yard.type("fleet plan --check --selector tier=front").code == 0


def test_status_is_a_table_of_what_is_remembered(yard: Yard) -> None:
    yard.type("fleet up -q --selector tier=front")
    yard.type("fleet stop -q --selector name=web-2")
    answer = yard.type("fleet status")
    told = answer.stdout.splitlines()
    assert told[1].split() == ["gate", "absent", "none", "simulated"]
    assert told[2].split() == ["web-1", "healthy", "running", "simulated"]
    assert told[3].split()[:3] == ["web-2", "absent", "stopped"]
    assert "healthy is remembered" in told[3]
    assert told[-1] == "4 members: 2 absent, 2 healthy (as remembered; --probe asks the guests)"
    assert (answer.code, yard.type("fleet status --check").code) == (0, 3)
    assert yard.type("fleet status --check --selector name=web-1").code == 0


def test_status_asks_the_guests_only_if_it_is_told_to(yard: Yard) -> None:
    yard.type("fleet up -q")
    with yard.machines.of("gate").change("gate") as machine:
        machine["images"] = {}
    assert json.loads(yard.type("fleet status --json").stdout)["counts"] == {"healthy": 4}
    document = json.loads(yard.type("fleet status --probe --json").stdout)
    assert document["counts"] == {"configured": 1, "healthy": 3}
    gate = document["members"][0]
    assert (gate["remembered"], gate["obstacle"]["phase"]) == (False, "images-pulled")


def test_what_deletes_asks_first_and_says_whom_it_means(yard: Yard) -> None:
    yard.type("fleet up -q")
    for line in ("delete", "reset --to absent", "up --recreate"):
        answer = yard.type(f"fleet {line}")
        assert answer.code == 2
        assert "confirmation" in answer.stderr
    assert json.loads(yard.type("fleet status --json").stdout)["counts"] == {"healthy": 4}
    assert yard.type("fleet reset -q").stdout == "4 members: 4 running\n"
    assert yard.type("fleet delete -y -q --all").stdout == "4 members: 4 deleted\n"


def test_a_rolling_upgrade_that_fails_says_who_is_as_before_and_how_to_go_on(yard: Yard) -> None:
    yard.type("fleet up -q")
    Path("fleet.yaml").write_text(FLEET.replace("{cpus: 2}", "{cpus: 2, version: v9.9.9}"))
    yard.fail(web_1=Unhealthy("not healthy: gate"))
    answer = yard.type("fleet up --max-unavailable 1 -q")
    assert (answer.code, answer.stdout) == (70, "4 members: 1 healthy, 2 kept, 1 failed\n")
    assert "still as they were: web-2, web-3\n" in answer.stderr
    assert "next: `polis fleet up -f fleet.yaml --max-unavailable 1` goes on from here\n" in answer.stderr
    yard.machines.interfere = lambda *_: None
    assert yard.type("fleet up --max-unavailable 1 -q").stdout == "4 members: 4 healthy\n"


def test_only_members_that_need_it_get_a_new_vm(yard: Yard) -> None:
    yard.type("fleet up -q")
    Path("ci.yaml").write_text("#cloud-config\nusers: [default]\nruncmd: [[touch, /x]]\n")
    Path("fleet.yaml").write_text(FLEET.replace("{name: gate}", "{name: gate, cloud_init: ci.yaml}"))
    assert yard.type("fleet up -q").code == 3
    assert yard.type("fleet up -q --recreate -y").code == 0
    launches = {name: yard.machines.of(name).launches for name in ("gate", "web-1")}
    assert launches == {"gate": 2, "web-1": 1}


def test_the_same_words_of_many_members_are_said_once(yard: Yard) -> None:
    board = Board("up", ["a", "b"])
    shown = PlainLines(board, interval=None)
    assert shown._is_worth_it("a", Warned(message="slow here"), "warning: slow here")
    assert not shown._is_worth_it("b", Warned(message="slow here"), "warning: slow here")


def test_no_minute_is_silent(capsys: pytest.CaptureFixture[str]) -> None:
    now = [0.0]
    board = Board("up", ["a", "b", "c"], clock=lambda: now[0])
    shown = PlainLines(board, clock=lambda: now[0], interval=None)
    now[0] = 1.0
    shown.begun("a")
    board.take("a", PhaseStarted(phase=Phase.LAUNCHED))
    shown.tick()
    assert capsys.readouterr().err == ""
    now[0] = SILENCE + 1.0
    shown.tick()
    assert capsys.readouterr().err == "00:21  still at it: 1 at work, 2 waiting; longest a launched (00:20)\n"


# ---- the table


def drawn(board: Board, width: int, height: int) -> list[str]:
    return [line.plain.rstrip() for line in lines(board, frame.Sheet(width, frame.FULL), height)]


def a_board(count: int) -> tuple[Board, list[float]]:
    now = [100.0]
    return Board("up", [f"m-{number}" for number in range(count)], clock=lambda: now[0]), now


def failed(member: str) -> Outcome:
    error = {"message": "the disk is full\x1b[2J\nreally", "phase": "launched"}
    return Outcome(member, "failed", ExitCode.HOST, "absent", error)


def test_a_small_fleet_is_shown_whole_and_in_its_order() -> None:
    board, now = a_board(4)
    board.begin("m-1")
    board.take("m-1", PhaseProgress(phase=Phase.IMAGES_PULLED, detail="gate 10 %", done=1, total=9))
    board.begin("m-0")
    board.end(failed("m-0"))
    now[0] = 165.0
    assert drawn(board, 100, 24) == [
        "fleet up  01:05  4 members: 1 at work, 2 waiting, 1 failed",
        "✗ m-0  absent         00:00  the disk is full really".replace("full ", "full\N{REPLACEMENT CHARACTER}[2J "),
        "⠋ m-1  images-pulled  01:05  [1/9] gate 10 %",
        "· m-2",
        "· m-3",
    ]


@pytest.mark.parametrize(("height", "width"), [(24, 80), (5, 40), (2, 20), (3, 200)])
def test_there_are_never_more_lines_than_the_screen_has_nor_longer_ones(height: int, width: int) -> None:
    board, _ = a_board(5000)
    for number in range(60):
        board.begin(f"m-{number}")
    for number in range(40):
        board.end(failed(f"m-{number}"))
    shown = drawn(board, width, height)
    assert len(shown) <= height
    assert max(len(line) for line in shown) <= width
    assert shown[0].startswith("fleet up")


def test_many_failures_alone_do_not_run_over_the_screen() -> None:
    board, _ = a_board(60)
    for number in range(60):
        board.end(failed(f"m-{number}"))
    assert len(drawn(board, 80, 10)) <= 10


def test_of_many_what_failed_and_what_works_is_shown_first() -> None:
    board, _ = a_board(1000)
    for number in range(100, 103):
        board.begin(f"m-{number}")
    board.end(failed("m-101"))
    shown = drawn(board, 80, 8)
    assert shown[0] == "fleet up  00:00  1000 members: 2 at work, 997 waiting, 1 failed"
    assert [line.split()[1] for line in shown[1:4]] == ["m-101", "m-100", "m-102"]
    assert shown[-1].endswith("and 994 more")


def test_a_retry_shows_its_reason_and_an_end_what_was_reached() -> None:
    board, _ = a_board(1)
    board.begin("m-0")
    board.take("m-0", PhaseRetry(phase=Phase.IMAGES_PULLED, reason="503", attempt=1, attempts=6, delay_s=2.0))
    assert "attempt 1 of 6 failed: 503" in drawn(board, 80, 9)[1]
    board.end(Outcome("m-0", "healthy", phase="healthy"))
    assert board.rows["m-0"].state is State.DONE
    assert board.counts["healthy"] == 1
    assert not board.at_work
