"""Snapshots and templates: what an instance is returned to, and what new ones begin as.

A snapshot is the server's own, of one instance. It tells by itself what it was made from, for it holds a copy of the
instance's configuration. Whether it is complete is written on the instance afterwards: a server that dies while it
takes one leaves a record with half a disk.

A template is an image that the server makes of a snapshot. It is there whole or not at all, it is a property of the
project and of no workspace, a cluster brings it to its members as any image, and an instance begins with it by the
same request as with any image: with its own owner from the moment it exists.
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Protocol, TypeVar

from polis.drivers.base import InstanceState, Template
from polis.drivers.incus import birth, records
from polis.drivers.incus.failures import ToolFailure
from polis.drivers.incus.patience import AWAY
from polis.drivers.toolcalls import patiently
from polis.errors import InstanceMissing, LaunchFailed

if TYPE_CHECKING:
    from collections.abc import Callable

    from polis.drivers.incus.client import Client
    from polis.drivers.incus.patience import Patience
    from polis.drivers.incus.records import Seen, StoredImage

Answer = TypeVar("Answer")

AGE = timedelta(days=30)
"""How old a template may be. Nobody upgrades what is in it, and a new instance should not begin with last year's."""

ELDERS = timedelta(hours=1)
"""Who was created from the same inputs within this time before an instance makes the template, and it does not.

So of many that are created at once, one does. If that one never comes so far, the next one later does."""


class Ask(Protocol):
    """Gets a question's answer, asking again for as many seconds while the server is away."""

    def __call__(self, question: Callable[[], Answer], patience: float, /) -> Answer:
        """Return the answer. Raises what the user sees."""
        ...


@dataclass(frozen=True)
class Deeds:
    """What the driver does for it. `look` raises ToolFailure, the others what the user sees."""

    look: Callable[[str], Seen | None]
    ask: Ask
    switch_off: Callable[[str], None]


