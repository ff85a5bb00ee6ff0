"""Named texts in the database of a driver's server: what any machine that may use the server can read and change.

They are what a record can be kept in that belongs to no single machine. A driver that has them has a method `entries`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

Texts = Mapping[str, str]
"""Values by their name; a name is lower-case letters, digits and hyphens. No value is empty."""


@dataclass(frozen=True)
class Entry:
    """What is under a name. `tag` changes with the content."""

    texts: Texts
    tag: str


class Entries(Protocol):
    """The entries of one project of one server.

    Names and removals are atomic: of all who create or remove a name at the same time, one succeeds, and who replaces
    one that was removed is told so. All methods raise what `Driver.find` raises.
    """

    def read(self, name: str) -> Entry | None:
        """Return what is under a name, or None."""
        ...

    def create(self, name: str, texts: Texts) -> bool:
        """Put something under a new name; return False if the name is taken."""
        ...

    def replace(self, name: str, texts: Texts, *, tag: str = "") -> bool:
        """Replace what is under a name; return False if it is gone or, with a tag, no longer what the tag was of.

        The tag is compared before it is replaced, not in one step: two who replace in the same moment may both
        succeed. So no lock can be made of it.
        """
        ...

    def remove(self, name: str) -> bool:
        """Remove a name; return False if there is none."""
        ...

    def all(self) -> Mapping[str, Entry]:
        """Return everything by one question; a tag may be empty then."""
        ...


@runtime_checkable
class HasEntries(Protocol):
    """A driver whose server has entries."""

    def entries(self) -> Entries:
        """Return them. Nothing is asked of the server for that. Raises ConfigurationError, HostUnsuitable."""
        ...
