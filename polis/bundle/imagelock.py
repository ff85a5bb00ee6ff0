"""`images.lock`: which image each reference of a release stands for, so that nothing else is ever started.

A tag is a promise of whoever runs the registry; a digest is the image. A release ships the lock in its bundle.
"""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING, Any, Final

from polis.errors import ConfigurationError

if TYPE_CHECKING:
    from collections.abc import Mapping

FILE: Final = "images.lock"
SCHEMA: Final = 1
MAX_SIZE: Final = 256 * 1024
"""Bytes; an image takes some two hundred."""

_DIGEST: Final = re.compile(r"sha256:[0-9a-f]{64}")
_REFERENCE: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._:/-]{0,254}:[A-Za-z0-9_][A-Za-z0-9._-]{0,127}")
_KEYS: Final = frozenset({"digest", "id"})

Lock = dict[str, dict[str, str]]
"""Reference → `digest` (of the manifest, what a registry serves) and `id` (of the configuration; may be missing)."""


def parse(data: bytes, name: str) -> Lock:
    """Return the entries of a lock file. Raises ConfigurationError, naming the entry that makes no sense."""
    if len(data) > MAX_SIZE:
        raise _refusal(name, f"larger than {MAX_SIZE} bytes")
    try:
        document = json.loads(data)
    except (ValueError, RecursionError) as error:
        raise _refusal(name, f"not JSON: {error}") from error
    if not isinstance(document, dict) or document.get("schema") != SCHEMA:
        raise _refusal(name, f'no "schema": {SCHEMA}')
    images = document.get("images")
    if not isinstance(images, dict) or document.keys() - {"schema", "images"}:
        raise _refusal(name, 'not "images" and nothing else')
    return {reference: _entry(reference, entry, name) for reference, entry in images.items()}


def render(lock: Mapping[str, Mapping[str, str]]) -> str:
    """Return the text of a lock file."""
    images = {reference: dict(sorted(lock[reference].items())) for reference in sorted(lock)}
    return json.dumps({"schema": SCHEMA, "images": images}, indent=2) + "\n"


def under(registry: str, lock: Lock) -> Lock:
    """Return the lock with full references; one without a slash is of the configured registry."""
    return {reference if "/" in reference else f"{registry}/{reference}": entry for reference, entry in lock.items()}


def _entry(reference: str, entry: Any, name: str) -> dict[str, str]:
    if not _REFERENCE.fullmatch(reference):
        raise _refusal(name, f"{reference!r} is not an image with a tag")
    if not isinstance(entry, dict) or "digest" not in entry or entry.keys() - _KEYS:
        raise _refusal(name, f'{reference}: must have "digest", may have "id", and nothing else')
    for key, value in entry.items():
        if not isinstance(value, str) or not _DIGEST.fullmatch(value):
            raise _refusal(name, f'{reference}: "{key}" is not sha256: and 64 hexadecimal digits')
    return {str(key): str(value) for key, value in entry.items()}


def _refusal(name: str, reason: str) -> ConfigurationError:
    return ConfigurationError(f"{name} cannot be used", cause=reason, remains="nothing was changed")
