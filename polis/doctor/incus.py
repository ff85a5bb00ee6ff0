"""The server of the driver `incus`: whether it answers, and what it makes."""

from __future__ import annotations

from typing import TYPE_CHECKING

from polis.doctor.findings import Finding, ok, problem, warning
from polis.errors import PolisError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from polis.drivers.incus.records import Server


def examine(ask: Callable[[], Server], kind: str) -> Iterator[Finding]:
    """Yield what stands between this machine and an instance; `ask` is the driver's question, `kind` what is wanted."""
    try:
        server = ask()
    except PolisError as error:
        why = error.cause or "the workspace's instance comes from it"
        yield problem("incus", error.message, why=why, mend=error.hint)
        return
    cluster = ", a cluster" if server.clustered else ""
    yield ok("incus", f"{server.name} {server.version} answers{cluster}")
    if server.vms and kind != "container":
        yield ok("isolation", "VMs: the server makes them")
    elif kind == "vm" and not server.clustered:
        yield problem(
            "isolation",
            "the server makes no VMs, and `incus.kind` is vm",
            why="no instance can be made",
            mend="set `incus.kind: container`, or use a server with KVM",
        )
    else:
        yield warning(
            "isolation",
            "system containers: they share the server's kernel",
            why="that isolates less than a VM does",
            mend="use a server with KVM, and `incus.kind: vm`",
        )
