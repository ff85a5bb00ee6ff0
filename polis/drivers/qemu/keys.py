"""One ssh key pair for the client and one for the guest's host key, made on this machine for each instance."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from polis import process
from polis.drivers.qemu import host
from polis.errors import HostUnsuitable

if TYPE_CHECKING:
    from pathlib import Path


@dataclass(frozen=True)
class KeyPair:
    """An ed25519 key pair in OpenSSH's text forms."""

    private: str = field(repr=False)
    public: str


def generate(path: Path, *, comment: str) -> KeyPair:
    """Write a new key pair to `path` (0600) and `path`.pub, replacing an old one, and return it.

    ssh-keygen writes the file itself, so no secret is ever in a command line.
    """
    public = path.with_name(path.name + ".pub")
    path.unlink(missing_ok=True)
    public.unlink(missing_ok=True)
    argv = [host.require("ssh-keygen"), "-q", "-t", "ed25519", "-N", "", "-C", comment, "-f", str(path)]
    done = process.run(argv, timeout=30)
    if not done.ok:
        raise HostUnsuitable(f"the ssh key {path} cannot be made", cause=done.last_words())
    return KeyPair(path.read_text(encoding="ascii"), public.read_text(encoding="ascii").strip())
