"""What the guest was made of, handed out for an offline file, and images taken in from one."""

from __future__ import annotations

import json
import os
import pwd
import subprocess  # noqa: TID251 -- this runs in the guest, where polis.process is not
from http.client import HTTPException
from pathlib import Path
from typing import TYPE_CHECKING, Any

from polis.guest.remote import alone, places
from polis.guest.remote.engine import Engine, EngineError

if TYPE_CHECKING:
    from collections.abc import Callable

    Say = Callable[[dict[str, Any]], None]

PACKAGES = places.STATE / "packages"
"""Where the cloud-init document keeps what it installed."""

SYSBOX = "sysbox-ce.deb"
PREFIX = "offline-"
CHUNK = 1024 * 1024
SILENCE = 600.0
"""Seconds that the engine may be busy without a word."""


def packages(_arguments: dict[str, Any], _say: Say) -> dict[str, Any]:
    """Return the packages that the first boot installed: path, and the control paragraph of each."""
    found = [path for path in sorted(PACKAGES.glob("*.deb")) if path.name != SYSBOX]
    sysbox = PACKAGES / SYSBOX
    return {
        "packages": [{"path": str(path), "control": _control(path)} for path in found],
        "sysbox": str(sysbox) if sysbox.is_file() else None,
    }


def save(arguments: dict[str, Any], say: Say) -> dict[str, Any]:
    """Write the image `id` to a file that the default user can read; return its path, or the engine's words."""
    alone.take_over()
    _sweep()
    target = places.INCOMING / f"{PREFIX}{arguments['id'].partition(':')[2][:16]}.tar"
    try:
        size = int(Engine().get(f"/images/{arguments['id']}/json")["Size"])
        connection, response = Engine(timeout=SILENCE).open("GET", f"/images/{arguments['id']}/get")
        try:
            with target.open("wb") as file:
                os.fchmod(file.fileno(), 0o600)
                done = 0
                while piece := response.read(CHUNK):
                    file.write(piece)
                    if (done + len(piece)) * 10 // max(size, 1) != done * 10 // max(size, 1):
                        say({"progress": {"bytes": done, "of": size}})
                    done += len(piece)
        finally:
            connection.close()
    except (EngineError, OSError, HTTPException) as error:
        target.unlink(missing_ok=True)
        return {"error": str(error)}
    user = pwd.getpwnam(os.environ.get("SUDO_USER", "root"))
    os.chown(target, user.pw_uid, user.pw_gid)
    return {"path": str(target)}


def load(arguments: dict[str, Any], _say: Say) -> dict[str, Any]:
    """Load the image `id` from the file at `path`, give it `names`, remove the file; return its id, or what is wrong.

    The engine computes ids itself: of an image's configuration, which names its layers by their hashes.
    """
    alone.take_over()
    path = Path(arguments["path"])
    try:
        _send(path)
        found = Engine().find(f"/images/{arguments['id']}/json")
        if found is None:
            return {"error": f"the file holds no image with the id {arguments['id']}"}
        for name in arguments["names"]:
            repository, _, tag = name.rpartition(":")
            Engine().call("POST", f"/images/{found['Id']}/tag", repo=repository, tag=tag)
    except (EngineError, OSError) as error:
        return {"error": str(error)}
    finally:
        _sweep()
    return {"id": found["Id"]}


def discard(_arguments: dict[str, Any], _say: Say) -> dict[str, Any]:
    """Remove what `save` wrote."""
    _sweep()
    return {}


def _send(path: Path) -> None:
    with path.open("rb") as file:
        connection, response = Engine(timeout=SILENCE).open("POST", "/images/load", body=file, quiet="1")
        try:
            for line in response.read().splitlines():
                news = json.loads(line) if line.strip() else {}
                if "error" in news:
                    raise EngineError(0, str(news["error"]))
        except (OSError, HTTPException, ValueError) as error:
            raise EngineError(0, f"the Docker engine broke off: {error}") from error
        finally:
            connection.close()


def _sweep() -> None:
    for path in places.INCOMING.glob(f"{PREFIX}*"):
        path.unlink(missing_ok=True)


def _control(path: Path) -> str:
    done = subprocess.run(["dpkg-deb", "--field", str(path)], capture_output=True, text=True, check=True)
    return done.stdout
