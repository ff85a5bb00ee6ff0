"""Nothing leaves the workspace but through the gate, and nothing but the world is behind it: tried on a real VM.

Who tries has every power over the workspace's network (it is root of the machine, inside that one namespace), which is
more than the workspace itself has. The world is a namespace of the machine's with an address that looks public, so that
it is the machine's own kernel that would have to forward. Every way that is closed to the workspace is also tried from
where it is open: a test of a wall that would hold without a wall is no test.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from lab.world import World
from tests.e2e.conftest import User, eventually
from tests.e2e.ways import (
    BESIDE,
    BRIDGE6,
    CONTAINER,
    GATE,
    METADATA,
    MIRROR,
    NAME_SERVER,
    OUTSIDE,
    OUTSIDE6,
    SECRET,
    TOOLBOX,
    VM,
    WAYS,
    Way,
    tcp,
)

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(2400)]

INSIDE = Path(__file__).with_name("inside")
PLACE = "/run/polis-test"
PATIENCE = 12.0
LONG = 60.0
"""Seconds for an answer, and for one that must come though the emulated machine is busy."""
FREE = "somebody-else"
WORKSPACE = "the workspace"
CONTAINERS = {WORKSPACE: "polis-workspace", CONTAINER: FREE, BESIDE: "polis-resolver"}

BUILD = f"""\
set -eu
exec >/dev/null
ip netns add outside
ip link add vout type veth peer name eth0 netns outside
ip addr add 203.0.113.1/24 dev vout
ip addr add 2001:db8::1/64 dev vout nodad
ip link set vout up
ip -n outside addr add {OUTSIDE}/24 dev eth0
ip -n outside addr add {NAME_SERVER}/32 dev eth0
ip -n outside addr add {METADATA}/32 dev eth0
ip -n outside addr add {OUTSIDE6}/64 dev eth0 nodad
ip -n outside link set lo up
ip -n outside link set eth0 up
ip -n outside route add default via 203.0.113.1
ip -n outside -6 route add default via 2001:db8::1
ip route replace {NAME_SERVER}/32 dev vout
ip route replace {METADATA}/32 dev vout

# All that somebody could wish for who wants to leave by IPv6.
sysctl -w net.ipv6.conf.all.forwarding=1 net.ipv6.conf.polis-internal.disable_ipv6=0
ip addr replace {BRIDGE6}/64 dev polis-internal nodad
workspace=$(docker inspect --format '{{{{.State.Pid}}}}' polis-workspace)
nsenter --target "$workspace" --net sysctl -w net.ipv6.conf.eth0.disable_ipv6=0
nsenter --target "$workspace" --net ip addr replace fd00:10::100/64 dev eth0 nodad

