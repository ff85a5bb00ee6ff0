"""What the proxy does to a request instead of serving it: the modes, and which requests they hit."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

from lab.errors import LabError

BODY_PATH = re.compile(r"^/v2/.+/blobs/sha256:[0-9a-f]{64}$|^/(?!v2/).+\.deb$")
"""A blob of the registry, or a package of the mirror."""
SIGNED = "/docker/"
FOREIGN = "/docker-foreign/"
"""Where the mirror has the same, signed by a key that nobody trusts."""


class Mode(StrEnum):
    """The ways in which a registry or a mirror lets its users down."""

    NONE = "none"
    OUTAGE = "outage"
    """Connections are reset at once."""
    UNAVAILABLE = "unavailable"
    """503."""
    THROTTLED = "throttled"
    """429 with Retry-After."""
    HANG = "hang"
    """Connections are accepted and requests never answered."""
    RESET = "reset"
    """The connection is cut halfway through a blob or a package."""
    CORRUPT = "corrupt"
    """A byte of a blob or a package is altered, so that its digest is wrong."""
    UNAUTHORIZED = "unauthorized"
    """401."""
    MISSING = "missing"
    """404."""
    FOREIGN = "foreign"
    """The package repository is answered as one that another key signed."""

    @property
    def in_body(self) -> bool:
        """Return whether the fault lies in the body of what is downloaded; other requests pass and do not count."""
        return self in {Mode.RESET, Mode.CORRUPT}


@dataclass
class Fault:
    """The fault that is set: `match` (a regular expression searched in the path) narrows it, `count` limits it."""

    mode: Mode = Mode.NONE
    match: str | None = None
    count: int | None = None
    hits: int = field(default=0, compare=False)

    def __post_init__(self) -> None:
        try:
            self._pattern = re.compile(self.match or "")
        except re.error as error:
            raise LabError(f"not a regular expression: {self.match!r} ({error})") from None
        if self.count is not None and self.count < 1:
            raise LabError(f"count must be at least 1, not {self.count}")

    @property
    def active(self) -> bool:
        """Return whether requests are still hit; a counted fault heals by itself."""
        return self.mode is not Mode.NONE and (self.count is None or self.hits < self.count)

    @property
    def hits_connections(self) -> bool:
        """Return whether connections fall before they can name a path."""
        return self.active and self.mode is Mode.OUTAGE and self.match is None

    def hit(self) -> Mode:
        """Count a hit on a connection or request and return the mode to apply."""
        self.hits += 1
        return self.mode

    def take(self, method: str, target: str) -> Mode:
        """Return what befalls this request, counting it if it is hit."""
        if not self.active or not self._pattern.search(target):
            return Mode.NONE
        path = target.partition("?")[0]
        if self.mode.in_body and not (method == "GET" and BODY_PATH.match(path)):
            return Mode.NONE
        if self.mode is Mode.FOREIGN and not path.startswith(SIGNED):
            return Mode.NONE
        return self.hit()

    def to_json(self) -> dict[str, Any]:
        """Return what the admin endpoint shows."""
        mode = self.mode if self.active else Mode.NONE
        return {"mode": mode.value, "match": self.match, "count": self.count, "hits": self.hits}

    @classmethod
    def from_json(cls, content: Any) -> Fault:
        """Return the fault that a JSON object asks for; raises LabError if it asks for none there is."""
        if not isinstance(content, dict):
            raise LabError("a fault is a JSON object")
        unknown = set(content) - {"mode", "match", "count"}
        if unknown:
            raise LabError(f"unknown keys: {', '.join(sorted(unknown))}")
        try:
            mode = Mode(str(content.get("mode")))
        except ValueError:
            known = ", ".join(Mode)
            raise LabError(f"unknown mode {content.get('mode')!r}: one of {known}") from None
        return cls(mode, content.get("match"), content.get("count"))
