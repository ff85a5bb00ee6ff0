"""Which agent a workspace has, and what it was given: kept on the host, so that a plain `up` needs neither again.

`agent.json` lies beside the workspace's other secrets, for its owner only, and outlives everything but
`delete --all`. Values are kept for each agent by itself: what was given to one is never handed to another.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from polis import durable
from polis.errors import ConfigurationError, HostUnsuitable

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

FILE = "agent.json"
SIZE_LIMIT = 4 << 20


@dataclass(frozen=True)
class Kept:
    """The agent of a workspace (None: it has none), and the values of variables by agent and name."""

    agent: str | None = None
    values: Mapping[str, Mapping[str, str]] = field(default_factory=dict, repr=False)


def load(directory: Path) -> Kept:
    """Return what is kept in a workspace's directory of secrets.

    Raises ConfigurationError if it cannot be read: to go on without would silently take the agent away.
    """
    path = directory / FILE
    try:
        data = path.read_bytes()[: SIZE_LIMIT + 1]
    except FileNotFoundError:
        return Kept()
    except OSError as error:
        raise _damaged(path, error.strerror or str(error)) from error
    try:
        value = json.loads(data)
    except (ValueError, RecursionError):  # the parser's words may quote a key
        raise _damaged(path, "it is no JSON") from None
    kept = _kept(value)
    if kept is None:
        raise _damaged(path, "it is not what polis wrote")
    return kept


def save(directory: Path, kept: Kept) -> None:
    """Keep it durably, for its owner only. Raises HostUnsuitable."""
    values = {agent: dict(sorted(given.items())) for agent, given in sorted(kept.values.items()) if given}
    document = {"schema": 1, "agent": kept.agent, "values": values}
    try:
        durable.private_directory(directory)
        durable.sweep(directory, FILE)
        durable.write(directory / FILE, (json.dumps(document, indent=2) + "\n").encode())
        durable.anchor(directory / FILE)
    except OSError as error:
        raise HostUnsuitable(f"{directory / FILE} cannot be written", cause=error.strerror or str(error)) from error


def agent_of(directory: Path) -> str | None:
    """Return the agent of a workspace as far as it is known; a damaged file says nothing."""
    try:
        return load(directory).agent
    except ConfigurationError:
        return None


def _kept(value: Any) -> Kept | None:
    from polis.config_agent import env_value

    if not isinstance(value, dict) or value.get("schema") != 1:
        return None
    agent, values = value.get("agent"), value.get("values")
    if not (agent is None or isinstance(agent, str)) or not isinstance(values, dict):
        return None
    for given in values.values():
        if not isinstance(given, dict) or not all(isinstance(text, str) for text in given.values()):
            return None
        try:
            for text in given.values():
                env_value(text)
        except ValueError:
            return None
    return Kept(agent, values)


def _damaged(path: Path, reason: str) -> ConfigurationError:
    return ConfigurationError(
        f"which agent this workspace has cannot be read from {path}",
        cause=reason,
        hint="say it again: `polis up --agent NAME` with its keys in the environment, or `polis up --no-agent`",
    )
