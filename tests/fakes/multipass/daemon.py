"""The service. It does nothing by itself: what happened meanwhile is worked out whenever a client asks."""

from __future__ import annotations

import time
from pathlib import Path

from tests.fakes.multipass.faults import FAULTS
from tests.fakes.multipass.guest import Guest, Makeup, behind
from tests.fakes.multipass.world import Machine, World


class Refused(Exception):
    """An answer other than success: the client's exit code, and its words."""

    def __init__(self, words: str, code: int = 2) -> None:
        super().__init__(words)
        self.words = words
        self.code = code


class Daemon:
    def __init__(self, world: World) -> None:
        self.world = world

    # ---- answering at all

    def admit(self, verb: str) -> None:
        """Let a request in; Refused by an ordered fault."""
        self.world.wait_for_daemon()
        if (self.world.faults / f"hangs-{verb}").exists():
            while True:
                time.sleep(1)
        if self.world.strikes("daemon-down"):
            raise Refused(f"{verb} failed: cannot connect to the multipass socket\n")
        for path in sorted(self.world.faults.iterdir()):
            fault = FAULTS.get(path.name)
            if fault is not None and fault.verb == verb and not fault.broken and self.world.strikes(path.name):
                raise Refused(fault.stderr, fault.code)

    @property
    def up(self) -> bool:
        return not (self.world.faults / "daemon-down").exists()

    # ---- instances

    def guest(self, machine: Machine) -> Guest:
        boot = self.world.times(machine.name).boot
        directory = self.world.guest_directory(machine.name)
        return behind(
            Makeup(machine.name, directory, machine.cpus, machine.memory, machine.disk, machine.user_data, boot)
        )

    def settle(self, machines: dict[str, Machine]) -> None:
        """Let happen what was due by now."""
        now = time.time()
        for machine in list(machines.values()):
            if not machine.created:
                self._bring_forth(machines, machine, now)
            if not machine.created or machine.broken:
                continue
            guest = self.guest(machine)
            if machine.shutdown and now >= machine.shutdown:
                machine.shutdown = 0.0
                guest.kill()
            since = guest.answers_since()
            if guest.is_on() and machine.deadline and (since or now) > machine.deadline:
                machine.lost = True
            if since is not None and not machine.lost:
                machine.deadline = 0.0

    def _bring_forth(self, machines: dict[str, Machine], machine: Machine, now: float) -> None:
        if now < machine.downloaded and not _alive(machine.client):
            del machines[machine.name]  # whoever ends the client while the image is fetched undoes the launch
        elif now >= machine.prepared:
            machine.created = True
            if any(fault.broken and (self.world.faults / name).exists() for name, fault in FAULTS.items()):
                machine.broken = True
            else:
                self.guest(machine).start()
                # From when it really was started: the real daemon needs nobody to ask for that.
                machine.deadline = time.time() + machine.patience

    def state(self, machine: Machine) -> str:
        if machine.deleted:
            return "Deleted"
        if machine.broken:
            return "Unknown"
        guest = self.guest(machine)
        if machine.suspended:
            return "Suspended"
        if not guest.is_on():
            return "Stopped"
        if machine.lost or guest.answers_since() is None:
            machine.looks += 1
            flaps = (self.world.faults / "flapping").exists() and machine.looks % 2
            return "Starting" if flaps and not machine.lost else "Unknown"
        return "Delayed Shutdown" if machine.shutdown else "Running"

    def known(self, machines: dict[str, Machine], verb: str, name: str, *, deleted: bool = False) -> Machine:
        """Return an instance that exists; Refused in the verb's words."""
        machine = machines.get(name)
        if machine is None or not machine.created:
            raise Refused(f'{verb} failed: The following errors occurred:\ninstance "{name}" does not exist\n')
        if machine.deleted and not deleted:
            raise Refused(f'{verb} failed: The following errors occurred:\ninstance "{name}" is deleted\n')
        return machine


def _alive(process: int) -> bool:
    try:
        stat = Path(f"/proc/{process}/stat").read_text()
    except OSError:
        return False
    return stat.rpartition(")")[2].split()[0] != "Z"
