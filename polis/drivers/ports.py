"""TCP ports of the loopback address."""

from __future__ import annotations

import contextlib
import errno
import socket
from typing import TYPE_CHECKING

from polis.drivers.base import Forward
from polis.errors import HostUnsuitable

if TYPE_CHECKING:
    from collections.abc import Iterable

LOOPBACK = "127.0.0.1"


def free_port(*, besides: Iterable[int] = (), rather: int = 0) -> int:
    """Return a port that nobody listens on at this moment and that is none of `besides`; `rather`, if that is one."""
    taken = set(besides)
    if rather and rather not in taken:
        with contextlib.suppress(HostUnsuitable):
            require_free([Forward(rather, 0)])
            return rather
    while True:
        with socket.socket() as probe:
            probe.bind((LOOPBACK, 0))
            port = int(probe.getsockname()[1])
        if port not in taken:
            return port


def require_free(forwards: Iterable[Forward]) -> None:
    """Raise HostUnsuitable, naming the port, if one that the user asked for cannot be listened on."""
    for forward in forwards:
        try:
            with socket.socket() as probe:
                # As QEMU does it: a connection that has just been closed does not hold the port.
                probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
                probe.bind((LOOPBACK, forward.host))
                probe.listen(1)
        except OSError as error:
            raise taken(forward.host, error) from error


def taken(port: int, error: OSError | None = None) -> HostUnsuitable:
    """Return the error for a port that cannot be listened on."""
    if error is not None and error.errno == errno.EACCES:
        return HostUnsuitable(
            f"port {port} needs more privileges than this user has",
            cause=str(error),
            hint="choose a port above 1023 in `ports`",
        )
    return HostUnsuitable(
        f"port {port} of {LOOPBACK} is in use by another program",
        cause=str(error or ""),
        hint=f"end that program, or choose another port than {port} in `ports`",
    )


def greets_as_ssh(port: int, *, timeout: float) -> bool:
    """Return whether an SSH server answers on a port.

    That a connection opens proves nothing: QEMU accepts it whether or not the guest listens.
    """
    try:
        with socket.create_connection((LOOPBACK, port), timeout=timeout) as connection:
            return connection.recv(4) == b"SSH-"
    except OSError:
        return False
