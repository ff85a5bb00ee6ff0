"""The life of a workspace on a real VM, in the order of this file; every test leaves it healthy for the next."""

from __future__ import annotations

import base64
import json
import re
import shutil
import signal
import socket
import subprocess
import zlib
from pathlib import Path
from typing import Any

import psutil
import pytest

from lab.world import World
from polis import paths
from polis.bundle.archive import DEFAULT
from polis.cloudinit import document
from tests.e2e.conftest import User, eventually, qemus
from tests.requoting import without_quotes

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(2400)]

IMAGES = 9
PHASES = ["launched", "configured", "images-pulled", "running", "healthy"]


@pytest.fixture(scope="module", autouse=True)
def _from_nothing(user: User) -> None:
    """Delete what tests of another file left to this process."""
    user.succeed("delete", "--all", "-y")


def pulled(world: World) -> dict[str, int]:
    """Return how often the manifest of each image was served, read off the registry's access log."""
    counts: dict[str, int] = {}
    for entry in world.access_log():
        parts = entry.path.split("?")[0].split("/")
        if "manifests" in parts and entry.method == "GET" and entry.status == 200:
            name = parts[parts.index("manifests") - 1]
            counts[name] = counts.get(name, 0) + 1
    return counts


def test_a_package_of_a_wrong_hash_ends_the_first_boot_and_only_a_new_vm_goes_on(user: User, world: World) -> None:
    world.fault("corrupt", match=r"^/sysbox/")
    for again in (False, True):
        before = [process.pid for process in qemus(user.home)]
        result = user.type("up", "--json")
        error = result.events[-1]["error"]
        assert result.code == 77, error
        assert "sysbox-ce_0.6.7-0.linux_amd64.deb" in error["message"]
        (actual,) = set(re.findall(r"[0-9a-f]{64}", error["message"])) - {world.mirrors()["sysbox"]["sha256"]}
        assert f"has the sha256 {actual}" in error["cause"]
        assert "the VM is up" in error["remains"]
        assert "polis up --recreate" in error["hint"]
        assert not again or [process.pid for process in qemus(user.home)] == before
    assert user.type("exec", "dpkg-query", "-W", "sysbox-ce", "docker-ce").code != 0
    status = user.status()
    assert status["phase"] == "absent"
    assert status["last_error"]["kind"] == "integrity"
    assert user.type("status").stdout.endswith("next       polis up --recreate\n")


def test_a_launch_outlives_mirrors_that_are_away_and_being_killed_and_interrupted(user: User, world: World) -> None:
    world.fault("unavailable", match=r"^/docker/", count=7)
    (broken,) = [process.pid for process in qemus(user.home)]
    with user.begin("up", "--recreate", "-y") as up:
        up.wait_for("phase.started", "launched")
        eventually(lambda: [process for process in qemus(user.home) if process.pid != broken])
        up.send(signal.SIGKILL)
    status = user.status()
    assert status["phase"] == "absent"
    assert status["transition"]["to"] == "launched"
    assert status["transition"]["alive"] is False
    assert len(qemus(user.home)) == 1
    first = qemus(user.home)[0].pid
    with user.begin("up") as up:
        up.wait_for("phase.progress", "launched")
        assert up.send(signal.SIGINT) == 130
    result = user.succeed("up", "--to", "launched", "--json")
    assert result.phases("phase.completed") == ["launched"]
    assert [process.pid for process in qemus(user.home)] == [first]
    assert user.guest("cloud-init", "status").strip() == "status: done"
    assert len([entry for entry in world.access_log() if entry.status == 503]) == 7


def failing_checks(user: User) -> list[dict[str, Any]]:
    checks = user.status()["checks"]
    assert len(checks) > 25
    return [check for check in checks if not check["ok"]]


def test_the_vm_is_what_the_document_promises(user: User) -> None:
    assert failing_checks(user) == []
    assert "sysbox-runc" in json.loads(user.guest("docker", "info", "--format", "{{json .Runtimes}}"))
    packages = dict(
        line.split()[::-1]
        for line in user.guest("dpkg-query", "-W", "-f", "${db:Status-Want}:${Version} ${Package}\n").splitlines()
    )
    assert packages["docker-ce"] == "hold:5:27.5.1-1~ubuntu.24.04~noble"
    assert packages["containerd.io"].startswith("hold:1.7.")
    newest = user.guest("apt-cache", "madison", "docker-ce", "containerd.io")
    assert "5:28." in newest, "the mirror has nothing newer to resist"
    assert re.search(r"\|\s+2\.", newest), "the mirror has nothing newer to resist"


