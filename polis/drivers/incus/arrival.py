"""Waiting for an instance until it runs a command, whatever became of whoever created or started it.

What a client says is a hint; the server's record and the guest decide. A launch whose client was killed, whose server
was restarted, or that finds the name taken by an earlier one is the same case here: look, and go on from what is there.
"""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from polis import interruption
from polis.drivers.base import InstanceState
from polis.drivers.incus import records, table
from polis.drivers.incus.failures import Failure, ToolFailure
from polis.drivers.incus.patience import AWAY
from polis.errors import (
    DriverUnavailable,
    ExecTimeout,
    GuestUnreachable,
    InstanceMissing,
    LaunchFailed,
    PolisError,
)
from polis.retry import Backoff
from polis.waiting import wait_until

if TYPE_CHECKING:
    from collections.abc import Callable

    from polis.drivers.incus.patience import Patience
    from polis.drivers.incus.records import Seen
    from polis.drivers.incus.tool import Tool

SILENT = AWAY | {"no-answer", "garbled", "broken-off"}
"""Failures of a server that restarts: what it was asked to do may have been done all the same."""

PASSING = SILENT | {"busy", "already"}
"""What starting an instance may say while it comes up, or while an earlier launch still creates it."""

ATTEMPTS = 5
"""How often a creation is tried that failed for a reason that may pass."""

STARTS = 3
"""How often an instance is switched on in one wait, for it may go off again."""


@dataclass(frozen=True)
class Actions:
    """What may be done to the instance; all but `answer` raise ToolFailure. Limits are seconds.

    `check` raises ForeignInstance; it is told whether the name turned out to be taken. `prepare` is for an instance
    that is off and about to be started. `create` is None where an instance must exist already.
    """

    look: Callable[[], Seen | None]
    creating: Callable[[], bool]
    check: Callable[[Seen, bool], None]
    prepare: Callable[[Seen], None]
    start: Callable[[float], None]
    answer: Callable[[], object]
    remove: Callable[[], None]
    create: Callable[[float], None] | None = None


