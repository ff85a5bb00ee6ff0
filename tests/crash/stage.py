"""The stage of a crash: a home and a simulated world that can be put back, commands, and what must hold afterwards."""

from __future__ import annotations

import json
import os
import shutil
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any, NoReturn

import jsonschema

from polis import config, durable, events, paths, vault
from polis.bundle import archive, certs
from polis.errors import PolisError
from polis.phase import Phase
from polis.store import FILE, Store
from polis.workspace import UpOptions, Workspace
from tests.crash.platter import Platter
from tests.crash.points import Points
from tests.simulated import SimulatedDriver

SCHEMA = jsonschema.Draft202012Validator(
    json.loads((Path(__file__).parents[2] / "state-schema.json").read_text()),
    format_checker=jsonschema.FormatChecker(),
)

IMPORTED = (archive, certs)
"""What Polis imports when it needs it: thousands of children would each do so for themselves."""

Command = Callable[["Stage"], object]
Settings = dict[str, Any]


class Stage:
    """One workspace in one simulated world."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory / "now"
        self.home = self.directory / "home"
        self.home.mkdir(parents=True)
        os.environ["POLIS_HOME"] = str(self.home)
        self._saved = directory / "saved"
        self.platter = Platter(self.home, directory / "safe")
        self.driver = SimulatedDriver(path=self.directory / "world.json", stamps=False, keeps=True)
        self.first, self.bundle = (_bundle(directory, name) for name in ("first", "other"))
        self.settings: Settings = {}

    def open(self, **settings: object) -> Workspace:
        """Return the workspace as a new process would open it; `settings` stay what is wanted from now on."""
        self.settings = dict(settings)
        spec = config.Spec.model_validate({"name": "polis", "bundle": self.first, **FAST, **settings})
        return Workspace(spec, paths.find(), events.Stream(), self.driver)

    def again(self) -> Workspace:
        """Return the workspace with what was wanted last."""
        return self.open(**self.settings)

    @property
    def store(self) -> Store:
        return Store(paths.find().workspace("polis"))

    def keys(self) -> bytes | None:
        """Return what is kept of the workspace's keys and passwords."""
        return _content(paths.find().secrets("polis") / vault.FILE)

    def kept_keys(self) -> bytes | None:
        """Return what there was of them when everything was remembered."""
        return _content(self._saved / (paths.find().secrets("polis") / vault.FILE).relative_to(self.directory))

    def keep(self) -> None:
        """Remember how everything is now."""
        shutil.rmtree(self._saved, ignore_errors=True)
        shutil.copytree(self.directory, self._saved)

    def put_back(self) -> None:
        """Make everything as it was."""
        shutil.rmtree(self.directory)
        shutil.copytree(self._saved, self.directory)

    def points(self, command: Command, *, only_disk: bool = False) -> list[str]:
        """Run the command to its end and return the points that it passed."""
        points = Points(only_disk=only_disk)
        with points.armed(self.driver, self.home):
            command(self)
        return points.passed

    def run_and_die(self, command: Command, at: int) -> bool:
        """Run the command in a child that is killed at a point; return whether it came that far."""
        self.platter.begin()
        child = os.fork()
        if child == 0:
            self._die(command, at)
        _, status = os.waitpid(child, 0)
        if os.WIFSIGNALED(status):
            assert os.WTERMSIG(status) == signal.SIGKILL
            return True
        assert os.waitstatus_to_exitcode(status) == 0, "the command failed by itself"
        return False

    def _die(self, command: Command, at: int) -> NoReturn:
        code = 1
        try:
            points = Points(at, act=lambda _name: os.kill(os.getpid(), signal.SIGKILL))
            with points.armed(self.driver, self.home, self.platter):
                command(self)
            code = 0
        finally:
            os._exit(code)


FAST: Settings = {"retry": {"attempts": 2, "base": 0.001, "cap": 0.001}, "timeout": 30}

NEWER: Settings = {"version": "v0.5.1"}


def up(stage: Stage) -> None:
    stage.open().up(UpOptions())


def upgrade(stage: Stage) -> None:
    stage.open(**NEWER, bundle=stage.bundle).up(UpOptions())


def new_bundle(stage: Stage) -> None:
    stage.open(bundle=stage.bundle).up(UpOptions())


def stop_and_up(stage: Stage) -> None:
    stage.open().stop()
    stage.open().up(UpOptions())


def stop_and_reset(stage: Stage) -> None:
    stage.open().stop()
    stage.open().reset(Phase.CONFIGURED)


def reset(stage: Stage) -> None:
    stage.open().reset(Phase.ABSENT)


def reset_one_by_one(stage: Stage) -> None:
    for _ in range(5):
        stage.open().reset(None)


def recreate(stage: Stage) -> None:
    stage.open().up(UpOptions(recreate=True))


def delete(stage: Stage) -> None:
    stage.open().delete()


