"""The lab's servers: known by their pid file, never mistaken for another's; and the world they make up."""

from __future__ import annotations

import json
import os
import signal
import socket
import sys
import urllib.request
from pathlib import Path
from typing import TYPE_CHECKING

import psutil
import pytest
import yaml

from lab import __main__ as command
from lab import daemon, mirror, oci, registry, world
from lab.daemon import Daemon
from lab.errors import LabError
from lab.world import World

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

ROOT = Path(__file__).parents[2]
SLEEPER = [sys.executable, "-c", "import signal; signal.pause()"]
ENVIRONMENT = {"PATH": os.defpath}


@pytest.fixture
def sleeper(tmp_path: Path) -> Iterator[Daemon]:
    server = Daemon("sleeper", tmp_path / "run")
    yield server
    server.stop()


def start(server: Daemon, argv: list[str] = SLEEPER, *, answers: Callable[[], bool] = lambda: True) -> psutil.Process:
    """Start it and wait until the shell has become the server, which `answers` tells of a real one."""
    server.start(argv, ports={}, env=ENVIRONMENT, answers=lambda: answers() and server.process() is not None)
    process = server.process()
    assert process is not None
    return process


@pytest.mark.processes
def test_a_server_is_found_by_its_pid_file_and_ended_by_its_pid(sleeper: Daemon) -> None:
    process = start(sleeper)
    assert Daemon("sleeper", sleeper.directory).process() == process
    sleeper.stop()
    assert not daemon._alive(process.pid)
    assert sleeper.process() is None
    sleeper.stop()


@pytest.mark.processes
def test_a_server_that_was_killed_does_not_run(sleeper: Daemon) -> None:
    process = start(sleeper)
    process.send_signal(signal.SIGKILL)
    assert daemon._ends(process.pid)
    assert sleeper.process() is None
    assert start(sleeper) != process


@pytest.mark.processes
def test_a_pid_that_is_somebody_elses_now_is_left_alone(sleeper: Daemon) -> None:
    process = start(sleeper)
    pid_file = sleeper.directory / "sleeper.pid"
    record = json.loads(pid_file.read_text())
    pid_file.write_text(json.dumps({**record, "argv": [*SLEEPER, "of another"]}))
    assert sleeper.process() is None
    sleeper.stop()
    assert process.is_running()
    pid_file.write_text(json.dumps(record))


@pytest.mark.parametrize("content", ["", "{", "[]", "7", '{"pid": 1}', '{"pid": -5, "argv": [], "ports": {}}'])
def test_a_damaged_pid_file_names_no_process(tmp_path: Path, content: str) -> None:
    (tmp_path / "server.pid").write_text(content)
    server = Daemon("server", tmp_path)
    assert server.process() is None
    server.stop()
    assert not (tmp_path / "server.pid").exists()


@pytest.mark.processes
def test_a_server_that_ends_at_once_is_an_error_with_its_last_words(tmp_path: Path) -> None:
    server = Daemon("server", tmp_path)
    with pytest.raises(LabError, match="server ended at once; its last lines:\n  no such luck"):
        server.start(["/bin/sh", "-c", "echo no such luck; exit 1"], ports={}, env={}, answers=lambda: False)
    assert not (tmp_path / "server.pid").exists()


