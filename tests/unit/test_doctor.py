"""What `polis doctor` finds, on machines that are made up, and against real sockets on the loopback."""

from __future__ import annotations

import dataclasses
import json
import socket
import threading
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from typer.testing import CliRunner

from polis import assembly, cli, config, paths
from polis.cli.globals import hoist
from polis.doctor import embedded, examination, findings, health, machine, multipass, network
from polis.doctor.findings import Finding, Level
from polis.drivers.multipass.client import Client
from polis.drivers.multipass.host import Host
from polis.errors import DriverMissing, DriverUnavailable, HostUnsuitable
from polis.process import Completed
from tests.simulated import SimulatedDriver

GIB = 1024**3
GOOD = machine.Facts(
    system="linux",
    processor="x86_64",
    cpus=8,
    memory=32 * GIB,
    memory_free=20 * GIB,
    disk_free=lambda _: 100 * GIB,
    interfaces=lambda: ["lo", "eth0"],
    ufw=Path("/nonexistent"),
    docker_bridge=Path("/nonexistent"),
)


def of(found: list[Finding], name: str) -> Finding:
    (finding,) = [finding for finding in found if finding.name == name]
    return finding


def examine(**changes: Any) -> list[Finding]:
    return list(machine.examine(config.Spec(), paths.find(), dataclasses.replace(GOOD, **changes)))


def test_a_good_machine_has_nothing_but_good_news() -> None:
    found = examine()
    assert {finding.level for finding in found} == {Level.OK}
    assert findings.exit_code(found) == 0


@pytest.mark.parametrize(
    ("changes", "name", "level", "mend"),
    [
        ({"processor": "arm64"}, "architecture", Level.PROBLEM, "amd64"),
        ({"cpus": 2}, "cpus", Level.WARNING, "cpus: 2"),
        ({"memory": 8 * GIB}, "memory", Level.PROBLEM, "memory: 4G"),
        ({"memory_free": 4 * GIB}, "memory", Level.WARNING, "close other programs"),
        ({"disk_free": lambda _: 5 * GIB}, "disk", Level.PROBLEM, "free some space"),
        ({"disk_free": lambda _: 10 * GIB}, "disk", Level.WARNING, "free some space"),
    ],
)
def test_what_is_wrong_is_told_with_what_mends_it(changes: dict[str, Any], name: str, level: Level, mend: str) -> None:
    found = examine(**changes)
    finding = of(found, name)
    assert finding.level is level
    assert finding.why
    assert mend in finding.mend
    assert findings.exit_code(found) == (69 if level is Level.PROBLEM else 0)


def test_open_directories_are_closed_by_fix() -> None:
    place = paths.find().workspaces
    place.mkdir(parents=True)
    place.chmod(0o755)
    found = examine()
    assert of(found, "privacy").level is Level.WARNING
    after = of(examination.mend(found), "privacy")
    assert after.level is Level.OK
    assert "only you may enter" in after.what
    assert place.stat().st_mode & 0o777 == 0o700
    assert not [finding for finding in examine() if finding.name == "privacy"]


def test_a_fix_that_fails_is_told() -> None:
    def fail() -> str:
        raise HostUnsuitable("it is stuck")

    (after,) = examination.mend([findings.warning("x", "broken", why="", mend="", fix=fail)])
    assert after.level is Level.WARNING
    assert "it is stuck" in after.what


# ---- the network


@pytest.fixture
def enabled_ufw(tmp_path: Path) -> Path:
    conf = tmp_path / "ufw.conf"
    conf.write_text("ENABLED=yes\n")
    return conf


