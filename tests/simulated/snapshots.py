"""The simulated driver's snapshots: keeps the contract of `polis.drivers.base.Snapshots` over the same file.

What is half done stays as a real engine leaves it: a snapshot that is there and not complete, a restored machine whose
configuration does not know its snapshot any more.
"""

from __future__ import annotations

import copy
from dataclasses import dataclass
from typing import TYPE_CHECKING

from polis.drivers.base import Template
from polis.errors import InstanceMissing, LaunchFailed
from tests.simulated import world as worlds

if TYPE_CHECKING:
    from tests.simulated.driver import SimulatedDriver


@dataclass(frozen=True)
class SimulatedSnapshots:
    """Snapshots of machines in a file."""

    driver: SimulatedDriver

    def take(self, *, name: str, label: str) -> None:
        with self.driver.call("take") as half_done:
            machine = self.driver.existing(name)
            if label in machine["complete_snapshots"]:
                return
            if not machine["fingerprint"]:
                raise LaunchFailed("not stamped")
            if machine["closed"]:
                raise LaunchFailed("somebody's already")
            kept = copy.deepcopy({**machine, "snapshots": {}})
            machine["snapshots"][label] = None
            self.driver.world.store(name, machine)
            half_done()
            machine["snapshots"][label] = kept
            self.driver.world.store(name, machine)
            half_done()
            machine["complete_snapshots"].append(label)
            self.driver.world.store(name, machine)

    def close(self, *, name: str) -> None:
        with self.driver.call("close"):
            machine = self.driver.existing(name)
            self.driver.world.store(name, {**machine, "closed": True})

    def restore(self, *, name: str, label: str) -> None:
        with self.driver.call("restore") as half_done:
            machine = self.driver.existing(name)
            if label not in machine["complete_snapshots"]:
                raise InstanceMissing("no such snapshot")
            machine["state"] = "stopped"
            self.driver.world.store(name, machine)
            half_done()
            restored = copy.deepcopy(machine["snapshots"][label])
            restored |= {"snapshots": machine["snapshots"], "state": "stopped", "restored": machine["restored"] + 1}
            self.driver.world.store(name, restored)
            half_done()
            restored["complete_snapshots"].append(label)
            self.driver.world.store(name, restored)

    def drop(self, *, name: str, label: str) -> None:
        with self.driver.call("drop"):
            machine = self.driver.existing(name)
            machine["snapshots"].pop(label, None)
            self.driver.world.store(name, machine)

    def template(self, *, fingerprint: str) -> Template | None:
        with self.driver.call("template"):
            found = self.driver.world.templates().get(fingerprint)
            return Template(found["id"], "2026-11-24T00:47") if found is not None else None

    def offer(self, *, name: str, label: str) -> bool:
        with self.driver.call("offer"):
            machine = self.driver.existing(name)
            if label not in machine["complete_snapshots"] or machine["fingerprint"] in self.driver.world.templates():
                return False
            self.driver.world.store_template(machine["fingerprint"], machine["snapshots"][label])
            return True

    def withdraw(self, *, fingerprint: str) -> int:
        with self.driver.call("withdraw"):
            content = self.driver.world.load()
            used = any(each["fingerprint"] == fingerprint for each in content["instances"].values())
            if used or fingerprint not in content.get("templates", {}):
                return 0
            self.driver.world.store_template(fingerprint, None)
            return 1


def begin(machine: worlds.Machine, template: worlds.Machine) -> None:
    """Give a new machine a template's disk; it stays its owner's, and a new instance to cloud-init."""
    for key in ("sealed", "marker", "bundle", "previous", "staged", "images", "containers", "volume"):
        machine[key] = copy.deepcopy(template[key])
    machine["template"] = template["id"]
