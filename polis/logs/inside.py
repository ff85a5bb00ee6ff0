"""What is logged inside the VM, read through its driver, line by line as it comes."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from polis.drivers.base import InstanceState
from polis.errors import GuestCommandFailed, GuestUnreachable, InstanceMissing, ServiceNotRunning, UsageError
from polis.guest import shipping
from polis.logs.lines import plain

if TYPE_CHECKING:
    from datetime import datetime

    from polis.guest.session import Guest
    from polis.logs.lines import Take

LIMIT = 300.0
"""Seconds for what does not follow."""

FOLLOWING = 7 * 86400.0
"""Seconds after which following ends, with an error that says so: every command in the guest has a limit."""


@dataclass(frozen=True)
class Request:
    """What is wanted: the last `lines` of a source of `polis.guest.remote.logs`."""

    source: str
    lines: int
    services: tuple[str, ...] = ()
    since: datetime | None = None
    follow: bool = False

    def arguments(self, now: datetime) -> dict[str, object]:
        """Return the guest's arguments. The two clocks may differ, so a time is sent as seconds before now."""
        since = None if self.since is None else max(0.0, (now - self.since).total_seconds())
        names = list(self.services)
        return {"source": self.source, "lines": self.lines, "services": names, "since": since, "follow": self.follow}


@dataclass
class _Hearing:
    take: Take
    answer: dict[str, Any] = field(default_factory=dict)
    last: str = ""

    def hear(self, line: str) -> None:
        """Take one line of the guest's. The answer is taken here too: of endless output, only the beginning is kept."""
        try:
            news = json.loads(line)
        except (ValueError, RecursionError):
            return
        if not isinstance(news, dict):
            return
        progress, answer = news.get("progress"), news.get("answer")
        if isinstance(answer, dict):
            self.answer = answer
        if isinstance(progress, dict) and isinstance(progress.get("line"), str):
            text = progress["line"].encode(errors="replace").decode()
            self.last = plain(text, is_cut=progress.get("cut") is True)
            self.take(self.last)


def read(guest: Guest, request: Request, take: Take) -> None:
    """Hand each line to `take`.

    Raises UsageError for a service that there is not, ServiceNotRunning if there are none at all, GuestCommandFailed,
    and what `Driver.exec` raises; GuestUnreachable if the VM goes away meanwhile.
    """
    from datetime import UTC, datetime

    require_on(guest)
    hearing = _Hearing(take)
    done = guest.driver.exec(
        name=guest.name,
        argv=shipping.command("logs", request.arguments(datetime.now(UTC))),
        timeout=FOLLOWING if request.follow else LIMIT,
        on_line=hearing.hear,
    )
    if not done.ok or not hearing.answer:
        raise GuestCommandFailed("the logs cannot be read in the guest", cause=plain_words(done.last_words()))
    known = [plain(str(name)) for name in _list(hearing.answer.get("known"))]
    unknown = sorted(set(request.services) - set(known))
    if unknown and not known:
        raise ServiceNotRunning("no services are there yet", hint="`polis up` starts them")
    if unknown:
        raise UsageError(
            f"there is no service {', '.join(unknown)}",
            cause=f"the services are {', '.join(known)}",
            hint=f"`polis logs --service {known[0]}` shows one of them",
        )
    if hearing.answer.get("code") != 0:
        raise GuestCommandFailed("the logs cannot be read in the guest", cause=hearing.last)


def require_on(guest: Guest) -> None:
    """Raise InstanceMissing or GuestUnreachable unless there is a VM that is on; one that is starting may answer."""
    instance = guest.driver.find(name=guest.name)
    if instance is None:
        raise InstanceMissing(f"workspace {guest.name} has no VM", hint="`polis logs --polis` shows what was done")
    if instance.state not in (InstanceState.RUNNING, InstanceState.STARTING):
        raise GuestUnreachable(
            f"the VM is {instance.state}", hint="`polis up` switches it on; `polis logs --console` shows its last words"
        )


def plain_words(text: str) -> str:
    """Return several lines fit to be shown."""
    return "\n".join(plain(line) for line in text.splitlines())


def _list(value: object) -> list[Any]:
    return value if isinstance(value, list) else []
