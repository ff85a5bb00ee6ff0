"""What runs inside: certificates, secrets, locked images and upgrades, in a real VM.

CI runs the same in a container (containers/test_container_contents.py).
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from lab import oci
from lab.daemon import HOST
from lab.world import NAMESPACE, World
from polis.vault import FILE, sealed
from tests.e2e.conftest import User

pytestmark = [pytest.mark.e2e, pytest.mark.lasting, pytest.mark.timeout(2400)]

PLACED = "/opt/polis/current/.polis"

ASK = """\
import socket, ssl, sys
host, port, authority, name, *own = sys.argv[1:]
context = ssl.create_default_context(cafile=authority)
if own:
    context.load_cert_chain(*own)
try:
    with socket.create_connection((host, int(port)), 30) as plain:
        with context.wrap_socket(plain, server_hostname=name) as secure:
            secure.send(b"GET / HTTP/1.0\\r\\n\\r\\n" if port == "8080" else b"PING\\r\\n")
            print("answers", secure.recv(100)[:20])
            print("serial", secure.getpeercert()["serialNumber"])
except OSError as error:
    print("refuses", error)
"""

FIND = """\
set -eu
cd /run/polis-test-secrets
quiet() { grep -qaF -f patterns "$@" 2>/dev/null; }
for process in /proc/[0-9]*; do
    ! quiet "$process/cmdline" || echo "arguments of $(cat "$process/comm")"
    ! quiet "$process/environ" || echo "environment of $(cat "$process/comm")"
done
for container in $(docker ps --all --quiet); do
    ! docker inspect "$container" | quiet || echo "docker inspect of $container"
    ! docker logs "$container" 2>&1 | quiet || echo "docker logs of $container"
done
! journalctl --no-pager | quiet || echo "the journal of the system"
grep -rlaF -f patterns /var/log /var/lib/cloud /var/lib/docker/overlay2 /var/lib/docker/containers \\
    /var/lib/docker/image /var/lib/polis /etc /home /root /tmp /run/cloud-init 2>/dev/null | sed 's/^/file /' || true
echo searched
"""


@pytest.fixture(scope="module")
def inside(user: User) -> Iterator[User]:
    """Somebody whose workspace is healthy."""
    user.succeed("up")
    user.guest("mkdir", "-p", "/run/polis-test-secrets")
    yield user
    user.guest("rm", "-rf", "/run/polis-test-secrets")


def write(user: User, path: str, content: str) -> None:
    user.pipe(content.encode(), "exec", "sudo", "tee", path)


def ask(user: User, host: str, port: int, authority: str, name: str, *own: str) -> str:
    """Open a TLS connection from the VM and return what came of it."""
    return user.guest("python3", "-c", ASK, host, str(port), authority, name, *own)


def containers(user: User) -> dict[str, str]:
    """Return the id of each service's container."""
    lines = user.guest(
        "docker", "ps", "--all", "--no-trunc", "--format", '{{.Label "com.docker.compose.service"}} {{.ID}} {{.State}}'
    )
    return {line.split()[0]: line.split(maxsplit=1)[1] for line in lines.splitlines()}


def differing(before: dict[str, str], after: dict[str, str]) -> set[str]:
    return {name for name in before | after if before.get(name) != after.get(name)}


def keys(user: User) -> tuple[Path, dict[str, Any]]:
    path = user.home / "config" / "secrets" / "polis" / FILE
    return path, json.loads(path.read_text())


STATE = ("10.30.1.4", 6379, f"{PLACED}/certs/valkey/ca.crt", "state")
CLIENT = (f"{PLACED}/certs/valkey/client.crt", f"{PLACED}/certs/valkey/client.key")


def test_files_have_the_owners_and_modes_that_their_users_need(inside: User) -> None:
    found = inside.guest("find", PLACED, "-type", "f", "-printf", "%P %U %m\n")
    listed = {line.split()[0]: tuple(line.split()[1:]) for line in found.splitlines()}
    private = {name for name in listed if name.endswith(".key") or name.startswith("secrets/")}
    assert len(private) == 4 + 8
    assert {listed[name] for name in private} == {("65532", "400")}
    assert {listed[name] for name in listed if name.endswith((".pem", ".crt"))} == {("0", "444")}
    assert "ca.key" not in {name.rpartition("/")[2] for name in private if "certs/ca/" in name}
    assert inside.guest("stat", "--format", "%U %a", PLACED) == "root 700\n"


def test_a_service_reads_its_own_secrets_and_has_no_other(inside: User) -> None:
    def readable(service: str, *paths: str) -> list[str]:
        script = 'for path; do if head -c 1 "$path" >/dev/null 2>&1; then echo "$path"; fi; done'
        return inside.succeed("exec", "--service", service, "sh", "-c", script, "sh", *paths).stdout.split()

    own = ["/run/secrets/valkey_acl", "/etc/valkey/tls/server.key"]
    assert readable("state", *own) == own
    agent = "/run/secrets/valkey_mcp_agent_password"
    assert readable("toolbox", agent, "/run/secrets/valkey_mcp_admin_password", "/etc/valkey/tls/server.key") == [agent]
    secrets = inside.succeed("exec", "--service", "workspace", "sh", "-c", "ls /run/secrets 2>/dev/null || true").stdout
    assert secrets == ""
    assert readable("gate", "/etc/g3fcgen/ca.key") == []


