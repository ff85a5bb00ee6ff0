"""Which member is next: all in their order, or a rolling upgrade that keeps most of them up."""

from __future__ import annotations

import re
import threading
from collections import deque
from typing import TYPE_CHECKING, Protocol

from polis.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from polis.fleet.spec import Member


class Schedule(Protocol):
    """Deals members out to workers, from any thread."""

    def take(self) -> Member | None:
        """Return the next member, once it may begin; None if none is to begin any more."""
        ...

    def give_back(self, member: Member, *, good: bool) -> None:
        """Hear that a member's work ended, as it should or not."""
        ...

    def halt(self) -> None:
        """Begin no further members."""
        ...


class InOrder:
    """Every member, whatever becomes of the others."""

    def __init__(self, members: Sequence[Member]) -> None:
        self._waiting = deque(members)
        self._lock = threading.Lock()

    def take(self) -> Member | None:
        """Return the next member."""
        with self._lock:
            return self._waiting.popleft() if self._waiting else None

    def give_back(self, member: Member, *, good: bool) -> None:
        """Go on."""

    def halt(self) -> None:
        """Begin no further members."""
        with self._lock:
            self._waiting.clear()


class Rolling:
    """First the members that are down, which only can come up; then those that are up, of whom few are down at a time.

    A member is down from when it is taken until it was brought to its target. Members of `down` that wait or are at
    work count too, so one that is up is never touched while `limit` are down already. The first failure ends it.
    """

    def __init__(self, down: Sequence[Member], up: Sequence[Member], limit: int) -> None:
        self._coming = deque(down)
        self._leaving = deque(up)
        self._down = {member.name for member in down}
        self._limit = limit
        self._changed = threading.Condition()

    def take(self) -> Member | None:
        """Return the next member; waits while as many are down as may be."""
        with self._changed:
            while True:
                if self._coming:
                    return self._coming.popleft()
                if not self._leaving:
                    return None
                if len(self._down) < self._limit:
                    member = self._leaving.popleft()
                    self._down.add(member.name)
                    return member
                self._changed.wait()

    def give_back(self, member: Member, *, good: bool) -> None:
        """Count it as up again; or end the upgrade here."""
        with self._changed:
            if good:
                self._down.discard(member.name)
            else:
                self._end()
            self._changed.notify_all()

    def halt(self) -> None:
        """Begin no further members."""
        with self._changed:
            self._end()
            self._changed.notify_all()

    def _end(self) -> None:
        self._coming.clear()
        self._leaving.clear()


def limit(text: str, members: int) -> int:
    """Return how many of so many members may be down, from `2` or `25%` (rounded down, but one at least).

    Raises UsageError if it is neither.
    """
    found = re.fullmatch(r"([0-9]{1,6})(%?)", text.strip())
    figure = int(found[1]) if found else 0
    if found is None or figure == 0 or (found[2] and figure > 100):  # noqa: PLR2004 -- per cent
        raise UsageError(
            f"--max-unavailable: {text!r} is no number of members", hint="write for example 1, or 25% of them"
        )
    return max(1, members * figure // 100) if found[2] else figure
