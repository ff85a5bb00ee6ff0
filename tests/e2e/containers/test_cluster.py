"""Two operators and a fleet on a real cluster of three members, one of which is killed."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from lab.cluster import REMOTE, Cluster, Member
from lab.lxd import ALIAS
from lab.world import World
from tests.e2e.conftest import ROOT, Result, User, eventually

pytestmark = [pytest.mark.e2e, pytest.mark.lasting, pytest.mark.timeout(1800)]

VICTIM = "n3"
"""A member that is not the one that operators talk to."""
PINNED = "at-n3"
"""The workspace that is to be there; where the others go is the cluster's to say."""
NAMES = sorted(["m-1", "m-2", PINNED])


@pytest.fixture(scope="module")
def cluster() -> Iterator[Cluster]:
    worker = os.environ.get("PYTEST_XDIST_WORKER", "alone")
    with Cluster(ROOT / ".lab" / f"cluster-{worker}", shared=ROOT / ".lab") as running:
        yield running


@pytest.fixture(scope="module")
def world(cluster: Cluster) -> Iterator[World]:
    """A lab of its own, found at the host's address on the cluster's network."""
    running = World(cluster.directory / "world", shared=ROOT / ".lab", bridge=cluster.lan.gateway)
    running.start(image=False)
    yield running
    running.stop()


@pytest.fixture(scope="module")
def operators(cluster: Cluster, world: World, tmp_path_factory: pytest.TempPathFactory) -> tuple[User, User]:
    """Two people with the same fleet's file, and nothing else in common."""
    return tuple(_operator(name, cluster, world, tmp_path_factory.mktemp(name)) for name in ("ann", "bob"))  # type: ignore[return-value]


def _operator(name: str, cluster: Cluster, world: World, home: Path) -> User:
    config = home / "fleet.yaml"
    incus = {"remote": REMOTE, "image": ALIAS, "kind": "container"}
    size = {"cpus": 1, "memory": "1G", "disk": "6G"}
    defaults = {"driver": "incus", "incus": incus, **size, "bundle": str(ROOT / "lab/fleet/bundle")}
    members = {"m": {"count": 2}, PINNED: {"incus": {"target": VICTIM}}}
    config.write_text(json.dumps({"defaults": defaults, "members": members}))
    return User(
        home,
        config,
        {
            **cluster.operator(home / name),
            "POLIS_CPUS": "1",
            "POLIS_REGISTRY": f"{world.gateway}:{world.proxy_port}/odralabshq",
            "POLIS_IMAGES_LOCK": str(world.images_lock),
            "POLIS_MIRRORS": json.dumps(world.mirrors()),
            "POLIS_RETRY": "{attempts: 2, base: 0.1, cap: 0.2, silence: 15}",
        },
    )


def fleet(user: User) -> dict[str, dict[str, Any]]:
    """Return what `fleet status` tells of each member."""
    document = json.loads(user.type("fleet", "status", "--json").stdout)
    return {row["member"]: row for row in document["members"]}


def phases(user: User) -> dict[str, str]:
    return {name: row["phase"] for name, row in fleet(user).items()}


def outcomes(result: Result) -> dict[str, dict[str, Any]]:
    """Return the last event of each member."""
    return {event["member"]: event for event in result.events if event["event"] == "member.result"}


def test_two_operators_at_once_do_nothing_twice_and_see_the_same(
    operators: tuple[User, User], cluster: Cluster
) -> None:
    with ThreadPoolExecutor(2) as pool:
        results = list(pool.map(lambda user: user.succeed("fleet", "up", "--wait", "900", "--json"), operators))
    begun = [event for result in results for event in result.events if event["event"] == "phase.started"]
    launched = sorted(event["member"] for event in begun if event["phase"] == "launched")
    assert launched == NAMES
    assert cluster.instances()[PINNED]["location"] == VICTIM
    ann, bob = operators
    assert phases(ann) == phases(bob) == dict.fromkeys(NAMES, "healthy")


def lost(cluster: Cluster, victim: Member) -> list[str]:
    """Return the names of the instances that are on a member."""
    return sorted(name for name, row in cluster.instances().items() if row["location"] == victim.name)


def test_a_fleet_finishes_without_a_member_that_was_killed_and_heals_when_it_is_back(
    operators: tuple[User, User], cluster: Cluster
) -> None:
    ann, bob = operators
    ann.succeed("fleet", "delete", "-y")
    victim = cluster.members[VICTIM]
    with ThreadPoolExecutor(1) as pool:
        going = pool.submit(ann.type, "fleet", "up", "--json")
        try:
            eventually(lambda: lost(cluster, victim) and victim.containers(), timeout=300)
        finally:
            victim.kill()
        result = going.result()
    gone = lost(cluster, victim)
    assert gone
    told = outcomes(result)
    assert {name: told[name]["outcome"] for name in NAMES if name not in gone} == dict.fromkeys(
        set(NAMES) - set(gone), "healthy"
    )
    for name in gone:
        assert told[name]["exit_code"] in (69, 75), json.dumps(told[name])
        assert told[name]["error"]["hint"], told[name]
    assert result.code in (69, 75)
    eventually(lambda: cluster.states()[VICTIM] == "Offline", timeout=120)
    assert {name: row["phase"] for name, row in fleet(bob).items() if name not in gone} == dict.fromkeys(
        set(NAMES) - set(gone), "healthy"
    )
    victim.resume()
    eventually(lambda: cluster.states()[VICTIM] == "Online", timeout=120)
    bob.succeed("fleet", "up", "--wait", "120")
    assert phases(ann) == phases(bob) == dict.fromkeys(NAMES, "healthy")
    assert lost(cluster, victim) == gone


def test_delete_leaves_nothing(operators: tuple[User, User], cluster: Cluster) -> None:
    _, bob = operators
    bob.succeed("fleet", "delete", "-y")
    assert cluster.instances() == {}
    assert phases(operators[0]) == dict.fromkeys(NAMES, "absent")