def test_what_may_keep_a_bridged_vm_from_the_network(enabled_ufw: Path) -> None:
    assert list(machine.bridged(GOOD)) == []
    facts = dataclasses.replace(
        GOOD, interfaces=lambda: ["utun4", "en0"], ufw=enabled_ufw, docker_bridge=enabled_ufw.parent
    )
    found = list(machine.bridged(facts))
    assert {finding.level for finding in found} == {Level.WARNING}
    assert "VPN" in of(found, "vpn").mend
    assert "ufw route allow in on mpqemubr0" in of(found, "firewall").mend
    assert "DOCKER-USER -i mpqemubr0" in of(found, "docker-on-host").mend
    elsewhere = dataclasses.replace(facts, system="darwin")
    assert [finding.name for finding in machine.bridged(elsewhere)] == ["vpn"]
    enabled_ufw.write_text("# x\nENABLED=no\n")
    assert "firewall" not in {finding.name for finding in machine.bridged(facts)}


@pytest.mark.parametrize(("driver", "asked"), [("multipass", ["vpn", "multipass"]), ("qemu", ["qemu"])])
def test_only_the_chosen_driver_is_examined_and_bridges_only_for_multipass(
    monkeypatch: pytest.MonkeyPatch, driver: str, asked: list[str]
) -> None:
    examined: list[str] = []

    def examination_of(name: str) -> Callable[[str], list[Finding]]:
        def examine(_: str) -> list[Finding]:
            examined.append(name)
            return [findings.ok(name, "well")]

        return examine

    monkeypatch.setattr(multipass, "examine", examination_of("multipass"))
    monkeypatch.setattr(embedded, "examine", examination_of("qemu"))
    monkeypatch.setattr(machine, "Facts", lambda: dataclasses.replace(GOOD, interfaces=lambda: ["wg0"]))
    monkeypatch.setattr(network, "examine", lambda *_, **__: [])
    workspace: Any = SimpleNamespace(driver_name=driver, exists=lambda: False, status=pytest.fail)
    found = examination.examine(config.Spec(), paths.find(), workspace)
    assert [finding.name for finding in found if finding.name in ("vpn", "multipass", "qemu")] == asked
    assert examined == [driver]


@pytest.fixture
def listener() -> Iterator[int]:
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield server.getsockname()[1]


def closed_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port: int = server.getsockname()[1]
    return port


def reach(*places: network.Place, proxy: str | None = None, **environ: str) -> list[Finding]:
    return list(network.examine(places, proxy=proxy, environ=environ))


def test_the_places_are_those_of_registry_and_document() -> None:
    spec = config.Spec.model_validate({"registry": "registry.example:5000/team"})
    found = network.places(spec, assembly.user_data(spec).addresses())
    assert [(place.what, place.host, place.port) for place in found] == [
        ("registry", "registry.example", 5000),
        ("packages", "download.docker.com", 443),
        ("Sysbox", "downloads.nestybox.com", 443),
        ("Sysbox", "github.com", 443),
    ]


def test_a_place_that_answers_and_one_that_does_not(listener: int) -> None:
    good, bad = reach(
        network.Place("registry", "127.0.0.1", listener), network.Place("packages", "127.0.0.1", closed_port())
    )
    assert good.level is Level.OK
    assert bad.level is Level.PROBLEM
    assert "refused" in bad.what


def test_one_place_of_two_is_enough(listener: int) -> None:
    good, bad = reach(
        network.Place("Sysbox", "127.0.0.1", listener), network.Place("Sysbox", "127.0.0.1", closed_port())
    )
    assert (good.level, bad.level) == (Level.OK, Level.WARNING)


def test_a_name_that_is_not_known(monkeypatch: pytest.MonkeyPatch) -> None:
    def unknown(*_: object, **__: object) -> None:
        raise socket.gaierror(-2, "Name or service not known")

    monkeypatch.setattr(socket, "create_connection", unknown)
    (finding,) = reach(network.Place("registry", "nowhere.invalid", 443))
    assert finding.level is Level.PROBLEM
    assert "Name or service not known" in finding.what
    assert "getent hosts nowhere.invalid" in finding.mend


def test_this_machine_is_the_gateway_of_an_embedded_vm(listener: int) -> None:
    (finding,) = reach(network.Place("registry", "10.0.2.2", listener))
    assert finding.level is Level.OK


