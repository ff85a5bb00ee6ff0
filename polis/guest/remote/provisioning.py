"""Watching cloud-init to its end, and signing the VM as a workspace's own."""

from __future__ import annotations

import os
import pwd
import shutil
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

from polis.guest.remote import boottimes, firstboot, places

if TYPE_CHECKING:
    from collections.abc import Callable

INTERVAL = 0.5

MACHINE_ID = Path("/etc/machine-id")
ENGINE_ID = Path("/var/lib/docker/engine-id")
RANDOM_SEED = Path("/var/lib/systemd/random-seed")
CREDENTIAL_KEY = Path("/var/lib/systemd/credential.secret")
OWN = (MACHINE_ID, ENGINE_ID, RANDOM_SEED, CREDENTIAL_KEY)
"""What makes a machine itself, and is made anew at the next boot where it is missing: machine-id(5), dockerd's id, seed
and key of systemd. Name and host keys for ssh are cloud-init's, which makes them anew for a new instance-id."""


def wait(arguments: dict[str, Any], say: Callable[[dict[str, Any]], None]) -> dict[str, Any]:
    """Report stage and last log line whenever they change, until cloud-init ends or `seconds` are over.

    The answer to the end of cloud-init also tells where the time of this boot went.
    """
    until = time.monotonic() + float(arguments["seconds"])
    told: dict[str, Any] = {}
    while True:
        status = firstboot.cloud_init()
        if status["finished"]:
            return {"cloud_init": status, "boot": boottimes.boot()}
        if time.monotonic() >= until:
            return {"cloud_init": status}
        news = {"stage": status["stage"], "line": status["log"][-1] if status["log"] else ""}
        if news != told:
            told = news
            say({"progress": news})
        time.sleep(INTERVAL)


def seal(_arguments: dict[str, Any], _say: Callable[[dict[str, Any]], None]) -> dict[str, Any]:
    """Put aside what makes this machine itself, and write everything to the disk: a copy of that is nobody yet.

    Refused once it is signed: it may hold keys by then. `sign` puts everything back.
    """
    if places.MARKER.exists():
        raise RuntimeError(f"{places.MARKER} is there already")
    places.IDENTITY.mkdir(mode=0o700, parents=True, exist_ok=True)
    for path in OWN:
        aside = places.IDENTITY / path.name
        if path.is_file() and path.stat().st_size and not aside.exists():
            shutil.copy2(path, aside)
        if path is MACHINE_ID:
            # Empty, not missing: without the file systemd takes the boot for the very first, and resets all units.
            path.write_bytes(b"")
        else:
            path.unlink(missing_ok=True)
    os.sync()
    return {}


def _unseal() -> None:
    for path in OWN:
        aside = places.IDENTITY / path.name
        if aside.is_file() and not (path.is_file() and path.stat().st_size):
            shutil.copy2(aside, path)
    shutil.rmtree(places.IDENTITY, ignore_errors=True)


def sign(arguments: dict[str, Any], _say: Callable[[dict[str, Any]], None]) -> dict[str, Any]:
    """Write whose VM this is, once: what a VM was created from does not change afterwards."""
    _unseal()
    places.STATE.mkdir(mode=0o755, parents=True, exist_ok=True)
    places.INCOMING.mkdir(mode=0o700, exist_ok=True)
    user = pwd.getpwnam(os.environ.get("SUDO_USER", "root"))
    os.chown(places.INCOMING, user.pw_uid, user.pw_gid)
    if places.read_texts(places.MARKER, *places.MARKER_KEYS) is None:
        places.write_json(places.MARKER, arguments["marker"], mode=0o644)
    return {"marker": places.read_json(places.MARKER)}