def test_the_document_is_valid_for_cloud_init_before_and_after_it_lost_its_quotes(user: User) -> None:
    shown = user.succeed("cloud-init", "show").stdout
    for text in (shown, without_quotes(shown)):
        packed = base64.b64encode(zlib.compress(text.encode())).decode()
        unpack = f"import base64, zlib; print(zlib.decompress(base64.b64decode('{packed}')).decode(), end='')"
        user.guest("sh", "-c", 'python3 -c "$1" > /run/document', "sh", unpack)
        assert "Valid schema" in user.guest("cloud-init", "schema", "--config-file", "/run/document")
    user.guest("cloud-init", "schema", "--system")


def test_configure_interrupted_and_killed_then_resumed(user: User) -> None:
    for number in (signal.SIGINT, signal.SIGKILL):
        with user.begin("up", "--to", "configured") as up:
            up.wait_for("phase.progress", "configured")
            up.send(number)
        assert user.status()["phase"] == "launched"
    result = user.succeed("up", "--to", "configured", "--json")
    assert "launched" not in result.phases("phase.started")
    assert user.status()["phase"] == "configured"


@pytest.mark.parametrize(
    ("mode", "cause"),
    [
        ("unavailable", "503"),
        pytest.param("throttled", "429|too ?many ?requests", marks=pytest.mark.lasting),
        pytest.param("hang", "timeout|deadline|nothing", marks=pytest.mark.lasting),
        ("outage", "refused|reset|EOF"),
    ],
)
def test_an_outage_is_told_and_kept(user: User, world: World, mode: str, cause: str) -> None:
    world.fault(mode)
    result = user.type("up", "--json")
    final = result.events[-1]
    assert result.code == final["exit_code"] == 75
    assert final["error"]["phase"] == "images-pulled"
    assert re.search(cause, final["error"]["cause"], re.IGNORECASE), final["error"]
    assert "odralabshq/polis-" in final["error"]["message"]
    assert "10.0.2.2" in final["error"]["message"]
    assert final["error"]["attempts"] == 2
    assert result.phases("phase.retry") == ["images-pulled"]
    status = user.status()
    assert status["phase"] == "configured"
    assert status["pending"] == ["images-pulled", "running", "healthy"]
    assert "polis up" in status["last_error"]["hint"]
    assert status["last_error"]["retryable"] is True


def test_a_final_answer_fails_at_once(user: User, world: World) -> None:
    world.fault("unauthorized", match="polis-certgen")
    result = user.type("up", "--json")
    assert result.code == 70
    assert "polis-certgen" in result.events[-1]["error"]["message"]
    assert result.phases("phase.retry") == []
    world.heal()
    result = user.type("up", "--json", "--version", "v9.9.9")
    assert result.code == 70
    assert ":v9.9.9" in result.events[-1]["error"]["message"]
    assert result.phases("phase.retry") == []
    user.succeed("up", "--to", "configured")


def test_after_the_outage_up_resumes_and_pulls_only_what_is_missing(user: User, world: World) -> None:
    world.fault("reset", match="polis-sentinel")
    # One attempt: within it, the engine itself tries a broken layer five times, which takes more than a minute.
    failed = user.type("up", "--json", POLIS_RETRY="{attempts: 1}")
    assert failed.code == 75
    assert "polis-sentinel" in failed.events[-1]["error"]["message"]
    have = user.guest("docker", "image", "ls", "--format", "{{.Repository}}").split()
    assert have, "nothing was pulled before the broken image"
    boot = user.boot_id()
    marker = user.guest("stat", "-c", "%Y %i", "/opt/polis/configured.json")
    world.heal()
    world.clear_log()
    result = user.succeed("up", "--to", "images-pulled", "--json")
    assert result.phases("phase.started") == ["images-pulled"]
    assert user.boot_id() == boot
    assert user.guest("stat", "-c", "%Y %i", "/opt/polis/configured.json") == marker
    already = {name.rsplit("/", 1)[-1] for name in have}
    counts = pulled(world)
    assert not already & set(counts)
    assert len(already | set(counts)) == IMAGES
    assert set(counts.values()) == {1}


