"""An agent in a real VM: it gets its key and nobody else does, it stays over a restart, and it is switched in place.

CI runs the same in a container (containers/test_container_agents.py).
"""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest

from tests.e2e.conftest import ROOT, User

pytestmark = [pytest.mark.e2e, pytest.mark.lasting, pytest.mark.timeout(2400)]

BEACON = ROOT / "examples" / "agents" / "beacon"
KEY = "sk-beacon-4f1c9e0d7b3a2658"
ADDRESS = "http://127.0.0.1:9000/status.json"


def containers(user: User) -> dict[str, str]:
    """Return the id of each container by its name."""
    lines = user.guest("docker", "ps", "--all", "--no-trunc", "--format", "{{.Names}} {{.ID}}").splitlines()
    return {name: identity for name, _, identity in (line.partition(" ") for line in lines)}


def replaced(before: dict[str, str], after: dict[str, str]) -> set[str]:
    return {name for name in before.keys() | after.keys() if before.get(name) != after.get(name)}


def inside(user: User, *words: str) -> str:
    """Run a command in the workspace's container, as root."""
    return user.succeed("exec", "--service", "workspace", *words).stdout


def answer(user: User) -> dict[str, Any]:
    value: dict[str, Any] = json.loads(inside(user, "wget", "-q", "-O", "-", ADDRESS))
    return value


def holders(user: User) -> list[str]:
    """Return `uid command` of each process of the VM that has the key in its environment or its arguments."""
    pattern = f"{KEY[:-1]}[{KEY[-1]}]"  # which does not match itself, for this script has it in its own arguments
    script = (
        "for p in /proc/[0-9]*; do "
        f"if cat $p/environ $p/cmdline 2>/dev/null | tr '\\0' '\\n' | grep -q '{pattern}'; "
        "then echo \"$(stat -c %u $p) $(tr '\\0' ' ' <$p/cmdline)\"; fi; done"
    )
    return user.guest("sh", "-c", script).splitlines()


@pytest.fixture(scope="module")
def shelf(user: User, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Install two agents: the example, and one like it that needs no key and has another name."""
    other = tmp_path_factory.mktemp("agents") / "lamp"
    shutil.copytree(BEACON, other)
    for path in other.iterdir():
        path.write_text(path.read_text().replace("beacon", "lamp").replace("Beacon", "Lamp"))
    manifest = other / "agent.yaml"
    manifest.write_text(manifest.read_text().replace("envOneOf: [BEACON_API_KEY, BEACON_TOKEN]", "envOneOf: []"))
    for path in (BEACON, other):
        user.succeed("agent", "add", str(path))
    return other


@pytest.fixture(scope="module")
def said() -> list[str]:
    """Return all that polis said in this module."""
    return []


def test_an_unmet_key_is_refused_before_anything_starts(user: User, shelf: Path) -> None:
    before = user.status()["instance"]
    result = user.type("up", "--agent", "beacon", "--json")
    assert result.code == 78
    assert [event["event"] for event in result.events] == ["result"]
    assert "BEACON_API_KEY" in result.events[0]["error"]["message"]
    assert user.status()["instance"] == before


def test_an_agent_comes_to_a_running_workspace_and_replaces_one_container(
    user: User, shelf: Path, said: list[str]
) -> None:
    user.succeed("up", "--no-agent")
    before = containers(user)
    result = user.succeed("up", "-v", "--agent", "beacon", "--json", BEACON_API_KEY=KEY)
    said += [result.stdout, result.stderr]
    assert result.events[-1]["outcome"] == "healthy"
    assert replaced(before, containers(user)) == {"polis-workspace"}


def test_it_runs_as_its_user_and_has_its_key(user: User) -> None:
    found = answer(user)
    assert (found["ok"], found["user"], found["has_key"]) == (True, "polis", True)
    assert inside(user, "cat", "/var/lib/beacon/installed") == "installed\n"


def test_the_key_is_where_the_agent_is_and_nowhere_else(user: User, said: list[str]) -> None:
    found = holders(user)
    assert found
    assert {line.partition(" ")[0] for line in found} == {"65532"}
    assert KEY not in user.guest("docker", "inspect", "polis-workspace")
    assert inside(user, "stat", "-c", "%a %u", "/run/secrets/polis_agent_env").split() == ["400", "0"]
    as_user = ("busybox", "su", "-s", "/bin/sh", "polis", "-c", "cat /run/secrets/polis_agent_env")
    refused = user.type("exec", "--service", "workspace", *as_user)
    assert refused.code != 0
    assert KEY not in refused.stdout


def test_polis_shows_and_keeps_the_key_in_one_place(user: User, said: list[str]) -> None:
    lines = ("status --json", "history --json", "agent show beacon --json", "plan --json")
    said += [user.succeed(*line.split()).stdout for line in lines]
    assert KEY not in "".join(said)
    config = user.home / "config"
    holding = [path.name for path in config.rglob("*") if path.is_file() and KEY.encode() in path.read_bytes()]
    assert holding == ["agent.json"]
    logs = user.home / "logs"
    assert not [path for path in logs.rglob("*") if path.is_file() and KEY.encode() in path.read_bytes()]


def test_a_plain_stop_and_up_keeps_agent_and_key(user: User) -> None:
    before = containers(user)
    user.succeed("stop")
    user.succeed("up")
    assert replaced(before, containers(user)) == set()
    assert answer(user)["has_key"] is True
    assert inside(user, "cat", "/var/lib/beacon/installed") == "installed\n"


def test_a_second_up_has_nothing_to_do(user: User) -> None:
    assert user.type("plan", "--check").code == 0


def test_another_agent_takes_its_place(user: User, shelf: Path) -> None:
    before = containers(user)
    user.succeed("up", "--agent", "lamp")
    assert replaced(before, containers(user)) == {"polis-workspace"}
    assert answer(user)["has_key"] is False
    assert holders(user) == []
    assert inside(user, "ls", "/opt/agents").split() == ["lamp"]
    assert "polis-agent-beacon-data" in user.guest("docker", "volume", "ls", "--quiet").split()


def test_what_it_kept_is_there_when_it_comes_back_without_its_key_being_given(user: User) -> None:
    user.succeed("up", "--agent", "beacon")
    assert answer(user)["has_key"] is True
    assert inside(user, "cat", "/var/lib/beacon/installed") == "installed\n" * 2


def test_without_an_agent_nothing_of_it_is_left_in_the_workspace(user: User) -> None:
    before = containers(user)
    user.succeed("up", "--no-agent")
    assert replaced(before, containers(user)) == {"polis-workspace"}
    assert holders(user) == []
    assert user.type("exec", "--service", "workspace", "ls", "/opt/agents").code != 0
    user.succeed("agent", "remove", "lamp")
