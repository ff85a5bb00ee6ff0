"""What every driver can do: the only view that phases have of a machine (DESIGN section 5)."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from enum import StrEnum
from typing import TYPE_CHECKING, Protocol, runtime_checkable

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from polis.process import Completed

OnLine = Callable[[str], None]
"""Called with each line that a command prints, without its newline, as it comes."""


class InstanceState(StrEnum):
    """Every state of every tool is mapped to one of these."""

    RUNNING = "running"
    STOPPED = "stopped"
    STARTING = "starting"
    SUSPENDED = "suspended"
    DELETED = "deleted"
    UNKNOWN = "unknown"


class InstanceKind(StrEnum):
    """What an instance is: a system container has its server's kernel, which is less isolation than a VM's own."""

    VM = "vm"
    CONTAINER = "container"


@dataclass(frozen=True)
class Forward:
    """A TCP port of the host's loopback address that leads to a port of the guest."""

    host: int
    guest: int


@dataclass(frozen=True)
class Hardware:
    """What of a machine may change when it is next switched on. Sizes are bytes; disks only grow."""

    cpus: int
    memory: int
    disk: int
    forwards: tuple[Forward, ...] = ()


@dataclass(frozen=True)
class Instance:
    """A machine as its driver sees it, whether or not it answers.

    `owner` is the id of the workspace that created it, where the driver can stamp one on the instance;
    None means that the instance itself cannot tell. `hardware` is None where the driver cannot tell it cheaply. `kind`
    is the driver's own knowledge, never what the guest says of itself.

    `snapshots` holds the complete snapshots of it that a driver took (`Snapshots.take`): under each label the
    fingerprint of what the instance was created from. `template` is the id of the template that it began as, if any.
    """

    driver: str
    name: str
    state: InstanceState
    owner: str | None = None
    ipv4: tuple[str, ...] = ()
    detail: str = ""
    hardware: Hardware | None = None
    kind: InstanceKind = InstanceKind.VM
    snapshots: Mapping[str, str] = field(default_factory=dict)
    template: str = ""


@dataclass(frozen=True)
class Artifact:
    """A file or https URL with the sha256 (hex) that its bytes must have."""

    location: str
    sha256: str


@dataclass(frozen=True)
class Image:
    """A base image; with a kernel it is booted directly, without firmware and boot loader.

    `user` is the login that the image's cloud-init creates by default. `alias` is the name under which a driver's own
    catalogue has the image; a driver with one takes it from there instead of `disk`, and answers for its bytes.
    """

    disk: Artifact
    user: str = "ubuntu"
    kernel: Artifact | None = None
    initrd: Artifact | None = None
    cmdline: str = ""
    alias: str = ""


@dataclass(frozen=True)
class LaunchRequest:
    """All that a driver needs to create an instance. Sizes are bytes, the timeout is seconds.

    `medium` is a disk image that the machine finds as one more disk, read-only; the driver keeps a copy of its own.

    `fingerprint` tells what the instance is created from; a driver with snapshots stamps it on the instance, and so on
    all that is taken of it. Without one nothing may be taken. `template` is the id of a template (`Snapshots.template`)
    to begin with instead of the image; one that is gone meanwhile is passed over for the image.
    """

    name: str
    owner: str
    image: Image
    cpus: int
    memory: int
    disk: int
    user_data: str
    timeout: float
    forwards: tuple[Forward, ...] = ()
    medium: Path | None = None
    fingerprint: str = ""
    template: str = ""


@dataclass(frozen=True)
class Capabilities:
    """What a driver can do beyond the protocol.

    `snapshot` and `clone` go together: the driver has `snapshots`, which keeps the protocol `Snapshots`.

    `architecture` is that of its machines, in Debian's word (amd64, arm64); None where it cannot tell.
    """

    resize: bool = False
    snapshot: bool = False
    clone: bool = False
    forward_ports: bool = False
    cluster: bool = False
    medium: bool = False
    architecture: str | None = None


@dataclass(frozen=True)
class Diagnosis:
    """What the driver knows about an instance that does not come up: for error messages."""

    lines: tuple[str, ...] = ()
    log: Path | None = field(default=None)


