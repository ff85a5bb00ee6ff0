"""Watching cloud-init to its end, and signing the VM as a workspace's own."""

from __future__ import annotations

import os
import pwd
import time
from typing import TYPE_CHECKING, Any

from polis.guest.remote import boottimes, firstboot, places

if TYPE_CHECKING:
    from collections.abc import Callable

INTERVAL = 0.5


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


def sign(arguments: dict[str, Any], _say: Callable[[dict[str, Any]], None]) -> dict[str, Any]:
    """Write whose VM this is, once: what a VM was created from does not change afterwards."""
    places.STATE.mkdir(mode=0o755, parents=True, exist_ok=True)
    places.INCOMING.mkdir(mode=0o700, exist_ok=True)
    user = pwd.getpwnam(os.environ.get("SUDO_USER", "root"))
    os.chown(places.INCOMING, user.pw_uid, user.pw_gid)
    if places.read_texts(places.MARKER, *places.MARKER_KEYS) is None:
        places.write_json(places.MARKER, arguments["marker"], mode=0o644)
    return {"marker": places.read_json(places.MARKER)}
