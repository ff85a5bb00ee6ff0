"""The life of a workspace in a real system container, in the order of this file: real cloud-init, real Docker in it.

What is tested is the same as on a VM (tests/e2e/test_lifecycle.py), in a fraction of the time, for nothing is emulated.
"""

from __future__ import annotations

import json
import signal
import socket
from typing import Any

import pytest

from lab.world import World
from tests.e2e.conftest import User, eventually
from tests.e2e.containers.conftest import Container

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(1800)]

IMAGES = 9
PHASES = ["launched", "configured", "images-pulled", "running", "healthy"]
OF_THE_KERNEL = {
    "apparmor",
    "apparmor-in-docker",
    "aslr",
    "audit-rules",
    "dmesg-restricted",
    "kernel-pointers-hidden",
    "no-core-dumps-of-privileged-programs",
    "ptrace-restricted",
}
"""Checks of what no container can have but from its server."""


def pulled(world: World) -> dict[str, int]:
    """Return how often the manifest of each image was served, read off the registry's access log."""
    counts: dict[str, int] = {}
    for entry in world.access_log():
        parts = entry.path.split("?")[0].split("/")
        if "manifests" in parts and entry.method == "GET" and entry.status == 200:
            name = parts[parts.index("manifests") - 1]
            counts[name] = counts.get(name, 0) + 1
    return counts


def services(user: User) -> dict[str, str]:
    lines = user.guest("docker", "ps", "-a", "--no-trunc", "--format", "{{.Names}} {{.ID}}").splitlines()
    return {name: identity for name, _, identity in (line.partition(" ") for line in lines)}


def provisioned(user: User) -> str:
    """Return what changes if the first boot is done again."""
    return user.guest("stat", "-c", "%Y %i", "/var/lib/polis/provisioned.json")


def test_a_launch_that_is_killed_and_interrupted_goes_on_in_the_same_container(
    user: User, container: Container, world: World
) -> None:
    # The mirror is away for a while as well: the guest tries again by itself.
    world.fault("unavailable", match=r"^/docker/", count=2)
    with user.begin("up") as up:
        up.wait_for("phase.started", "launched")
        eventually(lambda: container.there, timeout=300)
        up.send(signal.SIGKILL)
    born = container.born
    status = user.status()
    assert status["phase"] == "absent"
    assert status["transition"]["to"] == "launched"
    assert status["transition"]["alive"] is False
    with user.begin("up") as up:
        up.wait_for("phase.progress", "launched", detail="cloud-init")
        assert up.send(signal.SIGINT) == 130
    result = user.succeed("up", "--to", "launched", "--json")
    assert result.phases("phase.completed") == ["launched"]
    assert container.born == born
    assert user.guest("cloud-init", "status").strip() == "status: done"
    assert len([entry for entry in world.access_log() if entry.status == 503]) == 2


def test_a_container_is_told_from_a_vm_and_excused_nothing_but_its_servers_kernel(user: User) -> None:
    status = user.status()
    assert status["instance"]["kind"] == "container"
    states = {check["name"]: check["state"] for check in status["checks"]}
    assert len(states) > 25
    assert {name for name, state in states.items() if state == "failed"} == set()
    excused = {check["name"]: check for check in status["checks"] if check["state"] == "not-applicable"}
    assert excused
    assert set(excused) <= OF_THE_KERNEL
    assert all(not check["ok"] and "its server's kernel" in check["detail"] for check in excused.values())
    shown = user.type("status").stdout
    assert "isolates less than a VM" in shown
    assert all(name in shown for name in excused)


def test_configure_interrupted_and_killed_then_resumed(user: User) -> None:
    for number in (signal.SIGINT, signal.SIGKILL):
        with user.begin("up", "--to", "configured") as up:
            up.wait_for("phase.progress", "configured")
            up.send(number)
        assert user.status()["phase"] == "launched"
    result = user.succeed("up", "--to", "configured", "--json")
    assert "launched" not in result.phases("phase.started")


