"""The driver's policy over a made-up QEMU: adopt, finish, replace, refuse."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import os
import signal
import socket
import sys
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from polis.drivers.base import Artifact, Forward, Hardware, Image, InstanceState, LaunchRequest
from polis.drivers.qemu import create, disks, host, keys, power, qmp
from polis.drivers.qemu.boot import Boot
from polis.drivers.qemu.driver import QemuDriver
from polis.drivers.qemu.instance import Home, Record
from polis.drivers.qemu.keys import KeyPair
from polis.drivers.qemu.power import Power
from polis.drivers.qemu.ssh import Ssh
from polis.errors import (
    ConfigurationError,
    DriverMissing,
    DriverUnavailable,
    ForeignInstance,
    GuestUnreachable,
    HostUnsuitable,
    InstanceMissing,
    LaunchFailed,
)
from polis.process import Completed

GIBIBYTE = 1024**3


@dataclass
class World:
    """Made-up processes: what `sh` starts as QEMU appears in the table, with the pid 4000 and up."""

    running: dict[int, list[str]] = field(default_factory=dict)
    signals: list[tuple[int, int]] = field(default_factory=list)
    deaf_to: set[int] = field(default_factory=set)
    frozen_pids: set[int] = field(default_factory=set)
    last_words: list[str] = field(default_factory=list)
    on_start: Callable[[], None] = lambda: None
    qmp: list[str] = field(default_factory=list)
    qmp_answers: bool = True
    status: str = "running"
    starts: int = 0

    def argv(self, pid: int) -> Sequence[str]:
        return self.running.get(pid, [])

    def frozen(self, pid: int) -> bool:
        return pid in self.frozen_pids

    def pids(self) -> Iterable[int]:
        return list(self.running)

    def send(self, pid: int, number: int) -> None:
        self.signals.append((pid, number))
        if number not in self.deaf_to and number in (signal.SIGTERM, signal.SIGKILL):
            self.running.pop(pid, None)

    def run(self, argv: Sequence[str], **_: Any) -> Completed:
        """Stand in for process.run."""
        words = list(argv)
        if words[:2] != ["sh", "-c"]:
            return Completed(tuple(words), 0, "", "", 0.1)
        self.on_start()
        self.starts += 1
        pid = 4000 + self.starts
        if self.last_words:
            Path(words[3]).write_text(self.last_words.pop(0))
        else:
            self.running[pid] = words[4:]
        return Completed(tuple(words), 0, f"{pid}\n", "", 0.1)

    def ask(self, command: str, ends: Path | None = None) -> None:
        self.qmp.append(command)
        if not self.qmp_answers or not self.running:
            raise qmp.QmpError("no answer")
        if ends:
            self.running = {pid: words for pid, words in self.running.items() if str(ends) not in " ".join(words)}

    def ask_status(self) -> str:
        self.ask("status")
        return self.status


@pytest.fixture
def world(monkeypatch: pytest.MonkeyPatch) -> World:
    made_up = World()

    def init(self: Power, home: Home, table: World = made_up) -> None:
        object.__setattr__(self, "home", home)
        object.__setattr__(self, "table", table)

    monkeypatch.setattr(Power, "__init__", init)
    monkeypatch.setattr(power.process, "run", made_up.run)  # type: ignore[attr-defined]
    monkeypatch.setattr(power, "START", 0.2)
    monkeypatch.setattr(power, "END", 0.05)
    monkeypatch.setattr(power, "PRESS_AGAIN", 0.05)
    monkeypatch.setattr(qmp, "status", lambda _, timeout=2.0: made_up.ask_status())
    monkeypatch.setattr(qmp, "power_down", lambda path: made_up.ask("power_down", path))
    monkeypatch.setattr(qmp, "quit_now", lambda path: made_up.ask("quit", path))
    monkeypatch.setattr(qmp, "resume", lambda _: made_up.ask("resume"))
    monkeypatch.setattr(host, "require", lambda name: name)
    monkeypatch.setattr(host, "system_binary", lambda: "qemu-system-x86_64")
    monkeypatch.setattr(host, "version", lambda: "7.2.22")
    monkeypatch.setattr(host, "acceleration", lambda _: host.Acceleration("tcg", "made up"))
    monkeypatch.setattr(disks, "examine", lambda _: disks.BaseDisk("raw", GIBIBYTE))
    monkeypatch.setattr(disks, "create_overlay", lambda path, **_: path.touch())
    monkeypatch.setattr(keys, "generate", generate)
    monkeypatch.setattr(Boot, "wait", lambda self, timeout: None)
    return made_up


def generate(path: Path, *, comment: str) -> KeyPair:
    path.write_text("private")
    path.chmod(0o600)
    path.with_name(path.name + ".pub").write_text("public")
    return KeyPair("private", f"ssh-ed25519 AAAA {comment}")


@pytest.fixture
def driver(tmp_path: Path) -> QemuDriver:
    return QemuDriver(data=tmp_path / "data", cache=tmp_path / "cache", runtime=tmp_path / "r")


@pytest.fixture(autouse=True)
def _short_paths(monkeypatch: pytest.MonkeyPatch) -> None:
    # pytest's directories are longer than a socket's path may be.
    monkeypatch.setattr("polis.drivers.qemu.instance._SOCKET_PATH_LIMIT", 4096)


@pytest.fixture
def request_(tmp_path: Path) -> LaunchRequest:
    base = tmp_path / "base.img"
    base.write_bytes(b"raw disk")
    image = Image(Artifact(str(base), hashlib.sha256(b"raw disk").hexdigest()))
    return LaunchRequest("ws", "o-1", image, 2, GIBIBYTE, 2 * GIBIBYTE, "#cloud-config\n", 60.0)


def home_of(driver: QemuDriver) -> Home:
    return driver._instances.at("ws")


def record_of(driver: QemuDriver) -> Record:
    record = home_of(driver).load()
    assert record is not None
    return record


def test_a_medium_is_copied_and_stays_with_the_instance(
    world: World, driver: QemuDriver, request_: LaunchRequest, tmp_path: Path
) -> None:
    driver.launch(request=request_)
    assert not home_of(driver).medium.exists()
    driver.delete(name="ws")
    medium = tmp_path / "packages.iso"
    medium.write_bytes(b"packages")
    driver.launch(request=dataclasses.replace(request_, medium=medium))
    medium.unlink()
    assert home_of(driver).medium.read_bytes() == b"packages"
    assert home_of(driver).medium.stat().st_mode & 0o777 == 0o600
    assert driver.capabilities.medium


def test_launch_creates_starts_and_remembers(world: World, driver: QemuDriver, request_: LaunchRequest) -> None:
    recorded: list[Record] = []
    world.on_start = lambda: recorded.append(record_of(driver))
    driver.launch(request=request_)
    assert (recorded[0].created, recorded[0].started, recorded[0].answered) == (True, True, False)
    assert str(recorded[0].ssh_port) in " ".join(world.running[4001])
    found = driver.find(name="ws")
    assert found is not None
    assert (found.state, found.owner) == (InstanceState.RUNNING, "o-1")
    modes = {path.name: path.stat().st_mode & 0o777 for path in home_of(driver).path.iterdir()}
    assert modes.pop("base.img") == 0o444
    assert set(modes.values()) == {0o600}
    assert "host_ed25519" not in modes
    assert home_of(driver).known_hosts.read_text() == "polis-ws ssh-ed25519 AAAA ws\n"


def test_launching_again_starts_nothing(world: World, driver: QemuDriver, request_: LaunchRequest) -> None:
    driver.launch(request=request_)
    before = record_of(driver)
    driver.launch(request=request_)
    driver.start(name="ws", timeout=9)
    assert world.starts == 1
    assert record_of(driver) == before


@pytest.mark.parametrize("failing", ["create_overlay", "generate", "save"])
def test_killed_while_creating(
    world: World, driver: QemuDriver, request_: LaunchRequest, monkeypatch: pytest.MonkeyPatch, failing: str
) -> None:
    """A KeyboardInterrupt stands in for SIGKILL: nothing cleans up after it here."""

    def die(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        if failing == "save":
            patch.setattr(create.dataclasses, "replace", die)  # type: ignore[attr-defined]
        else:
            patch.setattr(disks if failing == "create_overlay" else keys, failing, die)
        with pytest.raises(KeyboardInterrupt):
            driver.launch(request=request_)
    half = record_of(driver)
    found = driver.find(name="ws")
    assert found is not None
    assert (found.state, found.owner) == (InstanceState.UNKNOWN, "o-1")
    assert "launching it again" in found.detail
    for deed in (
        lambda: driver.start(name="ws", timeout=9),
        lambda: driver.exec(name="ws", argv=["true"], timeout=9),
    ):
        with pytest.raises(InstanceMissing, match="never completed"):
            deed()
    with pytest.raises(ForeignInstance):
        driver.launch(request=dataclasses.replace(request_, owner="o-2"))
    assert record_of(driver) == half
    driver.launch(request=request_)
    assert record_of(driver).uuid != half.uuid
    assert world.starts == 1


def test_killed_while_qemu_was_being_started(world: World, driver: QemuDriver, request_: LaunchRequest) -> None:
    """The record says started, QEMU runs, its pid file is not there yet."""
    driver.launch(request=request_)
    home_of(driver).save(dataclasses.replace(record_of(driver), answered=False))
    assert not home_of(driver).pidfile.exists()
    found = driver.find(name="ws")
    assert found is not None
    assert found.state is InstanceState.STARTING
    driver.launch(request=request_)
    assert world.starts == 1


@pytest.mark.parametrize(
    ("failure", "error"),
    [
        (HostUnsuitable("no space"), HostUnsuitable),
        (OSError(28, "No space left on device"), HostUnsuitable),
    ],
)
def test_what_fails_while_creating_is_taken_back(
    world: World,
    driver: QemuDriver,
    request_: LaunchRequest,
    monkeypatch: pytest.MonkeyPatch,
    failure: Exception,
    error: type[Exception],
) -> None:
    def fail(*_: object, **__: object) -> None:
        raise failure

    monkeypatch.setattr(keys, "generate", fail)
    with pytest.raises(error):
        driver.launch(request=request_)
    assert driver.find(name="ws") is None
    assert list(driver._instances.root.iterdir()) == []
    assert world.starts == 0


def test_refusals_come_before_anything_is_made(world: World, driver: QemuDriver, request_: LaunchRequest) -> None:
    import socket

    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen(1)
        port = listener.getsockname()[1]
        with pytest.raises(HostUnsuitable, match=str(port)):
            driver.launch(request=dataclasses.replace(request_, forwards=(Forward(port, 80),)))
    assert not driver._instances.root.exists()
    with pytest.raises(ConfigurationError, match="too small"):
        driver.launch(request=dataclasses.replace(request_, disk=5))
    assert not driver._instances.root.exists()


def test_another_owner_s_instance(world: World, driver: QemuDriver, request_: LaunchRequest) -> None:
    driver.launch(request=request_)
    with pytest.raises(ForeignInstance, match="belongs to another workspace"):
        driver.launch(request=dataclasses.replace(request_, owner="o-2"))
    assert world.starts == 1


def test_a_corrupt_record(world: World, driver: QemuDriver, request_: LaunchRequest) -> None:
    driver.launch(request=request_)
    home = home_of(driver)
    home.record.write_text("{torn")
    found = driver.find(name="ws")
    assert found is not None
    assert (found.state, found.owner) == (InstanceState.UNKNOWN, None)
    with pytest.raises(ForeignInstance):
        driver.launch(request=request_)
    driver.stop(name="ws", force=True)  # QEMU is known by its pid file's path then
    assert world.running == {}
    driver.delete(name="ws")
    assert driver.find(name="ws") is None


def test_sizes_and_forwards_are_adapted_while_off(
    world: World, driver: QemuDriver, request_: LaunchRequest, monkeypatch: pytest.MonkeyPatch
) -> None:
    grown: list[int] = []
    monkeypatch.setattr(disks, "grow", lambda _, size: grown.append(size))
    wanted = dataclasses.replace(request_, cpus=4, memory=2 * GIBIBYTE, disk=3 * GIBIBYTE)
    driver.launch(request=request_)
    driver.launch(request=wanted)
    assert record_of(driver).cpus == 2
    driver.stop(name="ws")
    driver.launch(request=wanted)
    record = record_of(driver)
    assert (record.cpus, record.memory, record.disk, grown) == (4, 2 * GIBIBYTE, 3 * GIBIBYTE, [3 * GIBIBYTE])
    found = driver.find(name="ws")
    assert found is not None
    assert found.hardware == Hardware(4, 2 * GIBIBYTE, 3 * GIBIBYTE, record.forwards)
    driver.stop(name="ws")
    driver.launch(request=request_)
    assert record_of(driver).disk == 3 * GIBIBYTE


def test_a_qemu_that_died_is_off_and_its_pid_not_ours(
    world: World, driver: QemuDriver, request_: LaunchRequest
) -> None:
    driver.launch(request=request_)
    world.running.clear()
    world.running[os.getpid()] = ["python", "pytest"]
    home_of(driver).pidfile.write_text(str(os.getpid()))
    found = driver.find(name="ws")
    assert found is not None
    assert found.state is InstanceState.STOPPED
    with pytest.raises(GuestUnreachable, match="is off"):
        driver.exec(name="ws", argv=["true"], timeout=9)
    driver.stop(name="ws", force=True)
    driver.delete(name="ws")
    assert world.signals == []


def test_stop_presses_the_button(world: World, driver: QemuDriver, request_: LaunchRequest) -> None:
    driver.launch(request=request_)
    driver.stop(name="ws", timeout=1)
    assert world.qmp[-1] == "power_down"
    assert (record_of(driver).started, world.signals) == (False, [])
    driver.stop(name="ws")


def test_force_quits_at_once(world: World, driver: QemuDriver, request_: LaunchRequest) -> None:
    driver.launch(request=request_)
    driver.stop(name="ws", force=True)
    assert "power_down" not in world.qmp
    assert world.running == {}


def test_a_qemu_that_does_not_listen_is_ended_by_signals(
    world: World, driver: QemuDriver, request_: LaunchRequest, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[Sequence[str]] = []
    monkeypatch.setattr(Ssh, "exec", lambda _, argv, **__: asked.append(argv))
    driver.launch(request=request_)
    world.qmp_answers = False
    world.deaf_to = {signal.SIGTERM}
    driver.stop(name="ws", timeout=0.1)
    assert world.signals == [(4001, signal.SIGTERM), (4001, signal.SIGKILL)]
    assert asked[0][-1] == "poweroff"


def test_a_qemu_that_cannot_be_ended(world: World, driver: QemuDriver, request_: LaunchRequest) -> None:
    driver.launch(request=request_)
    world.qmp_answers = False
    world.deaf_to = {signal.SIGTERM, signal.SIGKILL}
    with pytest.raises(DriverUnavailable, match="4001"):
        driver.delete(name="ws")
    assert driver.find(name="ws") is not None


def test_frozen_and_paused_machines_are_woken(world: World, driver: QemuDriver, request_: LaunchRequest) -> None:
    driver.launch(request=request_)
    world.frozen_pids, world.status = {4001}, "io-error"
    found = driver.find(name="ws")
    assert found is not None
    assert found.state is InstanceState.UNKNOWN
    driver.start(name="ws", timeout=9)
    assert world.signals == [(4001, signal.SIGCONT)]
    assert world.qmp[-1] == "resume"


def test_a_port_lost_to_another_program_is_replaced(world: World, driver: QemuDriver, request_: LaunchRequest) -> None:
    ports: list[int] = []
    world.on_start = lambda: ports.append(record_of(driver).ssh_port)
    world.last_words = ["qemu: -netdev user: Could not set up host forwarding rule 'tcp:127.0.0.1:1-:22'\n"] * 2
    driver.launch(request=request_)
    assert world.starts == 3
    assert len(set(ports)) == 3


def test_the_port_for_ssh_outlives_a_stop_unless_it_is_lost(
    world: World, driver: QemuDriver, request_: LaunchRequest
) -> None:
    driver.launch(request=request_)
    told = driver.ssh_options(name="ws")
    assert told["Port"] == str(record_of(driver).ssh_port)
    assert (told["HostKeyAlias"], told["IdentityFile"]) == ("polis-ws", str(home_of(driver).key))
    driver.stop(name="ws")
    with pytest.raises(GuestUnreachable, match="is off"):
        driver.ssh_options(name="ws")
    driver.start(name="ws", timeout=9)
    assert driver.ssh_options(name="ws") == told
    driver.stop(name="ws")
    with socket.socket() as other:
        other.bind(("127.0.0.1", int(told["Port"])))
        other.listen(1)
        driver.start(name="ws", timeout=9)
    assert driver.ssh_options(name="ws")["Port"] != told["Port"]


def test_a_qemu_without_the_filter_starts_without_it(world: World, tmp_path: Path, request_: LaunchRequest) -> None:
    said: list[str] = []
    driver = QemuDriver(data=tmp_path / "data", cache=tmp_path / "cache", runtime=tmp_path / "r", disclose=said.append)
    world.last_words = ["qemu: -sandbox on: seccomp support is disabled\n"]
    driver.launch(request=request_)
    assert "-sandbox" not in world.running[4002]
    assert said[0] == "using tcg: made up"
    assert "without its system call filter" in said[1]


def test_a_qemu_that_does_not_start(world: World, driver: QemuDriver, request_: LaunchRequest) -> None:
    world.last_words = ["qemu: cannot set up guest memory: Cannot allocate memory\n"]
    with pytest.raises(LaunchFailed, match="Cannot allocate memory"):
        driver.launch(request=request_)
    found = driver.find(name="ws")
    assert found is not None
    assert found.state is InstanceState.STOPPED
    assert not record_of(driver).started


def test_delete_sweeps_and_spares_others(world: World, driver: QemuDriver, request_: LaunchRequest) -> None:
    driver.launch(request=request_)
    driver.launch(request=dataclasses.replace(request_, name="ws-2"))
    (driver._instances.root / ".trash.ws.1").mkdir()
    driver.delete(name="ws")
    driver.delete(name="ws")
    assert [path.name for path in driver._instances.root.iterdir()] == ["ws-2"]
    found = driver.find(name="ws-2")
    assert found is not None
    assert found.state is InstanceState.RUNNING


def test_missing(driver: QemuDriver) -> None:
    assert driver.find(name="ws") is None
    driver.stop(name="ws")
    driver.delete(name="ws")
    assert driver.diagnose(name="ws").lines == ()
    assert driver.diagnose(name="../x").lines == ()
    with pytest.raises(InstanceMissing):
        driver.push(name="ws", source=Path("/x"), target="/x")


def test_diagnose(world: World, driver: QemuDriver, request_: LaunchRequest) -> None:
    driver.launch(request=request_)
    with home_of(driver).console.open("a") as file:
        file.write("".join(f"line {number}\r\n" for number in range(40)) + "\x1b[31mlast\x1b[0m\n")
    diagnosis = driver.diagnose(name="ws")
    assert len(diagnosis.lines) == 15
    assert diagnosis.lines[-1] == "last"
    assert diagnosis.log == home_of(driver).console


def test_a_base_image_that_was_cleared_from_the_cache(
    world: World, driver: QemuDriver, request_: LaunchRequest
) -> None:
    driver.launch(request=request_)
    driver.stop(name="ws")
    home_of(driver).base.unlink()
    with pytest.raises(HostUnsuitable, match="gone from the cache"):
        driver.start(name="ws", timeout=9)


def test_no_secret_is_in_a_command_line(world: World, driver: QemuDriver, request_: LaunchRequest) -> None:
    driver.launch(request=dataclasses.replace(request_, user_data="#cloud-config\n# s3cret\n"))
    assert not [word for word in world.running[4001] if "s3cret" in word or word == "private"]
    assert "s3cret" not in json.dumps(home_of(driver).record.read_text())


def test_windows_is_told_what_to_use(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(sys, "platform", "win32")
    with pytest.raises(DriverMissing) as caught:
        QemuDriver(data=tmp_path, cache=tmp_path, runtime=tmp_path)
    assert "multipass" in caught.value.hint


def test_all_instances_are_named_but_none_that_is_half_made(
    world: World, driver: QemuDriver, request_: LaunchRequest
) -> None:
    assert driver.find_all() == {}
    for name in ("ws", "other"):
        driver.launch(request=dataclasses.replace(request_, name=name))
    root = home_of(driver).path.parent
    (root / ".new.third.abcd").mkdir()
    (root / "a file").touch()
    assert driver.find_all() == {name: driver.find(name=name) for name in ("ws", "other")}
