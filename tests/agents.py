"""Agents for tests: a good one, and the same with something changed."""

from __future__ import annotations

import json
from collections.abc import Mapping
from copy import deepcopy
from pathlib import Path
from typing import Any

KEY = "sk-test-0123456789abcdef"

GOOD: dict[str, Any] = {
    "apiVersion": "polis.dev/v1",
    "kind": "AgentPlugin",
    "metadata": {"name": "probe", "displayName": "Probe", "version": "1.0.0", "description": "probes"},
    "spec": {
        "packaging": "script",
        "install": "install.sh",
        "init": "scripts/init.sh",
        "runtime": {"command": "/usr/bin/probe --listen 0.0.0.0:9000", "user": "polis"},
        "health": {"command": "curl -sf http://127.0.0.1:9000/health"},
        "ports": [{"container": 9000, "hostEnv": "PROBE_PORT", "default": 9000}],
        "requirements": {"envOneOf": ["PROBE_KEY", "OTHER_KEY"], "envOptional": ["REGION"]},
        "persistence": [{"name": "data", "containerPath": "/home/polis/.probe"}],
    },
}

SCRIPTS = {"install.sh": "#!/bin/sh\n", "scripts/init.sh": "#!/bin/sh\n"}


def changed(changes: Mapping[str, Any]) -> dict[str, Any]:
    """Return the good manifest with values put at dotted paths; None takes a key away."""
    manifest = deepcopy(GOOD)
    for path, value in changes.items():
        *outer, last = path.split(".")
        node: Any = manifest
        for key in outer:
            node = node.setdefault(key, {})
        if value is None:
            del node[last]
        else:
            node[last] = value
    return manifest


def write(root: Path, changes: Mapping[str, Any] | None = None, files: Mapping[str, str] | None = None) -> Path:
    """Write an agent; `files` are further ones, or others in place of the good one's."""
    content = {"agent.yaml": json.dumps(changed(changes or {}), indent=1), **SCRIPTS, **(files or {})}
    for name, text in content.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return root
