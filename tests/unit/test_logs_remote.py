"""What hands out logs in the guest: by which commands, which lines, and that it ends when nobody listens."""

from __future__ import annotations

import os
import subprocess
import time
from pathlib import Path
from typing import Any

import pytest

from polis.guest.remote import logs, places
from polis.guest.remote.engine import Engine


def arguments(source: str, **more: Any) -> dict[str, Any]:
    return {"source": source, "lines": 5, "services": [], "since": None, "follow": False, **more}


def relayed(data: bytes) -> list[dict[str, Any]]:
    reading, writing = os.pipe()
    os.write(writing, data)
    os.close(writing)
    said: list[dict[str, Any]] = []
    try:
        logs._relay(reading, said.append)
    finally:
        os.close(reading)
    return [each["progress"] for each in said]


def test_each_line_is_reported_also_the_last_without_its_end() -> None:
    assert relayed(b"one\r\n\ntwo \xff\nthree") == [
        {"line": "one"},
        {"line": ""},
        {"line": "two \ufffd"},
        {"line": "three"},
    ]


def test_of_a_long_line_only_the_beginning_is_reported_and_that_it_was_cut() -> None:
    found = relayed(b"x" * 50_000 + b"\nshort\n" + b"y" * logs.LINE + b"\n" + b"z" * 9000)
    assert [(len(each["line"]), each.get("cut")) for each in found] == [
        (logs.LINE, True),
        (5, None),
        (logs.LINE, None),
        (logs.LINE, True),
    ]


def test_of_what_sudo_says_of_polis_s_own_program_only_the_first_line_is_reported() -> None:
    own = b"2026-11-23T23:07:58+00:00 polis sudo[3427]:   ubuntu : "
    lines = [own + b"TTY=x ; COMMAND=python3 -I", own + b"(command continued) a5Zx", b"gate: (command continued)"]
    assert relayed(b"\n".join(lines)) == [{"line": each.decode()} for each in (lines[0], lines[2])]


def test_a_line_without_an_end_fills_no_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(logs, "PIECE", 1000)
    reads: list[int] = []
    read = os.read

    def counted(descriptor: int, size: int) -> bytes:
        reads.append(size)
        return read(descriptor, size)

    monkeypatch.setattr(os, "read", counted)
    reading, writing = os.pipe()
    os.write(writing, b"x" * 60_000)
    os.close(writing)
    said_after: list[int] = []
    logs._relay(reading, lambda _value: said_after.append(len(reads)))
    os.close(reading)
    assert said_after == [logs.LINE // 1000 + 1]


def test_the_commands_are_those_of_docker_and_systemd(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(time, "time", lambda: 1000.5)
    services = logs._words(arguments("services", follow=True, since=60.0), ["gate"])
    assert services[:4] == ["docker", "compose", "--project-name", "polis"]
    assert services[-6:] == ["--tail", "5", "--since", "940", "--follow", "gate"]
    assert logs._words(arguments("guest", since=60.0), [])[-4:] == ["--lines", "5", "--since", "@940"]
    assert logs._words(arguments("cloud-init"), []) == ["tail", "--lines", "5", str(places.CLOUD_LOG)]
    with pytest.raises(ValueError, match="no such source"):
        logs._words(arguments("/etc/shadow"), [])


def test_for_an_unknown_service_nothing_is_started(monkeypatch: pytest.MonkeyPatch) -> None:
    listed = [{"Labels": {"com.docker.compose.service": "gate"}}, {"Labels": {}}]
    monkeypatch.setattr(Engine, "listed", lambda _self: listed)
    monkeypatch.setattr(places, "services", lambda: [{"name": "init"}])
    said: list[dict[str, Any]] = []
    assert logs.show(arguments("services", services=["--help"]), said.append) == {"known": ["gate", "init"], "code": 0}
    assert not said


@pytest.mark.processes
def test_a_log_is_read_to_its_end(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = tmp_path / "output.log"
    file.write_text("".join(f"line {number}\n" for number in range(9)))
    monkeypatch.setattr(places, "CLOUD_LOG", file)
    said: list[dict[str, Any]] = []
    assert logs.show(arguments("cloud-init"), said.append) == {"known": [], "code": 0}
    assert [each["progress"]["line"] for each in said] == [f"line {number}" for number in range(4, 9)]


@pytest.mark.processes
def test_when_nobody_listens_any_more_the_command_ends(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(logs, "_words", lambda *_: ["sleep", "600"])  # it would not notice by itself
    monkeypatch.setattr(logs, "HEARTBEAT", 0.01)
    children: list[int] = []
    start = subprocess.Popen

    def started(*words: Any, **options: Any) -> Any:
        child = start(*words, **options)
        children.append(child.pid)
        return child

    def gone(value: dict[str, Any]) -> None:
        assert value == {"progress": {}}
        raise BrokenPipeError

    monkeypatch.setattr(subprocess, "Popen", started)
    with pytest.raises(BrokenPipeError):
        logs.show(arguments("cloud-init", follow=True), gone)
    with pytest.raises(ProcessLookupError):
        os.kill(children[0], 0)
