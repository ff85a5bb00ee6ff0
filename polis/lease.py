"""One changing command per workspace, among machines that share nothing but a server's database.

What a lock has to be made of is what is atomic there: to create a name, and to remove it (drivers/entries.py). So each
turn is a name of its own, `<workspace>.lease.<chain>-<number>`: whoever creates the next number has the turn, and lets
others see that it lives by a beat in it. Whoever saw no beat for `Pace.expiry` seconds, on a clock of its own, creates
the number after that and removes the silent one; its holder, if it lives after all, finds its name gone and stops. No
two machines' clocks are ever compared. `chain` is made anew with the workspace, so that no number comes twice.
"""

from __future__ import annotations

import contextlib
import getpass
import json
import os
import secrets
import socket
import threading
import time
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from polis.drivers import terminaltext
from polis.errors import Locked, PolisError
from polis.events import timestamp

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from polis.drivers.entries import Entries, Entry

CHAIN, NUMBER = "chain", "turn"
"""What the workspace's own entry says of its turns: their chain, and the number of the last."""

HOLDER, BEAT = "holder", "beat"

PIDS = 2**31
ROUNDS = 100
"""How often in a row somebody else may have been faster."""


def _clock() -> float:
    """Return seconds on a clock that nobody sets, and that goes on while the machine sleeps where there is one."""
    if hasattr(time, "CLOCK_BOOTTIME"):
        return time.clock_gettime(time.CLOCK_BOOTTIME)
    return time.monotonic()


@dataclass(frozen=True)
class Pace:
    """Seconds: between two beats, without one until a holder counts as dead, and between two looks at it."""

    beat: float = 5.0
    expiry: float = 30.0
    look: float = 1.0
    clock: Callable[[], float] = _clock
    sleep: Callable[[float], None] = time.sleep


def entry_name(workspace: str, chain: str, number: int) -> str:
    """Return the name of a turn."""
    return f"{workspace}.lease.{chain}-{number}"


def number_of(root: Entry) -> int:
    """Return the number of the workspace's last turn; what somebody spoilt counts as none."""
    text = root.texts.get(NUMBER, "0")
    return int(text) if text.isdecimal() and len(text) < len("1" * 18) else 0


class Lease:
    """A turn that was taken, or is about to be."""

    def __init__(self, queue: Queue, chain: str, number: int, me: Mapping[str, Any]) -> None:
        self.chain = chain
        self.number = number
        self.name = entry_name(queue.workspace, chain, number)
        self._entries = queue.entries
        self._me = json.dumps(dict(me))
        self._pace = pace = queue.pace
        self._beat = 0
        self._renewed = pace.clock()
        self._lost = False
        self._one = threading.Lock()
        self._over = threading.Event()

    @property
    def texts(self) -> dict[str, str]:
        """Return what its entry says."""
        return {HOLDER: self._me, BEAT: str(self._beat)}

    def renew(self) -> None:
        """Let others see that its holder lives. Raises Locked if somebody else has taken over, and what entries raise.

        When it returns, everything that was written before was written in the turn.
        """
        with self._one:
            if not self._lost:
                self._beat += 1
                self._lost = not self._entries.replace(self.name, self.texts)
                self._renewed = self._pace.clock()
            if self._lost:
                raise _taken_over()

    def check(self) -> None:
        """Raise Locked if the turn is known to be lost; ask, if nothing was heard for two beats."""
        if self._lost or self._pace.clock() - self._renewed > 2 * self._pace.beat:
            self.renew()

    @contextlib.contextmanager
    def held(self) -> Iterator[None]:
        """Beat until the end, then give the turn back."""
        thread = threading.Thread(target=self._keep, name="polis-lease", daemon=True)
        thread.start()
        try:
            yield
        finally:
            self._over.set()
            thread.join()
            with contextlib.suppress(PolisError):  # it expires
                self._entries.remove(self.name)

    def _keep(self) -> None:
        while not self._over.wait(self._pace.beat):
            try:
                self.renew()
            except Locked:
                return
            except PolisError:
                continue  # the server is away, for others too


