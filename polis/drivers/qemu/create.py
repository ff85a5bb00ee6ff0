"""Making an instance: everything that QEMU needs, in its directory, before it is started for the first time."""

from __future__ import annotations

import dataclasses
import os
import shutil
import uuid
from typing import TYPE_CHECKING

from polis.drivers import ports
from polis.drivers.qemu import disks, host, keys, seed, space
from polis.drivers.qemu.instance import Record, alias, place
from polis.errors import PolisError

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from polis.drivers.base import Artifact, LaunchRequest
    from polis.drivers.qemu.images import ImageCache
    from polis.drivers.qemu.instance import Home, Instances

ROOM = 512 * 1024 * 1024
"""Bytes that must be free for a new instance to boot at all; its disk grows as the guest writes."""


def create(instances: Instances, images: ImageCache, request: LaunchRequest, tell: Callable[[str], None]) -> Record:
    """Create the instance, switched off, and return its record.

    What can be refused is refused before anything but the cache is written; what fails later is taken back. A kill
    leaves a record without `created`.
    """
    for binary in ("qemu-img", "ssh", "ssh-keygen"):
        host.require(binary)
    host.system_binary()
    ports.require_free(request.forwards)

    def fetched(artifact: Artifact | None) -> Path | None:
        return images.fetch(artifact, on_progress=tell) if artifact else None

    disk = images.fetch(request.image.disk, on_progress=tell)
    kernel, initrd = fetched(request.image.kernel), fetched(request.image.initrd)
    base = disks.examine(disk)
    disks.require_size(base, request.disk)
    with space.checked(instances.root):
        record = _record(request)
        home = instances.reserve(record)
        try:
            space.require(home.path, ROOM, what="a VM")
            for cached, target in ((disk, home.base), (kernel, home.kernel), (initrd, home.initrd)):
                if cached is not None:
                    place(cached, target)
            if request.medium is not None:
                _keep(request.medium, home.medium)
            disks.create_overlay(home.disk, base=home.base.name, base_format=base.format, size=request.disk)
            _write_seed(home, request)
            return home.save(dataclasses.replace(record, created=True))
        except (PolisError, OSError):
            instances.discard(home)
            raise


def _keep(source: Path, target: Path) -> None:
    """Give the instance a file that stays as it is now: its maker replaces it, and never writes into it."""
    try:
        os.link(source, target)
    except OSError:
        shutil.copyfile(source, target)
    target.chmod(0o600)


def _record(request: LaunchRequest) -> Record:
    return Record(
        name=request.name,
        owner=request.owner,
        uuid=str(uuid.uuid4()),
        image=request.image.disk.sha256,
        user=request.image.user,
        direct_kernel=request.image.kernel is not None,
        direct_initrd=request.image.initrd is not None,
        cmdline=request.image.cmdline,
        cpus=request.cpus,
        memory=request.memory,
        disk=request.disk,
        forwards=request.forwards,
    )


def _write_seed(home: Home, request: LaunchRequest) -> None:
    client = keys.generate(home.key, comment=f"polis {request.name}")
    guest = keys.generate(home.host_key, comment=request.name)
    home.known_hosts.write_text(f"{alias(request.name)} {guest.public}\n", encoding="ascii")
    seed.write(
        home.seed,
        user_data=request.user_data,
        meta_data=seed.meta_data(name=request.name, owner=request.owner, client_key=client.public),
        vendor_data=seed.vendor_data(guest),
    )
    for path in (home.key.with_suffix(".pub"), home.known_hosts, home.disk):
        path.chmod(0o600)
    # From now on only the guest, and the seed that is for it, hold its private key.
    home.host_key.unlink()
    home.host_key.with_suffix(".pub").unlink()
