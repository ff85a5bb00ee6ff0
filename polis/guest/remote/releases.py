"""The bundles that were placed: the current one, and the one before it that its services ran from.

An upgrade replaces the current bundle long before the services of the old one are replaced, or fails before that. So
the old one is kept, for whoever wants it back. And a container that has no reason to be replaced goes on with the
mounts that it was started with: a release stays for as long as anything has a part of it mounted, and is never
written to again.
"""

from __future__ import annotations

import contextlib
import re
import shutil
from pathlib import Path
from typing import Any

from polis.guest.remote import places
from polis.guest.remote.engine import Engine, EngineError


def keep_current(fingerprint: str) -> None:
    """Keep the complete current release if services run from it; to be called before another takes its place.

    What is placed now has this fingerprint; a release that has it too is not worth keeping.
    """
    found = _read()
    if found is not None and found[1].get("fingerprint") == fingerprint:
        places.PREVIOUS.unlink()
        places.sync(places.HOME)
    marker = places.read_texts(places.CONFIGURED, "digest", "fingerprint")
    release = current()
    if marker is None or release is None or marker["fingerprint"] == fingerprint or not _serves(release):
        return
    places.write_json(places.PREVIOUS, {"release": release.name, "marker": {**marker, "restored": True}})


def point_to(release: Path) -> None:
    """Make a release the current one with one rename."""
    fresh = places.CURRENT.with_name(".current")
    fresh.unlink(missing_ok=True)
    fresh.symlink_to(release.relative_to(places.HOME))
    fresh.replace(places.CURRENT)
    places.sync(places.HOME)


def restore() -> bool:
    """Put the kept release back in place of the current one; return False if there is none."""
    found = _read()
    if found is None:
        return False
    release, marker = found
    places.CONFIGURED.unlink(missing_ok=True)
    point_to(release)
    forget_others(release)
    places.write_json(places.CONFIGURED, marker)
    places.PREVIOUS.unlink(missing_ok=True)
    places.sync(places.HOME)
    return True


def forget_others(keep: Path) -> None:
    """Remove the releases that nobody needs, and the images that only they needed.

    Needed are this one, the kept one, and those that a container has mounted a part of.
    """
    kept = _kept()
    mounted = mounted_releases()
    staying = {keep, *([kept[0]] if kept is not None else [])}
    staying |= {path for path in places.RELEASES.iterdir() if path.name in mounted}
    needed = {entry["image"] for release in staying for entry in places.services(release)}
    for path in places.RELEASES.iterdir():
        if path in staying:
            continue
        for entry in places.services(path):
            if entry["image"] not in needed:
                _drop(entry)
        shutil.rmtree(path, ignore_errors=True)


def mounted_releases(processes: Path = Path("/proc")) -> set[str]:
    """Return the names of the releases that any process has a file or directory of mounted."""
    seen: set[str] = set()
    names: set[str] = set()
    pattern = re.compile(re.escape(f"/{places.RELEASES.name}/") + r"([^/ ]+)/")
    for process in processes.glob("[0-9]*"):
        with contextlib.suppress(OSError):  # it has ended
            namespace = str((process / "ns" / "mnt").readlink())
            if namespace not in seen:
                mounts = (process / "mountinfo").read_text(encoding="utf-8", errors="replace")
                seen.add(namespace)
                names.update(pattern.findall(mounts))
    return names


def kept() -> dict[str, list[str]]:
    """Return what belongs to the release that `restore` gives back, or gave: configuration hashes and images."""
    found = _kept()
    release = found[0] if found is not None else None
    marker = places.read_json(places.CONFIGURED)
    if release is None and isinstance(marker, dict) and marker.get("restored") is True:
        release = current()
    entries = places.services(release) if release is not None else []
    return {
        "config_hashes": sorted(entry["config_hash"] for entry in entries),
        "images": sorted({entry["image"] for entry in entries}),
    }


def current() -> Path | None:
    """Return the directory that the current release lies in."""
    try:
        release = places.RELEASES / places.CURRENT.readlink().name
    except OSError:
        return None
    return release if release.is_dir() else None


def _kept() -> tuple[Path, dict[str, Any]] | None:
    """Return the release that is kept beside the current one."""
    found = _read()
    return found if found is not None and found[0] != current() else None


def _read() -> tuple[Path, dict[str, Any]] | None:
    found = places.read_texts(places.PREVIOUS, "release")
    marker = found.get("marker") if found is not None else None
    if found is None or not isinstance(marker, dict):
        return None
    release = places.RELEASES / found["release"]
    inside = release.parent == places.RELEASES and release.name == found["release"]
    return (release, marker) if inside and release.is_dir() else None


def _serves(release: Path) -> bool:
    hashes = {entry["config_hash"] for entry in places.services(release)}
    with contextlib.suppress(EngineError):
        return any(entry["Labels"].get("com.docker.compose.config-hash") in hashes for entry in Engine().listed())
    return True


def _drop(entry: dict[str, Any]) -> None:
    """Remove an image's names; a container that still uses it keeps it."""
    for name in {entry["image"], entry["reference"]}:
        with contextlib.suppress(EngineError):
            Engine().call("DELETE", f"/images/{name}")