@pytest.mark.parametrize(("mode", "cause"), [("unavailable", "503"), ("outage", "refused|reset|EOF")])
def test_an_outage_is_told_and_kept(user: User, world: World, mode: str, cause: str) -> None:
    world.fault(mode)
    result = user.type("up", "--json")
    final = result.events[-1]
    assert result.code == final["exit_code"] == 75
    assert final["error"]["phase"] == "images-pulled"
    assert any(word in final["error"]["cause"] for word in cause.split("|")), final["error"]
    assert result.phases("phase.retry") == ["images-pulled"]
    status = user.status()
    assert status["phase"] == "configured"
    assert "polis up" in status["last_error"]["hint"]


def test_after_the_outage_up_pulls_only_what_is_missing(user: User, world: World) -> None:
    world.fault("reset", match="polis-sentinel")
    failed = user.type("up", "--json", POLIS_RETRY="{attempts: 1}")
    assert failed.code == 75
    have = {
        name.rsplit("/", 1)[-1]
        for name in user.guest("docker", "image", "ls", "--format", "{{.Repository}}").split()
    }  # fmt: skip
    assert have, "nothing was pulled before the broken image"
    world.heal()
    world.clear_log()
    result = user.succeed("up", "--to", "images-pulled", "--json")
    assert result.phases("phase.started") == ["images-pulled"]
    counts = pulled(world)
    assert not have & set(counts)
    assert len(have | set(counts)) == IMAGES
    assert set(counts.values()) == {1}


def test_interrupted_and_killed_while_services_start_the_next_up_ends_healthy(user: User, container: Container) -> None:
    born, boot = container.born, user.boot_id()
    for number in (signal.SIGINT, signal.SIGKILL):
        with user.begin("up") as up:
            up.wait_for("phase.progress", "running")
            code = up.send(number)
        assert code == (130 if number == signal.SIGINT else -signal.SIGKILL)
        assert up.seen("phase.started") == ["running"]
    result = user.succeed("up", "--json")
    assert result.events[-1]["outcome"] == "healthy"
    assert set(result.phases("phase.started")) <= {"running", "healthy"}
    assert (container.born, user.boot_id()) == (born, boot)


def test_a_no_op_takes_two_driver_calls(user: User, world: World) -> None:
    result = user.succeed("up", "--json")
    assert result.phases("phase.started") == []
    assert result.events[-1]["driver_calls"] <= 2
    assert world.access_log() == []
    assert len(user.status()["services"]) == 11
    assert user.type("status", "--check").code == 0


def test_exec_passes_output_and_exit_code(user: User) -> None:
    assert user.type("exec", "sh", "-c", "exit 42").code == 42
    words = ["a b", "$HOME", "*", "", "'\"\n"]
    assert user.succeed("exec", "--service", "state", "printf", "%s|", *words).stdout == "".join(
        f"{word}|" for word in words
    )
    data = bytes(range(256)) * 1000
    assert user.pipe(data, "exec", "--service", "state", "cat") == data


def test_a_killed_container_is_seen_at_once_and_recovered(user: User, container: Container, world: World) -> None:
    boot, first = user.boot_id(), provisioned(user)
    container.kill()
    status = user.status()
    assert status["instance"]["state"] == "stopped"
    assert status["phase"] == "absent"
    assert user.type("status", "--check").code == 3
    result = user.succeed("up", "--json")
    assert not {"configured", "images-pulled"} & set(result.phases("phase.started"))
    # What a one-shot service sets up in the kernel is gone with the container's network.
    assert "running" in result.phases("phase.started")
    assert user.boot_id() != boot
    assert provisioned(user) == first
    assert pulled(world) == {}


