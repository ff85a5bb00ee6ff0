"""`polis logs`: each source, what it is narrowed to, and what becomes of what others wrote."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from polis import assembly, paths, redaction
from polis.errors import GuestCommandFailed, GuestUnreachable, NotFound, UsageError
from polis.guest.session import Guest
from polis.logs import console, inside, own
from polis.logs.lines import CHUNK, TORN, WIDTH, Growing, moment, plain, tail
from polis.process import Completed
from tests import typed
from tests.simulated import SimulatedDriver

SECRET = "hunter2-hunter2"


class Terminal(typed.Terminal):
    """Also returns what a command prints, line by line."""

    def lines(self, line: str) -> list[str]:
        result = self.type(line)
        assert result.exit_code == 0, result.output
        return result.stdout.splitlines()


@pytest.fixture
def terminal(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Terminal:
    printed = {
        "services": ["gate-1  | hello", "workspace-1  | world"],
        "gate": ["gate-1  | hello"],
        "guest": ["kernel: up"],
        "cloud-init": ["Cloud-init finished"],
    }
    driver = SimulatedDriver(path=tmp_path / "world.json", printed=printed)
    monkeypatch.setattr(assembly, "driver", lambda *_, **__: driver)
    monkeypatch.setattr(redaction, "_hidden", set())
    monkeypatch.setenv("POLIS_RETRY", "{attempts: 2, base: 0.001, cap: 0.001}")
    return Terminal(driver)


@pytest.fixture
def up(terminal: Terminal) -> Terminal:
    assert terminal.type("up").exit_code == 0
    return terminal


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("logs", ["gate-1  | hello", "workspace-1  | world"]),
        ("logs --lines 1", ["workspace-1  | world"]),
        ("logs --service gate", ["gate-1  | hello"]),
        ("logs --guest --since 10m", ["kernel: up"]),
        ("logs -f", ["gate-1  | hello", "workspace-1  | world"]),
    ],
)
def test_what_is_logged_in_the_vm_is_shown_as_it_is(up: Terminal, line: str, expected: list[str]) -> None:
    assert up.lines(line) == expected


def test_scripts_get_one_document_or_a_line_for_each_line(up: Terminal) -> None:
    assert json.loads(up.type("logs --service gate --json").stdout) == {
        "schema": 1,
        "workspace": "polis",
        "source": "services",
        "lines": ["gate-1  | hello"],
    }
    followed = [json.loads(line) for line in up.lines("logs -f --json")]
    assert [each["line"] for each in followed] == ["gate-1  | hello", "workspace-1  | world"]
    assert {(each["schema"], each["workspace"], each["source"]) for each in followed} == {(1, "polis", "services")}


@pytest.mark.parametrize(
    ("line", "code", "words"),
    [
        ("logs --service nobody", 2, "the services are gate, init, workspace"),
        ("logs --guest --console", 2, "exclude each other"),
        ("logs --phase running --service gate", 2, "exclude each other"),
        ("logs --since yesterday", 2, "`yesterday` is no time"),
        ("logs --console --since 1h", 2, "have no times"),
        ("logs --console", 4, "keeps no console"),
        ("logs --lines 0", 2, ""),
    ],
)
def test_what_makes_no_sense_is_refused(up: Terminal, line: str, code: int, words: str) -> None:
    result = up.type(line)
    assert (result.exit_code, words in result.stderr) == (code, True), result.stderr
    assert result.stdout == ""


@pytest.mark.parametrize("option", ["", "--polis", "--console", "--guest", "--service gate", "--phase running"])
def test_without_a_workspace_there_are_no_logs(terminal: Terminal, option: str) -> None:
    result = terminal.type(f"logs {option}")
    assert (result.exit_code, "there is no workspace polis" in result.stderr) == (4, True)
    assert not paths.find().workspaces.exists()


def test_before_there_are_services_the_next_command_is_told(terminal: Terminal) -> None:
    terminal.type("up --to configured")
    result = terminal.type("logs --service gate")
    assert (result.exit_code, "`polis up` starts them" in result.stderr) == (75, True)


def test_of_a_vm_that_is_off_polis_s_own_log_is_shown_and_the_others_say_so(up: Terminal) -> None:
    up.type("stop")
    result = up.type("logs")
    assert result.exit_code == 0
    assert "the VM is stopped: this is what polis did" in result.stderr
    assert "phase.completed" in result.stdout
    assert up.type("logs --service gate").exit_code == 75
    assert up.type("logs --guest").exit_code == 75


def test_polis_s_own_log_is_for_people(up: Terminal) -> None:
    lines = up.lines("logs --polis")
    assert any("command.started (target healthy)" in line for line in lines)
    assert any("exec (polis services.up): done in" in line for line in lines)
    assert len(up.lines("logs --polis --lines 3")) == 3


def test_a_phase_narrows_it_to_what_happened_on_the_way_to_that_phase(up: Terminal) -> None:
    lines = up.lines("logs --phase configured")
    assert any("configured: phase.started" in line for line in lines)
    assert any("polis placing.place" in line for line in lines)
    assert not any("images.pull" in line or "images-pulled" in line for line in lines)


def test_what_comes_after_a_phase_does_not_belong_to_it() -> None:
    within = own.Within("running")
    names = ("driver.called", "phase.started", "driver.called", "phase.completed", "driver.called")
    found = [{"event": name, "run": "r", **({"phase": "running"} if "phase" in name else {})} for name in names]
    assert [within(entry) for entry in found] == [False, True, True, True, False]
    assert not within({"event": "driver.called", "run": "another"})


def test_of_the_first_phase_it_shows_what_cloud_init_printed(up: Terminal, tmp_path: Path) -> None:
    assert up.lines("logs --phase launched")[-2:] == ["--- cloud-init's output in the VM:", "Cloud-init finished"]
    up.type("stop")
    up.driver.console = tmp_path / "console.log"
    up.driver.console.write_text("login:\n")
    assert up.lines("logs --phase launched")[-2:] == ["--- the VM's console:", "login:"]


def test_the_error_of_a_failed_command_is_in_polis_s_own_log(terminal: Terminal) -> None:
    terminal.driver.refuse_pull = {"polis-gate": "received unexpected HTTP status: 503 Service Unavailable"}
    terminal.type("up")
    lines = terminal.lines("logs --phase images-pulled")
    assert any("error: cannot pull" in line for line in lines)
    assert any("    | " in line and "503" in line for line in lines)


def test_the_console_is_shown_of_a_vm_that_is_off(up: Terminal, tmp_path: Path) -> None:
    up.driver.console = tmp_path / "console.log"
    up.driver.console.write_bytes(b"one\r\n\x1b[31mtwo\x1b[0m\nthree\n")
    up.type("stop")
    assert up.lines("logs --console --lines 2") == ["two", "three"]


def test_following_the_console_ends_when_the_vm_is_off_and_says_so(up: Terminal, tmp_path: Path) -> None:
    file = tmp_path / "console.log"
    file.write_text("before\n")
    up.driver.console = file
    guest = Guest(up.driver, "polis")
    taken: list[str] = []
    pauses: list[float] = []
    begin = console.read(guest, 10, taken.append)

    def pause(seconds: float) -> None:
        pauses.append(seconds)
        with file.open("a") as written:
            written.write(f"line {len(pauses)}\n")
        if len(pauses) == 3:
            with up.driver.change() as machine:
                machine["state"] = "stopped"

    with pytest.raises(GuestUnreachable, match="the VM is stopped"):
        console.follow(guest, begin, taken.append, pause)
    assert taken[:4] == ["before", "line 1", "line 2", "line 3"]
    assert taken[-1] == f"line {len(pauses)}"


def test_following_polis_s_own_log_goes_on_with_what_is_added_and_over_a_new_file(up: Terminal) -> None:
    directory = paths.find().workspace("polis")
    file = directory / "polis.log"
    end, within = own.read(directory, 1, lambda _: None, phase="running")
    taken: list[str] = []
    added = [
        '{"event": "phase.started", "phase": "running", "run": "r"}\n{"event": "torn',
        '", "run": "r"}\nno JSON\n{"event": "phase.started", "phase": "healthy", "run": "r"}\n',
    ]

    def pause(_seconds: float) -> None:
        if not added:
            raise KeyboardInterrupt
        with file.open("a") as written:
            written.write(added.pop(0))

    with pytest.raises(KeyboardInterrupt):
        own.follow(directory, end, within, taken.append, pause)
    assert [line.split("  ")[-1] for line in taken] == ["running: phase.started", "torn"]


def test_a_vm_that_goes_away_while_it_is_followed_is_an_error_of_its_own(up: Terminal) -> None:
    def interfere(call: str, moment_: str) -> None:
        if call == "exec:logs" and moment_ == "before":
            raise GuestUnreachable("the connection to the guest broke off")

    up.driver.interfere = interfere
    result = up.type("logs -f")
    assert (result.exit_code, "broke off" in result.stderr) == (75, True)


@pytest.mark.parametrize(("signal", "code"), [("SIGINT", 130), ("SIGTERM", 143)])
def test_a_signal_is_the_usual_end_of_following_and_no_failure(up: Terminal, signal: str, code: int) -> None:
    def interfere(call: str, moment_: str) -> None:
        if call == "exec:logs" and moment_ == "before":
            raise KeyboardInterrupt(signal)

    up.driver.interfere = interfere
    before = (paths.find().workspace("polis") / "polis.log").read_bytes()
    result = up.type("logs -f")
    assert (result.exit_code, result.stderr) == (code, "")
    assert (paths.find().workspace("polis") / "polis.log").read_bytes() == before
    assert "error: interrupted" in up.type("logs").stderr


class Saying:
    """A driver whose guest says what it likes."""

    def __init__(self, driver: SimulatedDriver, stdout: list[str]) -> None:
        self.stdout = stdout
        self.find = driver.find

    def exec(self, *, on_line: Any, **_: Any) -> Completed:
        for line in self.stdout:
            on_line(line)
        return Completed((), 0, "", "", 0.0)


@pytest.mark.parametrize(
    "stdout", [[], ["nonsense"], ["[" * 5000], ['{"answer": 7}'], ['{"progress": {"line": 7}}'], ["[]"]]
)
def test_a_guest_that_talks_nonsense_is_told_as_such(up: Terminal, stdout: list[str]) -> None:
    guest = Guest(Saying(up.driver, stdout), "polis")  # type: ignore[arg-type]
    for request in (inside.Request("guest", 10), inside.Request("services", 10, ("gate",))):
        with pytest.raises(GuestCommandFailed):
            inside.read(guest, request, lambda _: None)


def test_a_tool_that_fails_in_the_guest_is_told_with_its_last_words(up: Terminal) -> None:
    said = ['{"progress": {"line": "journalctl: no such thing"}}', '{"answer": {"known": [], "code": 1}}']
    taken: list[str] = []
    with pytest.raises(GuestCommandFailed) as caught:
        inside.read(Guest(Saying(up.driver, said), "polis"), inside.Request("guest", 10), taken.append)  # type: ignore[arg-type]
    assert caught.value.cause == "journalctl: no such thing"
    assert taken == ["journalctl: no such thing"]


def test_the_guest_s_lines_cannot_steer_the_terminal_and_show_no_secret(
    up: Terminal, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(redaction, "_hidden", {SECRET})
    up.driver.printed["guest"] = [
        "\x1b]0;title\x07a\x1b[2Jb\x08\tc \u202e",
        f"key {SECRET[:4]}\x1b[0m{SECRET[4:]}",
        "\ud800",
    ]
    assert up.lines("logs --guest") == ["ab c ", f"key {redaction.STRUCK}", "?"]


def test_of_a_line_that_was_cut_the_end_is_dropped(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(redaction, "_hidden", {SECRET})
    shown = plain("x" * 4000 + SECRET[:9], is_cut=True)
    assert SECRET[:4] not in shown
    assert len(shown) == 4009 - TORN + 1
    assert len(plain("y" * (WIDTH + 5))) == WIDTH + 1


def test_of_a_long_secret_that_was_cut_no_beginning_is_shown(monkeypatch: pytest.MonkeyPatch) -> None:
    long = "".join(f"key{number:05d}" for number in range(1024))
    monkeypatch.setattr(redaction, "_hidden", {long, SECRET})
    assert plain("it is " + long[:4000], is_cut=True) == "it is …"
    assert plain("it is kind " + "." * TORN, is_cut=True) == "it is kind …"


def test_what_follows_the_beginning_of_an_endless_line_is_passed_over(tmp_path: Path) -> None:
    file = tmp_path / "log"
    file.write_text("x" * (CHUNK + 1))
    growing = Growing(file, 0)
    taken: list[str] = []
    for _ in range(3):
        taken += growing.read()
        with file.open("a") as written:
            written.write(SECRET)
    with file.open("a") as written:
        written.write("\nnext\n")
    assert [line[:4] for line in (*taken, *growing.read())] == ["xxxx", "next"]


def test_the_tail_of_a_file_begins_with_a_whole_line(tmp_path: Path) -> None:
    file = tmp_path / "log"
    file.write_text(f"key {SECRET}\nlast\n")
    assert tail(file, 9, limit=12) == (["last"], file.stat().st_size)
    assert tail(tmp_path / "none", 9, limit=12) == ([], 0)


def test_a_file_that_was_replaced_is_read_from_its_beginning(tmp_path: Path) -> None:
    file = tmp_path / "log"
    file.write_text("one\ntwo\n")
    growing = Growing(file, 4)
    assert growing.read() == ["two"]
    file.write_text("new\n")
    assert growing.read() == ["new"]
    file.unlink()
    assert growing.read() == []


def test_a_time_is_so_long_ago_or_a_moment() -> None:
    now = datetime(2026, 1, 2, tzinfo=UTC)
    assert moment("90s", now) == now - timedelta(seconds=90)
    assert moment("1d", now) == now - timedelta(days=1)
    assert moment("2026-01-01T00:00") == datetime(2026, 1, 1, tzinfo=UTC)
    for text in ("", "-1m", "999999999d", "10 m", "tomorrow"):
        with pytest.raises(UsageError):
            moment(text)


def test_the_guest_is_asked_in_seconds_before_now_for_its_clock_may_differ() -> None:
    now = datetime(2026, 1, 2, tzinfo=UTC)
    wanted = inside.Request("guest", 5, since=now - timedelta(seconds=60))
    assert wanted.arguments(now)["since"] == 60.0
    assert inside.Request("guest", 5).arguments(now)["since"] is None


def test_a_driver_without_a_console_says_what_else_there_is(up: Terminal) -> None:
    with pytest.raises(NotFound) as caught:
        console.read(Guest(up.driver, "polis"), 5, lambda _: None)
    assert "--guest" in caught.value.hint
