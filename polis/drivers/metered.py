"""A driver that counts: how many calls a command made, how long it was inside them (DESIGN section 11), and which."""

from __future__ import annotations

import contextlib
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from polis import interruption
from polis.drivers.base import snapshots_of
from polis.errors import PolisError
from polis.events import DriverCalled

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence
    from pathlib import Path

    from polis.drivers.base import (
        Capabilities,
        Diagnosis,
        Driver,
        Instance,
        LaunchRequest,
        OnLine,
        Snapshots,
        Template,
    )
    from polis.process import Completed

_SHIPPED = ("sudo", "-n", "python3", "-I", "-c")
"""How a command of polis's own begins in the guest; the program, module, function and arguments follow."""


@dataclass
class Counted:
    """One call while it lasts; whoever makes it may say how it ended."""

    outcome: str = "done"


@dataclass
class Meter:
    """The figures so far; `seconds` is wall time inside driver calls. `listener` is told of each call, twice."""

    calls: int = 0
    seconds: float = 0.0
    by_call: dict[str, int] = field(default_factory=dict)
    listener: Callable[[DriverCalled], None] | None = None
    guard: Callable[[], None] | None = None
    """Raises what forbids a call, before it is made."""

    @contextlib.contextmanager
    def count(self, call: str, words: str = "") -> Iterator[Counted]:
        """Count one call and the time in it; `words` tell what it is asked for, without anything secret."""
        interruption.check()
        if self.guard is not None:
            self.guard()
        begun = time.monotonic()
        self.calls += 1
        self.by_call[call] = self.by_call.get(call, 0) + 1
        self._tell(call, words, "begun")
        counted, reason = Counted(), ""
        try:
            yield counted
        except PolisError as error:
            counted.outcome, reason = error.kind, str(error)
            raise
        except BaseException as error:
            counted.outcome = "interrupted" if isinstance(error, KeyboardInterrupt) else type(error).__name__
            raise
        finally:
            duration = time.monotonic() - begun
            self.seconds += duration
            self._tell(call, words, counted.outcome, round(duration, 3), reason)

    def _tell(self, call: str, words: str, outcome: str, duration: float | None = None, reason: str = "") -> None:
        if self.listener is not None:
            self.listener(
                DriverCalled(call=call, words=words, outcome=outcome, duration_s=duration, reason=reason),
            )