class IncusSnapshots:
    """Keeps the protocol `polis.drivers.base.Snapshots`."""

    def __init__(self, client: Client, patience: Patience, deeds: Deeds) -> None:
        self._client = client
        self._patience = patience
        self._deeds = deeds

    def take(self, *, name: str, label: str) -> None:
        """Take a snapshot, in place of half of one."""
        seen = self._there(name)
        if label in seen.instance.snapshots:
            return
        if not seen.fingerprint:
            raise LaunchFailed(f"{name} does not tell what it was made from, so nothing may be made of it")
        if seen.closed:
            raise LaunchFailed(f"{name} is somebody's already, so nothing may be made of it")
        deed = f"no snapshot can be taken of {name}"
        if label in seen.taken:
            self._do(lambda: self._client.drop(name, label, limit=self._patience.blocked), deed)
        self._do(lambda: self._client.snapshot(name, label, limit=self._patience.preparing), deed)
        self._complete(name, label, self._there(name).taken.get(label, ""), deed)

    def close(self, *, name: str) -> None:
        """Write on the instance that it is somebody's; restoring a snapshot, which is nobody's, takes that back."""
        if not self._there(name).closed:
            deed = f"{name} cannot be made this workspace's own"
            self._do(lambda: self._client.mark(name, records.CLOSED, "true", limit=self._patience.call), deed)

    def restore(self, *, name: str, label: str) -> None:
        """Switch the instance off, and make it what it was. Its configuration of then does not know the snapshot."""
        seen = self._there(name)
        if label not in seen.instance.snapshots:
            raise InstanceMissing(f"{name} has no complete snapshot {label}")
        if seen.instance.state is not InstanceState.STOPPED:
            self._deeds.switch_off(name)
        deed = f"{name} cannot be restored"
        self._do(lambda: self._client.restore(name, label, limit=self._patience.preparing), deed)
        self._complete(name, label, seen.taken[label], deed)

    def drop(self, *, name: str, label: str) -> None:
        """Remove a snapshot."""
        if label in self._there(name).taken:
            deed = f"the snapshot of {name} cannot be deleted"
            self._do(lambda: self._client.drop(name, label, limit=self._patience.blocked), deed)

    def template(self, *, fingerprint: str) -> Template | None:
        """Return the newest image of ours that was made from these inputs and is of the kind that would be made."""
        found = [image for image in self._images(fingerprint) if not _is_old(image)]
        if not found:
            return None
        server = self._ask(lambda: self._client.server(limit=self._patience.call))
        vm, _ = birth.is_vm(server, self._client.settings, self._client.tool)
        kind = "virtual-machine" if vm else "container"
        return next((Template(image.id, image.made[:16]) for image in found if image.kind == kind), None)

    def offer(self, *, name: str, label: str) -> bool:
        """Let the server make an image of a snapshot, unless there is one, or an elder makes one."""
        seen = self._there(name)
        fingerprint = seen.instance.snapshots.get(label, "")
        if not fingerprint or self.template(fingerprint=fingerprint) is not None or self._has_elder(seen):
            return False
        properties = {**birth.origin(fingerprint), "description": f"provisioned by Polis: {fingerprint}"}
        deed = f"no template can be made of {name}"
        self._do(lambda: self._client.publish(name, label, properties, limit=self._patience.call), deed)
        for image in self._images(""):
            if _is_old(image):
                self._delete(image)
        return True

    def withdraw(self, *, fingerprint: str) -> int:
        """Remove the images made from these inputs, unless an instance was made from the same."""
        digest = birth.digest(fingerprint)
        if self._ask(lambda: self._client.created_from(digest, limit=self._patience.call)):
            return 0
        doomed = self._images(fingerprint)
        for image in doomed:
            self._delete(image)
        return len(doomed)

    # ---- parts

    def _there(self, name: str) -> Seen:
        seen = self._ask(lambda: self._deeds.look(name))
        if seen is None:
            raise InstanceMissing(f"there is no instance {name}", hint="`polis up` creates it")
        return seen

    def _images(self, fingerprint: str) -> tuple[StoredImage, ...]:
        digest = birth.digest(fingerprint) if fingerprint else ""
        return self._ask(lambda: self._client.images(digest, limit=self._patience.call))

    def _has_elder(self, seen: Seen) -> bool:
        digest = birth.digest(seen.fingerprint)
        created = self._ask(lambda: self._client.created_from(digest, limit=self._patience.call))
        ours = (seen.created, seen.instance.name)
        earliest = _moment(seen.created) - ELDERS
        return any((at, name) < ours and _moment(at) > earliest for name, at in created.items())

    def _delete(self, image: StoredImage) -> None:
        deed = "a template cannot be deleted"
        self._do(lambda: self._client.delete_image(image.id, limit=self._patience.blocked), deed, gone="no-image")

    def _complete(self, name: str, label: str, taken: str, deed: str) -> None:
        key = f"{records.COMPLETE}{label}"
        self._do(lambda: self._client.mark(name, key, taken, limit=self._patience.call), deed)

    def _ask(self, question: Callable[[], Answer]) -> Answer:
        return self._deeds.ask(question, self._patience.daemon)

    def _do(self, action: Callable[[], None], deed: str, *, gone: str = "") -> None:
        """Do it, waiting for what the server is just doing to the instance; `gone` is no failure."""
        try:
            patiently(action, AWAY | {"busy"}, self._patience.preparing, pause=self._patience.look)
        except ToolFailure as failed:
            if failed.name == gone:
                return
            raise failed.failure.error(deed, self._client.tool) from failed


def _is_old(image: StoredImage) -> bool:
    return _moment(image.made) < datetime.fromtimestamp(time.time(), UTC) - AGE


def _moment(text: str) -> datetime:
    """Return a time as the server writes it, to the second; one that it did not write well is long ago."""
    try:
        return datetime.fromisoformat(text[:19]).replace(tzinfo=UTC)
    except ValueError:
        return datetime.fromtimestamp(0, UTC)
