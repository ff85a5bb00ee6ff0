"""Every failure that a user can meet, its kind and its exit code (DESIGN section 6).

PolisError
├── UsageError                 2   the command line makes no sense
├── ChangesPending             3   not at the target, or a change that needs `--recreate`
├── NotFound                   4   no such workspace, no such service
│   └── ForeignInstance            an instance that this workspace did not create
├── Locked                     5   another polis is changing this workspace
├── HostUnsuitable            69   disk full, port taken, record not writable
│   └── DriverMissing              the tool is not installed or too old
├── ProvisioningFailed        70   the guest is there but not as it must be
│   ├── LaunchFailed               the machine did not come up
│   ├── GuestCommandFailed         a command in the guest said no
│   ├── CertificateUntrusted       a server, or a proxy before it, that the VM does not believe
│   ├── ImageRefused               the registry's answer is final (no such tag, 401)
│   └── Unhealthy                  services or checks failed
├── Transient                 75   retried already; trying later may work
│   ├── DriverUnavailable          the tool is there, its daemon does not answer
│   ├── InstanceMissing            the instance went away under a command
│   ├── GuestUnreachable           the guest does not answer
│   ├── ExecTimeout                a guest command outlived its limit
│   ├── ServiceNotRunning          a command was for a service that does not run
│   ├── RegistryUnavailable        outage, throttling, broken connection
│   └── SourceUnavailable          a package source, while the VM was provisioned
├── IntegrityError            77   a digest, hash or signature does not match
├── ConfigurationError        78   a file, a key or a bundle is not acceptable
└── Interrupted              130   Ctrl-C or SIGINT (143 for SIGTERM)

Anything that is not a PolisError is a bug and ends with exit code 1. Where nobody reads the output any more, polis ends
with 141 and no words, as a program does that SIGPIPE ends.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import IntEnum
from typing import TYPE_CHECKING, ClassVar

if TYPE_CHECKING:
    from polis.phase import Phase


class ExitCode(IntEnum):
    """What the process returns; part of the interface, so numbers never change."""

    OK = 0
    BUG = 1
    USAGE = 2
    PENDING = 3
    NOT_FOUND = 4
    LOCKED = 5
    HOST = 69
    PROVISIONING = 70
    TRANSIENT = 75
    INTEGRITY = 77
    CONFIGURATION = 78
    INTERRUPTED = 130
    READER_GONE = 141
    TERMINATED = 143


@dataclass(eq=False)
class PolisError(Exception):
    """What failed, why in the tool's own words, what is still there, and what to type next.

    `message` names the thing that failed. `cause` holds the last lines of the tool (several lines are fine),
    `remains` what is still usable, `hint` the next command. `phase` is filled in by the machine.
    """

    message: str
    cause: str = ""
    remains: str = ""
    hint: str = ""
    phase: Phase | None = field(default=None, kw_only=True)
    attempts: int = field(default=1, kw_only=True)

    kind: ClassVar[str] = "internal"
    exit_code: ClassVar[ExitCode] = ExitCode.BUG
    retryable: ClassVar[bool] = False
    usual_hint: ClassVar[str] = "`polis status` shows what holds; `polis up` tries again"

    def __post_init__(self) -> None:
        """Every error has a next command: the kind's usual one, where the place that raises knows no better."""
        self.hint = self.hint or self.usual_hint

    def __str__(self) -> str:
        """Return what failed and why, on one line; rendering in four parts is the terminal's task."""
        cause = self.cause.strip().splitlines()
        return f"{self.message}: {cause[-1]}" if cause else self.message


class UsageError(PolisError):
    """The command line makes no sense."""

    kind = "usage"
    exit_code = ExitCode.USAGE
    usual_hint = "`polis --help` lists the commands and their options"


class ChangesPending(PolisError):
    """Something differs from what is wanted, and this command does not change it."""

    kind = "changes-pending"
    exit_code = ExitCode.PENDING


