"""Putting a pushed bundle in place: verify, unpack beside the old one, resolve, swap, mark; and the inverse."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import subprocess  # noqa: TID251 -- this runs in the guest, where polis.process is not
import tarfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

from polis.guest.remote import alone, places

if TYPE_CHECKING:
    from collections.abc import Callable

COMPOSE_LIMIT = 120
"""Seconds for Compose to read its files."""


class Refused(Exception):
    """The pushed file is not what it should be."""


def place(arguments: dict[str, Any], _say: Callable[[dict[str, Any]], None]) -> dict[str, Any]:
    """Unpack the archive and make it the current bundle; `environment` becomes its `.env`.

    The old bundle stays current until the new one is complete; the marker is written last, when all is tidied up.
    """
    alone.take_over()
    archive = Path(arguments["archive"])
    digest = arguments["digest"]
    if _sha256(archive) != digest.removeprefix("sha256:"):
        raise Refused(f"the bundle arrived damaged: its sha256 is not {digest}")
    release = places.RELEASES / arguments["release"]
    shutil.rmtree(release, ignore_errors=True)
    release.mkdir(parents=True, mode=0o755)
    with tarfile.open(archive) as tar:
        tar.extractall(release, filter="data")
    _write_environment(release / ".env", arguments["environment"])
    places.CONFIGURED.unlink(missing_ok=True)
    _point_to(release)
    _resolve()
    marker = {**arguments["marker"], "digest": digest, "tree": places.tree_digest(release)}
    archive.unlink()
    _forget_releases(keep=release)
    os.sync()
    places.write_json(places.CONFIGURED, marker)
    return {"marker": marker}


def remove(_arguments: dict[str, Any], _say: Callable[[dict[str, Any]], None]) -> dict[str, Any]:
    """Remove all that `place` put there, the marker first; the directory itself belongs to cloud-init."""
    alone.take_over()
    places.CONFIGURED.unlink(missing_ok=True)
    places.CURRENT.unlink(missing_ok=True)
    for path in places.HOME.glob("*") if places.HOME.is_dir() else ():
        shutil.rmtree(path) if path.is_dir() and not path.is_symlink() else path.unlink()
    for path in places.INCOMING.glob("*") if places.INCOMING.is_dir() else ():
        path.unlink()
    return {}


def compose_words(*arguments: str, content: bool = True) -> list[str]:
    """Return the command line of `docker compose` on the current bundle."""
    files = [places.CURRENT / "docker-compose.yml", *([places.CURRENT / places.CONTENT] if content else [])]
    named = [word for file in files for word in ("--file", str(file))]
    return ["docker", "compose", "--project-directory", str(places.CURRENT), *named, *arguments]


def _resolve() -> None:
    """Let Compose read its files, and keep what it makes of them: services, images, configuration hashes."""
    (places.CURRENT / places.RESOLVED).parent.mkdir(mode=0o700, exist_ok=True)
    services = json.loads(_checked("config", "--format", "json", content=False))["services"]
    # Compose's own hash covers the path of a mounted file, not what is in it: a label with the content's digest
    # makes it replace exactly the containers whose files changed.
    labels = {name: {"labels": {"polis.content": _content(service)}} for name, service in services.items()}
    places.write_json(places.CURRENT / places.CONTENT, {"services": labels})
    hashes = dict(line.split() for line in _checked("config", "--hash", "*").splitlines() if line.strip())
    resolved = [
        {
            "name": name,
            "image": service["image"],
            "one_shot": service.get("labels", {}).get("polis.one-shot") == "true",
            "config_hash": hashes[name],
        }
        for name, service in sorted(services.items())
    ]
    places.write_json(places.CURRENT / places.RESOLVED, {"services": resolved})


def _checked(*arguments: str, content: bool = True) -> str:
    done = subprocess.run(
        compose_words(*arguments, content=content),
        capture_output=True,
        text=True,
        check=False,
        timeout=COMPOSE_LIMIT,
        stdin=subprocess.DEVNULL,
    )
    if done.returncode != 0:
        raise Refused(f"docker compose {arguments[0]}: {done.stderr.strip()[-800:]}")
    return done.stdout


def _content(service: dict[str, Any]) -> str:
    """Return a digest of the bundle's files that are mounted into the service."""
    digest = hashlib.sha256()
    for volume in service.get("volumes") or []:
        source = Path(volume.get("source", ""))
        if volume.get("type") != "bind" or places.CURRENT not in source.parents:
            continue
        content = places.tree_digest(source) if source.is_dir() else _sha256(source) if source.is_file() else "missing"
        digest.update(f"{volume['target']} {content}\0".encode())
    return digest.hexdigest()[:16]


def _write_environment(path: Path, values: dict[str, str]) -> None:
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(descriptor, "w", encoding="utf-8") as file:
        file.writelines(f"{key}={value}\n" for key, value in sorted(values.items()))


def _point_to(release: Path) -> None:
    fresh = places.CURRENT.with_name(".current")
    fresh.unlink(missing_ok=True)
    fresh.symlink_to(release.relative_to(places.HOME))
    fresh.replace(places.CURRENT)
    places.sync(places.HOME)


def _forget_releases(keep: Path) -> None:
    for path in places.RELEASES.iterdir():
        if path != keep:
            shutil.rmtree(path, ignore_errors=True)


def _sha256(path: Path) -> str:
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while chunk := file.read(1 << 20):
            digest.update(chunk)
    return digest.hexdigest()
