"""OpenSSH instead of `multipass exec`: with Multipass' own key, where this user may read it."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING

from polis.errors import GuestCommandFailed, HostUnsuitable

if TYPE_CHECKING:
    from collections.abc import Mapping

    from polis.drivers.base import Instance
    from polis.drivers.multipass.host import Host

KEYS: Mapping[str, str] = {
    "snap": "/var/snap/multipass/common/data/multipassd/ssh-keys/id_rsa",
    "darwin": "/var/root/Library/Application Support/multipassd/ssh-keys/id_rsa",
}
"""The daemon's private key for all its instances, where it is known (canonical/multipass#913)."""

SHOW_HOST_KEY = ["cat", "/etc/ssh/ssh_host_ed25519_key.pub"]

_HOST_KEY = re.compile(r"ssh-ed25519 [A-Za-z0-9+/]+={0,2}")


def key(host: Host) -> Path:
    """Return the daemon's key. Raises HostUnsuitable if this user cannot read it, which is as it should be."""
    known = host.pick(KEYS)
    if not known:
        raise _withheld("where it is, Multipass does not say")
    try:
        with Path(known).open("rb"):
            return Path(known)
    except OSError as error:
        raise _withheld(f"{known}: {error.strerror}") from error


def options(instance: Instance, private_key: Path, shown: str) -> dict[str, str]:
    """Return the client's options; `shown` is what the guest says is its host key.

    That came over Multipass' own connection, so ssh trusts nothing on first use. It stands in the options because it
    changes with the machine, and a file of known hosts would keep the old one. Raises GuestCommandFailed if it is none.
    """
    host_key = _HOST_KEY.match(shown)
    if host_key is None or not instance.ipv4:
        told = "it has no host key" if instance.ipv4 else "it has no address"
        raise GuestCommandFailed(f"{instance.name} cannot be reached with OpenSSH", cause=told)
    alias = f"polis-{instance.name}"
    return {
        "HostName": instance.ipv4[0],
        "Port": "22",
        "User": "ubuntu",
        "IdentityFile": str(private_key),
        "IdentitiesOnly": "yes",
        "PreferredAuthentications": "publickey",
        "HostKeyAlias": alias,
        "HostKeyAlgorithms": "ssh-ed25519",
        "KnownHostsCommand": f"/bin/echo {alias} {host_key[0]}",
        "UserKnownHostsFile": "/dev/null",
        "GlobalKnownHostsFile": "/dev/null",
        "StrictHostKeyChecking": "yes",
        "UpdateHostKeys": "no",
        "ForwardAgent": "no",
        "ForwardX11": "no",
    }


def _withheld(cause: str) -> HostUnsuitable:
    return HostUnsuitable(
        "Multipass keeps the key to its VMs to itself",
        cause=cause,
        hint="`polis shell` and `polis exec` need no key; or add your own to ~/.ssh/authorized_keys in the VM",
    )
