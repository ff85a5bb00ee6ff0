"""The embedded driver's policy: adopt, finish, replace, refuse (the contract is drivers/base.py)."""

from __future__ import annotations

import contextlib
import dataclasses
import shutil
import sys
import time
from typing import TYPE_CHECKING

from polis import durable, process
from polis.drivers import native
from polis.drivers.base import Capabilities, Diagnosis, Hardware, Instance, InstanceState
from polis.drivers.qemu import console, host, transfer
from polis.drivers.qemu.boot import Boot
from polis.drivers.qemu.instance import CorruptRecord, Home, Instances, Record, alias
from polis.drivers.qemu.power import Power
from polis.drivers.qemu.ssh import Endpoint, Ssh, public_options
from polis.errors import (
    DriverMissing,
    ForeignInstance,
    GuestUnreachable,
    HostUnsuitable,
    InstanceMissing,
    PolisError,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from pathlib import Path

    from polis.drivers.base import LaunchRequest, OnLine
    from polis.drivers.qemu.host import Acceleration
    from polis.process import Completed

CONSOLE_LINES = 15


class QemuDriver:
    """VMs below `data`, base images below `cache`, sockets in `runtime`; all three are created when needed.

    `accel` is auto, kvm, hvf, whpx or tcg. `disclose` is told what a user should know, such as that there is no
    hardware virtualization. Raises DriverMissing on Windows, where QEMU offers neither the sockets nor OpenSSH
    the multiplexing that this driver is built on.
    """

    name = "qemu"

    def __init__(
        self,
        *,
        data: Path,
        cache: Path,
        runtime: Path,
        accel: str = "auto",
        disclose: Callable[[str], None] | None = None,
    ) -> None:
        if sys.platform == "win32":
            raise DriverMissing(
                "the embedded QEMU driver does not run on Windows",
                hint="install Multipass (https://multipass.run) and choose --driver multipass",
            )
        self.capabilities = Capabilities(
            resize=True, forward_ports=True, medium=True, architecture=native.architecture()
        )
        self._instances = Instances(data.absolute() / "qemu", runtime.absolute())
        self._cache = cache.absolute() / "images"
        self._accel = accel
        self._disclose = disclose or (lambda _: None)

    def acceleration(self) -> Acceleration:
        """Return the acceleration that the next start uses, with the reason."""
        return host.acceleration(self._accel)

    def version(self) -> str:
        """Return QEMU's version; raises DriverMissing."""
        return host.version()

    def find(self, *, name: str) -> Instance | None:
        """Return the instance from its record and the process table: no process is started, nothing is asked."""
        home = self._instances.at(name)
        try:
            record = home.load()
        except CorruptRecord as error:
            return Instance(self.name, name, InstanceState.UNKNOWN, detail=f"its record cannot be read: {error}")
        if record is None:
            return None
        state, detail = _state(Power(home), record)
        hardware = Hardware(record.cpus, record.memory, record.disk, record.forwards)
        return Instance(self.name, name, state, owner=record.owner, detail=detail, hardware=hardware)

    def find_all(self) -> Mapping[str, Instance]:
        """Return all instances, from their records and the process table."""
        found = ((name, self.find(name=name)) for name in self._instances.names())
        return {name: instance for name, instance in found if instance is not None}

    def launch(self, *, request: LaunchRequest, on_progress: Callable[[str], None] | None = None) -> None:
        """Create the instance, or finish, adopt or start the one that this owner has, and wait for the guest."""
        tell = on_progress or (lambda _: None)
        home = self._instances.at(request.name)
        self._instances.sweep(request.name)
        durable.sweep(home.path, home.record.name)
        record = self._own(home, request.owner)
        if record is not None and not record.created:
            self._remove(home, record)
            record = None
        if record is None:
            self.acceleration()  # what is not there is told before anything is made
            record = self._create(request, tell)
        elif Power(home).pid(record) is None:
            record = self._adapt(home, record, request)
        self._bring_up(home, record, request.timeout, tell)

    def start(self, *, name: str, timeout: float, on_progress: Callable[[str], None] | None = None) -> None:
        """Switch the instance on, or wake it, and wait for the guest."""
        home, record = self._existing(name)
        self._bring_up(home, record, timeout, on_progress or (lambda _: None))

    def stop(self, *, name: str, timeout: float = 120.0, force: bool = False) -> None:
        """Switch the instance off: power button, then QEMU's quit, then signals to the verified process."""
        home = self._instances.at(name)
        try:
            record = home.load()
        except CorruptRecord:
            record = None
        else:
            if record is None:
                return
        self._switch_off(home, record, graceful=0 if force else timeout)
        if record is not None and record.started:
            home.save(dataclasses.replace(record, started=False, answered=False))

    def delete(self, *, name: str) -> None:
        """Remove the instance: QEMU, sockets, directory; what an interrupted delete left is removed too."""
        home = self._instances.at(name)
        self._instances.sweep(name)
        try:
            record = home.load()
        except CorruptRecord:
            record = None
        if home.path.exists():
            self._remove(home, record)

    def exec(self, *, name: str, argv: Sequence[str], timeout: float, on_line: OnLine | None = None) -> Completed:
        """Run a command in the guest."""
        return self._running(name).exec(argv, timeout=timeout, on_line=on_line)

    def push(self, *, name: str, source: Path, target: str, mode: int = 0o600) -> None:
        """Copy a file into the guest."""
        transfer.push(self._running(name), source, target, mode)

    def pull(self, *, name: str, source: str, target: Path) -> None:
        """Copy a file of the guest to the host."""
        transfer.pull(self._running(name), source, target)

    def shell(self, *, name: str, argv: Sequence[str] = ()) -> int:
        """Connect the caller's terminal."""
        ssh = self._running(name)
        ssh.connect()
        return process.interactive(ssh.interactive_argv(argv))

    def ssh_options(self, *, name: str) -> Mapping[str, str]:
        """Return how an OpenSSH client reaches the guest. The port stays over a stop if nobody takes it meanwhile."""
        return public_options(self._running(name).endpoint)

    def diagnose(self, *, name: str) -> Diagnosis:
        """Return the console's last lines, cleaned: the guest wrote them."""
        try:
            home = self._instances.at(name)
        except PolisError:
            return Diagnosis()
        lines = console.tail(home.console, CONSOLE_LINES) or console.tail(home.qemu_log, CONSOLE_LINES)
        return Diagnosis(lines, home.console if home.console.exists() else None)

    def _create(self, request: LaunchRequest, tell: Callable[[str], None]) -> Record:
        # What only a new instance needs is imported only then: `status` has to be quick.
        from polis.drivers.qemu import create
        from polis.drivers.qemu.images import ImageCache

        return create.create(self._instances, ImageCache(self._cache), request, tell)

    def _own(self, home: Home, owner: str) -> Record | None:
        try:
            record = home.load()
        except CorruptRecord as error:
            raise ForeignInstance(
                f"{home.path} holds an instance that cannot be recognized",
                cause=str(error),
                hint="`polis delete` removes it",
            ) from error
        if record is not None and record.owner != owner:
            raise ForeignInstance(
                f"the instance {record.name} belongs to another workspace",
                cause=f"created by {record.owner}, not by {owner}",
                hint="choose another --name",
            )
        return record

    def _existing(self, name: str) -> tuple[Home, Record]:
        home = self._instances.at(name)
        try:
            record = home.load()
        except CorruptRecord as error:
            raise InstanceMissing(f"the record of {name} cannot be read", cause=str(error)) from error
        if record is None:
            raise InstanceMissing(f"there is no instance {name}", hint="`polis up` creates it")
        if not record.created:
            raise InstanceMissing(f"{name} was never completed", hint="`polis up` completes it")
        return home, record

    def _running(self, name: str) -> Ssh:
        home, record = self._existing(name)
        if Power(home).pid(record) is None:
            raise GuestUnreachable(f"{name} is off", hint="`polis up` switches it on")
        return _ssh(home, record)

    def _adapt(self, home: Home, record: Record, request: LaunchRequest) -> Record:
        """Give an instance that is off the sizes and forwards that are wanted now. Disks only grow."""
        from polis.drivers.qemu import disks

        if request.disk > record.disk:
            disks.grow(home.disk, request.disk)
        wanted = dataclasses.replace(
            record,
            cpus=request.cpus,
            memory=request.memory,
            disk=max(record.disk, request.disk),
            forwards=request.forwards,
        )
        return record if wanted == record else home.save(wanted)

    def _bring_up(self, home: Home, record: Record, timeout: float, tell: Callable[[str], None]) -> None:
        begun = time.monotonic()
        power = Power(home)
        pid = power.pid(record)
        if pid is not None:
            power.wake(record, pid)
        else:
            accel = self.acceleration()
            if accel.name == "tcg":
                self._disclose(f"using tcg: {accel.reason}")
            _ssh(home, record).disconnect()
            record = power.switch_on(record, accel, self._disclose)
        left = timeout - (time.monotonic() - begun)
        Boot(home, record, power, _ssh(home, record), tell).wait(max(1.0, left))
        if not record.answered:
            home.save(dataclasses.replace(record, answered=True))

    def _switch_off(self, home: Home, record: Record | None, *, graceful: float) -> None:
        power = Power(home)

        def ask_guest() -> None:
            # The control socket can vanish under a running QEMU, when the session's runtime directory is cleared.
            if record is not None:
                with contextlib.suppress(PolisError):
                    _ssh(home, record).exec(["sudo", "-n", "systemctl", "poweroff"], timeout=20)

        power.switch_off(record, graceful=graceful, ask_guest=ask_guest)
        if record is not None and shutil.which("ssh"):
            _ssh(home, record).disconnect()
        home.remove_sockets()
        home.pidfile.unlink(missing_ok=True)

    def _remove(self, home: Home, record: Record | None) -> None:
        self._switch_off(home, record, graceful=0)
        try:
            self._instances.discard(home)
        except OSError as error:
            raise HostUnsuitable(f"{home.path} cannot be removed", cause=str(error.strerror)) from error


def _state(power: Power, record: Record) -> tuple[InstanceState, str]:
    if not record.created:
        return InstanceState.UNKNOWN, "its creation was interrupted; launching it again completes it"
    pid = power.pid(record)
    if pid is None:
        return InstanceState.STOPPED, ""
    if power.frozen(pid):
        return InstanceState.UNKNOWN, f"QEMU (pid {pid}) was stopped by a signal"
    return (InstanceState.RUNNING, "") if record.answered else (InstanceState.STARTING, "")


def _ssh(home: Home, record: Record) -> Ssh:
    return Ssh(
        Endpoint(
            port=record.ssh_port,
            user=record.user,
            alias=alias(record.name),
            key=home.key,
            known_hosts=home.known_hosts,
            control=home.control,
            log=home.ssh_log,
        )
    )
