"""The simulated driver: keeps the contract of `polis.drivers.base.Driver` over a file.

Every call can be cut before it, while its effect is half done, and after it (the effect is done, the answer lost), by
the `interfere` hook: what it raises is the call's failure, and it may as well kill the process.
"""

from __future__ import annotations

import contextlib
import copy
import hashlib
import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from polis.drivers.base import Capabilities, Diagnosis, Instance, InstanceKind, InstanceState, LaunchRequest, OnLine
from polis.errors import ForeignInstance, GuestUnreachable, InstanceMissing
from polis.guest import shipping
from polis.process import Completed
from tests.simulated import guest, snapshots
from tests.simulated import world as worlds
from tests.simulated.snapshots import SimulatedSnapshots

Interfere = Callable[[str, str], None]
"""Called with the name of a driver call (guest commands as `exec:<command>`) and `before`, `during` or `after`."""

OnProgress = Callable[[str], None] | None


def _nothing(_call: str, _moment: str) -> None:
    return


@dataclass
class SimulatedDriver(guest.Conditions):
    """Machines in a file."""

    path: Path = field(kw_only=True)
    interfere: Interfere = field(default=_nothing, kw_only=True)
    name: str = field(default="simulated", kw_only=True)
    capabilities: Capabilities = field(default_factory=Capabilities, kw_only=True)
    stamps: bool = field(default=True, kw_only=True)
    """Whether the owner can be read off the instance; where not, only the record and the guest's marker tell."""

    kind: InstanceKind = field(default=InstanceKind.VM, kw_only=True)

    keeps: bool = field(default=False, kw_only=True)
    """Whether it takes snapshots."""

    console: Path | None = field(default=None, kw_only=True)
    """The file with a machine's console, if it has one."""

    entered: tuple[str, list[str]] | None = field(default=None, kw_only=True)
    """The last service in which a command was to be run, and its words."""

    # ---- the protocol

    def find(self, *, name: str) -> Instance | None:
        with self.call("find"):
            machine = self.world.machine(name)
            if machine is None:
                return None
            owner = machine["owner"] if self.stamps else None
            state = InstanceState(machine["state"])
            kept = machine["snapshots"]
            return Instance(
                self.name,
                name,
                state,
                owner=owner,
                hardware=worlds.hardware(machine),
                kind=self.kind,
                snapshots={label: kept[label]["fingerprint"] for label in machine["complete_snapshots"]},
                template=machine["template"],
            )

    def launch(self, *, request: LaunchRequest, on_progress: OnProgress = None) -> None:
        with self.call("launch") as half_done:
            machine = self.world.machine(request.name)
            if machine is not None and machine["owner"] != request.owner:
                raise ForeignInstance("not ours")
            if machine is None or not machine["complete"]:
                machine = self._new(request)
                self.world.store(request.name, machine)
                half_done()
                machine["complete"] = True
            if machine["state"] != "running":
                worlds.adapt(machine, request)
                worlds.boot(machine)
            self.world.store(request.name, machine)

    def start(self, *, name: str, timeout: float, on_progress: OnProgress = None) -> None:
        with self.call("start"):
            machine = self.existing(name)
            if machine["state"] != "running":
                worlds.boot(machine)
                self.world.store(name, machine)

    def stop(self, *, name: str, timeout: float = 120.0, force: bool = False) -> None:
        with self.call("stop"):
            machine = self.world.machine(name)
            if machine is not None:
                self.world.store(name, {**machine, "state": "stopped"})

    def delete(self, *, name: str) -> None:
        with self.call("delete") as half_done:
            machine = self.world.machine(name)
            if machine is not None:
                self.world.store(name, {**machine, "state": "stopped"})
                half_done()
                self.world.store(name, None)

    def exec(self, *, name: str, argv: Sequence[str], timeout: float, on_line: OnLine | None = None) -> Completed:
        command = next(name for name, entry in shipping.COMMANDS.items() if entry == (argv[-3], argv[-2]))
        arguments = json.loads(argv[-1])
        with self.call(f"exec:{command}") as half_done:
            machine = self._running(name)
            if command == "logs":
                return self._report(machine, argv, arguments, on_line)
            if command == "probe":
                answer = guest.probe(machine, arguments, self)
            elif command in self.in_vain:
                answer = {**guest.SUCCESS, "pulled": [wanted["image"] for wanted in arguments.get("images", [])]}
            else:
                answer = self._carry_out(name, machine, command, arguments, half_done)
        return Completed(tuple(argv), 0, json.dumps({"answer": answer}) + "\n", "", 0.0)

    def push(self, *, name: str, source: Path, target: str, mode: int = 0o600) -> None:
        with self.call("push"):
            machine = self._running(name)
            machine["pushed"][target] = hashlib.sha256(source.read_bytes()).hexdigest()
            machine["pushes"] += 1
            if source.name == "vault.json":
                machine.setdefault("left", {})[target] = source.read_text()
            self.world.store(name, machine)

    def pull(self, *, name: str, source: str, target: Path) -> None:
        raise AssertionError("no phase pulls files")

    def shell(self, *, name: str, argv: Sequence[str] = ()) -> int:
        machine = self._running(name)
        if tuple(argv[-3:-1]) == shipping.COMMANDS["enter"]:
            arguments = json.loads(argv[-1])
            self.entered = (arguments["service"], arguments["argv"])
            code = guest.enter(machine, arguments, self)
            self.world.store(name, machine)
            return code
        return 7 if argv else 0

    def ssh_options(self, *, name: str) -> Mapping[str, str]:
        self._running(name)
        return {"HostName": "127.0.0.1", "Port": "2222", "User": "ubuntu", "IdentityFile": "/a b/100%/key"}

    def diagnose(self, *, name: str) -> Diagnosis:
        return Diagnosis(log=self.console)

    @property
    def snapshots(self) -> SimulatedSnapshots | None:
        return SimulatedSnapshots(self) if self.keeps else None

    # ---- for tests

    @property
    def world(self) -> worlds.World:
        """Return the file that all machines are in."""
        return worlds.World(self.path)

    def machine_of(self, name: str = "polis") -> worlds.Machine:
        """Return a machine as it is, for assertions."""
        return copy.deepcopy(self.existing(name))

    @contextlib.contextmanager
    def change(self, name: str = "polis") -> Iterator[worlds.Machine]:
        """Let a test change a machine from outside."""
        machine = self.existing(name)
        yield machine
        self.world.store(name, machine)

    @property
    def launches(self) -> int:
        """Return how many machines were ever begun."""
        return int(self.world.load()["launches"])

    # ---- parts

    def _new(self, request: LaunchRequest) -> worlds.Machine:
        machine = worlds.new_machine(request)
        for template in self.world.templates().values():
            if template["id"] == request.template:
                snapshots.begin(machine, template)
        return machine

    def _carry_out(
        self, name: str, machine: worlds.Machine, command: str, arguments: dict[str, Any], half_done: Callable[[], None]
    ) -> dict[str, Any]:
        steps = guest.COMMANDS[command](machine, arguments, self)
        while True:
            try:
                next(steps)
            except StopIteration as end:
                self.world.store(name, machine)
                answer: dict[str, Any] = end.value
                return answer
            self.world.store(name, machine)
            half_done()

    def _report(
        self, machine: worlds.Machine, argv: Sequence[str], arguments: dict[str, Any], on_line: OnLine | None
    ) -> Completed:
        news, answer = guest.logs(machine, arguments, self)
        lines = [json.dumps(line) for line in (*({"progress": each} for each in news), {"answer": answer})]
        for line in lines:
            if on_line is not None:
                on_line(line)
        return Completed(tuple(argv), 0, "".join(f"{line}\n" for line in lines), "", 0.0)

    def _running(self, name: str) -> worlds.Machine:
        machine = self.existing(name)
        if machine["state"] != "running":
            raise GuestUnreachable(f"{name} is {machine['state']}")
        return machine

    def existing(self, name: str) -> worlds.Machine:
        machine = self.world.machine(name)
        if machine is None:
            raise InstanceMissing(f"{name} is missing")
        return machine

    @contextlib.contextmanager
    def call(self, call: str) -> Iterator[Callable[[], None]]:
        self.interfere(call, "before")
        yield lambda: self.interfere(call, "during")
        self.interfere(call, "after")
