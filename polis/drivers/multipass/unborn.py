"""Instances whose image an earlier launch still prepares: only another launch is told of them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from polis.drivers.multipass.failures import ToolFailure
from polis.drivers.multipass.patience import AWAY
from polis.errors import InstanceMissing
from polis.waiting import wait_until

if TYPE_CHECKING:
    from collections.abc import Callable

    from polis.drivers.base import Instance
    from polis.drivers.multipass.client import Client
    from polis.drivers.multipass.patience import Patience

NOWHERE = "file:///nonexistent/polis-asks-whether-the-name-is-free"
"""An image that is nowhere: launching it creates nothing, but tells whether the name is being prepared."""

UNDECIDED = frozenset({"being-prepared", "no-answer", "killed", *AWAY})
"""Answers to that launch that do not tell whether an instance will be there."""


class Unborn:
    """Waits for an instance that `list` and `delete` do not know yet. `seen` bridges a daemon that is away."""

    def __init__(self, client: Client, patience: Patience, seen: Callable[[str, float], Instance | None]) -> None:
        self._client = client
        self._patience = patience
        self._seen = seen

    def comes(self, name: str) -> bool:
        """Return whether an earlier launch makes the instance; waits until it can be deleted, or is given up.

        Raises InstanceMissing if that is not decided in time.
        """
        answer = wait_until(
            lambda _: self._settled(name), timeout=self._patience.preparing, interval=self._patience.look
        )
        if answer is None:
            raise InstanceMissing(
                f"{name} is still being prepared by an earlier launch",
                cause="Multipass deletes no instance before it is prepared",
                hint="run the command again in a minute",
            )
        return answer == "there"

    def _settled(self, name: str) -> str | None:
        if self._seen(name, self._patience.daemon) is not None:
            return "there"
        try:
            self._client.probe_name(name, NOWHERE, limit=self._patience.call)
        except ToolFailure as failed:
            if failed.name == "already-exists":
                return "there"
            return None if failed.name in UNDECIDED else "gone"
        return None