def test_a_reboot_in_the_guest_is_the_same(user: User, world: World) -> None:
    boot, first = user.boot_id(), provisioned(user)
    user.type("exec", "sudo", "systemctl", "reboot")
    eventually(lambda: user.type("exec", "cat", "/proc/sys/kernel/random/boot_id").stdout.strip() not in ("", boot))
    user.succeed("up")
    assert provisioned(user) == first
    assert world.access_log() == []


def test_stop_then_up_provisions_and_pulls_nothing_and_forwards_a_port(user: User, world: World) -> None:
    boot, first = user.boot_id(), provisioned(user)
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    user.succeed("stop")
    assert user.status()["instance"]["state"] == "stopped"
    result = user.succeed("up", "--json", POLIS_PORTS=json.dumps([f"{port}:22"]))
    with socket.create_connection(("127.0.0.1", port), timeout=30) as forward:
        assert forward.recv(4) == b"SSH-"
    assert not {"configured", "images-pulled"} & set(result.phases("phase.started"))
    assert user.boot_id() != boot
    assert provisioned(user) == first
    assert world.access_log() == []


def test_a_hardening_that_was_undone_is_told_with_the_command_that_mends_it(user: User) -> None:
    user.guest("apt-mark", "unhold", "docker-ce")
    failed = {check["name"] for check in user.status()["checks"] if check["state"] == "failed"}
    assert failed == {"packages-held"}
    result = user.type("up", "--json")
    assert result.code == 70
    hint = result.events[-1]["error"]["hint"]
    assert hint.startswith("polis exec sudo apt-mark hold ")
    user.succeed(*hint.partition(";")[0].removeprefix("polis ").split())
    assert user.succeed("up", "--json").phases("phase.started") == []


def test_drift_in_the_guest_is_told_and_mended(user: User) -> None:
    user.guest("docker", "kill", "polis-toolbox")
    status = user.status()
    assert status["phase"] == "images-pulled"
    assert "toolbox" in status["drift"][0]["reason"]
    user.succeed("up")
    user.guest("sh", "-c", "echo '# changed' >> /opt/polis/current/docker-compose.yml")
    assert user.status()["phase"] == "launched"
    user.succeed("up")


def test_of_eleven_services_exactly_the_changed_one_is_replaced(user: User) -> None:
    before = services(user)
    assert len(before) == 11
    result = user.succeed("up", "--version", "v0.5.2", "--json")
    assert result.phases("phase.started")[:3] == ["configured", "images-pulled", "running"]
    after = services(user)
    assert {name for name in before | after if before.get(name) != after.get(name)} == {"polis-toolbox"}
    assert user.succeed("up", "--version", "v0.5.2", "--json").phases("phase.started") == []


def test_reset_leaves_one_phase_at_a_time_each_seen_in_the_guest(user: User) -> None:
    boot = user.boot_id()
    version = {"POLIS_VERSION": "v0.5.2"}
    assert user.succeed("reset", **version).stdout == "polis is running\n"
    assert user.succeed("reset", **version).stdout == "polis is images-pulled\n"
    assert user.guest("docker", "ps", "-aq") == ""
    assert "polis-state-data" in user.guest("docker", "volume", "ls")
    assert user.succeed("reset", **version).stdout == "polis is configured\n"
    assert user.succeed("reset", **version).stdout == "polis is launched\n"
    # Another bundle ran before this one: it is back.
    assert json.loads(user.guest("cat", "/opt/polis/configured.json"))["restored"] is True
    assert user.boot_id() == boot
    user.succeed("up", "--to", "configured")


def test_reset_to_absent_then_delete_leave_nothing(user: User, container: Container) -> None:
    user.succeed("reset", "-y", "--to", "absent")
    assert not container.there
    status: dict[str, Any] = user.status()
    assert status["instance"] is None
    user.succeed("delete", "-y")
    assert container.leftovers() == []
    user.succeed("delete", "--all", "-y")
    left = [path for path in user.home.rglob("*") if path.is_file() and not {"cache", "bundle"} & set(path.parts)]
    assert [path.name for path in left] == ["polis.yaml"]