class MeteredDriver:
    """Passes every call on to another driver and counts it."""

    def __init__(self, inner: Driver) -> None:
        self._inner = inner
        self.meter = Meter()
        self.name = inner.name
        self.capabilities: Capabilities = inner.capabilities

    @property
    def snapshots(self) -> Snapshots | None:
        """See `Snapshots`."""
        inner = snapshots_of(self._inner)
        return MeteredSnapshots(inner, self.meter) if inner is not None else None

    def find(self, *, name: str) -> Instance | None:
        """See `Driver.find`."""
        with self.meter.count("find", name):
            return self._inner.find(name=name)

    def launch(self, *, request: LaunchRequest, on_progress: Callable[[str], None] | None = None) -> None:
        """See `Driver.launch`."""
        sizes = f"{request.cpus} cpus, memory {request.memory >> 20} MiB, disk {request.disk >> 20} MiB"
        with self.meter.count("launch", f"{request.name}: {sizes}"):
            self._inner.launch(request=request, on_progress=on_progress)

    def start(self, *, name: str, timeout: float, on_progress: Callable[[str], None] | None = None) -> None:
        """See `Driver.start`."""
        with self.meter.count("start", name):
            self._inner.start(name=name, timeout=timeout, on_progress=on_progress)

    def stop(self, *, name: str, timeout: float = 120.0, force: bool = False) -> None:
        """See `Driver.stop`."""
        with self.meter.count("stop", f"{name}{', by force' if force else ''}"):
            self._inner.stop(name=name, timeout=timeout, force=force)

    def delete(self, *, name: str) -> None:
        """See `Driver.delete`."""
        with self.meter.count("delete", name):
            self._inner.delete(name=name)

    def exec(self, *, name: str, argv: Sequence[str], timeout: float, on_line: OnLine | None = None) -> Completed:
        """See `Driver.exec`."""
        with self.meter.count("exec", described(argv)) as counted:
            done = self._inner.exec(name=name, argv=argv, timeout=timeout, on_line=on_line)
            counted.outcome = "done" if done.ok else f"exit code {done.code}"
            return done

    def push(self, *, name: str, source: Path, target: str, mode: int = 0o600) -> None:
        """See `Driver.push`."""
        with self.meter.count("push", target):
            self._inner.push(name=name, source=source, target=target, mode=mode)

    def pull(self, *, name: str, source: str, target: Path) -> None:
        """See `Driver.pull`."""
        with self.meter.count("pull", source):
            self._inner.pull(name=name, source=source, target=target)

    def shell(self, *, name: str, argv: Sequence[str] = ()) -> int:
        """See `Driver.shell`."""
        with self.meter.count("shell", described(argv)) as counted:
            code = self._inner.shell(name=name, argv=argv)
            counted.outcome = "done" if code == 0 else f"exit code {code}"
            return code

    def ssh_options(self, *, name: str) -> Mapping[str, str]:
        """See `Driver.ssh_options`."""
        with self.meter.count("ssh_options", name):
            return self._inner.ssh_options(name=name)

    def diagnose(self, *, name: str) -> Diagnosis:
        """See `Driver.diagnose`."""
        with self.meter.count("diagnose", name):
            return self._inner.diagnose(name=name)


@dataclass(frozen=True)
class MeteredSnapshots:
    """Passes every call on to a driver's snapshots and counts it."""

    inner: Snapshots
    meter: Meter

    def take(self, *, name: str, label: str) -> None:
        """See `Snapshots.take`."""
        with self.meter.count("take", f"{name}/{label}"):
            self.inner.take(name=name, label=label)

    def close(self, *, name: str) -> None:
        """See `Snapshots.close`."""
        with self.meter.count("close", name):
            self.inner.close(name=name)

    def restore(self, *, name: str, label: str) -> None:
        """See `Snapshots.restore`."""
        with self.meter.count("restore", f"{name}/{label}"):
            self.inner.restore(name=name, label=label)

    def drop(self, *, name: str, label: str) -> None:
        """See `Snapshots.drop`."""
        with self.meter.count("drop", f"{name}/{label}"):
            self.inner.drop(name=name, label=label)

    def template(self, *, fingerprint: str) -> Template | None:
        """See `Snapshots.template`."""
        with self.meter.count("template", fingerprint):
            return self.inner.template(fingerprint=fingerprint)

    def offer(self, *, name: str, label: str) -> bool:
        """See `Snapshots.offer`."""
        with self.meter.count("offer", f"{name}/{label}"):
            return self.inner.offer(name=name, label=label)

    def withdraw(self, *, fingerprint: str) -> int:
        """See `Snapshots.withdraw`."""
        with self.meter.count("withdraw", fingerprint):
            return self.inner.withdraw(fingerprint=fingerprint)


def described(argv: Sequence[str]) -> str:
    """Return what a guest command is, without its arguments: they may hold keys, and those of a user may be keys.

    >>> described(["curl", "-H", "Authorization: Bearer abc"])
    'curl and 2 more words'
    """
    words = list(argv)
    own = len(_SHIPPED) + 1
    if tuple(words[: len(_SHIPPED)]) == _SHIPPED and len(words) > own + 1:
        return f"polis {words[own]}.{words[own + 1]}"
    if not words:
        return "a shell"
    # One word of the command line may be a whole line for a shell, and may begin with a variable's value.
    first, *more = words[0].split() or [""]
    name = first if first and "=" not in first else "a command"
    count = len(more) + len(words) - 1
    return f"{name} and {count} more words" if count else name
