"""Which members a command is for: `name=web-*,tier=front,phase=healthy`."""

from __future__ import annotations

from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import TYPE_CHECKING

from polis.errors import NotFound, UsageError
from polis.phase import Phase

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from polis.fleet.spec import Member

HINT = "write for example `name=web-*`, `tier=front` or `phase=healthy`; a comma means and"


@dataclass(frozen=True)
class Selector:
    """What each member that is meant has. `pairs` are a key and a pattern with `*`, `?` and `[…]`."""

    pairs: tuple[tuple[str, str], ...] = ()

    @property
    def asks_for_phases(self) -> bool:
        """Return whether records have to be read to answer."""
        return any(key == "phase" for key, _ in self.pairs)

    def matches(self, member: Member, phase: Callable[[str], str]) -> bool:
        """Return whether a member is meant; `phase` tells by its name what is recorded of it."""
        return all(self._has(member, phase, key, pattern) for key, pattern in self.pairs)

    @staticmethod
    def _has(member: Member, phase: Callable[[str], str], key: str, pattern: str) -> bool:
        if key == "name":
            return fnmatchcase(member.name, pattern)
        if key == "phase":
            return fnmatchcase(phase(member.name), pattern)
        return key in member.labels and fnmatchcase(member.labels[key], pattern)


def parse(text: str | None) -> Selector:
    """Return the selector that somebody typed; without one, all are meant. Raises UsageError."""
    pairs = []
    for part in text.split(",") if text is not None else ():
        key, sign, pattern = (word.strip() for word in part.partition("="))
        if not key or not sign:
            raise UsageError(f"--selector: {part.strip()!r} is no key with a value", hint=HINT)
        if key == "phase" and not any(fnmatchcase(phase.value, pattern) for phase in Phase):
            known = ", ".join(phase.value for phase in Phase)
            raise UsageError(f"--selector: there is no phase {pattern}", hint=f"the phases are {known}")
        pairs.append((key, pattern))
    return Selector(tuple(pairs))


def select(members: Sequence[Member], wanted: Selector, phase: Callable[[str], str]) -> tuple[Member, ...]:
    """Return the members that are meant, in the fleet's order. Raises NotFound if there are none."""
    found = tuple(member for member in members if wanted.matches(member, phase))
    if not found:
        told = ",".join(f"{key}={pattern}" for key, pattern in wanted.pairs)
        raise NotFound(
            f"no member of this fleet has {told}" if told else "this fleet has no members",
            remains="nothing was changed",
            hint="`polis fleet status` shows all members" if told else "add members to its file",
        )
    return found
