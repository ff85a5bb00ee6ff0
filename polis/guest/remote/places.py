"""Where things lie in the guest, and how its files are read and written."""

from __future__ import annotations

import hashlib
import json
import os
from pathlib import Path
from typing import Any

HOME = Path("/opt/polis")
"""What `configured` places; empty in the phases below."""

STATE = Path("/var/lib/polis")
"""What outlives every reset but the deletion of the VM."""

MARKER = STATE / "workspace.json"
"""Whose VM this is and what it was created from; written when `launched` first holds."""

MARKER_KEYS = ("workspace", "id", "fingerprint")

SENTINEL = STATE / "provisioned.json"
"""Written by the cloud-init document as its last act: what it installed."""

MISHAP = STATE / "failure.json"
"""Written by the document instead, where it knows why it could not go on."""

INCOMING = STATE / "incoming"
"""Where the default user may push files."""

IDENTITY = Path("/run/polis/identity")
"""Where what makes this machine another than its copies waits while it is copied; a reboot makes it anew."""

CURRENT = HOME / "current"
"""A link to the unpacked bundle, so that a new one is put in place by one rename."""

RELEASES = HOME / "releases"
CONFIGURED = HOME / "configured.json"
"""What lies at CURRENT; written last, removed first."""

PREVIOUS = HOME / "previous.json"
"""Which release is kept beside the current one, and its marker."""

RESOLVED = ".polis/resolved.json"
CONTENT = ".polis/content.json"
AGENT = ".polis/agent/compose.yaml"

CLOUD_STATUS = Path("/run/cloud-init/status.json")
CLOUD_RESULT = Path("/run/cloud-init/result.json")
CLOUD_LOG = Path("/var/log/cloud-init-output.log")

TEXT_LIMIT = 4096
"""Characters of a text above which the host refuses the report."""


def read_json(path: Path) -> Any:
    """Return the file's JSON value, or None if it is missing or torn."""
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError):
        return None


def read_texts(path: Path, *keys: str) -> dict[str, Any] | None:
    """Return the file's JSON object, or None if it is none, or has something else than a text under one of the keys."""
    value = read_json(path)
    return value if isinstance(value, dict) and _has_texts(value, keys) else None


def services(release: Path | None = None) -> list[dict[str, Any]]:
    """Return the services of a release (the current one), as Compose resolved them; none if that cannot be read."""
    resolved = read_json((release or CURRENT) / RESOLVED)
    found = resolved.get("services") if isinstance(resolved, dict) else None
    entries = found if isinstance(found, list) else []
    return [_completed(entry) for entry in entries] if all(_is_service(entry) for entry in entries) else []


def write_json(path: Path, value: Any, mode: int = 0o600) -> None:
    """Put a JSON file in place durably."""
    partial = path.with_name(f".{path.name}.partial")
    descriptor = os.open(partial, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, mode)
    with os.fdopen(descriptor, "w", encoding="utf-8") as file:
        json.dump(value, file)
        file.flush()
        os.fsync(file.fileno())
    partial.replace(path)
    sync(path.parent)


_IMAGE_KEYS = ("reference", "digest", "id")


def _is_service(entry: object) -> bool:
    if not isinstance(entry, dict) or not isinstance(entry.get("one_shot"), bool):
        return False
    return _has_texts(entry, ("name", "image", "config_hash")) and _has_texts(_completed(entry), _IMAGE_KEYS)


def _completed(entry: dict[str, Any]) -> dict[str, Any]:
    """Return a service with what was not written down before images could be locked."""
    return {"reference": entry["image"], "digest": "", "id": "", **entry}


def _has_texts(value: dict[str, Any], keys: tuple[str, ...]) -> bool:
    return all(isinstance(value.get(key), str) and len(value[key]) <= TEXT_LIMIT for key in keys)


def sync(directory: Path) -> None:
    """Make new names in the directory survive a power cut."""
    descriptor = os.open(directory, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def tree_digest(root: Path) -> str:
    """Return a digest of all names, owners, modes and contents below a directory."""
    digest = hashlib.sha256()
    for path in sorted(root.rglob("*")):
        name = path.relative_to(root).as_posix()
        if path.is_symlink():
            digest.update(f"link {name} {path.readlink()}\0".encode())
        elif path.is_file():
            status = path.stat()
            owned = f"{status.st_mode & 0o777:o} {status.st_uid}:{status.st_gid}"
            digest.update(f"file {name} {owned} {sha256(path)}\0".encode())
    return digest.hexdigest()


def sha256(path: Path) -> str:
    """Return the hash of a file's content, in hexadecimal."""
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while chunk := file.read(1 << 20):
            digest.update(chunk)
    return digest.hexdigest()


def boot_id() -> str:
    """Return what distinguishes this boot of the guest from the next."""
    return Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip()
