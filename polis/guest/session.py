"""One guest, seen through its driver: run a command of `polis.guest.remote` and get its answer."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from polis.errors import GuestCommandFailed
from polis.guest import shipping

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from polis.drivers.base import Driver, Instance
    from polis.guest.report import GuestReport

    Progress = Callable[[dict[str, Any]], None]

PROBE_LIMIT = 120.0
"""Seconds for one probe; it takes about one, but an emulated guest under load may need many."""

MARGIN = 30.0
"""Seconds that a call may take longer than the work in it that keeps a limit itself."""

INCOMING = "/var/lib/polis/incoming"

_HALF_PAIR = re.compile(r"\\u[dD][89a-fA-F]")
"""What may be half of a surrogate pair: JSON can say it, but no file, terminal or record can hold it."""


@dataclass(frozen=True)
class Guest:
    """A machine that answers."""

    driver: Driver
    name: str

    def probe(self, instance: Instance | None = None) -> GuestReport:
        """Return all evidence; of what `instance` is, the driver is believed and not the guest.

        Raises GuestUnreachable, ExecTimeout, GuestCommandFailed.
        """
        from pydantic import ValidationError

        from polis.drivers.base import InstanceKind
        from polis.guest import checks
        from polis.guest.report import GuestReport

        answer = self.call("probe", checks.questions(), timeout=PROBE_LIMIT)
        shared_kernel = instance is not None and instance.kind is InstanceKind.CONTAINER
        try:
            return GuestReport.model_validate({**answer, "shared_kernel": shared_kernel})
        except ValidationError as error:
            raise GuestCommandFailed("the guest's report cannot be understood", cause=str(error)) from error

    def call(
        self, command: str, arguments: dict[str, object], *, timeout: float, on_progress: Progress | None = None
    ) -> dict[str, Any]:
        """Run a command of `polis.guest.remote.main` within `timeout` seconds and return its answer.

        Raises GuestCommandFailed with the guest's words, and what `Driver.exec` raises.
        """
        done = self.driver.exec(
            name=self.name,
            argv=shipping.command(command, arguments),
            timeout=timeout,
            on_line=None if on_progress is None else _Listener(on_progress).hear,
        )
        answer = _answer(done.stdout)
        if not done.ok or answer is None:
            raise GuestCommandFailed(f"`{command}` failed in the guest", cause=done.last_words())
        return answer

    def push(self, source: Path, file_name: str) -> str:
        """Copy a file to where only the default user and root can read it; return its path in the guest."""
        target = f"{INCOMING}/{file_name}"
        self.driver.push(name=self.name, source=source, target=target)
        return target


@dataclass(frozen=True)
class _Listener:
    on_progress: Progress

    def hear(self, line: str) -> None:
        news = _parse(line)
        if isinstance(news.get("progress"), dict):
            self.on_progress(news["progress"])


def _answer(stdout: str) -> dict[str, Any] | None:
    lines = stdout.strip().splitlines()
    answer = _parse(lines[-1]).get("answer") if lines else None
    return answer if isinstance(answer, dict) else None


def _parse(line: str) -> dict[str, Any]:
    try:
        value = json.loads(line)
        if _HALF_PAIR.search(line):
            value = json.loads(json.dumps(value, ensure_ascii=False).encode(errors="replace"))
    except (ValueError, RecursionError):
        return {}
    return value if isinstance(value, dict) else {}
