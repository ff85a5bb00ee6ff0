"""Waiting for a guest until it runs a command."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from polis.drivers import ports
from polis.drivers.qemu import console
from polis.errors import ExecTimeout, GuestUnreachable, LaunchFailed
from polis.waiting import wait_until

if TYPE_CHECKING:
    from collections.abc import Callable

    from polis.drivers.qemu.instance import Home, Record
    from polis.drivers.qemu.power import Power
    from polis.drivers.qemu.ssh import Ssh

INTERVAL = 0.5
"""Seconds between two looks."""

GREETING = 2.0
"""Seconds to wait for sshd's greeting: a booting guest neither accepts nor refuses."""

COMMAND = 30.0
"""Seconds for `true`."""

WORDS = 15
"""Lines of the console in an error."""


@dataclass
class Boot:
    """One wait for one guest. `on_progress` gets the console's last line whenever it changes."""

    home: Home
    record: Record
    power: Power
    ssh: Ssh
    on_progress: Callable[[str], None]
    _shown: str = ""
    _ssh_words: str = ""

    def wait(self, timeout: float) -> None:
        """Return when the guest runs a command.

        Raises LaunchFailed at once if QEMU dies, and after `timeout` seconds, with the console's last lines. The
        guest is left alone then: it may still come up, and the next launch adopts it.
        """
        if wait_until(self._answers, timeout=timeout, interval=INTERVAL) is None:
            raise LaunchFailed(
                f"{self.record.name} did not come up within {timeout:.0f} s",
                cause=self._last_words(),
                remains="the VM is kept and may still come up",
                hint=f"run the command again to wait for it; its console is in {self.home.console}",
            )

    def _answers(self, left: float) -> bool:
        if self.power.pid(self.record) is None:
            raise LaunchFailed(
                f"{self.record.name} went off while it was booting",
                cause="\n".join(console.tail(self.home.qemu_log, 3)) or self._last_words(),
                remains="the VM's disk is kept",
                hint=f"look into {self.home.console}",
            )
        self._show()
        if not ports.greets_as_ssh(self.record.ssh_port, timeout=min(GREETING, max(left, 0.1))):
            return False
        try:
            return self.ssh.exec(["true"], timeout=max(1.0, min(left, COMMAND))).ok
        except (GuestUnreachable, ExecTimeout) as error:
            # Expected for a while: sshd may be up before cloud-init has placed the keys.
            self._ssh_words = error.cause
            return False

    def _show(self) -> None:
        last = console.tail(self.home.console, 1)
        if last and last[0] != self._shown:
            self._shown = last[0]
            self.on_progress(self._shown)

    def _last_words(self) -> str:
        lines = console.tail(self.home.console, WORDS) or ("the console is empty",)
        panic = console.panic(self.home.console)
        if panic and panic not in lines:
            lines = (panic, *lines)
        ssh = [f"ssh: {self._ssh_words.strip().splitlines()[-1]}"] if self._ssh_words.strip() else []
        return "\n".join([*lines, *ssh])
