"""A workspace's agent, ready to be placed: checked, its requirements met, and everything that is written for it."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from polis import redaction
from polis.agents import choice
from polis.agents.choice import Kept
from polis.bundle.placed import PlacedFile
from polis.errors import ConfigurationError, PolisError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from polis.agents.given import Given
    from polis.agents.reading import Agent
    from polis.config import Spec
    from polis.paths import Paths

LONG = 12
"""Characters from which on an optional value is taken for a key, whatever its name."""

ADDRESS = "10.10.1.100"
"""The workspace's container, as the VM reaches it."""


@dataclass(frozen=True)
class AgentParts:
    """All that an agent adds to a workspace."""

    name: str
    fingerprint: str
    """Changes with the agent's content, with what polis writes for it, and with its keys; tells none of them."""
    files: Mapping[str, PlacedFile] = field(repr=False)
    """By their path below `.polis/agent`; `compose.yaml` is the overlay."""
    secrets: tuple[str, ...] = field(repr=False)
    """Values that nothing may show."""
    variables: tuple[str, ...]
    """Names of what it is given."""
    ports: tuple[tuple[int, int], ...]
    """Ports of the host's 127.0.0.1, each with the agent's port that it leads to."""
    kept: Kept = field(repr=False)
    notes: tuple[str, ...] = ()
    warnings: tuple[str, ...] = ()

    def document(self) -> dict[str, Any]:
        """Return what `status --json` tells: names of what it is given, never a value."""
        ports = [{"port": host, "to": f"{ADDRESS}:{port}"} for host, port in self.ports]
        return {"name": self.name, "variables": list(self.variables), "ports": ports, "problem": None}


@dataclass(frozen=True)
class UnavailableAgent:
    """An agent that cannot be prepared, for the commands that need none: they see that it is not what is placed."""

    problem: PolisError
    name: str | None
    fingerprint: str = "unavailable"
    ports: tuple[tuple[int, int], ...] = ()

    @property
    def files(self) -> Mapping[str, PlacedFile]:
        """Raise why there are none."""
        raise self.problem

    def document(self) -> dict[str, Any]:
        """Return what `status --json` tells."""
        return {"name": self.name, "variables": [], "ports": [], "problem": str(self.problem)}


def prepare(spec: Spec, paths: Paths, environ: Mapping[str, str]) -> AgentParts | None:
    """Return the workspace's agent, or None if it has none; nothing is written.

    Which one: what the Spec says (an empty name: none), else the one it had.

    Raises:
        NotFound: there is no such agent.
        ConfigurationError: it is damaged, a variable that it needs is not set, or the VM has too little memory for it.

    """
    kept = _kept(spec, paths)
    name = spec.agent if spec.agent is not None else kept.agent
    if not name:
        return None
    from polis.agents import given
    from polis.agents.shelf import Shelf

    agent = Shelf(paths).get(name)
    _require_memory(agent, spec)
    found = given.gather(agent.manifest, spec, environ, kept.values.get(name, {}))
    redaction.hide(found.values[variable] for variable in _secret(agent, found))
    ports = given.host_ports(agent.manifest, found.values, {port.host for port in spec.ports})
    hosts = {port.host_env for port in agent.manifest.spec.ports}
    values = {variable: value for variable, value in found.values.items() if variable not in hosts}
    files = _files(agent, values)
    return AgentParts(
        name=name,
        fingerprint=_fingerprint(files),
        files=files,
        secrets=tuple(found.values[variable] for variable in _secret(agent, found)),
        variables=tuple(sorted(values)),
        ports=ports,
        kept=Kept(name, {**kept.values, name: found.kept}),
        notes=found.notes,
        warnings=found.warnings,
    )


def available(spec: Spec, paths: Paths, environ: Mapping[str, str]) -> AgentParts | UnavailableAgent | None:
    """Return the same, for commands that have to work without: `status`, `reset`, `delete`."""
    try:
        return prepare(spec, paths, environ)
    except PolisError as problem:
        return UnavailableAgent(problem, spec.agent or choice.agent_of(paths.secrets(spec.name)))


def remember(spec: Spec, paths: Paths, parts: AgentParts | None) -> None:
    """Keep which agent the workspace has, and its keys; for the holder of the lock. Raises HostUnsuitable.

    What was given to agents that are no longer installed is forgotten.
    """
    from polis.agents.shelf import Shelf

    directory = paths.secrets(spec.name)
    before = _kept(spec, paths)
    wanted = parts.kept if parts is not None else Kept(None, before.values)
    installed = Shelf(paths).names()
    values = {name: given for name, given in wanted.values.items() if given and name in installed}
    after = Kept(wanted.agent, values)
    if after != before:
        choice.save(directory, after)


def _kept(spec: Spec, paths: Paths) -> Kept:
    """Return what is kept; damage does no harm where the user says anew which agent it shall be."""
    try:
        return choice.load(paths.secrets(spec.name))
    except ConfigurationError:
        if spec.agent is None:
            raise
        return Kept("?")  # unlike anything that will be kept, so that it is written anew


def _require_memory(agent: Agent, spec: Spec) -> None:
    wanted = agent.manifest.spec.resources.memory_limit or 0
    if wanted > spec.memory:
        sizes = f"up to {wanted >> 20} MiB of memory, and the VM has {spec.memory >> 20} MiB"
        raise ConfigurationError(
            f"the agent {agent.name} asks for {sizes}",
            remains="nothing was changed",
            hint="set `memory` in polis.yaml; it takes effect when the VM is next switched on",
        )


def _secret(agent: Agent, found: Given) -> list[str]:
    """Return the names of variables whose values nothing may show.

    An optional one may be a plain word, such as a region. To strike that out everywhere would make nonsense of what
    polis says.
    """
    from polis.config_agent import looks_secret

    needed, asked = agent.manifest.spec.requirements.env_one_of, set(agent.manifest.variables)
    return [
        name
        for name, value in found.values.items()
        if name in needed or looks_secret(name) or (name in asked and len(value) >= LONG)
    ]


def _files(agent: Agent, values: Mapping[str, str]) -> dict[str, PlacedFile]:
    from polis.agents import overlay, unit

    texts = {
        overlay.UNIT: unit.unit(agent),
        overlay.WANTED: unit.WANTED,
        overlay.SETUP: unit.setup(agent),
        overlay.HEALTH: unit.health(agent),
    }
    return {
        overlay.COMPOSE: PlacedFile(overlay.overlay(agent), 0o644),
        overlay.KEYS: PlacedFile(unit.environment(values).encode(), 0o400),
        **{name: PlacedFile(text.encode(), 0o644) for name, text in texts.items()},
        **{f"{overlay.FILES}/{name}": file for name, file in agent.files.items()},
    }


def _fingerprint(files: Mapping[str, PlacedFile]) -> str:
    digest = hashlib.sha256()
    for name, file in sorted(files.items()):
        digest.update(f"{name} {file.mode:o} {file.owner} {hashlib.sha256(file.content).hexdigest()}\0".encode())
    return digest.hexdigest()
