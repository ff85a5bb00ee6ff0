"""The tutorial, typed line by line as it stands in docs/tutorial.md; a system container takes the place of the VM."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from lab.__main__ import parser, run
from lab.lxd import Lxd
from lab.world import World
from tests.documents import TUTORIAL, Block, blocks
from tests.e2e.conftest import DEADLINE, ROOT, User
from tests.e2e.containers.conftest import Container

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(2400)]

NAME = "newcomer"
"""A workspace beside that of the other tests, which share the server."""
STANDING_STILL = ("polis stop", "polis up --no-agent")
"""Blocks in which nothing may be fetched."""
FROM_THE_REPOSITORY = ("lab", ".lab", ".venv", "examples")


@dataclass
class Newcomer:
    """Somebody who types what the page says, in one shell."""

    directory: Path
    environment: dict[str, str]
    world: World
    printed: list[str] = field(default_factory=list)

    def follow(self, block: Block) -> None:
        """Type a block; all of its lines but the last must end with 0, the last as the page says."""
        *before, last = block.typed
        for line in before:
            self._expect(line, frozenset({0}))
        self._expect(last, block.ends)

    def _expect(self, line: str, ends: frozenset[int]) -> None:
        code, text = self._type(line)
        self.printed.append(f"$ {line}\n{text}")
        assert code in ends, f"{line!r} ended with {code}, not {sorted(ends)}:\n{text}"

    def _type(self, line: str) -> tuple[int, str]:
        if line.startswith("make "):
            return 0, ""  # the lab runs already; that the target is there is tested elsewhere
        if line.startswith("python -m lab "):
            run(parser().parse_args(line.split()[3:]), self.world)
            return 0, ""
        kept = self.directory / "environment"
        script = f"{line}\ncode=$?; env -0 > '{kept}'; exit $code"
        done = subprocess.run(
            ["bash", "-c", script],
            cwd=self.directory,
            env=self.environment,
            capture_output=True,
            text=True,
            check=False,
            timeout=DEADLINE,
            stdin=subprocess.DEVNULL,
        )
        self.environment = dict(entry.partition("=")[::2] for entry in kept.read_text().split("\0") if entry)
        return done.returncode, done.stdout + done.stderr


@pytest.fixture(scope="module")
def newcomer(user: User, world: World, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Newcomer]:
    directory = tmp_path_factory.mktemp("repository")
    for name in FROM_THE_REPOSITORY:
        (directory / name).symlink_to(ROOT / name)
    settings = {
        "POLIS_HOME": str(directory / "home"),
        "POLIS_NAME": NAME,
        "POLIS_DRIVER": "incus",
        "POLIS_MEMORY": "2G",
        "POLIS_DISK": "6G",
        "POLIS_CPUS": "1",
    }
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    someone = Newcomer(directory, {**os.environ, **user.environment, **settings, "PATH": path}, world)
    yield someone
    (directory / "transcript.txt").write_text("\n".join(someone.printed))
    user.type("-n", NAME, "delete", "--all", "-y", POLIS_HOME=str(directory / "home"))


def test_the_tutorial_can_be_followed(newcomer: Newcomer, lxd: Lxd, world: World) -> None:
    steps = [block for block in blocks(TUTORIAL) if block.language == "sh"]
    assert len(steps) > 15
    made = set()
    for block in steps:
        world.clear_log()
        newcomer.follow(block)
        if NAME in lxd.instances():
            made.add(Container(lxd, NAME).born)
        if any(line.startswith(STANDING_STILL) for line in block.typed):
            assert world.access_log() == [], f"{block.typed} asked the registry or the mirror for something"
    assert len(made) == 1, "one machine served the whole tutorial"
    assert NAME not in lxd.instances()
    told = "\n".join(newcomer.printed)
    assert told.count("503 Service Unavailable") >= 2, "the outage was told by `up` and by `status`"
    assert "polis-toolbox" in told
    assert list(newcomer.directory.glob("*.svg")), "the picture was drawn"
