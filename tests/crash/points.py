"""The points of a command at which it can be cut: around and within driver calls, and at each step of a durable write.

Between two points a process only computes, so "after" one step on the disk is "before" the next.
"""

from __future__ import annotations

import contextlib
import os
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from tests.crash.platter import Platter
from tests.simulated import SimulatedDriver

Act = Callable[[str], None]
"""What happens at a point, given its name: SIGKILL, an exception, nothing."""

BY_PATH = {"mkdir": 0, "unlink": 0, "link": 1, "replace": 1, "rename": 1}
"""Calls of `os` that change a directory, and which of their arguments is the name that comes or goes."""

_ALIKE = re.compile(r"^\.(.+?)\.\d+-[0-9a-f]+\.partial$")


@dataclass
class Points:
    """Counts the points that a command passes and acts at one of them, or at all from it on."""

    at: int | None = None
    act: Act = field(default=lambda _name: None)
    onwards: bool = False
    only_disk: bool = False
    passed: list[str] = field(default_factory=list)

    def reach(self, name: str, *, disk: bool) -> None:
        if self.only_disk and not disk:
            return
        self.passed.append(name)
        index = len(self.passed) - 1
        if self.at is not None and (index == self.at or (self.onwards and index > self.at)):
            self.act(name)

    @contextlib.contextmanager
    def armed(self, driver: SimulatedDriver, home: Path, platter: Platter | None = None) -> Iterator[None]:
        """Put the points into the driver and into every call of this process that changes something in the home."""
        before = driver.interfere
        driver.interfere = lambda call, moment: self.reach(f"{moment} {call}", disk=False)
        with pytest.MonkeyPatch.context() as patch:
            _Wiring(self, home, platter).wire(patch)
            try:
                yield
            finally:
                driver.interfere = before


class _Wiring:
    """Stands between the program and the calls of `os`."""

    def __init__(self, points: Points, home: Path, platter: Platter | None) -> None:
        self._points = points
        self._home = str(home)
        self._platter = platter
        self._open: dict[int, str] = {}
        self._real_open, self._real_write = os.open, os.write

    def wire(self, patch: pytest.MonkeyPatch) -> None:
        patch.setattr(os, "open", self._on_open)
        patch.setattr(os, "write", self._on_write)
        patch.setattr(os, "fsync", self._on_fsync)
        for name, argument in BY_PATH.items():
            patch.setattr(os, name, self._on_change(getattr(os, name), name, argument))

    def _on_open(self, path: Any, flags: int, *rest: Any, **named: Any) -> int:
        ours = self._is_ours(path)
        creates = ours and bool(flags & os.O_CREAT) and not Path(path).exists()
        if creates:
            self._reach("open", path)
        descriptor = self._real_open(path, flags, *rest, **named)
        if creates and self._platter is not None:
            self._platter.forget(os.fstat(descriptor).st_ino)
        self._open.pop(descriptor, None)
        if ours:
            self._open[descriptor] = os.fspath(path)
        return descriptor

    def _on_write(self, descriptor: int, data: bytes) -> int:
        path = self._open.get(descriptor)
        if path is None:
            return self._real_write(descriptor, data)
        self._reach("write", path)
        half = self._real_write(descriptor, data[: len(data) // 2])
        self._points.reach(f"half of write {_name(path)}", disk=True)
        return half + self._real_write(descriptor, data[half:])

    def _on_fsync(self, descriptor: int) -> None:
        path = self._open.get(descriptor)
        if path is None:
            return
        self._reach("fsync", path)
        if self._platter is not None:
            self._platter.sync(descriptor, Path(path))

    def _on_change(self, original: Callable[..., Any], name: str, argument: int) -> Callable[..., Any]:
        def change(*arguments: Any, **named: Any) -> Any:
            if self._is_ours(arguments[argument]):
                self._reach(name, arguments[argument])
            return original(*arguments, **named)

        return change

    def _is_ours(self, path: Any) -> bool:
        return isinstance(path, str | os.PathLike) and os.fspath(path).startswith(self._home)

    def _reach(self, step: str, path: Any) -> None:
        self._points.reach(f"before {step} {_name(os.fspath(path))}", disk=True)


def _name(path: str) -> str:
    """Return a name that is the same in every run."""
    base = Path(path).name
    found = _ALIKE.match(base)
    return f"({found[1]})" if found else base
