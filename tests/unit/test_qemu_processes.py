"""Which process is ours: never a pid alone."""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from polis.drivers.qemu import processes
from polis.drivers.qemu.processes import ProcessTable, Psutil, identified, locate

UUID = "6d3c1c0e-0000-4000-8000-000000000001"
QEMU = ("qemu-system-x86_64", "-name", "guest=polis-ws", "-uuid", UUID)


@dataclass
class FakeTable:
    """A made-up process table that notes the signals sent."""

    running: dict[int, Sequence[str]]
    sent: list[tuple[int, int]] = field(default_factory=list)

    def argv(self, pid: int) -> Sequence[str]:
        return self.running.get(pid, ())

    def frozen(self, pid: int) -> bool:
        return pid < 0

    def pids(self) -> Iterable[int]:
        return list(self.running)

    def send(self, pid: int, number: int) -> None:
        self.sent.append((pid, number))


def find(table: ProcessTable, pidfile: Path, *, search: bool = False) -> int | None:
    return locate(table, option="-uuid", value=UUID, pidfile=pidfile, search=search)


@pytest.fixture
def pidfile(tmp_path: Path) -> Path:
    path = tmp_path / "qemu.pid"
    path.write_text("77\n")
    return path


def test_the_pid_file_is_believed_if_the_command_line_agrees(pidfile: Path) -> None:
    assert find(FakeTable({77: QEMU}), pidfile) == 77


@pytest.mark.parametrize(
    "other",
    [
        ("sshd",),
        ("qemu-system-x86_64", "-uuid", "another"),
        ("grep", UUID),
        ("vim", f"-uuid {UUID}"),
        (),
    ],
)
def test_a_reused_pid_is_not_ours(pidfile: Path, other: Sequence[str]) -> None:
    table = FakeTable({77: other})
    assert find(table, pidfile, search=True) is None
    processes.signal_verified(table, 77, signal.SIGKILL, option="-uuid", value=UUID)
    assert table.sent == []


def test_our_own_pid_is_not_qemu(pidfile: Path) -> None:
    pidfile.write_text(str(os.getpid()))
    assert find(processes.system_table(), pidfile, search=True) is None


@pytest.mark.parametrize("content", ["", "x", "12 13", None])
def test_without_a_usable_pid_file_the_process_is_searched(tmp_path: Path, content: str | None) -> None:
    path = tmp_path / "qemu.pid"
    if content is not None:
        path.write_text(content)
    table = FakeTable({5: ("sh",), 99: QEMU})
    assert find(table, path) is None
    assert find(table, path, search=True) == 99


def test_a_verified_process_gets_the_signal() -> None:
    table = FakeTable({99: QEMU})
    processes.signal_verified(table, 99, signal.SIGTERM, option="-uuid", value=UUID)
    assert table.sent == [(99, signal.SIGTERM)]


def test_only_neighbours_identify() -> None:
    assert identified(QEMU, "-uuid", UUID)
    assert not identified(("-uuid", "x", UUID), "-uuid", UUID)


@pytest.mark.parametrize("table", [Psutil(), processes.system_table()], ids=["any system's", "this system's"])
def test_real_tables_agree_about_this_process(table: ProcessTable) -> None:
    assert Path(table.argv(os.getpid())[0]).name == Path(sys.orig_argv[0]).name
    assert not table.frozen(os.getpid())
    assert os.getpid() in set(table.pids())
    assert list(table.argv(2**22 + 1)) == []
    table.send(2**22 + 1, signal.SIGTERM)