@pytest.mark.processes
def test_a_server_that_never_answers_is_ended(sleeper: Daemon, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(daemon, "START_LIMIT", 0.0)
    with pytest.raises(LabError, match="sleeper does not answer"):
        sleeper.start(SLEEPER, ports={}, env=ENVIRONMENT, answers=lambda: False)


def test_a_port_in_use_is_an_error_that_names_it(tmp_path: Path) -> None:
    with socket.socket() as other:
        other.bind((daemon.HOST, 0))
        other.listen()
        port = other.getsockname()[1]
        with pytest.raises(LabError, match=rf"server needs port {port} .*in use.*process {os.getpid()}"):
            Daemon("server", tmp_path).start(SLEEPER, ports={"x": port}, env={}, answers=lambda: True)
    daemon.require_free(port, what="server")


def test_the_images_name_changes_with_their_source(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "standins/gate").mkdir(parents=True)
    (tmp_path / "oci.py").write_text("one")
    script = tmp_path / "standins/gate/run"
    script.write_text("one")
    monkeypatch.setattr(world, "HERE", tmp_path)
    first = world.images_fingerprint()
    assert world.images_fingerprint() == first
    script.write_text("two")
    second = world.images_fingerprint()
    monkeypatch.setattr(world, "VERSIONS", ("9.9.9",))
    assert len({first, second, world.images_fingerprint()}) == 3


def test_a_world_that_is_down_says_so(tmp_path: Path) -> None:
    lab = World(tmp_path)
    servers = ("image", "registry", "proxy", "mirror", "admin", "fault")
    assert lab.status() == dict.fromkeys(servers)
    for question in (lab.heal, lab.mirrors):
        with pytest.raises(LabError, match="does not run: python -m lab up"):
            question()
    lab.stop()


@pytest.fixture
def packages(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[Path]:
    """Stand for the package repository, which is built elsewhere: the last one is today's."""
    trees = [tmp_path / "tree-1", tmp_path / "tree-2"]
    for tree in trees:
        index = tree / "docker/ubuntu/dists/noble/InRelease"
        index.parent.mkdir(parents=True)
        index.write_text(tree.name)
    built = trees[:1]
    monkeypatch.setattr(mirror, "ensure", lambda _shared, *, say: built[-1])
    return built


@pytest.mark.processes
def test_a_world_starts_once_serves_and_stops(
    tmp_path: Path,
    packages: list[Path],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    published: list[str] = []

    def publish(*, registry: str, **_wanted: object) -> dict[str, dict[str, str]]:
        published.append(registry)
        return {}

    monkeypatch.setattr(oci, "publish", publish)
    lab = World(tmp_path / "lab", shared=tmp_path / "shared")
    lab.start(image=False)
    try:
        before = lab.status()
        pids = server_pids(lab)
        lab.start(image=False)
        assert (lab.status(), server_pids(lab)) == (before, pids)
        assert published == [f"{daemon.HOST}:{lab.registry_port}"]
        assert lab.access_log() == []
        lab.fault("unavailable", count=1)
        assert not registry.answers(lab.proxy_port, ca=lab.ca)
        assert registry.answers(lab.proxy_port, ca=lab.ca)
        assert not registry.answers(lab.proxy_port)
        assert [(entry.path, entry.status) for entry in lab.access_log()] == [("/v2/", 503), ("/v2/", 200)]
        assert world.serves_packages(lab.mirror_port)
        location = f"http://{world.GATEWAY}:{lab.mirror_port}/docker/ubuntu"
        assert lab.mirrors()["docker"] == {"location": location, "key": str(tmp_path / "shared/docker.asc")}

        packages.append(packages[0].with_name("tree-2"))
        lab.start(image=False)
        assert lab.status() == before
        assert served(lab) == b"tree-2"
        (now,) = set(server_pids(lab).values()) - set(pids.values())
        assert now == server_pids(lab)["faultproxy"]
    finally:
        lab.stop()
    assert not registry.answers(before["proxy"], ca=lab.ca)
    assert not registry.answers(before["registry"])
    assert not world.serves_packages(before["mirror"])


def server_pids(lab: World) -> dict[str, int]:
    return {path.stem: json.loads(path.read_text())["pid"] for path in (lab.directory / "run").glob("*.pid")}


def served(lab: World) -> bytes:
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    address = f"http://{daemon.HOST}:{lab.mirror_port}/docker/ubuntu/dists/noble/InRelease"
    with opener.open(address, timeout=5) as response:
        content: bytes = response.read()
    return content


def test_the_labs_configuration_is_what_its_world_offers(monkeypatch: pytest.MonkeyPatch) -> None:
    file = ROOT / "lab/polis.yaml"
    told = yaml.safe_load(file.read_text())
    monkeypatch.setattr(World, "mirror_port", world.MIRROR_PORT)
    expected = World().mirrors()
    for section, key in (("docker", "key"), ("registry", "ca")):
        told["mirrors"][section][key] = os.path.normpath(file.parent / told["mirrors"][section][key])
    assert told["mirrors"] == expected
    assert told["registry"] == f"{world.GATEWAY}:{world.PROXY_PORT}/{world.NAMESPACE}"
    assert (file.parent / told["image"]).resolve() == World().image_descriptor


def test_the_command_reports_an_error_in_one_line(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setattr(command, "DIRECTORY", tmp_path)
    assert command.main(["heal"]) == 1
    assert capsys.readouterr().err == "lab: the lab's faultproxy does not run: python -m lab up\n"


def test_the_command_knows_every_fault() -> None:
    modes = "outage unavailable throttled hang reset corrupt unauthorized missing foreign none"
    for mode in modes.split():
        arguments = command.parser().parse_args(["fault", mode, "--match", "polis-gate", "--count", "2"])
        assert (arguments.mode, arguments.match, arguments.count) == (mode, "polis-gate", 2)


def test_the_command_tells_where_the_packages_are(
    tmp_path: Path,
    packages: list[Path],
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setattr(command, "DIRECTORY", tmp_path / "lab")
    assert command.main(["packages"]) == 0
    assert capsys.readouterr().out == f"{packages[-1]}\n"
