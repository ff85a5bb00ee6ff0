"""First boots that go wrong, in real VMs: each is told with its cause, what is still there, and what to type."""

from __future__ import annotations

import json
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import pytest

from lab.world import World
from polis.cloudinit import document
from tests.e2e.conftest import Result, User, qemus

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(2400)]

AT_ONCE = 2
"""VMs that boot beside each other: one that hangs, and one after the other of the rest."""

NONE = "{}"
"""These documents have no place for a mirror, and need none."""

FAILING = """\
#cloud-config
users: [default]
runcmd:
- |
  echo this is the last word
  false
"""
HANGING = """\
#cloud-config
users: [default]
runcmd:
- |
  echo this never ends
  exec sleep infinity
"""
INCOMPLETE = """\
#cloud-config
users: [default]
write_files:
- path: /var/lib/polis/provisioned.json
  content: '{"docker": "27.5.1"}'
"""


@dataclass(frozen=True)
class Case:
    """A workspace whose first boot cannot succeed."""

    name: str
    code: int
    message: str
    cause: str
    text: str = ""
    mirrors: str = ""
    timeout: int = 900


def cases(world: World) -> list[Case]:
    mirrors = world.mirrors()
    mirrors["docker"]["location"] = mirrors["docker"]["location"].replace("/docker/", "/docker-foreign/")
    old = "docker-compose-plugin=2.32.4-1"
    shipped = document.read(None).text
    assert shipped.count(old) == 1
    return [
        Case(
            "hanging",
            70,
            "cloud-init did not finish within 180 s",
            "this never ends",
            text=HANGING,
            mirrors=NONE,
            timeout=180,
        ),
        Case("failing", 70, "cloud-init ended with errors", "this is the last word", text=FAILING, mirrors=NONE),
        Case(
            "incomplete",
            70,
            "the Docker engine is not usable",
            "docker-package: expected docker-ce",
            text=INCOMPLETE,
            mirrors=NONE,
        ),
        Case("foreign", 77, "a package list: expected a signature", "docker-foreign", mirrors=json.dumps(mirrors)),
        Case(
            "missing",
            70,
            "a package: expected to find it in the repositories",
            "2.99.0-1",
            text=shipped.replace(old, "docker-compose-plugin=2.99.0-1"),
        ),
    ]


def boot(user: User, directory: Path, case: Case) -> Result:
    """Type `up` for one case, without waiting for the others."""
    environment = {"POLIS_MEMORY": "1G", "POLIS_TIMEOUT": str(case.timeout)}
    if case.text:
        path = directory / f"{case.name}.yaml"
        path.write_text(case.text)
        environment["POLIS_CLOUD_INIT"] = str(path)
    if case.mirrors:
        environment["POLIS_MIRRORS"] = case.mirrors
    user = User(user.home, user.config, {**user.environment, **environment})
    result = user.type("-n", case.name, "up", "--to", "launched", "--json")
    user.succeed("-n", case.name, "delete", "-y")  # at once: a VM costs a fifth of a processor even when it idles
    return result


@pytest.fixture(scope="module")
def ended(user: User, world: World, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Result]:
    """How each case ended; the one that hangs does so beside the others."""
    directory = tmp_path_factory.mktemp("documents")
    world.heal()
    with ThreadPoolExecutor(AT_ONCE) as pool:
        running = {case.name: pool.submit(boot, user, directory, case) for case in cases(world)}
        return {name: future.result() for name, future in running.items()}


@pytest.mark.parametrize("name", ["hanging", "failing", "incomplete", "foreign", "missing"])
def test_a_first_boot_that_fails_is_told(ended: dict[str, Result], user: User, world: World, name: str) -> None:
    (case,) = [case for case in cases(world) if case.name == name]
    result = ended[name]
    error = result.events[-1]["error"]
    assert result.code == case.code, error
    assert error["phase"] == "launched"
    assert case.message in error["message"], error
    assert case.cause in f"{error['message']}\n{error['cause']}", error
    assert error["cause"], "nothing of the log's last lines"
    assert "the VM is up" in error["remains"]
    assert ("polis up again" if name == "hanging" else "polis up") in error["hint"].replace("`", "")
    assert result.phases("phase.completed") == []
    assert qemus(user.home) == []


def test_the_stage_and_the_last_line_of_cloud_init_are_shown_while_it_works(ended: dict[str, Result]) -> None:
    details = [event["detail"] for event in ended["hanging"].events if event["event"] == "phase.progress"]
    assert [detail for detail in details if "modules-final" in detail and "this never ends" in detail]
