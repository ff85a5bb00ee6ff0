"""What a release is made of, as CycloneDX 1.6 (https://cyclonedx.org/docs/1.6/json/), from the lock file alone."""

from __future__ import annotations

import json
import uuid
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from release import lockfile, tree

if TYPE_CHECKING:
    from collections.abc import Iterable

    from release.lockfile import Locked


def document(version: str, locked: Iterable[Locked], *, epoch: int) -> dict[str, Any]:
    """Return it as JSON-ready values; the same inputs give the same document."""
    components = [_component(each) for each in locked]
    root = f"pkg:pypi/polis-vm@{version}"
    listed = json.dumps(components, sort_keys=True)
    return {
        "bomFormat": "CycloneDX",
        "specVersion": "1.6",
        "serialNumber": f"urn:uuid:{uuid.uuid5(uuid.NAMESPACE_URL, root + listed)}",
        "version": 1,
        "metadata": {
            "timestamp": datetime.fromtimestamp(epoch, UTC).strftime("%Y-%m-%dT%H:%M:%SZ"),
            "component": {"type": "application", "bom-ref": root, "name": "polis-vm", "version": version, "purl": root},
        },
        "components": components,
        "dependencies": [{"ref": root, "dependsOn": [each["bom-ref"] for each in components]}],
    }


def text(*, epoch: int) -> str:
    """Return the document of this tree."""
    return json.dumps(document(tree.version(), lockfile.read(), epoch=epoch), indent=2, sort_keys=True) + "\n"


def _component(locked: Locked) -> dict[str, Any]:
    package = f"pkg:pypi/{locked.name.lower().replace('_', '-')}@{locked.version}"
    marker = locked.requirement.marker
    return {
        "type": "library",
        "bom-ref": package,
        "name": locked.name,
        "version": locked.version,
        "purl": package,
        # One distribution has a file for each platform and Python.
        "externalReferences": [
            {
                "type": "distribution",
                "url": f"https://pypi.org/project/{locked.name}/{locked.version}/#files",
                "hashes": [{"alg": "SHA-256", "content": each} for each in sorted(locked.hashes)],
            }
        ],
        **({"properties": [{"name": "polis:marker", "value": str(marker)}]} if marker is not None else {}),
    }