def interrupt(user: User, phase: str) -> None:
    """Cut off `up` in this phase by Ctrl-C, and the next one by kill -9."""
    for number in (signal.SIGINT, signal.SIGKILL):
        with user.begin("up") as up:
            up.wait_for("phase.started", phase)
            code = up.send(number)
        assert code == (130 if number == signal.SIGINT else -signal.SIGKILL)
        assert not set(PHASES[: PHASES.index(phase) - 1]) & set(up.seen("phase.started"))
        assert len(qemus(user.home)) == 1


def signalling(name: str) -> str:
    """Return a line of shell that sends a signal to a container's processes; the first starts the others."""
    processes = "/sys/fs/cgroup/system.slice/docker-$(docker inspect -f '{{.Id}}' polis-state).scope/cgroup.procs"
    return f"for process in $(cat {processes}); do kill -{name} $process; done"


UP = {
    "push": ("launched", "configured"),
    "exec:place": ("launched", "configured"),
    "exec:pull": ("configured", "images-pulled"),
    "exec:up": ("images-pulled", "running"),
}
"""Each call of an `up` from launched, the phase that holds until it is over, and the one that it leads to."""

RESET = {"exec:down": "images-pulled", "exec:remove-images": "configured", "exec:remove-bundle": "launched"}
"""Each call of a reset to launched, and the phase that it leads to."""

TREASURE = "/var/lib/docker/volumes/polis-state-data/_data/treasure"


@pytest.mark.lasting
def test_killed_around_every_call_of_reset_and_up_the_last_ends_healthy(user: User, world: World) -> None:
    user.succeed("up")
    user.guest("touch", TREASURE)
    boot, (vm,) = user.boot_id(), qemus(user.home)
    for call, to in RESET.items():
        assert user.cut(f"before {call}", "reset", "--to", to)
        assert user.cut(f"during {call}", "reset", "--to", to)
    user.succeed("reset", "--to", "launched")
    assert user.status()["phase"] == "launched"
    world.clear_log()
    for call, (below, to) in UP.items():
        assert user.cut(f"before {call}", "up", "--to", to)
        status = user.status()
        assert status["phase"] == below
        assert (status["transition"]["to"], status["transition"]["alive"]) == (to, False)
        assert user.cut(f"during {call}", "up", "--to", to)
    result = user.succeed("up", "--json")
    assert result.events[-1]["outcome"] == "healthy"
    assert set(result.phases("phase.started")) <= {"running", "healthy"}
    assert user.boot_id() == boot
    assert [process.pid for process in qemus(user.home)] == [vm.pid]
    assert user.guest("ls", TREASURE).strip() == TREASURE
    counts = pulled(world)
    assert len(counts) == IMAGES
    # Only the image that was being pulled when polis was killed may come twice.
    assert sum(counts.values()) <= IMAGES + 1


def test_interrupted_while_a_service_keeps_it_waiting_the_next_up_goes_on(user: User) -> None:
    user.succeed("up")
    # A service that is started but says nothing keeps `up` waiting for health, for as long as the test needs.
    user.guest("sh", "-c", f"docker restart polis-state && {signalling('STOP')}")
    interrupt(user, "healthy")
    user.guest("sh", "-c", signalling("CONT"))
    result = user.succeed("up", "--json")
    assert result.events[-1]["outcome"] == "healthy"
    assert set(result.phases("phase.started")) <= {"healthy"}


def test_a_no_op_takes_two_driver_calls(user: User, world: World) -> None:
    result = user.succeed("up", "--json")
    assert result.phases("phase.started") == []
    assert result.events[-1]["driver_calls"] <= 2
    assert pulled(world) == {}
    status = user.status()
    assert status["phase"] == "healthy"
    assert len(status["services"]) == 11
    assert all(service["digest"].startswith("sha256:") for service in status["services"])
    assert user.type("status", "--check").code == 0


def test_exec_passes_output_and_exit_code(user: User) -> None:
    assert user.type("exec", "sh", "-c", "echo out; echo err >&2; exit 42").code == 42
    result = user.type("exec", "printf", "%s|", "a b", "$HOME", "*", "")
    assert result.stdout == "a b|$HOME|*||"
    assert user.type("exec", "--service", "state", "sh", "-c", "exit 3").code == 3
    words = ["a b", "$HOME", "*", "", "'\"\n", "--service"]
    result = user.succeed("exec", "--service", "state", "printf", "%s|", *words)
    assert result.stdout == "".join(f"{word}|" for word in words)
    data = bytes(range(256)) * 1000
    assert user.pipe(data, "exec", "--service", "state", "cat") == data
    result = user.type("exec", "--service", "stat", "true")
    assert result.code == 4
    assert "gate" in result.stderr
    result = user.type("exec", "--service", "state-init", "true")
    assert result.code == 75
    assert "does its work once" in result.stderr