docker rm --force {FREE} 2>/dev/null || true
image=$(docker inspect --format '{{{{.Image}}}}' polis-resolver)
docker run --detach --name {FREE} --user root --entrypoint sleep "$image" 86400
cd {PLACE}
: >seen
setsid ip netns exec outside python3 outside.py seen >/dev/null 2>outside.log </dev/null &
echo $! > pids
setsid python3 outside.py seen 2375 >/dev/null 2>machine.log </dev/null &
echo $! >> pids
"""

RAZE = f"""\
kill $(cat {PLACE}/pids) || true
docker rm --force {FREE} >/dev/null || true
ip link del vout || true
ip netns del outside || true
ip addr del {BRIDGE6}/64 dev polis-internal || true
"""


FETCH = """\
address=$1
case $1 in *[a-z]*) address=$(nslookup -type=a "$1" | sed -n 's/^Address: //p') ;; esac
printf %s "$3" | nc -w 30 "$address" "$2"
"""


@dataclass
class Stand:
    """The machine with the world around it."""

    user: User
    mirror_port: int
    said: dict[str, str] = field(default_factory=dict)
    """What was received, or why nothing was, in the last try of each way."""

    def build(self) -> None:
        """Make the world, and wait until it answers."""
        self.user.guest("mkdir", "-p", PLACE)
        for script in ("outside.py", "attempts.py"):
            content = (INSIDE / script).read_bytes()
            self.user.pipe(content, "exec", "sudo", "tee", f"{PLACE}/{script}")
        self.user.pipe(BUILD.encode(), "exec", "sudo", "sh", "-s")
        outside = {"name": "outside", **tcp(OUTSIDE, 80)}
        eventually(lambda: self.attempts(VM, [outside])["outside"]["through"], timeout=120)

    def raze(self) -> None:
        self.user.pipe(RAZE.encode(), "exec", "sudo", "sh", "-s")

    def attempts(self, place: str, attempts: list[dict[str, Any]], patience: float = PATIENCE) -> dict[str, Any]:
        """Try all at once in one place; return what came of each."""
        text = json.dumps(attempts).replace(f'"port": {MIRROR}', f'"port": {self.mirror_port}')
        text = text.replace(f":{MIRROR} ", f":{self.mirror_port} ")
        command = f'exec {self._enter(place)} python3 {PLACE}/attempts.py "$@"'
        found: dict[str, Any] = json.loads(self.user.guest("sh", "-c", command, "sh", text, str(patience)))
        return found

    def try_all(self, place: str, ways: list[tuple[Way, dict[str, Any]]], patience: float = PATIENCE) -> dict[str, str]:
        """Try ways in one place; return what came through by those that are open there."""
        attempts = [prepared(way, attempt, place) for way, attempt in ways]
        results = self.attempts(place, attempts, patience)
        self.said |= {way.name: results[way.name]["said"] for way, _ in ways}
        seen = [tuple(line.split()) for line in self.user.guest("cat", f"{PLACE}/seen").splitlines()]
        through = {}
        for way, _ in ways:
            where = [target for target, word in seen if word == token(way, place)]
            where = where if way.to_upstream else [target for target in where if target != NAME_SERVER]
            if results[way.name]["through"] or where:
                through[way.name] = f"seen at {where}, said {results[way.name]['said']!r}"
        return through

    def fetch(self, host: str, path: str, *, port: int = 80, header: str = "", body: str = "") -> str:
        """Fetch a page with the workspace's own tools, as an agent would; return the whole answer."""
        head = [f"{'POST' if body else 'GET'} {path} HTTP/1.1", f"Host: {host}" + (f":{port}" if port != 80 else "")]
        head += [header] if header else []
        head += [f"Content-Length: {len(body)}"] if body else []
        request = "".join(f"{line}\r\n" for line in [*head, ""]) + body
        return self.user.type(
            "exec", "--service", "workspace", "sh", "-c", FETCH, "sh", host, str(port), request
        ).stdout

    def _enter(self, place: str) -> str:
        if place == VM:
            return ""
        return f"nsenter --target $(docker inspect --format '{{{{.State.Pid}}}}' {CONTAINERS[place]}) --net"


def token(way: Way, place: str) -> str:
    """Return what the world can tell this attempt by."""
    return f"way-{way.name}-{'in' if place == WORKSPACE else 'out'}"


def prepared(way: Way, attempt: dict[str, Any], place: str) -> dict[str, Any]:
    sent = attempt["send"].replace("{token}", token(way, place)).replace("{host}", attempt["host"])
    return {**attempt, "name": way.name, "send": sent}


def elsewhere(way: Way) -> dict[str, Any]:
    """Return what is tried from where the way is open: the same straight on, unless it says otherwise."""
    return way.control or {**way.attempt, "via": ""}


@pytest.fixture(scope="module")
def stand(user: User, world: World) -> Iterator[Stand]:
    user.succeed("up")
    built = Stand(user, world.mirror_port)
    built.build()
    yield built
    built.raze()


@pytest.fixture(scope="module")
def inside(stand: Stand) -> dict[str, str]:
    """Return what came through from the workspace."""
    return stand.try_all(WORKSPACE, [(way, way.attempt) for way in WAYS])


@pytest.fixture(scope="module")
def outside(stand: Stand) -> dict[str, str]:
    """Return what came through from where it is open: tried again where a busy machine was too slow to answer."""
    found: dict[str, str] = {}
    for patience in (PATIENCE, LONG, LONG):
        for place in (CONTAINER, VM, BESIDE):
            shut = [(way, elsewhere(way)) for way in WAYS if way.open_to == place and way.name not in found]
            found |= stand.try_all(place, shut, patience) if shut else {}
    return found


