"""Keeping a provisioned guest: to return to it, and to let other workspaces begin as it.

What is kept was provisioned and found well, and has never been anybody's: it is taken before the guest is signed, and
only a signed guest is ever configured or given a key. So none of that can be in it, wherever Polis is interrupted.
"""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import TYPE_CHECKING

from polis.errors import PolisError
from polis.events import Disclosed, PhaseProgress, Warned
from polis.phase import Phase

if TYPE_CHECKING:
    from polis.drivers.base import LaunchRequest, Snapshots, Template
    from polis.states.base import Workbench
    from polis.states.observation import Observation

LABEL = "polis-launched"
"""Under which the driver keeps the snapshot."""

SEALING = 120.0
"""Seconds for the guest to write everything to its disk."""


@dataclass(frozen=True)
class Savepoint:
    """The snapshot of one workspace's instance, and the template of all that are made from the same inputs.

    `inputs` is the fingerprint of today's. What was made from others is never used. Nothing here is needed for a
    workspace to work: what cannot be kept is told, and no failure.
    """

    bench: Workbench
    snapshots: Snapshots
    inputs: str

    def is_kept(self, observation: Observation) -> bool:
        """Return whether there is a snapshot to return to, made from today's inputs."""
        return observation.instance is not None and observation.instance.snapshots.get(LABEL) == self.inputs

    def request(self, request: LaunchRequest, observation: Observation) -> LaunchRequest:
        """Return the request for an instance that can be kept, and that begins as the template if there is one."""
        request = dataclasses.replace(request, fingerprint=self.inputs)
        template = self._template() if observation.instance is None else None
        if template is None:
            return request
        text = f"the VM begins as the template of {template.made}, which was provisioned from the same inputs"
        self.bench.emit(Disclosed(message=text))
        return dataclasses.replace(request, template=template.id)

    def keep(self) -> None:
        """Take the snapshot, unless there is one, and let no other be taken: the guest may be signed then.

        Raises what `Snapshots.close` raises.
        """
        self._tell("taking a snapshot")
        try:
            self.bench.guest.call("seal", {}, timeout=SEALING)
            self.snapshots.take(name=self.bench.name, label=LABEL)
        except PolisError as error:
            self._warn("no snapshot was taken: `polis reset --to launched` will undo step by step", error)
        self.snapshots.close(name=self.bench.name)

    def offer(self) -> None:
        """Let others begin as this guest did: the driver makes a template of the snapshot, and nobody waits for it."""
        try:
            if self.snapshots.offer(name=self.bench.name, label=LABEL):
                self._tell("a template is being made of the snapshot")
        except PolisError as error:
            self._warn("no template is made: the next workspace is provisioned again", error)

    def restore(self) -> None:
        """Make the instance what it was. It is off afterwards, and unsigned."""
        self._tell("restoring the snapshot")
        self.snapshots.restore(name=self.bench.name, label=LABEL)
        self.bench.emit(Disclosed(message="the VM is what its snapshot was, as if it had just been provisioned"))

    def _template(self) -> Template | None:
        try:
            return self.snapshots.template(fingerprint=self.inputs)
        except PolisError as error:
            self._warn("it cannot be told whether there is a template", error)
            return None

    def _tell(self, detail: str) -> None:
        self.bench.emit(PhaseProgress(phase=Phase.LAUNCHED, detail=detail))

    def _warn(self, text: str, error: PolisError) -> None:
        self.bench.emit(Warned(message=f"{text} ({error})"))