class NotFound(PolisError):
    """There is no such workspace, or no such service in it."""

    kind = "not-found"
    exit_code = ExitCode.NOT_FOUND


class ForeignInstance(NotFound):
    """An instance of this name exists, and this workspace did not create it."""

    kind = "foreign-instance"


class Locked(PolisError):
    """Another polis process is changing this workspace."""

    kind = "locked"
    exit_code = ExitCode.LOCKED


class HostUnsuitable(PolisError):
    """This machine lacks something: disk space, a free port, a writable directory."""

    kind = "host-unsuitable"
    exit_code = ExitCode.HOST
    usual_hint = "mend that, then run the command again: it goes on from here"


class DriverMissing(HostUnsuitable):
    """The driver's tool is not installed, or is too old."""

    kind = "driver-missing"


class ProvisioningFailed(PolisError):
    """The guest is there, but is not what it must be."""

    kind = "provisioning-failed"
    exit_code = ExitCode.PROVISIONING


class LaunchFailed(ProvisioningFailed):
    """The machine did not come up."""

    kind = "launch-failed"


class GuestCommandFailed(ProvisioningFailed):
    """A command in the guest ended with an exit code other than 0."""

    kind = "guest-command-failed"


class CertificateUntrusted(ProvisioningFailed):
    """The VM does not trust who signed a server's certificate."""

    kind = "certificate-untrusted"
    usual_hint = "does a proxy open TLS on the way? name its CA in `ca_certs`, then `polis up --recreate`"


class ImageRefused(ProvisioningFailed):
    """The registry's answer about an image is final: no such tag, not allowed."""

    kind = "image-refused"


class Unhealthy(ProvisioningFailed):
    """Services or guest checks did not become healthy within the deadline."""

    kind = "unhealthy"


class Transient(PolisError):
    """A failure that may be gone next time."""

    kind = "transient"
    exit_code = ExitCode.TRANSIENT
    retryable = True
    usual_hint = "run the command again: it goes on from here"


class DriverUnavailable(Transient):
    """The driver's tool is there, but its daemon does not answer."""

    kind = "driver-unavailable"


class InstanceMissing(Transient):
    """The instance went away while it was used."""

    kind = "instance-missing"


class GuestUnreachable(Transient):
    """The guest does not answer."""

    kind = "guest-unreachable"


class ExecTimeout(Transient):
    """A command in the guest ran longer than it may."""

    kind = "exec-timeout"


class ServiceNotRunning(Transient):
    """A command was for the container of a service that does not run."""

    kind = "service-not-running"


class RegistryUnavailable(Transient):
    """The registry cannot be reached, throttles, or breaks off."""

    kind = "registry-unavailable"


class SourceUnavailable(Transient):
    """A place that the guest installs from could not be reached while it was provisioned."""

    kind = "source-unavailable"


class IntegrityError(PolisError):
    """A digest, hash or signature is not the expected one."""

    kind = "integrity"
    exit_code = ExitCode.INTEGRITY
    usual_hint = "find out why before you use it; if the expected hash is wrong, correct it in the configuration"


class ConfigurationError(PolisError):
    """A configuration file, a key, a document or a bundle is not acceptable."""

    kind = "configuration"
    exit_code = ExitCode.CONFIGURATION
    usual_hint = "correct it, then run the command again"


class Interrupted(PolisError):
    """The user or the system asked polis to stop: SIGINT (130) or SIGTERM (143)."""

    kind = "interrupted"
    exit_code = ExitCode.INTERRUPTED


class Terminated(Interrupted):
    """SIGTERM or SIGHUP asked polis to stop."""

    exit_code = ExitCode.TERMINATED


def interrupted(interruption: KeyboardInterrupt, message: str, *, hint: str = "") -> Interrupted:
    """Return the error that a signal means; `polis.signals` puts its name into the interruption."""
    kind = Terminated if interruption.args and interruption.args[0] != "SIGINT" else Interrupted
    return kind(message, hint=hint)
