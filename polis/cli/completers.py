"""What a shell offers for a value: names that lie on this machine. No VM is asked, and nothing heavy is imported."""

from __future__ import annotations

import os
import re
from pathlib import Path

IMAGES = ("24.04",)
"""Base images that are known by name; descriptors are files."""

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,62}")
_COMPOSE = Path(__file__).parents[1] / "bundle" / "default" / "docker-compose.yml"
_SERVICE = re.compile(r"  ([A-Za-z0-9][A-Za-z0-9._-]*):\s*(#.*)?")
LIMIT = 1024 * 1024
"""Bytes that are read of a Compose file."""


def workspaces(incomplete: str) -> list[str]:
    """Return the workspaces that have a record."""
    from polis import paths

    return _fitting(paths.find().workspace_names(), incomplete)


def agents(incomplete: str) -> list[str]:
    """Return the agents that are installed. `polis.agents.shelf` knows them too, and the model library with them."""
    from polis import paths

    try:
        installed = sorted(path.parent.name for path in (paths.find().config / "agents").glob("*/agent.tar"))
    except OSError:
        return []
    return _fitting(installed, incomplete)


def drivers(incomplete: str) -> list[str]:
    """Return the drivers."""
    from polis.defaults import DRIVERS

    return _fitting(DRIVERS, incomplete)


def images(incomplete: str) -> list[str]:
    """Return the base images that are known by name."""
    return _fitting(IMAGES, incomplete)


def services(incomplete: str) -> list[str]:
    """Return the services of the shipped bundle, or of the directory that POLIS_BUNDLE names."""
    named = os.environ.get("POLIS_BUNDLE")
    path = Path(named) / "docker-compose.yml" if named else _COMPOSE
    try:
        with path.open(encoding="utf-8", errors="replace") as file:
            text = file.read(LIMIT)
    except (OSError, ValueError):
        return []
    return _fitting(_service_names(text), incomplete)


def _service_names(text: str) -> list[str]:
    """Return the keys below `services:`. A document that is written in another style offers nothing."""
    names: list[str] = []
    inside = False
    for line in text.splitlines():
        if line[:1].strip() and not line.startswith("#"):
            inside = line.startswith("services:")
        elif inside and (match := _SERVICE.fullmatch(line)):
            names.append(match[1])
    return names


def _fitting(names: list[str] | tuple[str, ...], incomplete: str) -> list[str]:
    """Return what begins so; a directory of another name than a workspace can have is none, and is not shown."""
    return [name for name in names if name.startswith(incomplete) and _NAME.fullmatch(name)]
