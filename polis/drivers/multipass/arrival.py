"""Waiting for an instance until it runs a command, whatever became of the client that created or started it.

What a client says is a hint; `list` and the guest decide. A launch whose client timed out, was killed, lost its
daemon, or found the name "being prepared" by an earlier one is the same case here: look, and go on waiting.
"""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from polis import interruption
from polis.drivers.base import InstanceState
from polis.drivers.multipass.errand import Errand
from polis.drivers.multipass.failures import Failure, ToolFailure
from polis.drivers.multipass.rows import Kind
from polis.errors import (
    DriverUnavailable,
    ExecTimeout,
    ForeignInstance,
    GuestUnreachable,
    InstanceMissing,
    LaunchFailed,
    PolisError,
)
from polis.retry import Backoff
from polis.waiting import wait_until

if TYPE_CHECKING:
    from collections.abc import Callable

    from polis.drivers.base import Instance
    from polis.drivers.multipass.client import Client
    from polis.drivers.multipass.patience import Patience
    from polis.process import Completed

JOINED = frozenset({
    "being-prepared", "already-exists", "client-timeout", "init-timeout", "ssh-timeout", "daemon-down", "no-answer",
    "killed", "suspending", "unknown-state", "deaf-to-shutdown", "no-root-cert",
})  # fmt: skip
"""What a client may say while the instance comes up all the same."""

OTHERS = frozenset({"being-prepared", "already-exists"})
"""What says that a launch found the name taken, by an earlier launch of ours or by somebody else."""

ATTEMPTS = 5
"""How often a launch is tried that failed before there was an instance."""

STARTS = 3
"""How often an instance is switched on in one wait: once, and again after each recovery."""


@dataclass(frozen=True)
class Actions:
    """What may be done to the instance; all but `answer` block for as long as the tool does.

    `launch` takes the number of the attempt; it is None where an instance must exist already.
    """

    look: Callable[[], Instance | None]
    answer: Callable[[], Completed]
    start: Callable[[], None]
    switch_off: Callable[[], None]
    cancel_shutdown: Callable[[], None]
    launch: Callable[[int], None] | None = None