@dataclass
class Queue:
    """Those who wait for their turn at one workspace. `tell` hears for whom, and whose turn was taken over."""

    entries: Entries
    workspace: str
    command: str
    tell: Callable[[str], None]
    pace: Pace = field(default_factory=Pace)
    _seen: dict[str, tuple[str, float]] = field(default_factory=dict)

    def take(self, root: Callable[[], Entry], *, wait: float) -> Lease:
        """Return the next turn; `root` reads the workspace's own entry, and makes it if there is none.

        Raises Locked if somebody has the turn for `wait` seconds, and what entries raise.
        """
        until, told, faster = self.pace.clock() + wait, False, 0
        while True:
            lease, holder = self._try(root())
            if lease is not None:
                return lease
            left = until - self.pace.clock()
            if holder is None:  # something changed while we looked
                faster += 1
                if faster > ROUNDS:
                    raise Locked("other commands on this workspace are always faster", hint="run it again later")
                continue
            faster = 0
            if left <= 0:
                raise self._locked(holder, wait)
            if not told:
                lasts = f"; if it is dead, its turn is taken over in {self.pace.expiry:.0f} s"
                self.tell(f"waiting for another polis: {who(holder)}{lasts if wait >= self.pace.expiry else ''}")
                told = True
            self.pace.sleep(min(self.pace.look, left))

    def _try(self, root: Entry) -> tuple[Lease | None, Entry | None]:
        """Return the turn, or who has it, or neither if something changed meanwhile.

        The number to create is always the one after the last that the workspace's entry names, so that nobody can
        create one that others have left behind.
        """
        last = number_of(root)
        silent = self._found(root, last) if last else None
        if silent is not None and not self._is_dead(root, last, silent):
            return None, silent
        lease = Lease(self, root.texts.get(CHAIN, ""), last + 1, _me(self.command))
        found = None if self.entries.create(lease.name, lease.texts) else self._found(root, last + 1)
        is_ours = found is not None and found.texts.get(HOLDER) == lease.texts[HOLDER]  # only the answer was lost
        if found is not None and not is_ours and not self._is_dead(root, last + 1, found):
            return None, found
        # From here on it learns it, if it lives: all that it wrote before is seen by who reads after this.
        if silent is not None:
            self.entries.remove(entry_name(self.workspace, root.texts.get(CHAIN, ""), last))
            self.tell(f"{who(silent)}, and is dead: this command takes over")
        if not self._signed(root, last + 1) and (found is None or is_ours):
            self.entries.remove(lease.name)
            return None, None
        return (lease, None) if found is None or is_ours else (None, None)

    def _found(self, root: Entry, number: int) -> Entry | None:
        return self.entries.read(entry_name(self.workspace, root.texts.get(CHAIN, ""), number))

    def _signed(self, before: Entry, number: int) -> bool:
        """Write into the workspace's entry whose turn it is; return False if another one came first."""
        now = self.entries.read(self.workspace)
        if now is None or any(now.texts.get(key) != before.texts.get(key) for key in (CHAIN, NUMBER)):
            return False
        return self.entries.replace(self.workspace, {**now.texts, NUMBER: str(number)}, tag=now.tag)

    def _is_dead(self, root: Entry, number: int, entry: Entry) -> bool:
        name = entry_name(self.workspace, root.texts.get(CHAIN, ""), number)
        if _died_here(_holder(entry)):
            return True
        now, beat = self.pace.clock(), entry.texts.get(BEAT, "")
        known, since = self._seen.get(name, ("", now))
        if known != beat:
            self._seen[name] = beat, now
            return False
        return now - since >= self.pace.expiry

    def _locked(self, holder: Entry, waited: float) -> Locked:
        suffix = f" and did not finish within {waited:g} s" if waited > 0 else ""
        enough = f"--wait {self.pace.expiry * 2:.0f}"
        return Locked(
            f"another polis is changing this workspace{suffix}",
            cause=who(holder),
            remains="nothing was changed by this command",
            hint=f"wait for it with `{enough}`: if it is dead, its turn is taken over after {self.pace.expiry:.0f} s; "
            "or look on with `polis status`",
        )


def is_held(turn: Entry | None) -> bool:
    """Return whether somebody has a turn: a dead holder of another host counts, until it is taken over."""
    return turn is not None and not _died_here(_holder(turn))


def who(entry: Entry) -> str:
    """Return in words who has a turn. Others wrote it: it is shortened, and cleaned for a terminal."""
    told = _holder(entry)
    user, host, pid, command, since = (
        terminaltext.clean(str(told.get(key, "?"))[:64]) for key in ("user", "host", "pid", "command", "started_at")
    )
    return f"`polis {command}` of {user}@{host} (pid {pid}) has been at work since {since}"


def _me(command: str) -> dict[str, Any]:
    from polis.record import host_boot_id, uptime

    return {
        "token": secrets.token_hex(8),
        "user": _user(),
        "host": socket.gethostname(),
        "boot_id": host_boot_id(),
        "processes": _processes(),
        "pid": os.getpid(),
        "uptime_s": round(uptime(), 3),
        "command": command,
        "started_at": timestamp(datetime.now(UTC)),
    }


def _died_here(holder: Mapping[str, Any]) -> bool:
    """Return whether the holder was a process of this very host that is no more; of others nothing is known."""
    from polis.record import host_boot_id, process_lives

    here = (socket.gethostname(), host_boot_id(), _processes())
    if not here[1] or (holder.get("host"), holder.get("boot_id"), holder.get("processes")) != here:
        return False
    pid, uptime_s = holder.get("pid"), holder.get("uptime_s")
    if not isinstance(pid, int) or not isinstance(uptime_s, int | float) or not 0 < pid < PIDS:
        return False
    return not process_lives(pid, uptime_s)


def _holder(entry: Entry) -> dict[str, Any]:
    try:
        holder = json.loads(entry.texts.get(HOLDER, ""))
    except (ValueError, RecursionError):
        return {}
    return holder if isinstance(holder, dict) else {}


def _processes() -> str:
    """Return what tells apart containers of one host, whose processes do not see each other."""
    try:
        return str(Path("/proc/self/ns/pid").readlink())
    except OSError:
        return ""


def _user() -> str:
    try:
        return getpass.getuser()
    except (OSError, KeyError, ImportError):
        return str(os.getuid()) if hasattr(os, "getuid") else "?"


def _taken_over() -> Locked:
    return Locked(
        "another polis has taken over this workspace",
        cause="nothing was heard of this command for so long that it counted as dead",
        remains="what was reached until then; the other command goes on from there",
        hint="look on with `polis status`",
    )