class Driver(Protocol):
    """A source of machines. It knows nothing of phases, Docker or bundles.

    Guest commands run as the image's default user, who may use sudo without a password.
    """

    name: str
    capabilities: Capabilities

    def find(self, *, name: str) -> Instance | None:
        """Return the instance, or None if there is none. Cheap, starts and changes nothing.

        Raises DriverMissing or DriverUnavailable if the tool cannot tell; never for "not there".
        """
        ...

    def launch(self, *, request: LaunchRequest, on_progress: Callable[[str], None] | None = None) -> None:
        """Create the instance and return when the guest can run a command (cloud-init may still be at work).

        May be called again after having been interrupted anywhere: the half-made instance of the same owner is
        adopted or cleanly replaced, never duplicated. `on_progress` is told in words what is being waited for.

        Raises LaunchFailed, HostUnsuitable, IntegrityError, ForeignInstance, Transient.
        """
        ...

    def start(self, *, name: str, timeout: float, on_progress: Callable[[str], None] | None = None) -> None:
        """Switch the existing instance on and return when the guest can run a command; no-op if it can.

        Raises InstanceMissing, LaunchFailed, HostUnsuitable.
        """
        ...

    def stop(self, *, name: str, timeout: float = 120.0, force: bool = False) -> None:
        """Switch the instance off, gracefully first unless `force`; no-op if it is off or missing."""
        ...

    def delete(self, *, name: str) -> None:
        """Remove this instance with all that belongs to it; no-op if it is missing."""
        ...

    def exec(self, *, name: str, argv: Sequence[str], timeout: float, on_line: OnLine | None = None) -> Completed:
        """Run a command in the guest, without stdin, and return its exit code and output.

        `on_line` receives stdout's lines while it runs. The limit also ends the command in the guest.

        Raises InstanceMissing, GuestUnreachable, ExecTimeout; never for the command's own exit code.
        """
        ...

    def push(self, *, name: str, source: Path, target: str, mode: int = 0o600) -> None:
        """Copy a file to an absolute path in the guest that the default user may write; atomically."""
        ...

    def pull(self, *, name: str, source: str, target: Path) -> None:
        """Copy a file of the guest to the host."""
        ...

    def shell(self, *, name: str, argv: Sequence[str] = ()) -> int:
        """Connect the caller's terminal to a shell or command in the guest; return its exit code."""
        ...

    def ssh_options(self, *, name: str) -> Mapping[str, str]:
        """Return how an OpenSSH client reaches the guest, by names of ssh_config(5); values without quotes or escapes.

        No secrets, only where they are. Raises InstanceMissing, GuestUnreachable; HostUnsuitable if this user may not.
        """
        ...

    def diagnose(self, *, name: str) -> Diagnosis:
        """Return the console's last lines and where the whole log is. Never raises."""
        ...


@dataclass(frozen=True)
class Template:
    """What new instances can begin as: a provisioned machine's disk, nobody's own. `made` is when, in words (UTC)."""

    id: str
    made: str


class Snapshots(Protocol):
    """Keeping what an instance is, to return it there or to let others begin with it (`Driver.snapshots`).

    A snapshot belongs to its instance and goes with it; a template belongs to nobody, and outlives all instances.
    """

    def take(self, *, name: str, label: str) -> None:
        """Keep the instance's disk and configuration as they are now, under a label; no-op if that was done.

        May be called again after having been interrupted anywhere: what is not complete is no snapshot, and is made
        anew. Raises InstanceMissing, LaunchFailed (also once it is closed), HostUnsuitable, Transient.
        """
        ...

    def close(self, *, name: str) -> None:
        """Let nothing more be taken of the instance, whatever its guest says: from now on it is somebody's.

        Remembered outside the guest, which may be made to forget whose it is. No-op if that was done.
        """
        ...

    def restore(self, *, name: str, label: str) -> None:
        """Make disk and configuration what they were, the owner's mark included; the instance is off afterwards.

        Raises InstanceMissing (no such instance, or no such complete snapshot), LaunchFailed, HostUnsuitable.
        """
        ...

    def drop(self, *, name: str, label: str) -> None:
        """Remove a snapshot, complete or not; no-op if there is none."""
        ...

    def template(self, *, fingerprint: str) -> Template | None:
        """Return the newest template made from these inputs that is not too old, or None. Changes nothing."""
        ...

    def offer(self, *, name: str, label: str) -> bool:
        """Begin to make a template of a complete snapshot, unless there is one; return whether it was begun.

        Does not wait for its end: a template is there whole, or not at all. Those that are too old are removed.
        """
        ...

    def withdraw(self, *, fingerprint: str) -> int:
        """Remove the templates made from these inputs if no instance was created from them; return how many."""
        ...


def snapshots_of(driver: Driver) -> Snapshots | None:
    """Return what a driver can do with snapshots, or None if it has none."""
    found: Snapshots | None = getattr(driver, "snapshots", None)
    return found


@runtime_checkable
class Census(Protocol):
    """A driver that can name all of its instances by one question."""

    def find_all(self) -> Mapping[str, Instance]:
        """Return every instance by its name, as `find` would; also those that are not Polis's. Raises what it raises.

        What a guest alone could tell may be missing.
        """
        ...
