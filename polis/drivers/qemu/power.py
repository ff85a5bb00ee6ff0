"""Switching QEMU on and off, and seeing whether it is on."""

from __future__ import annotations

import contextlib
import dataclasses
import re
import signal
import sys
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from polis import process
from polis.drivers import ports
from polis.drivers.qemu import argv, console, host, processes, qmp
from polis.errors import DriverUnavailable, HostUnsuitable, LaunchFailed
from polis.waiting import wait_until

if TYPE_CHECKING:
    from collections.abc import Callable

    from polis.drivers.qemu.host import Acceleration
    from polis.drivers.qemu.instance import Home, Record
    from polis.drivers.qemu.processes import ProcessTable

START = 60.0
"""Seconds for QEMU to set up its devices and answer on its control socket."""

PORT_ATTEMPTS = 5
"""How often another port for ssh is tried when somebody took it between choosing and listening."""

PRESS_AGAIN = 10.0
"""Seconds after which the power button is pressed again, and the guest asked by another way: one that is booting does
not hear the button, and some never do."""

END = 10.0
"""Seconds for QEMU to end after each of: quit, SIGTERM, SIGKILL."""


@dataclass(frozen=True)
class Power:
    """The power switch of one instance."""

    home: Home
    table: ProcessTable = field(default_factory=processes.system_table)

    def pid(self, record: Record | None) -> int | None:
        """Return QEMU's pid, or None if the instance is off.

        Without a readable record, QEMU is known by the path of its pid file.
        """
        option, value = self._mark(record)
        search = record is None or record.started
        return processes.locate(self.table, option=option, value=value, pidfile=self.home.pidfile, search=search)

    def frozen(self, pid: int) -> bool:
        """Return whether QEMU was stopped by a signal: on, but not working."""
        return self.table.frozen(pid)

    def switch_on(self, record: Record, accel: Acceleration, disclose: Callable[[str], None]) -> Record:
        """Start QEMU and return the record with its port for ssh.

        Raises HostUnsuitable if a forwarded port is in use or the base image gone, LaunchFailed with QEMU's words.
        """
        if not self.home.base.exists():
            raise HostUnsuitable(
                f"the base image of {record.name} is gone from the cache",
                cause=f"{self.home.base} leads nowhere",
                hint="`polis up --recreate` makes the VM anew",
            )
        ports.require_free(record.forwards)
        self.home.prepare_runtime()
        console.begin(self.home.console)
        sandbox = sys.platform == "linux"  # the filter is seccomp
        taken = {forward.host for forward in record.forwards}
        words = ""
        for _ in range(PORT_ATTEMPTS):
            # The same port as last time: what `polis ssh-config` printed stays true.
            port = ports.free_port(besides=taken, rather=record.ssh_port)
            record = dataclasses.replace(record, ssh_port=port, started=True, answered=False)
            self.home.save(record)
            words = self._try_start(record, accel, sandbox=sandbox)
            if not words:
                return record
            if sandbox and re.search(r"sandbox|seccomp", words):
                disclose(f"QEMU runs without its system call filter: {words.splitlines()[-1]}")
                sandbox = False
            elif "host forwarding rule" not in words:
                break
            taken.add(record.ssh_port)
            ports.require_free(record.forwards)
        self.home.save(dataclasses.replace(record, started=False))
        raise LaunchFailed(f"QEMU did not start {record.name}", cause=words, hint="run `polis doctor`")

    def switch_off(
        self, record: Record | None, *, graceful: float, ask_guest: Callable[[], None] = lambda: None
    ) -> None:
        """End QEMU: by the power button for up to `graceful` seconds, then by force; no-op if it is off.

        `ask_guest` is tried where the control socket is gone. Raises DriverUnavailable if nothing helps.
        """
        if graceful > 0 and self._press_until_off(record, graceful, ask_guest):
            return
        for force in (self._quit, self._terminate, self._kill):
            pid = self.pid(record)
            if pid is None:
                return
            force(record, pid)
            if self._off(record, END):
                return
        raise DriverUnavailable(f"QEMU (pid {self.pid(record)}) cannot be ended")

    def wake(self, record: Record, pid: int) -> None:
        """Let a QEMU go on that was stopped by a signal, or whose guest is paused (as after a full disk)."""
        if self.frozen(pid):
            self._signal(record, pid, "SIGCONT")
        with contextlib.suppress(qmp.QmpError):
            if qmp.status(self.home.qmp) in ("paused", "io-error"):
                qmp.resume(self.home.qmp)

    def _mark(self, record: Record | None) -> tuple[str, str]:
        return ("-uuid", record.uuid) if record else ("-pidfile", str(self.home.pidfile))

    def _try_start(self, record: Record, accel: Acceleration, *, sandbox: bool) -> str:
        """Start QEMU and return "", or its last words if it ended at once."""
        self.home.qmp.unlink(missing_ok=True)
        self.home.pidfile.unlink(missing_ok=True)
        command = argv.build(_machine(self.home, record, accel, sandbox=sandbox))
        # Not -daemonize: it cannot be had together with the system call filter. The shell ends at once, and QEMU
        # lives on in its own session with all its output in a file.
        script = 'umask 077; "$@" </dev/null >"$0" 2>&1 & echo $!'
        done = process.run(["sh", "-c", script, str(self.home.qemu_log), *command], timeout=START, cwd=self.home.path)
        pid = int(done.stdout)

        def decided(_: float) -> str | None:
            with contextlib.suppress(qmp.QmpError):
                qmp.status(self.home.qmp)
                return "on"
            return None if self.table.argv(pid) else "off"

        if wait_until(decided, timeout=START, interval=0.05) == "on":
            return ""
        words = console.tail(self.home.qemu_log, 3)
        return "\n".join(words) or "QEMU ended, or does not answer, without a word"

    def _press_until_off(self, record: Record | None, graceful: float, ask_guest: Callable[[], None]) -> bool:
        unheard = False

        def pressed(left: float) -> bool:
            nonlocal unheard
            if self.pid(record) is None:
                return True
            try:
                qmp.power_down(self.home.qmp)
            except qmp.QmpError:
                unheard = self.pid(record) is not None
            if unheard:
                ask_guest()
            unheard = True
            return self._off(record, min(PRESS_AGAIN, left))

        return bool(wait_until(pressed, timeout=graceful, interval=0.0))

    def _quit(self, record: Record | None, pid: int) -> None:
        if self.frozen(pid):
            self._signal(record, pid, "SIGCONT")
        with contextlib.suppress(qmp.QmpError):
            qmp.quit_now(self.home.qmp)

    def _terminate(self, record: Record | None, pid: int) -> None:
        self._signal(record, pid, "SIGTERM")

    def _kill(self, record: Record | None, pid: int) -> None:
        self._signal(record, pid, "SIGKILL")

    def _signal(self, record: Record | None, pid: int, name: str) -> None:
        option, value = self._mark(record)
        number = getattr(signal, name, signal.SIGTERM)
        try:
            processes.signal_verified(self.table, pid, number, option=option, value=value)
        except OSError as error:
            raise HostUnsuitable(f"QEMU (pid {pid}) belongs to another user", cause=str(error)) from error

    def _off(self, record: Record | None, timeout: float) -> bool:
        return bool(wait_until(lambda _: self.pid(record) is None, timeout=timeout, interval=0.1))


def _machine(home: Home, record: Record, accel: Acceleration, *, sandbox: bool) -> argv.Machine:
    return argv.Machine(
        binary=host.system_binary(),
        name=record.name,
        uuid=record.uuid,
        acceleration=accel.name,
        cpus=record.cpus,
        memory=record.memory,
        disk=home.disk,
        seed=home.seed,
        medium=home.medium if home.medium.is_file() else None,
        console=home.console,
        pidfile=home.pidfile,
        qmp=home.qmp,
        ssh_port=record.ssh_port,
        forwards=record.forwards,
        kernel=home.kernel if record.direct_kernel else None,
        initrd=home.initrd if record.direct_initrd else None,
        cmdline=record.cmdline,
        sandbox=sandbox,
        cx16=accel.name != "tcg" or host.emulates_cx16(host.version()),
    )
