"""The packages of Docker's repository, as names and versions over Debian's own."""

from __future__ import annotations

from lab import deb

DEBIAN = ("containerd", "docker-cli", "docker-compose", "docker.io", "runc")
"""What does the work. It is served too, with what it depends on."""

UNUSED = frozenset({"/usr/bin/ctr", "/usr/bin/containerd-shim", "/usr/bin/containerd-shim-runc-v1"})
"""48 MB that Docker never starts."""
UNREAD = ("/usr/share/doc/", "/usr/share/man/", "/usr/share/lintian/")

RIVALRY = frozenset({"Breaks", "Conflicts", "Replaces"})
"""Fields by which Debian's packages keep Docker's away; here the ones come with the others."""

ENGINE = "5:27.5.1-1~ubuntu.24.04~noble"
NEWER_ENGINE = "5:28.3.0-1~ubuntu.24.04~noble"
"""Newer than what a document pins: it is there to be left alone."""
CONTAINERD = "1.7.27-1"
NEWER_CONTAINERD = "2.1.5-1"
COMPOSE = "2.32.4-1~ubuntu.24.04~noble"
BUILDX = "0.20.0-1~ubuntu.24.04~noble"
POLLINATE = "4.33-4ubuntu4"

NAMES: tuple[tuple[str, str, str], ...] = (
    ("docker-ce", ENGINE, "docker-ce-cli, containerd.io (>= 1.6.24), docker.io"),
    ("docker-ce", NEWER_ENGINE, "docker-ce-cli, containerd.io (>= 1.6.24), docker.io"),
    ("docker-ce-cli", ENGINE, "docker-cli"),
    ("docker-ce-cli", NEWER_ENGINE, "docker-cli"),
    ("containerd.io", CONTAINERD, "containerd, runc"),
    ("containerd.io", NEWER_CONTAINERD, "containerd, runc"),
    ("docker-compose-plugin", COMPOSE, "docker-compose"),
    # Has no content at all: no image is built in a workspace VM's own Docker.
    ("docker-buildx-plugin", BUILDX, ""),
    # Nothing of Docker's: Multipass has it installed in every VM, so that the lists are fetched before the document's
    # own script runs.
    ("pollinate", POLLINATE, ""),
)
"""Name, version, dependencies."""


def is_dropped(path: str) -> bool:
    """Return whether a file of Debian's packages is left out of the lab's."""
    return path in UNUSED or path.startswith(UNREAD)


def build() -> dict[str, bytes]:
    """Return the packages that are nothing but a name, a version and dependencies, by file name."""
    return {
        # A file name has no epoch.
        f"{name}_{version.partition(':')[2] or version}_amd64.deb": deb.build(_control(name, version, depends))
        for name, version, depends in NAMES
    }


def _control(name: str, version: str, depends: str) -> dict[str, str]:
    return {
        "Package": name,
        "Version": version,
        "Architecture": "amd64",
        "Maintainer": "Polis lab <lab@localhost>",
        **({"Depends": depends} if depends else {}),
        "Section": "admin",
        "Priority": "optional",
        "Description": "a name of Docker's for a package of Debian's",
    }