def test_ssh_config_is_what_the_system_s_ssh_needs(user: User, tmp_path: Path) -> None:
    (tmp_path / "config").write_text(user.succeed("ssh-config").stdout)
    ssh = ["ssh", "-F", str(tmp_path / "config"), "-o", "BatchMode=yes", "polis-polis", "true"]
    done = subprocess.run(ssh, capture_output=True, text=True, check=False, timeout=300, stdin=subprocess.DEVNULL)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


def test_stop_then_up_provisions_and_pulls_nothing(user: User, world: World) -> None:
    boot = user.boot_id()
    booted = user.guest("stat", "-c", "%Y", "/var/lib/polis/provisioned.json")
    user.succeed("stop")
    assert qemus(user.home) == []
    status = user.status()
    assert status["instance"]["state"] == "stopped"
    assert user.type("status", "--check").code == 3
    result = user.succeed("up", "--json")
    assert not {"configured", "images-pulled"} & set(result.phases("phase.started"))
    assert user.boot_id() != boot
    assert user.guest("stat", "-c", "%Y", "/var/lib/polis/provisioned.json") == booted
    assert pulled(world) == {}


@pytest.mark.lasting  # in a container: containers/test_container_lifecycle.py
def test_a_reboot_in_the_guest_is_the_same(user: User, world: World) -> None:
    boot = user.boot_id()
    booted = user.guest("stat", "-c", "%Y", "/var/lib/polis/provisioned.json")
    user.type("exec", "sudo", "systemctl", "reboot")
    eventually(lambda: user.type("exec", "cat", "/proc/sys/kernel/random/boot_id").stdout.strip() not in ("", boot))
    user.succeed("up")
    assert user.guest("stat", "-c", "%Y", "/var/lib/polis/provisioned.json") == booted
    assert pulled(world) == {}
    assert not [entry for entry in world.access_log() if entry.path.startswith(("/docker/", "/sysbox/"))]
    assert failing_checks(user) == []


def test_a_killed_qemu_is_seen_at_once_and_recovered(user: User) -> None:
    (process,) = qemus(user.home)
    process.kill()
    process.wait(30)
    status = user.status()
    assert status["instance"]["state"] == "stopped"
    assert status["phase"] == "absent"
    user.succeed("up")
    assert user.status()["phase"] == "healthy"


def test_a_hardening_that_was_undone_is_told_with_the_command_that_mends_it(user: User) -> None:
    user.guest("sysctl", "-w", "kernel.kptr_restrict=0")
    user.guest("auditctl", "-D")
    user.guest("apt-mark", "unhold", "docker-ce")
    assert {check["name"] for check in failing_checks(user)} == {
        "kernel-pointers-hidden",
        "audit-rules",
        "packages-held",
    }
    result = user.type("up", "--json")
    assert result.code == 70
    error = result.events[-1]["error"]
    assert error["message"].startswith("packages-held: ")
    assert error["hint"].startswith("polis exec sudo apt-mark hold ")
    for check in ("packages-held", "kernel-pointers-hidden", "audit-rules"):
        shown = user.type("status").stdout
        assert f"launched: {check}: expected" in shown
        command = shown.splitlines()[-1].split(maxsplit=1)[1]
        user.succeed(*command.removeprefix("polis ").split())
    result = user.succeed("up", "--json")
    assert result.phases("phase.started") == []
    assert user.type("status", "--check").code == 0


@pytest.mark.lasting  # in a container: containers/test_container_lifecycle.py
def test_drift_in_the_guest_is_told_and_mended(user: User) -> None:
    user.succeed("up")
    user.guest("docker", "kill", "polis-gate")
    status = user.status()
    assert status["phase"] == "images-pulled"
    assert "gate" in status["drift"][0]["reason"]
    user.succeed("up")
    user.guest("sh", "-c", "echo '# changed' >> /opt/polis/current/docker-compose.yml")
    assert user.status()["phase"] == "launched"
    user.succeed("up")