@dataclass
class Arrival:
    """One wait for one instance."""

    name: str
    tool: Tool
    actions: Actions
    patience: Patience
    tell: Callable[[str], None]
    clock: Callable[[], float] = time.monotonic
    sleep: Callable[[float], None] = interruption.sleep
    backoff: Backoff = field(default_factory=lambda: Backoff(base=1.0, cap=15.0))
    _surprised: bool = False
    _last: Failure | None = None
    _words: str = ""
    _told: str = ""
    _creations: int = 0
    _starts: int = 0
    _whole: bool = False
    _replaced: bool = False
    _not_before: float = 0.0
    _silent_since: float | None = None
    _missed_since: float | None = None

    def wait(self, timeout: float) -> None:
        """Return when the guest has run a command.

        Raises LaunchFailed after `timeout` seconds; the instance is left alone then, it may still come up. Raises at
        once what waiting cannot mend: InstanceMissing, ForeignInstance, what the failures' table says.
        """
        if wait_until(self._step, timeout=timeout, interval=self.patience.look, clock=self.clock, sleep=self.sleep):
            return
        raise LaunchFailed(
            f"{self.name} did not come up within {timeout:.0f} s",
            cause=self._words or (self._last.words if self._last else "") or self._told,
            remains="the instance is kept and may still come up",
            hint=f"run the command again to go on waiting; `{self.tool.command} info {self.name}` shows its state",
        )

    def _step(self, left: float) -> bool:
        limit = max(1.0, left)
        try:
            seen = self.actions.look()
            if seen is None:
                self._create(limit)
                return False
            self.actions.check(seen, self._surprised)
            answered = self._take(seen, limit)
        except ToolFailure as failed:
            self._bear(failed)
            return False
        self._silent_since = None
        return answered

    def _take(self, seen: Seen, limit: float) -> bool:
        """Do what the instance's state asks for; return whether the guest has answered."""
        state = seen.instance.state
        self._miss(seen)
        if state is InstanceState.RUNNING:
            return self._ask()
        if state is InstanceState.STOPPED or (state is InstanceState.SUSPENDED and not seen.instance.detail):
            self._switch_on(seen, limit)
        else:
            self._say(f"waiting: it is {seen.instance.detail or state}")
        return False

    def _create(self, limit: float) -> None:
        if self.actions.create is None:
            raise InstanceMissing(f"there is no instance {self.name}", hint="`polis up` creates it")
        if self.clock() < self._not_before:
            return
        if self.actions.creating():
            self._say("waiting: an earlier launch is creating it")
            return
        self._creations += 1
        self._say(f"{self.tool.title} creates the instance")
        try:
            self.actions.create(limit)
        except ToolFailure as failed:
            self._surprised = self._surprised or failed.name == "exists"
            if failed.name != "exists":
                self._put_off(failed)
        else:
            self._whole = True

    def _put_off(self, failed: ToolFailure) -> None:
        """Let a creation be tried again that may succeed later; raise what will not."""
        passing = failed.name in PASSING or failed.failure.row.error.retryable
        if not passing or self._creations >= ATTEMPTS:
            raise failed.failure.error(f"{self.name} cannot be created", self.tool) from failed
        self._last = failed.failure
        self._not_before = self.clock() + self.backoff.delay(self._creations)
        self._say(f"{_last_line(failed)} (attempt {self._creations})")

    def _switch_on(self, seen: Seen, limit: float) -> None:
        if self._starts >= STARTS:
            raise LaunchFailed(
                f"{self.name} went off while it was coming up",
                cause=self._words or f"state: {seen.instance.state}",
                remains="the instance is kept",
                hint="`polis up` tries again",
            )
        suspended = seen.instance.state is InstanceState.SUSPENDED
        self._say("waking it up" if suspended else "switching it on")
        try:
            if not suspended:
                self.actions.prepare(seen)
            self.actions.start(min(limit, self.patience.starting))
        except ToolFailure as failed:
            self._excuse(seen, failed)
        else:
            self._starts += 1

    def _excuse(self, seen: Seen, failed: ToolFailure) -> None:
        """Go on after a start that failed, if there is a way; raise otherwise.

        A server that was killed while it created an instance keeps its record, but has no disk for it. It is ours, and
        was never on, so nothing is in it: it is made anew, once, unless we have just seen it made.
        """
        self._last = failed.failure
        if failed.name in PASSING:
            self._say("waiting: an earlier launch is creating it" if failed.name == "busy" else _last_line(failed))
            return
        doubtful = seen.fresh and not self._whole and not self._replaced
        if doubtful and self.actions.create is not None and not self.actions.creating():
            self._replaced = True
            self._say("its creation was interrupted: making it anew")
            self.actions.remove()
            return
        raise failed.failure.error(f"{self.name} cannot be switched on", self.tool) from failed

    def _miss(self, seen: Seen) -> None:
        """Raise DriverUnavailable if the instance's cluster member is away for longer than it takes to restart."""
        if seen.instance.detail != records.AWAY:
            self._missed_since = None
            return
        now = self.clock()
        self._missed_since = now if self._missed_since is None else self._missed_since
        if now - self._missed_since > self.patience.daemon:
            where = f" ({seen.location})" if seen.location else ""
            failure = Failure(table.named("member-away"), "query", 0, f"state: Error; {seen.instance.detail}{where}")
            error = failure.error(f"the cluster member that {self.name} is on does not answer", self.tool)
            error.remains = "the instance is kept"
            raise error

    def _ask(self) -> bool:
        try:
            self.actions.answer()
        except (GuestUnreachable, ExecTimeout, InstanceMissing, DriverUnavailable) as error:
            self._words = error.cause
            self._say("waiting for the guest to answer")
            return False
        return True

    def _bear(self, failed: ToolFailure) -> None:
        """Wait for a server that is away, as long as that may take; raise every other failure."""
        now = self.clock()
        self._silent_since = now if self._silent_since is None else self._silent_since
        patient = failed.name in PASSING and now - self._silent_since <= self.patience.daemon
        if not patient:
            raise _unanswered(failed, self.tool) from failed
        self._last = failed.failure
        self._say(f"waiting for {self.tool.title} to answer")

    def _say(self, text: str) -> None:
        if text != self._told:
            self._told = text
            self.tell(text)


def _unanswered(failed: ToolFailure, tool: Tool) -> PolisError:
    return failed.failure.error(f"{tool.title} does not answer", tool)


def _last_line(failed: ToolFailure) -> str:
    lines = failed.failure.words.splitlines()
    return lines[-1] if lines else failed.name