@dataclass
class Arrival:
    """One wait for one instance. `surprised` tells that a launch found the name taken."""

    name: str
    client: Client
    actions: Actions
    patience: Patience
    tell: Callable[[str], None]
    clock: Callable[[], float] = time.monotonic
    sleep: Callable[[float], None] = interruption.sleep
    backoff: Backoff = field(default_factory=lambda: Backoff(base=2.0, cap=30.0))
    surprised: bool = False
    _errand: Errand | None = None
    _last: Failure | None = None
    _words: str = ""
    _told: str = ""
    _launches: int = 0
    _starts: int = 0
    _not_before: float = 0.0
    _limbo_since: float | None = None
    _silent_since: float | None = None
    _answered: Completed | None = None

    def wait(self, timeout: float) -> Completed:
        """Return the answer of the guest's first command.

        Raises LaunchFailed after `timeout` seconds; the instance is left alone then, it may still come up. Raises at
        once what waiting cannot mend: InstanceMissing, ForeignInstance (the name of a deleted instance), what the
        failures' table says.
        """
        if (
            wait_until(self._step, timeout=timeout, interval=self.patience.look, clock=self.clock, sleep=self.sleep)
            and self._answered is not None
        ):
            return self._answered
        raise LaunchFailed(
            f"{self.name} did not come up within {timeout:.0f} s",
            cause=self._words or (self._last.words if self._last else "") or self._told,
            remains="the VM is kept and may still come up",
            hint=self._last_hint() or "run the command again to go on waiting; `multipass list` shows its state",
        )

    def _step(self, _left: float) -> bool:
        self._settle()
        try:
            seen = self.actions.look()
            self._silent_since = None
            return self._take(seen)
        except ToolFailure as failed:
            self._bear(failed)
            return False

    def _take(self, seen: Instance | None) -> bool:
        """Do what the instance's state asks for; return whether the guest has answered."""
        if seen is None:
            self._create()
        elif seen.state is InstanceState.DELETED:
            raise _deleted(self.name)
        elif seen.state is InstanceState.RUNNING:
            return self._ask(seen)
        elif seen.state is InstanceState.STOPPED or (seen.state is InstanceState.SUSPENDED and not seen.detail):
            self._switch_on(seen)
        elif seen.state is InstanceState.SUSPENDED:
            self._say("waiting until it is suspended")
        else:
            self._in_limbo(seen)
        return False

    def _settle(self) -> None:
        """Take notice of an ended client; raise what no waiting mends."""
        if self._errand is None or self._errand.running:
            return
        failure, self._errand = self._errand.failure(), None
        if failure is None:
            return
        self._last = failure
        if failure.row.name in OTHERS and failure.verb == "launch":
            self.surprised = True
        said = failure.words.splitlines()[-1] if failure.words else failure.row.name
        if failure.verb != "launch" or failure.row.name in OTHERS:
            if failure.row.name not in JOINED:
                raise self._error(failure)
            self._say(said)
            self._not_before = self.clock() + self.patience.look
            return
        # The instance may be there all the same: only where it is not, `_create` tries again or gives up.
        if failure.row.name not in JOINED and (failure.row.kind is not Kind.TRANSIENT or self._launches >= ATTEMPTS):
            raise self._error(failure)
        delay = self.backoff.delay(self._launches)
        self._not_before = self.clock() + delay
        self._say(f"{said} (attempt {self._launches}, next in {delay:.0f} s)")

    def _bear(self, failed: ToolFailure) -> None:
        """Wait for a daemon that is away, as long as that may take; raise every other failure to look."""
        now = self.clock()
        self._silent_since = now if self._silent_since is None else self._silent_since
        away = failed.name in {"daemon-down", "no-root-cert", "no-answer", "garbled", "killed"}
        if not away or now - self._silent_since > self.patience.daemon:
            raise failed.failure.error("Multipass does not answer", self.client.host) from failed
        self._last = failed.failure
        self._say("waiting for Multipass' service")

    def _create(self) -> None:
        if self._errand is not None:
            self._say("Multipass fetches and prepares the image")
            return
        if self.actions.launch is None:
            raise InstanceMissing(f"there is no instance {self.name}", hint="`polis up` creates it")
        if self.clock() < self._not_before:
            return
        launch = self.actions.launch
        # An answer that the name is taken is no attempt: it costs nothing, and only it tells of an earlier launch.
        if self._last is None or self._last.row.name not in OTHERS:
            if self._last is not None and self._launches >= ATTEMPTS:
                raise self._error(self._last)
            self._launches += 1
        attempt = self._launches
        self._errand = Errand(lambda: launch(attempt))
        self._say("Multipass prepares the instance")

    def _switch_on(self, seen: Instance) -> None:
        if self._errand is not None or self.clock() < self._not_before:
            return
        if self.surprised:
            self._say("waiting: it may be somebody else's, so it is not switched on")
            return
        if self._starts >= STARTS:
            raise LaunchFailed(
                f"{self.name} went off while it was coming up",
                cause=self._words or (self._last.words if self._last else f"state: {seen.state}"),
                remains="the VM is kept",
                hint=self._last_hint() or "`polis up` tries again",
            )
        self._starts += 1
        self._limbo_since = None
        self._errand = Errand(self.actions.start)
        self._say("waking it up" if seen.state is InstanceState.SUSPENDED else "switching it on")

    def _in_limbo(self, seen: Instance) -> None:
        """Tell booting from lost: every boot shows Unknown; one that lasts with no client at work is believed."""
        now = self.clock()
        if self._errand is not None or self._limbo_since is None:
            self._limbo_since = now
        if now - self._limbo_since <= self.patience.lost:
            self._say("waiting for the guest to answer")
            return
        if self.surprised or self._starts >= STARTS:
            return
        self._say(f"Multipass has lost sight of it (state {seen.state}); switching it off and on")
        self._limbo_since = None
        self.actions.switch_off()

    def _ask(self, seen: Instance) -> bool:
        self._limbo_since = None
        if seen.detail:
            self._say("calling off its scheduled shutdown")
            self.actions.cancel_shutdown()
        try:
            self._answered = self.actions.answer()
        except (GuestUnreachable, ExecTimeout, InstanceMissing, DriverUnavailable) as error:
            self._words = error.cause
            self._say("waiting for the guest to answer")
            return False
        return True

    def _error(self, failure: Failure) -> PolisError:
        deed = "created" if failure.verb == "launch" else "switched on"
        return failure.error(f"{self.name} cannot be {deed}", self.client.host)

    def _last_hint(self) -> str:
        return self.client.host.pick(self._last.row.hint) if self._last is not None else ""

    def _say(self, text: str) -> None:
        if text != self._told:
            self._told = text
            self.tell(text)


def _deleted(name: str) -> ForeignInstance:
    return ForeignInstance(
        f"a deleted instance keeps the name {name}",
        cause="Multipass keeps deleted instances until they are purged, and cannot tell whose this one was",
        remains="it is untouched",
        hint=f"`multipass recover {name}` brings it back, `multipass delete --purge {name}` frees the name; "
        "or choose another name with `-n`",
    )