@pytest.mark.parametrize(("answer", "level"), [("200 OK", Level.OK), ("403 Forbidden", Level.PROBLEM)])
def test_a_proxy_is_asked_for_a_tunnel(answer: str, level: Level) -> None:
    asked: list[bytes] = []

    def serve(server: socket.socket) -> None:
        connection, _ = server.accept()
        with connection:
            asked.append(connection.recv(4096))
            connection.sendall(f"HTTP/1.1 {answer}\r\n\r\n".encode())

    with socket.create_server(("127.0.0.1", 0)) as server:
        thread = threading.Thread(target=serve, args=(server,))
        thread.start()
        proxy = f"http://127.0.0.1:{server.getsockname()[1]}"
        (finding,) = reach(network.Place("registry", "registry.example", 443), proxy=proxy)
        thread.join(10)
    assert asked[0].startswith(b"CONNECT registry.example:443 ")
    assert finding.level is level


def test_a_shell_s_proxy_that_the_vm_will_not_inherit(listener: int) -> None:
    place = network.Place("registry", "127.0.0.1", listener)
    found = reach(place, https_proxy="http://proxy:3128")
    assert of(found, "proxy").level is Level.WARNING
    assert len(reach(place)) == 1


# ---- Multipass


def multipass_with(answers: Mapping[str, Completed | Exception], host: Host | None = None) -> list[Finding]:
    def run(argv: list[str], **_: object) -> Completed:
        answer = answers[argv[1]]
        if isinstance(answer, Exception):
            raise answer
        return answer

    client = Client(host or Host("darwin"), run=run)  # type: ignore[arg-type]
    return list(multipass.Examiner(client).examine("polis"))


def said(stdout: str = "", stderr: str = "", code: int = 0) -> Completed:
    return Completed(("multipass",), code, stdout, stderr, 0.0)


def versions(client: str, daemon: str | None = None) -> Completed:
    return said(json.dumps({"multipass": client, **({"multipassd": daemon} if daemon else {})}))


EMPTY = said('{"list": []}')


def test_multipass_is_not_there() -> None:
    (finding,) = multipass_with({"version": DriverMissing("multipass is not installed")})
    assert finding.level is Level.PROBLEM
    assert "brew install" in finding.mend


def test_multipass_is_too_old() -> None:
    found = multipass_with({"version": versions("1.15.0", "1.15.0"), "list": EMPTY})
    finding = of(found, "multipass")
    assert finding.level is Level.PROBLEM
    assert "1.16.0" in finding.what
    assert "brew upgrade" in finding.mend


def test_its_daemon_is_down() -> None:
    down = said(stderr="list failed: cannot connect to the multipass socket\n", code=2)
    finding = of(multipass_with({"version": versions("1.16.3"), "list": down}), "multipass-daemon")
    assert finding.level is Level.PROBLEM
    assert "cannot connect to the multipass socket" in finding.why
    assert "launchctl" in finding.mend


def test_known_bugs_of_a_version_are_told_where_they_bite() -> None:
    old = {"version": versions("1.16.0+mac", "1.16.0+mac"), "list": EMPTY}
    assert len([finding for finding in multipass_with(old) if finding.name == "multipass-bug"]) == 3
    windows = multipass_with(old, Host("win32"))
    assert len([finding for finding in windows if finding.name == "multipass-bug"]) == 1
    new = multipass_with({"version": versions("1.16.3+mac", "1.16.3+mac"), "list": EMPTY})
    assert {finding.level for finding in new} == {Level.OK}


def test_a_deleted_namesake_is_told() -> None:
    listed = said(json.dumps({"list": [{"name": "polis", "state": "Deleted", "ipv4": [], "release": ""}]}))
    found = multipass_with({"version": versions("1.16.3", "1.16.3"), "list": listed})
    assert "multipass delete --purge polis" in of(found, "namesake").mend


# ---- the command


