"""A client call that runs beside us.

`launch` returns only when cloud-init has ended, and whoever ends its client while the image is fetched undoes it. So it
runs in a thread of its own, and lives on when we have seen enough or are interrupted: it ends with its pipes, and the
daemon goes on or cleans up, as with any killed client; the next `launch` joins what it finds.
"""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING

from polis.drivers.multipass.failures import Failure, ToolFailure

if TYPE_CHECKING:
    from collections.abc import Callable


class Errand:
    """One call on its way."""

    def __init__(self, call: Callable[[], None]) -> None:
        self._call = call
        self._failure: Failure | None = None
        self._crash: BaseException | None = None
        self._thread = threading.Thread(target=self._go, daemon=True)
        self._thread.start()

    @property
    def running(self) -> bool:
        """Return whether the client is still at work."""
        return self._thread.is_alive()

    def failure(self) -> Failure | None:
        """Return why the ended call failed, or None if it did well. Raises what is no failure of the tool."""
        if self._crash is not None:
            raise self._crash
        return self._failure

    def _go(self) -> None:
        try:
            self._call()
        except ToolFailure as failed:
            self._failure = failed.failure
        except BaseException as error:  # noqa: BLE001 -- carried to the waiting thread, raised there
            self._crash = error
