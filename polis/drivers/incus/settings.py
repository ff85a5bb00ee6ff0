"""What of an Incus or LXD server the user configures."""

from __future__ import annotations

from dataclasses import dataclass

AUTO, VM, CONTAINER = "auto", "vm", "container"


@dataclass(frozen=True)
class Settings:
    """Where instances are made and from what; whatever is empty is left to the tool's own configuration.

    `target` is a member of the cluster, or `@group`. `kind` is vm, container, or auto: a VM where the server can.
    """

    remote: str = ""
    project: str = ""
    target: str = ""
    profiles: tuple[str, ...] = ()
    image: str = ""
    kind: str = AUTO

    def place(self, name: str) -> str:
        """Return the name of an instance, or a path of the interface, as the tool's arguments have it."""
        return f"{self.remote}:{name}" if self.remote else name
