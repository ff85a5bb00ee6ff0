"""The tool's texts: what each means, what the user does about it. Data; the first row that fits counts.

Texts of LXD 5.0 as it was seen to print them (tests/data/lxd), those of Incus 6 where they differ.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from polis.errors import (
    ConfigurationError,
    DriverUnavailable,
    ForeignInstance,
    GuestUnreachable,
    HostUnsuitable,
    InstanceMissing,
    LaunchFailed,
    Transient,
)

if TYPE_CHECKING:
    from polis.errors import PolisError


@dataclass(frozen=True)
class Row:
    """One meaning: `pattern` is searched in the words; `hint` may name {command}, {title}, {group} and so on."""

    name: str
    pattern: str
    error: type[PolisError]
    hint: str = ""


NO_ANSWER = Row("no-answer", r"(?!)", DriverUnavailable, "check {title} with `{command} info`, then run it again")
GARBLED = Row("garbled", r"(?!)", DriverUnavailable, "check {title} with `{command} query /1.0`")
UNRECOGNIZED = Row(
    "unrecognized", r"(?!)", LaunchFailed, "`{command} info --show-log` of the instance tells more, then `polis up`"
)

ACCESS = (
    Row(
        "no-rights",
        r"connect: permission denied|needed permissions to talk to the incus daemon",
        HostUnsuitable,
        "join the group that may use it (`sudo adduser $USER {group}`), log in anew, then run the command again",
    ),
    Row(
        # An expired certificate of ours gets the same answer as one that was never trusted.
        "not-authorized",
        r"^Error: (not authorized|Forbidden)$",
        HostUnsuitable,
        "the server does not trust this machine's certificate, or no longer: it may have expired. Have a token made "
        "there (`{command} config trust add`), then `{command} remote remove` and `{command} remote add`",
    ),
    Row(
        "unknown-remote",
        r"The remote \".*\" doesn't exist",
        ConfigurationError,
        "correct `incus.remote` in the configuration; `{command} remote list` shows what there is",
    ),
    Row(
        "certificate-expired",
        r"certificate has expired|is not yet valid|tls: (expired|bad) certificate|certificate.* expired",
        HostUnsuitable,
        "renew it: remove the remote (`{command} remote remove`) and add it again with a new token "
        "(`{command} remote add`)",
    ),
    Row(
        "certificate-unknown",
        r"x509: |tls: |[Cc]ertificate",
        HostUnsuitable,
        "the remote is not the one that was added, or does not know you: `{command} remote add` it again",
    ),
)
DAEMON = (
    Row(
        "daemon-down",
        r"dial unix|unix\.socket: read|unix.*connection reset|unix socket not accessible|"
        r"[Dd]aemon (not running|doesn't appear)|(daemon|server) is (shutting down|starting up|not running)",
        DriverUnavailable,
        "start it (`{service}`), or look why it does not run; then run the command again",
    ),
    Row(
        # Not waited for: a server that restarts is back in a moment, and a member that died may never be.
        "member-away",
        r"Missing event connection with target cluster member|[Mm]ember is offline|offline member|"
        r"Failed to connect to (peer|cluster member)",
        DriverUnavailable,
        "the instance's cluster member is away (`{command} cluster list` shows which): run the command again when it "
        "is back",
    ),
    Row(
        "remote-away",
        r"dial tcp|no route to host|i/o timeout|TLS handshake timeout|connection refused",
        DriverUnavailable,
        "check that the server is reached (`{command} info`), then run the command again",
    ),
    Row("broken-off", r"websocket: close|unexpected EOF|: EOF$", GuestUnreachable),
    Row("busy", r"Instance is busy running a|database is locked|not leader", Transient),
)
IMAGES = (
    Row(
        "download-failed",
        r"Failed getting (remote )?image.*(Get \"http|no such host|timeout|EOF)",
        DriverUnavailable,
        "the server could not fetch the image: check its way to the internet, or name one that it has in `incus.image`",
    ),
    Row(
        "no-image",
        r"[Ii]mage not found|requested image couldn't be found|[Ii]mage .*doesn't exist|Failed getting image",
        ConfigurationError,
        "correct `incus.image` in the configuration; `{command} image list` shows what there is",
    ),
    Row(
        "image-of-other-kind",
        r"Asked for a VM but image is of type|Asked for a container but image is of type",
        ConfigurationError,
        "set `incus.kind` to what the image is of (vm or container), or choose another `incus.image`",
    ),
)
REQUESTS = (
    Row(
        "no-project",
        r"[Pp]roject not found|Failed to fetch project|fetch project",
        ConfigurationError,
        "correct `incus.project` in the configuration; `{command} project list` shows what there is",
    ),
    Row(
        "no-profile",
        r"Requested profile|[Pp]rofile not found|Load profile",
        ConfigurationError,
        "correct `incus.profiles` in the configuration; `{command} profile list` shows what there is",
    ),
    Row(
        "no-target",
        r"Target only allowed when clustered|(member|group).*(not found|doesn't exist)|[Nn]o such cluster member",
        ConfigurationError,
        "correct `incus.target` in the configuration; `{command} cluster list` shows what there is",
    ),
    Row(
        "full",
        r"Reached maximum (number|aggregate)|[Nn]o suitable cluster member|limits\..* (exceed|reached)",
        HostUnsuitable,
        "delete instances that are not needed, ask for less (`cpus`, `memory`, `disk`), or have the limit raised "
        "(`{command} project info`, `{command} cluster list`)",
    ),
    Row(
        "storage-full",
        r"run out of disk space|[Nn]o space left on device|[Dd]isk quota exceeded|insufficient (free )?space",
        HostUnsuitable,
        "make room in the storage pool (`{command} storage info`, `{command} image list`), then run the command again",
    ),
    Row(
        "no-root-disk",
        r"No root device could be found|device \"root\": Device not found|[Nn]o storage pool",
        HostUnsuitable,
        "give the profile a root disk: `{setup}` does; or name another in `incus.profiles`",
    ),
    Row(
        "no-vms",
        r"Instance type .*(not supported|not operational)|virtual.machine.*(not supported|not available)|vhost_vsock|"
        r"KVM support is missing",
        HostUnsuitable,
        "set `incus.kind: container` (less isolation: it shares the server's kernel), or use a server with KVM",
    ),
    Row(
        "port-taken",
        # Of its two processes for a port, the one that only misses the other may be the first to complain.
        r"Failed to listen on .*address already in use|starting proxy device: .*listener process",
        HostUnsuitable,
        "end what listens there, or choose other numbers in `ports`",
    ),
    Row("name-refused", r"Invalid instance name", ConfigurationError, "choose another name with `-n`"),
)
INSTANCES = (
    Row("exists", r"already exists", ForeignInstance, "choose another name with `-n`"),
    Row("no-instance", r"[Ii]nstance not found|^Error: (not found|No such object)", InstanceMissing),
    Row("already", r"is already (running|stopped)", Transient),
    Row("not-on", r"Instance is not running|isn't running", GuestUnreachable, "`polis up` switches it on"),
    Row("frozen", r"Instance is frozen", GuestUnreachable, "`polis up` wakes it"),
    Row("no-agent", r"agent isn't currently running|Failed to connect to .*agent", GuestUnreachable),
    Row("deaf-to-shutdown", r"Failed shutting down instance", Transient),
    Row(
        "incomplete",
        r"Failed expanding symlinks|Storage volume not found|volume.*(not found|doesn't exist)",
        LaunchFailed,
    ),
)
ROWS = (*ACCESS, *DAEMON, *IMAGES, *REQUESTS, *INSTANCES)


def named(name: str) -> Row:
    """Return one row."""
    return next(row for row in ROWS if row.name == name)
