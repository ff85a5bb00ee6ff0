"""The embedded driver's tools: QEMU and OpenSSH."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

from polis.doctor.findings import Finding, ok, problem, warning
from polis.drivers.qemu import host
from polis.errors import PolisError

if TYPE_CHECKING:
    from collections.abc import Iterator

TOOLS = ("qemu-img", "ssh", "ssh-keygen")


def examine(accel: str) -> Iterator[Finding]:
    """Yield what the driver `qemu` finds on this machine."""
    if sys.platform == "win32":
        yield problem(
            "qemu",
            "the embedded driver does not run on Windows",
            why="it speaks to QEMU through Unix sockets",
            mend="winget install Canonical.Multipass, then polis up --driver multipass",
        )
        return
    try:
        yield ok("qemu", f"QEMU {host.version()} at {host.system_binary()}")
    except PolisError as error:
        yield _missing("qemu", error)
    for tool in TOOLS:
        try:
            yield ok(tool, host.require(tool))
        except PolisError as error:
            yield _missing(tool, error)
    yield _acceleration(accel)


def _missing(name: str, error: PolisError) -> Finding:
    return problem(name, str(error.message), why="no VM can be made without it", mend=error.hint)


def _acceleration(accel: str) -> Finding:
    try:
        found = host.acceleration(accel)
    except PolisError as error:
        return problem("virtualization", error.message, why=error.cause, mend=error.hint)
    if found.name != "tcg":
        return ok("virtualization", str(found))
    return warning(
        "virtualization",
        str(found),
        why="everything in the VM is emulated: about ten times slower, though it works",
        mend="switch virtualization on in the firmware (VT-x, AMD-V), or for /dev/kvm: sudo usermod -aG kvm $USER",
    )
