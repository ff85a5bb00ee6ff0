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

SENTINEL = STATE / "provisioned.json"
"""Written by the cloud-init document as its last act: what it installed."""

MISHAP = STATE / "failure.json"
"""Written by the document instead, where it knows why it could not go on."""

INCOMING = STATE / "incoming"
"""Where the default user may push files."""

CURRENT = HOME / "current"
"""A link to the unpacked bundle, so that a new one is put in place by one rename."""

RELEASES = HOME / "releases"
CONFIGURED = HOME / "configured.json"
"""What lies at CURRENT; written last, removed first."""

RESOLVED = ".polis/resolved.json"
CONTENT = ".polis/content.json"

CLOUD_STATUS = Path("/run/cloud-init/status.json")
CLOUD_RESULT = Path("/run/cloud-init/result.json")
CLOUD_LOG = Path("/var/log/cloud-init-output.log")


def read_json(path: Path) -> Any:
    """Return the file's JSON value, or None if it is missing or torn."""
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None


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


def sync(directory: Path) -> None:
    """Make new names in the directory survive a power cut."""
    descriptor = os.open(directory, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def tree_digest(root: Path) -> str:
    """Return a digest of all names, modes and contents below a directory."""
    digest = hashlib.sha256()
    for path in sorted(root.rglob("*")):
        name = path.relative_to(root).as_posix()
        if path.is_symlink():
            digest.update(f"link {name} {path.readlink()}\0".encode())
        elif path.is_file():
            content = hashlib.sha256(path.read_bytes()).hexdigest()
            digest.update(f"file {name} {path.stat().st_mode & 0o777:o} {content}\0".encode())
    return digest.hexdigest()


def boot_id() -> str:
    """Return what distinguishes this boot of the guest from the next."""
    return Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip()
