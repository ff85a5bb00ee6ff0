"""Rows about an instance that exists: switching it, reaching it, its files."""

from __future__ import annotations

from polis.drivers.multipass import advice
from polis.drivers.multipass.rows import Kind, Row
from polis.errors import (
    GuestCommandFailed,
    GuestUnreachable,
    HostUnsuitable,
    InstanceMissing,
    LaunchFailed,
    ProvisioningFailed,
)

POWER = (
    Row(
        "needs-force",
        r"Cannot shut down (instance|suspended instance) .*|Use --force to power it off",
        Kind.PERMANENT,
        ProvisioningFailed,
        "`multipass stop --force` switches it off",
    ),
    Row(
        "deaf-to-shutdown",
        r"did not finish within \d+ milliseconds after being shutdown",
        Kind.USER,
        ProvisioningFailed,
        "`multipass stop --force` switches it off",
    ),
    Row("unknown-state", r"already running, but in an unknown state", Kind.USER, LaunchFailed, advice.POWER_OFF),
    Row("suspending", r"Cannot start the instance '.*' while suspending", Kind.TRANSIENT, LaunchFailed, advice.WAIT),
    Row(
        "feature-missing",
        r"feature is not implemented on this backend",
        Kind.PERMANENT,
        HostUnsuitable,
        "another Multipass driver can (`multipass get local.driver` shows the present one)",
    ),
)

INSTANCE = (
    Row(
        "deleted",
        r"instance \".*\" is deleted|Instance '.*' is deleted",
        Kind.PERMANENT,
        InstanceMissing,
        "bring it back with `multipass recover`, or free the name with `multipass delete --purge`",
    ),
    Row(
        "no-instance",
        r"instance \".*\" does not exist|Instance '.*' does not exist",
        Kind.PERMANENT,
        InstanceMissing,
        "`polis up` creates it",
    ),
    Row(
        "no-credentials", r"Cannot retrieve credentials in unknown state", Kind.TRANSIENT, GuestUnreachable, advice.WAIT
    ),
    Row(
        "not-running", r"instance \".*\" is not running", Kind.TRANSIENT, GuestUnreachable, "`polis up` switches it on"
    ),
    Row(
        "about-to-stop",
        r"is scheduled to shut down in less than a minute",
        Kind.TRANSIENT,
        GuestUnreachable,
        "`polis up` cancels the shutdown, or switches it on again",
    ),
)

SSH = (
    # Not a dropped connection: the guest may have begun the command.
    Row("ssh-broken", r"\[ssh client\] exec request failed", Kind.TRANSIENT, GuestUnreachable, advice.WAIT),
    Row(
        "ssh-dropped",
        r"ssh connection failed: 'Socket error: (Connection reset|disconnected)|"
        r"\[ssh client\] channel creation failed",
        Kind.TRANSIENT,
        GuestUnreachable,
        advice.WAIT,
    ),
    Row(
        "no-route", r"Failed to connect: No route to host|No route to host", Kind.USER, GuestUnreachable, advice.NETWORK
    ),
    Row("no-hostname", r"Failed to resolve hostname", Kind.USER, GuestUnreachable, advice.NETWORK),
    Row("ssh-refused", r"ssh connection failed: '", Kind.TRANSIENT, GuestUnreachable, advice.WAIT),
    Row(
        "ssh-denied",
        r"ssh failed to authenticate: '",
        Kind.USER,
        GuestUnreachable,
        "the guest no longer knows Multipass' key: `polis up --recreate` makes a new VM",
    ),
)

FILES = (
    Row(
        "guest-file",
        r"\[sftp\] (remote target does not exist|cannot (open|write to|create) remote "
        r"|cannot access remote|cannot read remote)|cannot (open|write to) remote file|SFTP server: ",
        Kind.PERMANENT,
        GuestCommandFailed,
    ),
    Row(
        "host-file",
        r"cannot access |cannot open local |omitting local directory|cannot write local ",
        Kind.USER,
        HostUnsuitable,
        {
            "linux": "check that you may read and write that path",
            "snap": "move the file below your home (not into a hidden directory): the snap sees nothing else",
            "darwin": "check that you may read and write that path",
            "win32": "check that you may read and write that path",
        },
    ),
)