COMMANDS: dict[str, tuple[Command, bool]] = {
    "up": (up, False),
    "upgrade": (upgrade, True),
    "new_bundle": (new_bundle, True),
    "stop_and_up": (stop_and_up, True),
    "stop_and_reset": (stop_and_reset, True),
    "reset": (reset, True),
    "reset_one_by_one": (reset_one_by_one, True),
    "recreate": (recreate, True),
    "delete": (delete, True),
}
"""Each command, and whether it begins with a healthy workspace."""

DELETING = ("reset", "reset_one_by_one", "recreate", "delete")
"""Commands that delete the instance on purpose."""


def prepare(stage: Stage, name: str) -> Command:
    """Bring the stage to where the command begins and keep that; return the command."""
    command, healthy = COMMANDS[name]
    if healthy:
        up(stage)
    stage.keep()
    return command


def truth(stage: Stage) -> Phase:
    """Return the phase that holds, judged from the simulated world alone: an oracle that shares no code with Polis."""
    machine = stage.driver.world.machine("polis")
    if machine is None or machine["state"] != "running" or not machine["provisioned"] or machine["marker"] is None:
        return Phase.ABSENT
    bundle = machine["bundle"]
    if bundle is None or not bundle["intact"] or bundle["marker"] is None:
        return Phase.LAUNCHED
    if any(service["image"] not in machine["images"] for service in bundle["services"]):
        return Phase.CONFIGURED
    containers = machine["containers"]
    for service in bundle["services"]:
        container = containers.get(service["name"])
        if container is None or container["config_hash"] != service["config_hash"] or not container["this_boot"]:
            return Phase.IMAGES_PULLED
        if container["state"] != ("exited" if service["one_shot"] else "running") or container["exit_code"] != 0:
            return Phase.IMAGES_PULLED
    well = all(container["health"] in ("healthy", "none") for container in containers.values())
    return Phase.HEALTHY if well else Phase.RUNNING


def lies(stage: Stage) -> str:
    """Return what `status` claims beyond the truth, or an empty string."""
    claimed = stage.again().status()
    if claimed.phase.rank > truth(stage).rank:
        return f"status claims {claimed.phase}, but {truth(stage)} is true"
    return ""


def recover(stage: Stage, before: dict[str, Any] | None, *, deleting: bool, destroyed: bool = False) -> str:
    """Let the next `up` act, and return what is wrong before or afterwards, or an empty string.

    `destroyed` is whether the command was to destroy the keys, and had come to that.
    """
    if problem := lies(stage):
        return problem
    try:
        reached = stage.again().up(UpOptions())
    except PolisError as error:
        return f"up failed: {error}"
    return faults(stage, before, reached, deleting=deleting, destroyed=destroyed)


def faults(
    stage: Stage, before: dict[str, Any] | None, reached: Phase, *, deleting: bool, destroyed: bool = False
) -> str:
    """Return what is wrong with a workspace that `up` has just brought to `reached`, or an empty string."""
    machine = stage.driver.machine_of()
    same_keys = destroyed or stage.kept_keys() in (None, stage.keys())
    kept = before is not None and not deleting
    checks = {
        f"{reached} instead of healthy": reached is Phase.HEALTHY,
        f"healthy is claimed, {truth(stage)} is true": truth(stage) is Phase.HEALTHY,
        "not one instance": len(stage.driver.world.load()["instances"]) == 1,
        "another instance without need": not kept or before is None or machine["owner"] == before["owner"],
        "a volume was lost": not kept or before is None or before["volume"] in (None, machine["volume"]),
        f"done although it was done: {machine['needless']}": machine["needless"] == [],
        "something pushed is left over": machine["pushed"] == {} and machine["staged"] is None,
        "a partial file is left": not list(stage.directory.rglob(f"*{durable.PARTIAL}")),
        "a damaged record was put aside": not list(stage.directory.rglob(f"{FILE}.corrupt-*")),
        "the record is not valid": is_valid(stage.store.directory / FILE),
        "something is still in flight": stage.again().status().document["transition"] is None,
        "a key or password was lost": stage.keys() is not None and same_keys,
        "the plan is not empty": not stage.again().plan(UpOptions()).is_pending,
    }
    return "; ".join(problem for problem, holds in checks.items() if not holds)


def is_valid(record: Path) -> bool:
    """Return whether the file fits the published schema."""
    return bool(SCHEMA.is_valid(json.loads(record.read_bytes())))


def _content(path: Path) -> bytes | None:
    return path.read_bytes() if path.is_file() else None


def _bundle(directory: Path, content: str) -> Path:
    """Return a small bundle: the shipped one would be read and packed thousands of times."""
    target = directory / f"bundle-{content}"
    target.mkdir()
    (target / "docker-compose.yml").write_text("services: {}\n")
    (target / "gate.conf").write_text(content)
    return target
