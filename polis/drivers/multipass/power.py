"""Switching an instance off, and seeing that it is off."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from polis.drivers.base import InstanceState
from polis.drivers.multipass.failures import ToolFailure
from polis.errors import ProvisioningFailed
from polis.waiting import wait_until

if TYPE_CHECKING:
    from collections.abc import Callable

    from polis.drivers.base import Instance
    from polis.drivers.multipass.client import Client
    from polis.drivers.multipass.patience import Patience

STUBBORN = frozenset({"needs-force", "deaf-to-shutdown", "no-answer"})
"""What a graceful stop may say of a guest that can only be cut off."""


class Power:
    """The button and the plug. Every method raises ToolFailure."""

    def __init__(self, client: Client, patience: Patience, look: Callable[[str], Instance | None]) -> None:
        self._client = client
        self._patience = patience
        self._look = look

    def switch_off(self, name: str, timeout: float, *, force: bool = False) -> None:
        """Stop it and see that it is off. A guest in early boot ignores the power button, and blocks the daemon."""
        try:
            limit = self._patience.blocked if force else timeout
            self._client.stop(name, limit=limit, force=force)
        except ToolFailure as failed:
            if force or failed.name not in STUBBORN:
                raise
            self._client.stop(name, limit=self._patience.blocked, force=True)
        if not wait_until(lambda _: self._is_off(name), timeout=self._patience.answer, interval=self._patience.look):
            raise ProvisioningFailed(
                f"{name} is still on, though Multipass said that it switched it off",
                hint=f"`multipass stop --force {name}` switches it off",
            )

    def wake(self, name: str, timeout: float) -> bool:
        """Return whether a suspended instance was resumed."""
        try:
            self._client.start(name, wait=math.ceil(timeout) + self._patience.margin, limit=timeout)
        except ToolFailure:
            return False
        return True

    def _is_off(self, name: str) -> bool:
        seen = self._look(name)
        return seen is None or seen.state in (InstanceState.STOPPED, InstanceState.DELETED)
