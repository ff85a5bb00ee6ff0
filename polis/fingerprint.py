"""Fingerprints of inputs: equal exactly when nothing that matters changed, and able to say what did.

A fingerprint reads `bundle=0f3a… version=91bc…`: one short digest per named part, so that two of them tell by
themselves which parts differ, and a secret part cannot be read from it.
"""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping

_DIGITS = 16


def of(parts: Mapping[str, str | bytes]) -> str:
    """Return the fingerprint of named parts; names must not contain spaces or equals signs."""
    return " ".join(f"{name}={_digest(value)}" for name, value in sorted(parts.items()))


def changed(before: str, now: str) -> tuple[str, ...]:
    """Return the names of the parts that differ, sorted."""
    old, new = _parts(before), _parts(now)
    return tuple(sorted(name for name in old.keys() | new.keys() if old.get(name) != new.get(name)))


def _digest(value: str | bytes) -> str:
    data = value if isinstance(value, bytes) else value.encode()
    return hashlib.sha256(data).hexdigest()[:_DIGITS]


def _parts(fingerprint: str) -> dict[str, str]:
    return dict(pair.partition("=")[::2] for pair in fingerprint.split())
