"""How far the guest's first boot is, and what it said."""

from __future__ import annotations

import os
from typing import Any

from polis.guest.remote import places

LOG_LINES = 12
LOG_BYTES = 8192


def cloud_init() -> dict[str, Any]:
    """Return how far cloud-init is, from the files that it writes (its own command starts for a second or more)."""
    status = _object(_object(places.read_json(places.CLOUD_STATUS)).get("v1"))
    result = _object(places.read_json(places.CLOUD_RESULT)).get("v1")
    stages = [entry for entry in status.values() if isinstance(entry, dict)]
    errors = [str(text) for entry in stages for text in _list(entry.get("errors"))]
    recoverable = [
        f"{level}: {text}"
        for entry in stages
        for level, texts in _object(entry.get("recoverable_errors")).items()
        for text in _list(texts)
    ]
    finished = result is not None and not status.get("stage")
    return {
        "finished": finished,
        "stage": str(status.get("stage") or "")[: places.TEXT_LIMIT],
        "errors": errors,
        "recoverable": recoverable,
        "log": log_tail() if errors or not finished or not places.SENTINEL.is_file() else [],
    }


def _object(value: object) -> dict[str, Any]:
    return value if isinstance(value, dict) else {}


def _list(value: object) -> list[Any]:
    return value if isinstance(value, list) else []


def log_tail() -> list[str]:
    """Return the last lines that the document's scripts printed."""
    try:
        with places.CLOUD_LOG.open("rb") as file:
            file.seek(0, os.SEEK_END)
            file.seek(max(0, file.tell() - LOG_BYTES))
            text = file.read().decode("utf-8", "replace")
    except OSError:
        return []
    return [line.rstrip() for line in text.splitlines() if line.strip()][-LOG_LINES:]
