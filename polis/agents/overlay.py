"""The Compose file that adds an agent to the workspace's service. It lies in the guest, beside the bundle's own."""

from __future__ import annotations

import io
from typing import TYPE_CHECKING, Any

from polis.agents import unit

if TYPE_CHECKING:
    from polis.agents.manifest import Persistence
    from polis.agents.reading import Agent

PLACE = ".polis/agent"
"""Where the agent's files lie, relative to the bundle's docker-compose.yml."""

COMPOSE, FILES, UNIT, WANTED, SETUP, HEALTH, KEYS = (
    *("compose.yaml", "files", "polis-agent.service", "wanted.conf", "setup.sh", "health.sh", "env"),
)
"""Their names there."""

SECRET = "polis_agent_env"  # noqa: S105 -- a name
BASE_CHECK = 15.0
"""Seconds that the workspace's own health check may take, before the agent's."""
BASE_START = 180.0


def overlay(agent: Agent) -> bytes:
    """Return the overlay: the same bytes for the same agent, and no key in it."""
    from ruamel.yaml import YAML

    text = io.StringIO()
    yaml = YAML()
    yaml.default_flow_style = False
    yaml.width = 4096
    yaml.dump(_document(agent), text)
    return f"# Written by polis from the manifest of the agent {agent.name}.\n{text.getvalue()}".encode()


def volume(agent: str, place: Persistence) -> str:
    """Return the name of the volume that keeps a directory of an agent."""
    return f"polis-agent-{agent}-{place.name}"


def _document(agent: Agent) -> dict[str, Any]:
    spec = agent.manifest.spec
    volumes = {volume(agent.name, place): place.container_path for place in spec.persistence}
    resources = spec.resources
    service: dict[str, Any] = {
        # What root needs to install an agent and to become its user. Under Sysbox it has this anyway, in there only.
        "cap_add": ["CHOWN", "DAC_OVERRIDE", "FOWNER", "SETGID", "SETUID"],
        "secrets": [SECRET],
        "volumes": [
            _bind(FILES, f"{unit.HOME}/{agent.name}"),
            _bind(UNIT, f"/etc/systemd/system/{unit.NAME}"),
            _bind(WANTED, "/etc/systemd/system/multi-user.target.d/polis-agent.conf"),
            _bind(SETUP, unit.SETUP),
            _bind(HEALTH, "/etc/polis/agent-health"),
            *[{"type": "volume", "source": name, "target": path} for name, path in volumes.items()],
        ],
        "healthcheck": {
            "interval": _seconds(spec.health.interval),
            "timeout": _seconds(BASE_CHECK + spec.health.timeout),
            "retries": spec.health.retries,
            "start_period": _seconds(max(BASE_START, spec.health.start_period)),
        },
    }
    if resources.memory_limit:
        service["mem_limit"] = resources.memory_limit
    if resources.memory_reservation:
        service["mem_reservation"] = resources.memory_reservation
    document: dict[str, Any] = {
        "services": {"workspace": service},
        "secrets": {SECRET: {"file": f"./{PLACE}/{KEYS}"}},
    }
    if volumes:
        # With a name of its own, a volume is the same one whatever the project is called.
        document["volumes"] = {name: {"name": name} for name in volumes}
    return document


def _bind(source: str, target: str) -> dict[str, Any]:
    return {
        "type": "bind",
        "source": f"./{PLACE}/{source}",
        "target": target,
        "read_only": True,
        "bind": {"create_host_path": False},
    }


def _seconds(value: float) -> str:
    return f"{value:.0f}s"
