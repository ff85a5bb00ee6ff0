"""All evidence of the guest in one answer; changes nothing."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

from polis.guest.remote import places
from polis.guest.remote.containers import booted_at, summary
from polis.guest.remote.engine import Engine, EngineError

if TYPE_CHECKING:
    from collections.abc import Callable

LOG_LINES = 8
LOG_BYTES = 8192


def run(_arguments: dict[str, Any], _say: Callable[[dict[str, Any]], None]) -> dict[str, Any]:
    """Return the report that `polis.guest.report` describes."""
    report: dict[str, Any] = {
        "schema": 1,
        "boot_id": places.boot_id(),
        "marker": places.read_json(places.MARKER),
        "cloud_init": cloud_init(),
        "sentinel": places.read_json(places.SENTINEL),
        "bundle": _bundle(),
        "leftovers": sorted(path.name for path in places.HOME.glob("*")) if places.HOME.is_dir() else [],
        "expected": [],
        "images": [],
        "containers": [],
        "docker": {},
    }
    resolved = places.read_json(places.CURRENT / places.RESOLVED) or {}
    report["expected"] = resolved.get("services", [])
    try:
        _ask_engine(Engine(), report)
    except EngineError as error:
        report["docker"] = {"error": str(error)}
    return report


def cloud_init() -> dict[str, Any]:
    """Return how far cloud-init is, from the files that it writes (its own command starts for a second or more)."""
    status = (places.read_json(places.CLOUD_STATUS) or {}).get("v1", {})
    result = (places.read_json(places.CLOUD_RESULT) or {}).get("v1")
    stages = {name: entry for name, entry in status.items() if isinstance(entry, dict)}
    errors = [str(text) for entry in stages.values() for text in entry.get("errors", [])]
    recoverable = [
        f"{level}: {text}"
        for entry in stages.values()
        for level, texts in (entry.get("recoverable_errors") or {}).items()
        for text in texts
    ]
    finished = result is not None and not status.get("stage")
    return {
        "finished": finished,
        "stage": status.get("stage") or "",
        "errors": errors,
        "recoverable": recoverable,
        "log": log_tail() if errors or not finished else [],
    }


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


def _bundle() -> dict[str, Any] | None:
    marker = places.read_json(places.CONFIGURED)
    if not isinstance(marker, dict):
        return None
    intact = places.CURRENT.is_dir() and places.tree_digest(places.CURRENT) == marker.get("tree")
    return {**marker, "intact": intact}


def _ask_engine(engine: Engine, report: dict[str, Any]) -> None:
    version = engine.get("/version")
    runtimes = engine.get("/info").get("Runtimes") or {}
    report["docker"] = {"version": version["Version"], "runtimes": sorted(runtimes)}
    references = sorted({service["image"] for service in report["expected"]})
    report["images"] = [image for image in (_image(engine, reference) for reference in references) if image]
    booted = booted_at()
    report["containers"] = [summary(container, booted) for container in engine.containers()]


def _image(engine: Engine, reference: str) -> dict[str, Any] | None:
    found = engine.find(f"/images/{reference}/json")
    if found is None:
        return None
    return {"reference": reference, "id": found["Id"], "digests": found.get("RepoDigests") or []}
