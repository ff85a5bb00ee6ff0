"""What a row of the table is."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from polis.drivers.multipass.host import Hint
    from polis.errors import PolisError


class Kind(StrEnum):
    """Who mends it: time, nobody (another request is needed), or the user on this machine."""

    TRANSIENT = "transient"
    PERMANENT = "permanent"
    USER = "user"


@dataclass(frozen=True)
class Row:
    """One meaning. `pattern` is searched in the words; `codes` are the client's exit codes, where they matter."""

    name: str
    pattern: str
    kind: Kind
    error: type[PolisError]
    hint: Hint = ""
    codes: tuple[int, ...] = ()
