"""The part of a server's interface that entries are kept with, in memory: words and statuses of LXD 5.0.2 as observed.

What is not atomic there is not atomic here: `If-Match` is compared first, and the content written later.
`tests/contract/test_shared_record.py` runs the same tests on a real one.
"""

from __future__ import annotations

import hashlib
import json
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import unquote, urlsplit

from polis.drivers.incus.api import Answer, Transport
from polis.drivers.incus.entries import IncusEntries
from polis.drivers.incus.patience import Patience
from polis.drivers.incus.tool import LXD

QUICK = Patience(glance=0.0, look=0.01)


@dataclass
class ProfileServer:
    """One server."""

    profiles: dict[str, dict[str, Any]] = field(default_factory=dict)
    sent: list[tuple[str, str]] = field(default_factory=list)
    _one: threading.Lock = field(default_factory=threading.Lock)

    def request(  # noqa: PLR0911 -- an answer for each kind of request
        self, verb: str, path: str, content: Any = None, *, tag: str = "", limit: float
    ) -> Answer:
        assert limit > 0
        parts = urlsplit(path)
        name = unquote(parts.path.removeprefix("/1.0/profiles").removeprefix("/"))
        with self._one:
            self.sent.append((verb, name))
            if verb == "GET" and not name:
                return Answer(200, "", [{"name": key, **value} for key, value in self.profiles.items()])
            if verb == "POST":
                return self._post(content)
            found = self.profiles.get(name)
            if found is None:
                words = {"GET": "Fetch profile: ", "PUT": f'Failed to retrieve profile "{name}": ', "DELETE": ""}
                return Answer(404, "", None, f"{words[verb]}Profile not found")
            if verb == "GET":
                return Answer(200, _tag(found), {"name": name, **found})
            if verb == "DELETE":
                del self.profiles[name]
                return Answer(200, "", {})
            if tag and tag != _tag(found):
                return Answer(412, "", None, f"ETag doesn't match: {_tag(found)} vs {tag}")
        time.sleep(0)  # here others get in between, as they do there
        with self._one:
            if name not in self.profiles:
                return Answer(404, "", None, "Profile not found")
            self.profiles[name] = json.loads(json.dumps(content))
            return Answer(200, "", {})

    def _post(self, content: Any) -> Answer:
        name = content.pop("name")
        if name in self.profiles:
            return Answer(500, "", None, f'Error inserting "{name}" into database: The profile already exists')
        self.profiles[name] = json.loads(json.dumps(content))
        return Answer(201, "", None)


def _tag(profile: dict[str, Any]) -> str:
    return hashlib.sha256(json.dumps(profile, sort_keys=True).encode()).hexdigest()


class Killed(BaseException):
    """The process ended here; nothing that it would still do happens."""


@dataclass
class Cut:
    """Passes requests on until the process is killed: before the request of a number, or before its answer."""

    inner: Transport
    at: int | None = None
    after: bool = False
    passed: int = 0

    def request(self, verb: str, path: str, content: Any = None, *, tag: str = "", limit: float) -> Answer:
        index, self.passed = self.passed, self.passed + 1
        if self.at is not None and (index > self.at or (index == self.at and not self.after)):
            raise Killed
        answer = self.inner.request(verb, path, content, tag=tag, limit=limit)
        if index == self.at:
            raise Killed
        return answer


def entries(transport: Transport, project: str = "default") -> IncusEntries:
    """Return the entries of a server."""
    return IncusEntries(lambda: (transport, project), LXD, QUICK)


@dataclass
class Clock:
    """A clock that goes on only when somebody sleeps; `then` happens meanwhile."""

    now: float = 0.0
    then: Callable[[float], None] = lambda _now: None

    def __call__(self) -> float:
        return self.now

    def sleep(self, seconds: float) -> None:
        self.now += seconds
        self.then(self.now)