@pytest.fixture
def driver(tmp_path: Path) -> SimulatedDriver:
    return SimulatedDriver(path=tmp_path / "world.json")


@pytest.fixture
def doctor(driver: SimulatedDriver, monkeypatch: pytest.MonkeyPatch, listener: int) -> Callable[..., Any]:
    monkeypatch.setattr(assembly, "driver", lambda *_, **__: driver)
    monkeypatch.setattr(machine, "Facts", lambda: GOOD)
    places = [network.Place("registry", "127.0.0.1", listener)]
    monkeypatch.setattr(network, "places", lambda *_: places)

    def run(line: str) -> Any:
        words = hoist(line.split())
        return CliRunner().invoke(cli.build(), words, prog_name="polis")

    return run


def test_it_ends_with_0_where_up_would_work(doctor: Callable[..., Any]) -> None:
    result = doctor("doctor")
    assert result.exit_code == 0, result.stdout
    assert "PROBLEM" not in result.stdout
    assert result.stdout.splitlines()[-1] == "nothing here keeps `polis up` from working (0 warnings)"
    document = json.loads(doctor("doctor --json").stdout)
    assert document["ok"] is True
    assert {finding["level"] for finding in document["findings"]} == {"ok"}


def test_it_ends_with_69_where_the_machine_is_the_trouble(
    doctor: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(machine, "Facts", lambda: dataclasses.replace(GOOD, disk_free=lambda _: GIB))
    result = doctor("doctor")
    assert result.exit_code == 69
    problem = [line for line in result.stdout.splitlines() if line.startswith("PROBLEM")]
    assert problem == [f"PROBLEM  disk: 1.0 GiB are free at {paths.find().data.parent.parent}"]
    assert result.stdout.splitlines()[-1].startswith("1 problems keep")
    assert json.loads(doctor("doctor --json").stdout)["exit_code"] == 69


def test_it_ends_with_70_where_the_workspace_is_the_trouble(doctor: Callable[..., Any]) -> None:
    doctor("up --to configured")
    result = doctor("doctor")
    assert result.exit_code == 70
    assert "PROBLEM  workspace: polis is configured: " in result.stdout
    assert "do:  polis up" in result.stdout
    doctor("up")
    assert doctor("doctor").exit_code == 0


def test_failed_checks_are_told_each_with_its_own_mend(doctor: Callable[..., Any], driver: SimulatedDriver) -> None:
    doctor("up")
    driver.failing = {"aslr": "0", "clock": "-3600 s"}
    found = {each["name"]: each for each in json.loads(doctor("doctor --json").stdout)["findings"]}
    assert found["check aslr"]["what"] == "expected 1, saw 0 (addresses must not be predictable)"
    assert found["check aslr"]["mend"] == "polis exec sudo sysctl --system"
    assert found["check clock"]["mend"] == "polis stop, then polis up"


def test_after_a_first_boot_that_failed_nothing_but_that_is_told(
    doctor: Callable[..., Any], driver: SimulatedDriver
) -> None:
    driver.mishap = {"kind": "failed", "what": "installing", "expected": "exit code 0", "actual": "exit code 1"}
    driver.failing = {"aslr": "0", "shadow": "0644 root"}
    doctor("up")
    found = [each for each in json.loads(doctor("doctor --json").stdout)["findings"] if each["level"] == "problem"]
    assert [(each["name"], each["mend"]) for each in found] == [("workspace", "polis up --recreate")]
    assert "installing: expected exit code 0" in found[0]["what"]


def test_a_driver_that_cannot_tell_is_a_finding_and_a_missing_one_was_told_before() -> None:
    def fail(error: Exception) -> Callable[[], bool]:
        def exists() -> bool:
            raise error

        return exists

    (finding,) = health.examine(fail(DriverUnavailable("no daemon")), lambda: pytest.fail("not asked"))
    assert finding.level is Level.PROBLEM
    assert list(health.examine(fail(DriverMissing("no tool")), lambda: pytest.fail("not asked"))) == []
