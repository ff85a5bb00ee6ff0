"""Entries in the server's database: profiles that no instance uses (the contract is drivers/entries.py).

Seen on LXD 5.0 (tests/contract): of several who create, rename or remove a profile at once, one succeeds; a PUT fails
once the profile was removed. A PUT with `If-Match` compares first and writes then: of two at once, both may succeed.
"""

from __future__ import annotations

import functools
import re
from typing import TYPE_CHECKING, Any, TypeVar
from urllib.parse import quote

from polis.drivers.entries import Entry
from polis.drivers.incus import table
from polis.drivers.incus.failures import ToolFailure, classify
from polis.drivers.incus.patience import AWAY
from polis.drivers.toolcalls import patiently
from polis.errors import DriverUnavailable
from polis.process import Completed

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from polis.drivers.entries import Texts
    from polis.drivers.incus.api import Answer, Transport
    from polis.drivers.incus.patience import Patience
    from polis.drivers.incus.tool import Tool

Result = TypeVar("Result")

PREFIX = "polis."
KEY = "user.polis."
DESCRIPTION = "Kept by Polis. No instance uses it."
PROJECT = "default"

_NO_PROJECT = re.compile(table.named("no-project").pattern)
_TAKEN = re.compile(r"already exists|UNIQUE constraint")


class IncusEntries:
    """The entries of one project; `connect` says how the server is reached, and which project is meant.

    The project's name is part of theirs: where a project has no profiles of its own, the server keeps them with the
    default one's.
    """

    def __init__(self, connect: Callable[[], tuple[Transport, str]], tool: Tool, patience: Patience) -> None:
        self._connect = connect
        self._tool = tool
        self._patience = patience

    @functools.cached_property
    def _server(self) -> tuple[Transport, str]:
        transport, project = self._told(self._connect)
        return transport, project or PROJECT

    def read(self, name: str) -> Entry | None:
        """See `Entries`."""
        answer = self._send("GET", self._path(name))
        if _is_gone(answer):
            return None
        return _entry(self._checked("GET", answer).content, answer.tag)

    def create(self, name: str, texts: Texts) -> bool:
        """See `Entries`."""
        content = {"name": self._profile(name), **_content(texts)}
        answer = self._send("POST", self._path(), content)
        if answer.refusal and (answer.status == 409 or _TAKEN.search(answer.refusal)):  # noqa: PLR2004 -- HTTP
            return False
        self._checked("POST", answer)
        return True

    def replace(self, name: str, texts: Texts, *, tag: str = "") -> bool:
        """See `Entries`."""
        answer = self._send("PUT", self._path(name), _content(texts), tag=tag)
        if _is_gone(answer) or answer.status == 412:  # noqa: PLR2004 -- HTTP
            return False
        self._checked("PUT", answer)
        return True

    def remove(self, name: str) -> bool:
        """See `Entries`."""
        answer = self._send("DELETE", self._path(name))
        if _is_gone(answer):
            return False
        self._checked("DELETE", answer)
        return True

    def all(self) -> Mapping[str, Entry]:
        """See `Entries`."""
        content = self._checked("GET", self._send("GET", f"{self._path()}&recursion=1")).content
        prefix = self._profile("")
        found = {}
        for profile in content if isinstance(content, list) else []:
            name = str(profile.get("name")) if isinstance(profile, dict) else ""
            if name.startswith(prefix):
                found[name.removeprefix(prefix)] = _entry(profile, "")
        return found

    def _profile(self, name: str) -> str:
        return f"{PREFIX}{self._server[1]}.{name}"

    def _path(self, name: str = "") -> str:
        below = f"/{quote(self._profile(name))}" if name else ""
        return f"/1.0/profiles{below}?project={quote(self._server[1])}"

    def _send(self, verb: str, path: str, content: Any = None, *, tag: str = "") -> Answer:
        """Send a request, bridging a server that restarts."""
        limit, transport = self._patience.call, self._server[0]
        return self._told(
            lambda: patiently(
                lambda: transport.request(verb, path, content, tag=tag, limit=limit),
                AWAY,
                self._patience.glance,
                pause=self._patience.look,
            )
        )

    def _checked(self, verb: str, answer: Answer) -> Answer:
        def check() -> Answer:
            if answer.refusal or answer.status >= 300:  # noqa: PLR2004 -- HTTP
                said = f"Error: {answer.refusal or f'status {answer.status}'}"  # as the client would print it
                raise ToolFailure(classify(verb, Completed((verb,), 1, "", said, 0.0)))
            return answer

        return self._told(check)

    def _told(self, question: Callable[[], Result]) -> Result:
        try:
            return question()
        except ToolFailure as failed:
            kind = DriverUnavailable if failed.failure.row is table.UNRECOGNIZED else None
            message = f"{self._tool.title} does not give the record of the workspace"
            raise failed.failure.error(message, self._tool, as_type=kind) from failed


def _is_gone(answer: Answer) -> bool:
    """Return whether there is no such entry; a project that is missing is another matter."""
    return answer.status == 404 and not _NO_PROJECT.search(answer.refusal)  # noqa: PLR2004 -- HTTP


def _content(texts: Texts) -> dict[str, Any]:
    return {"description": DESCRIPTION, "config": {f"{KEY}{key}": text for key, text in texts.items()}, "devices": {}}


def _entry(profile: Any, tag: str) -> Entry:
    config = profile.get("config") if isinstance(profile, dict) else None
    known = config.items() if isinstance(config, dict) else ()
    return Entry({key.removeprefix(KEY): str(value) for key, value in known if key.startswith(KEY)}, tag)
