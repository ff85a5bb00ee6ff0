"""The tool's texts, as the facts record them for 1.16 (match table of section 2, raw outputs of the observation).

The first row that matches counts, so what is more specific stands above. A transient row may carry a hint too: it is
shown once waiting did not help.
"""

from __future__ import annotations

from polis.drivers.multipass import advice
from polis.drivers.multipass.host import SERVICE
from polis.drivers.multipass.rows import Kind, Row
from polis.drivers.multipass.table_guest import FILES, INSTANCE, POWER, SSH
from polis.drivers.multipass.table_launch import HYPERVISOR, IMAGES, LAUNCH
from polis.errors import (
    DriverUnavailable,
    HostUnsuitable,
    LaunchFailed,
    PolisError,
)

DAEMON = (
    Row("daemon-down", r"cannot connect to the multipass socket", Kind.TRANSIENT, DriverUnavailable, SERVICE),
    Row(
        "socket-denied",
        r"multipass socket access denied",
        Kind.USER,
        HostUnsuitable,
        "join the group that owns Multipass' socket (usually sudo or adm), then log in again",
    ),
    Row(
        "not-authenticated",
        r"client is not authenticated with the Multipass service",
        Kind.USER,
        HostUnsuitable,
        "let this user in with `multipass authenticate`, then run the command again",
    ),
    Row(
        "no-root-cert", r"failed to open file '.*multipass_root_cert\.pem'", Kind.TRANSIENT, DriverUnavailable, SERVICE
    ),
    Row(
        "client-cert",
        r"multipass_cert(_key)?\.pem'.*(No such file|Illegal byte|Permission denied)",
        Kind.USER,
        HostUnsuitable,
        "Multipass cannot use this account's directory (on Windows: a user name that is not ASCII); "
        "use another account, or `--driver qemu`",
    ),
    Row(
        "snap-home",
        r"home directories outside of /home needs configuration",
        Kind.USER,
        HostUnsuitable,
        "tell snap where your home is: `sudo snap set system homedirs=<parent of your home>`",
    ),
)

CLIENT = (
    Row(
        "usage",
        r"Unknown option|Unknown command or alias|Wrong number of arguments"
        r"|An instance name is needed for either source or destination",
        Kind.PERMANENT,
        PolisError,
        "this is a mistake in Polis, or this Multipass is newer than it knows: please report it",
    ),
    Row(
        "crashed",
        r"Caught an unhandled exception",
        Kind.PERMANENT,
        HostUnsuitable,
        "Multipass' client crashed: check its version with `multipass version`",
    ),
)

ROWS: tuple[Row, ...] = (*DAEMON, *LAUNCH, *IMAGES, *HYPERVISOR, *POWER, *INSTANCE, *SSH, *FILES, *CLIENT)

NO_ANSWER = Row("no-answer", r"", Kind.TRANSIENT, DriverUnavailable, SERVICE)
"""A call outlived its limit. Not proof of a dead daemon: it serves one request at a time, some for minutes (#1044)."""

GARBLED = Row("garbled", r"", Kind.TRANSIENT, DriverUnavailable, SERVICE)
"""The tool said success and printed something else than what was asked for."""

KILLED = Row("killed", r"", Kind.TRANSIENT, DriverUnavailable, advice.WAIT)
"""The client was ended by a signal; the daemon may go on with what it was asked."""

UNRECOGNIZED = Row(
    "unrecognized", r"", Kind.PERMANENT, LaunchFailed, "`multipass list` and `multipass version` show how Multipass is"
)
"""No row of the table: nothing is assumed, the tool's words are shown."""
