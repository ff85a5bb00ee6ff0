"""A driver that counts: how many calls a command made, and how long it was inside them (DESIGN section 11)."""

from __future__ import annotations

import contextlib
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence
    from pathlib import Path

    from polis.drivers.base import Capabilities, Diagnosis, Driver, Instance, LaunchRequest, OnLine
    from polis.process import Completed


@dataclass
class Meter:
    """The figures so far; `seconds` is wall time inside driver calls."""

    calls: int = 0
    seconds: float = 0.0
    by_call: dict[str, int] = field(default_factory=dict)

    @contextlib.contextmanager
    def count(self, call: str) -> Iterator[None]:
        """Count one call and the time in it."""
        begun = time.monotonic()
        self.calls += 1
        self.by_call[call] = self.by_call.get(call, 0) + 1
        try:
            yield
        finally:
            self.seconds += time.monotonic() - begun


class MeteredDriver:
    """Passes every call on to another driver and counts it."""

    def __init__(self, inner: Driver) -> None:
        self._inner = inner
        self.meter = Meter()
        self.name = inner.name
        self.capabilities: Capabilities = inner.capabilities

    def find(self, *, name: str) -> Instance | None:
        """See `Driver.find`."""
        with self.meter.count("find"):
            return self._inner.find(name=name)

    def launch(self, *, request: LaunchRequest, on_progress: Callable[[str], None] | None = None) -> None:
        """See `Driver.launch`."""
        with self.meter.count("launch"):
            self._inner.launch(request=request, on_progress=on_progress)

    def start(self, *, name: str, timeout: float, on_progress: Callable[[str], None] | None = None) -> None:
        """See `Driver.start`."""
        with self.meter.count("start"):
            self._inner.start(name=name, timeout=timeout, on_progress=on_progress)

    def stop(self, *, name: str, timeout: float = 120.0, force: bool = False) -> None:
        """See `Driver.stop`."""
        with self.meter.count("stop"):
            self._inner.stop(name=name, timeout=timeout, force=force)

    def delete(self, *, name: str) -> None:
        """See `Driver.delete`."""
        with self.meter.count("delete"):
            self._inner.delete(name=name)

    def exec(self, *, name: str, argv: Sequence[str], timeout: float, on_line: OnLine | None = None) -> Completed:
        """See `Driver.exec`."""
        with self.meter.count("exec"):
            return self._inner.exec(name=name, argv=argv, timeout=timeout, on_line=on_line)

    def push(self, *, name: str, source: Path, target: str, mode: int = 0o600) -> None:
        """See `Driver.push`."""
        with self.meter.count("push"):
            self._inner.push(name=name, source=source, target=target, mode=mode)

    def pull(self, *, name: str, source: str, target: Path) -> None:
        """See `Driver.pull`."""
        with self.meter.count("pull"):
            self._inner.pull(name=name, source=source, target=target)

    def shell(self, *, name: str, argv: Sequence[str] = ()) -> int:
        """See `Driver.shell`."""
        with self.meter.count("shell"):
            return self._inner.shell(name=name, argv=argv)

    def ssh_options(self, *, name: str) -> Mapping[str, str]:
        """See `Driver.ssh_options`."""
        with self.meter.count("ssh_options"):
            return self._inner.ssh_options(name=name)

    def diagnose(self, *, name: str) -> Diagnosis:
        """See `Driver.diagnose`."""
        with self.meter.count("diagnose"):
            return self._inner.diagnose(name=name)
