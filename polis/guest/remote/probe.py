"""All evidence of the guest in one answer; changes nothing."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from polis.guest.remote import checks, firstboot, places, releases
from polis.guest.remote.containers import booted_at, line, summary
from polis.guest.remote.engine import Engine, EngineError

if TYPE_CHECKING:
    from collections.abc import Callable


def run(arguments: dict[str, Any], _say: Callable[[dict[str, Any]], None]) -> dict[str, Any]:
    """Return the report that `polis.guest.report` describes."""
    report: dict[str, Any] = {
        "schema": 1,
        "boot_id": places.boot_id(),
        "marker": places.read_texts(places.MARKER, *places.MARKER_KEYS),
        "cloud_init": firstboot.cloud_init(),
        "sentinel": places.read_texts(places.SENTINEL),
        "mishap": places.read_texts(places.MISHAP, "kind", "what", "expected", "actual"),
        "bundle": _bundle(),
        "leftovers": sorted(path.name for path in places.HOME.glob("*")) if places.HOME.is_dir() else [],
        "expected": places.services(),
        "kept": releases.kept(),
        "images": [],
        "containers": [],
        "docker": {},
    }
    info: dict[str, Any] = {}
    try:
        info = _ask_engine(Engine(), report)
    except EngineError as error:
        report["docker"] = {"error": str(error)[: places.TEXT_LIMIT]}
    except Exception as error:  # noqa: BLE001 -- whatever Docker answers, the other evidence counts
        report["docker"] = {
            "error": f"the Docker engine's answer makes no sense: {type(error).__name__}: {error}"[:300]
        }
    report["checks"] = checks.run(arguments["checks"], info, arguments["sent"])
    return report


def _bundle() -> dict[str, Any] | None:
    marker = places.read_texts(places.CONFIGURED, "digest", "fingerprint")
    if marker is None:
        return None
    intact = places.CURRENT.is_dir() and places.tree_digest(places.CURRENT) == marker.get("tree")
    return {**marker, "intact": intact, "restored": marker.get("restored") is True}


def _ask_engine(engine: Engine, report: dict[str, Any]) -> dict[str, Any]:
    info: dict[str, Any] = engine.get("/info")
    version = line(info["ServerVersion"]) or "unknown"
    references = sorted({service["image"] for service in report["expected"]})
    images = [image for image in (_image(engine, reference) for reference in references) if image]
    booted = booted_at()
    containers = [summary(container, booted) for container in engine.containers()]
    report.update(docker={"version": version}, images=images, containers=containers)
    return info


def _image(engine: Engine, reference: str) -> dict[str, Any] | None:
    found = engine.find(f"/images/{reference}/json")
    if found is None:
        return None
    return {
        "reference": reference,
        "id": line(found["Id"]),
        "digests": [line(each) for each in found["RepoDigests"] or []],
    }