@pytest.mark.parametrize(
    ("what", "asked"),
    [
        ("state", (*STATE, *CLIENT)),
        ("toolbox", ("10.30.1.20", 8080, f"{PLACED}/certs/ca/ca.pem", "toolbox")),
    ],
)
def test_handshakes_verify_against_the_workspace_s_authority_and_no_other(
    inside: User, what: str, asked: tuple[Any, ...]
) -> None:
    assert "serial" in ask(inside, *asked)
    foreign = "/etc/ssl/certs/ca-certificates.crt"
    refused = ask(inside, *asked[:2], foreign, *asked[3:])
    assert "CERTIFICATE_VERIFY_FAILED" in refused, what
    assert "Hostname mismatch" in ask(inside, *asked[:3], "example.com", *asked[4:])


def test_the_state_talks_to_nobody_without_a_certificate_or_a_password(inside: User) -> None:
    assert "answers" not in ask(inside, *STATE)
    assert "NOAUTH" in ask(inside, *STATE, *CLIENT)


def test_a_leaf_near_its_end_is_renewed_and_its_service_picks_it_up(inside: User) -> None:
    before, (path, content) = containers(inside), keys(inside)
    toolbox = ("10.30.1.20", 8080, f"{PLACED}/certs/ca/ca.pem", "toolbox")
    serial = ask(inside, *toolbox)
    content["pairs"]["toolbox"]["until"] = (datetime.now(UTC) + timedelta(days=20)).isoformat()
    path.write_bytes(sealed(content))
    assert "due for renewal: toolbox" in str(inside.status()["drift"])
    inside.succeed("up")
    after = keys(inside)[1]
    assert {name for name in after["pairs"] if after["pairs"][name] != content["pairs"][name]} == {"toolbox"}
    assert differing(before, containers(inside)) == {"toolbox"}
    renewed = ask(inside, *toolbox)
    assert "serial" in renewed
    assert renewed != serial


def test_of_eleven_services_exactly_the_changed_one_is_replaced(inside: User) -> None:
    before = containers(inside)
    assert len(before) == 11
    result = inside.succeed("up", "--version", "v0.5.2", "--json")
    assert result.phases("phase.started")[:3] == ["configured", "images-pulled", "running"]
    assert differing(before, containers(inside)) == {"toolbox"}
    for service in ("gate", "state", "workspace"):  # what they have mounted is still there
        inside.succeed("exec", "--service", service, "test", "-s", "/usr/local/lib/polis/health/tcp.sh")
    inside.succeed("up")
    assert differing(before, containers(inside)) == {"toolbox"}  # the old image again, in a new container


def test_an_upgrade_in_an_outage_leaves_the_old_services_healthy_and_reset_gives_their_configuration_back(
    inside: User, world: World
) -> None:
    before = containers(inside)
    world.fault("outage", match="polis-workspace")
    failed = inside.type("up", "--version", "v0.5.1")
    assert failed.code == 75, failed.stderr
    assert containers(inside) == before
    health = inside.guest("docker", "ps", "--format", "{{.Names}} {{.Status}}")
    assert health.count("(healthy)") == 8, health
    world.heal()
    inside.succeed("reset", "-y", POLIS_VERSION="v0.5.1")
    assert containers(inside) == before
    world.clear_log()
    again = inside.succeed("up", "--json")
    assert again.phases("phase.started") == []
    assert containers(inside) == before
    assert world.access_log() == []


def test_another_image_under_the_tag_is_refused_and_nothing_is_started(inside: User, world: World) -> None:
    before = containers(inside)
    registry = oci.Registry(f"{HOST}:{world.registry_port}")
    programs = oci.fetch(world.directory / "oci")
    evil, right = (oci.build(programs, "toolbox", generation) for generation in ("tampered", "v0.5.1"))
    registry.push(f"{NAMESPACE}/polis-toolbox", "v0.5.1", evil)
    try:
        refused = inside.type("up", "--version", "v0.5.1", "--json")
    finally:
        registry.push(f"{NAMESPACE}/polis-toolbox", "v0.5.1", right)
    assert refused.code == 77, refused.stdout
    error = refused.events[-1]["error"]
    assert error["phase"] == "images-pulled"
    assert right.digest in error["cause"]
    assert evil.digest in error["cause"]
    assert containers(inside) == before
    assert evil.identity not in inside.guest("docker", "images", "--all", "--no-trunc", "--quiet")
    assert "running" not in refused.phases("phase.started")
    inside.succeed("up")
    assert containers(inside) == before


def test_no_secret_is_anywhere_but_where_it_belongs(inside: User, world: World, left: list[str]) -> None:
    """After all the failures above, and one more with everything told."""
    world.fault("throttled", match="polis-gate")
    assert inside.type("up", "--version", "v0.5.1", "-v", "--json").code == 75
    world.heal()
    inside.succeed("up", "-v", "--json")
    path, content = keys(inside)
    bodies = [pair["key"].splitlines()[1] for pair in content["pairs"].values()]
    secrets = [*content["passwords"].values(), *bodies]
    assert len(secrets) == 7 + 5

    printed = "".join(inside.transcript)
    kept = {file: file.read_bytes() for file in inside.home.rglob("*") if file.is_file() and file.suffix != ".qcow2"}
    for secret in secrets:
        assert secret not in printed
        assert [file for file, data in kept.items() if secret.encode() in data and file != path] == []

    write(inside, "/run/polis-test-secrets/patterns", "".join(f"{secret}\n" for secret in secrets))
    write(inside, "/run/polis-test-secrets/find.sh", FIND)
    found = inside.guest("sh", "/run/polis-test-secrets/find.sh").splitlines()
    assert found == [*(f"file {name}" for name in left), "searched"]
    assert [inside.guest("stat", "-c", "%a %U", name).strip() for name in left] == ["600 root"] * len(left)
    placed = inside.guest("grep", "-rlF", "-f", "/run/polis-test-secrets/patterns", "/opt/polis").splitlines()
    assert {name.partition("/.polis/")[2].partition("/")[0] for name in placed} == {"certs", "secrets"}
