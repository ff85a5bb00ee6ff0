"""What is wanted of a running machine's hardware and can only change when it is next switched on."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable

    from polis.drivers.base import Forward, Hardware

MEBIBYTE = 1024 * 1024


def changes(actual: Hardware, wanted: Hardware) -> tuple[str, ...]:
    """Return each difference in words. A smaller disk is none: disks only grow (docs/reference.md)."""
    pairs = [
        ("cpus", str(actual.cpus), str(wanted.cpus)),
        ("memory", _mebibytes(actual.memory), _mebibytes(wanted.memory)),
        ("disk", _mebibytes(actual.disk), _mebibytes(max(actual.disk, wanted.disk))),
        ("ports", _ports(actual.forwards), _ports(wanted.forwards)),
    ]
    return tuple(f"{name}: {before} -> {after}" for name, before, after in pairs if before != after)


def _mebibytes(size: int) -> str:
    return f"{size // MEBIBYTE} MiB"


def _ports(forwards: Iterable[Forward]) -> str:
    return " ".join(sorted(f"{forward.host}:{forward.guest}" for forward in forwards)) or "none"