def test_a_changed_file_replaces_the_container_that_mounts_it_and_not_all(user: User, tmp_path: Path) -> None:
    user.succeed("up")
    before = containers(user)
    bundle = tmp_path / "bundle"
    shutil.copytree(DEFAULT, bundle)
    with (bundle / "services" / "state" / "valkey.conf").open("a") as file:
        file.write("# changed\n")
    result = user.succeed("up", "--bundle", str(bundle), "--json")
    assert "images-pulled" not in result.phases("phase.started")
    after = containers(user)
    replaced = {name for name in after if after[name] != before[name]}
    # Compose also replaces what depends on a service that it replaces.
    assert "polis-state" in replaced
    assert not replaced & {"polis-resolver", "polis-certgen", "polis-scanner"}


def containers(user: User) -> dict[str, str]:
    lines = user.guest("docker", "ps", "-a", "--no-trunc", "--format", "{{.Names}} {{.ID}}").splitlines()
    return {name: identity for name, _, identity in (line.partition(" ") for line in lines)}


@pytest.mark.lasting
def test_a_second_workspace_degraded_but_complete_lives_beside_the_first_with_a_forward_of_its_own(
    user: User, tmp_path: Path
) -> None:
    user.succeed("up")
    boot = user.boot_id()
    # A number where cloud-init wants text: it warns of it, does it all the same, and ends "degraded".
    mine = tmp_path / "mine.yaml"
    path = "- path: /etc/sysctl.d/99-polis-hardening.conf\n"
    mine.write_text(document.read(None).text.replace(path, f"{path}    permissions: 420\n"))
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    settings = {"POLIS_PORTS": json.dumps([f"{port}:22"]), "POLIS_CLOUD_INIT": str(mine)}
    result = user.succeed("-n", "other", "up", "--to", "launched", "--json", **settings)
    warned = [event["message"] for event in result.events if event["event"] == "warning"]
    assert [text for text in warned if text.startswith("cloud-init: ") and "schema" in text], warned
    assert "degraded" in user.type("-n", "other", "exec", "cloud-init", "status", "--long").stdout
    assert user.type("-n", "other", "status", "--json", **settings).document["phase"] == "launched"
    assert len(qemus(user.home)) == 2
    with socket.create_connection(("127.0.0.1", port), timeout=30) as forward:
        assert forward.recv(4) == b"SSH-"
    user.succeed("-n", "other", "delete", "-y")
    assert len(qemus(user.home)) == 1
    with pytest.raises(OSError, match="refused"):
        socket.create_connection(("127.0.0.1", port), timeout=5)
    assert user.boot_id() == boot
    assert user.type("status", "--check").code == 0


def test_reset_leaves_one_phase_at_a_time_each_seen_in_the_guest(user: User) -> None:
    user.succeed("up")
    boot = user.boot_id()
    assert user.succeed("reset").stdout == "polis is running\n"
    assert user.succeed("reset").stdout == "polis is images-pulled\n"
    assert user.guest("docker", "ps", "-aq") == ""
    assert "polis-state-data" in user.guest("docker", "volume", "ls")
    assert user.succeed("reset").stdout == "polis is configured\n"
    assert user.succeed("reset").stdout == "polis is launched\n"
    # Another bundle ran before this one: it is back, and nothing else is left.
    assert json.loads(user.guest("cat", "/opt/polis/configured.json"))["restored"] is True
    assert len(user.guest("ls", "/opt/polis/releases").split()) == 1
    user.succeed("up")
    assert user.boot_id() == boot
    user.succeed("reset", "--to", "launched")
    user.succeed("up", "--to", "configured")


def test_reset_to_absent_then_delete_leave_no_process_and_no_file_outside_the_cache(
    user: User, monkeypatch: pytest.MonkeyPatch
) -> None:
    user.succeed("reset", "-y", "--to", "absent")
    assert qemus(user.home) == []
    assert user.status()["instance"] is None
    user.succeed("delete", "-y")
    left = [path for path in user.home.rglob("*") if path.is_file() and "cache" not in path.parts]
    assert [path.name for path in left if "secrets" not in path.parts] == []
    assert (user.home / "config" / "secrets" / "polis" / "keys.json") in left
    user.succeed("delete", "--all", "-y")
    assert [path for path in left if path.exists()] == []
    monkeypatch.setenv("POLIS_HOME", str(user.home))
    assert [path for path in paths.find().runtime.glob("*") if path.is_socket()] == []
    # ssh's master is told to end, and ends a moment later.
    eventually(
        lambda: not [each for each in psutil.process_iter() if str(user.home) in _command_line(each)], timeout=60
    )


def _command_line(process: psutil.Process) -> str:
    try:
        return " ".join(process.cmdline())
    except psutil.Error:
        return ""
