"""The same user and the same lab, with a real LXD beside it whose containers take the place of VMs."""

from __future__ import annotations

import json
import os
import resource
import shutil
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from lab.lxd import ALIAS, Lxd
from lab.world import World
from polis.bundle.archive import DEFAULT
from tests.e2e.conftest import ROOT, User

MOST_FILES = 65536
"""The most open files that a service of the bundle asks for."""


@pytest.fixture(scope="session")
def lxd() -> Iterator[Lxd]:
    # Not pytest's directory: that is closed to all but its owner, and a container's root is somebody else.
    worker = os.environ.get("PYTEST_XDIST_WORKER", "alone")
    with Lxd(ROOT / ".lab" / f"lxd-e2e-{worker}", shared=ROOT / ".lab") as running:
        yield running


@pytest.fixture(scope="session")
def world(lxd: Lxd) -> Iterator[World]:
    """A lab of its own, found on the bridge's address."""
    running = World(lxd.directory / "world", shared=ROOT / ".lab", bridge=lxd.gateway)
    running.start(image=False)
    yield running
    running.stop()


@pytest.fixture(scope="session")
def user(lxd: Lxd, world: World, tmp_path_factory: pytest.TempPathFactory) -> Iterator[User]:
    """One user for all tests, so that one container serves them."""
    home = tmp_path_factory.mktemp("home")
    config = home / "polis.yaml"
    config.write_text("driver: incus\nmemory: 2G\ndisk: 6G\n")
    someone = User(
        home,
        config,
        {
            **lxd.environment,
            "POLIS_INCUS": json.dumps({"image": ALIAS, "kind": "container"}),
            "POLIS_REGISTRY": f"{world.gateway}:{world.proxy_port}/odralabshq",
            "POLIS_IMAGES_LOCK": str(world.images_lock),
            "POLIS_MIRRORS": json.dumps(world.mirrors()),
            "POLIS_RETRY": "{attempts: 2, base: 0.1, cap: 0.2, silence: 15}",
            **_modest_bundle(home / "bundle"),
        },
    )
    yield someone
    someone.type("delete", "-y")


@pytest.fixture
def left() -> list[str]:
    """Return the file in the guest by which its other operators get the same keys (docs/security.md)."""
    return ["/var/lib/polis/vault.json"]


def _modest_bundle(directory: Path) -> dict[str, str]:
    """Return settings for a bundle that asks for no more open files than this process may have.

    An LXD that was started by a test can let its containers have no more than the test; one started by systemd may.
    """
    _, limit = resource.getrlimit(resource.RLIMIT_NOFILE)
    if limit >= MOST_FILES:
        return {}
    shutil.copytree(DEFAULT, directory)
    stack = directory / "docker-compose.yml"
    stack.write_text(stack.read_text().replace(str(MOST_FILES), str(limit)))
    return {"POLIS_BUNDLE": str(directory)}


class Container:
    """The workspace's container as its engine sees it."""

    def __init__(self, lxd: Lxd, name: str = "polis") -> None:
        self._lxd = lxd
        self.name = name

    @property
    def there(self) -> bool:
        return self.name in self._lxd.instances()

    @property
    def born(self) -> str:
        """Return what tells this container from another one of its name."""
        return str(self._lxd.instances()[self.name]["created_at"])

    def kill(self) -> None:
        """End it as a power cut would."""
        init = psutil.Process(self._lxd.instances()[self.name]["state"]["pid"])
        init.kill()
        init.wait(30)

    def leftovers(self) -> list[str]:
        return self._lxd.leftovers(self.name)


@pytest.fixture(scope="session")
def container(lxd: Lxd) -> Container:
    return Container(lxd)