def test_the_way_through_the_gate_is_open_and_the_sentinel_sees_it(stand: Stand) -> None:
    assert stand.fetch("way-name.outside.test", "/").endswith("outside saw way-name")
    assert stand.fetch(OUTSIDE, "/way-address").endswith("outside saw way-address")
    assert stand.fetch(OUTSIDE, "/way-port", port=8081).endswith("outside saw way-port")
    assert stand.fetch(OUTSIDE, "/way-post", body="hello").endswith("outside saw way-post")
    logs = stand.user.guest("docker", "logs", "polis-sentinel")
    assert "credcheck: GET way-name.outside.test: passed" in logs
    assert f"credcheck: POST {OUTSIDE}: passed" in logs


def test_a_credential_in_a_request_does_not_leave(stand: Stand) -> None:
    answers = [
        stand.fetch(OUTSIDE, "/way-head", header=f"Authorization: token {SECRET}"),
        stand.fetch(OUTSIDE, "/way-body", body=f"key={SECRET}"),
        stand.fetch(OUTSIDE, f"/way-path?key={SECRET}"),
    ]
    for answer in answers:
        assert answer.startswith("HTTP/1.1 403 ")
        assert "a credential (github_pat) may not go to" in answer
    seen = stand.user.guest("cat", f"{PLACE}/seen")
    assert not any(word in seen for word in ("way-head", "way-body", "way-path"))
    logs = stand.user.guest("docker", "logs", "polis-sentinel")
    assert f"{OUTSIDE}: blocked (github_pat)" in logs
    assert SECRET not in logs + stand.user.guest("docker", "logs", "polis-gate")


def test_the_workspace_reaches_what_is_made_for_it(stand: Stand) -> None:
    """The walls are not closed by having nothing behind them."""
    offered = [
        {"name": "proxy", **tcp(GATE, 8080, send=f"GET http://{OUTSIDE}/way-proxy HTTP/1.1\r\nHost: x\r\n\r\n")},
        {"name": "toolbox", **tcp(TOOLBOX, 8080, send="GET / HTTP/1.0\r\n\r\n", expect=".")},
    ]
    offered[1] |= {"kind": "tls", "expect": "toolbox"}
    results = stand.attempts(WORKSPACE, offered)
    assert [name for name in results if not results[name]["through"]] == [], results


def test_neither_docker_nor_a_credential_is_in_the_workspace(stand: Stand) -> None:
    listing = "ls -d /run/docker.sock /var/run/docker.sock /run/secrets/* /opt/polis /etc/valkey 2>/dev/null; true"
    assert stand.user.guest("docker", "exec", "polis-workspace", "sh", "-c", listing) == ""


@pytest.mark.parametrize("way", WAYS, ids=lambda way: way.title)
def test_a_way_around_is_closed(way: Way, stand: Stand, inside: dict[str, str], outside: dict[str, str]) -> None:
    said = stand.said[way.name]
    assert way.name in outside, f"not even open to {way.open_to} ({said!r}): its being closed elsewhere shows nothing"
    assert way.name not in inside, inside[way.name]


@pytest.mark.lasting
def test_it_holds_when_docker_was_restarted_and_after_a_reboot(stand: Stand) -> None:
    stand.user.guest("systemctl", "restart", "docker")
    stand.user.succeed("up")
    stand.raze()
    stand.build()
    everything = [(way, way.attempt) for way in WAYS]
    assert stand.try_all(WORKSPACE, everything) == {}
    boot = stand.user.boot_id()
    stand.user.type("exec", "sudo", "systemctl", "reboot")
    eventually(
        lambda: stand.user.type("exec", "cat", "/proc/sys/kernel/random/boot_id").stdout.strip() not in ("", boot)
    )
    stand.user.succeed("up")
    stand.build()
    assert stand.try_all(WORKSPACE, everything) == {}
    assert stand.fetch("way-again.outside.test", "/").endswith("outside saw way-again")
