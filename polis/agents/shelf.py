"""The agents that are installed on this machine: `<config>/agents/<name>/agent.tar`, one checked tar each.

One file is replaced by one rename, so an agent is there whole or not at all, whatever happens meanwhile.
"""

from __future__ import annotations

import contextlib
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

from polis import durable
from polis.agents import choice
from polis.config_agent import AGENT_NAME
from polis.errors import ConfigurationError, HostUnsuitable, NotFound, UsageError

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from polis.agents.reading import Agent
    from polis.paths import Paths

FILE = "agent.tar"


@dataclass(frozen=True)
class Shelf:
    """The agents of this user."""

    paths: Paths

    @property
    def directory(self) -> Path:
        """Return the directory that holds a directory for each agent."""
        return self.paths.config / "agents"

    def names(self) -> list[str]:
        """Return the names of all agents, sorted."""
        try:
            return sorted(path.parent.name for path in self.directory.glob(f"*/{FILE}"))
        except OSError:
            return []

    def get(self, name: str) -> Agent:
        """Return an agent. Raises NotFound, and ConfigurationError if it is damaged."""
        from polis.agents import reading

        path = self._path(name)
        if path is None or not path.is_file():
            raise _no_agent(name)
        try:
            agent = reading.read(path, called=f"agent {name}: {reading.MANIFEST}")
        except ConfigurationError as error:
            error.hint = f"`polis agent add PATH --replace` puts the agent {name} in place again"
            raise
        if agent.name != name:
            raise ConfigurationError(
                f"{path} holds the agent {agent.name}, not {name}",
                hint=f"`polis agent add PATH --replace` puts the agent {name} in place again",
            )
        return agent

    def add(self, agent: Agent, *, replace: bool = False) -> bool:
        """Install an agent; return False if it is there already, with the same content.

        Raises UsageError if another one has its name and is not to be replaced, HostUnsuitable if it cannot be written.
        """
        path = self.directory / agent.name / FILE
        with _writing(path):
            if path.is_file():
                if path.read_bytes() == agent.content:
                    return False
                if not replace:
                    raise UsageError(
                        f"another agent {agent.name} is installed",
                        remains="that one, as it was",
                        hint=f"add --replace to put this one in its place; `polis agent show {agent.name}` shows it",
                    )
            durable.private_directory(path.parent)
            durable.sweep(path.parent, FILE)
            durable.write(path, agent.content)
            durable.anchor(path)
        return True

    def remove(self, name: str) -> None:
        """Remove an agent. Raises NotFound, HostUnsuitable."""
        path = self._path(name)
        if path is None or not path.is_file():
            raise _no_agent(name)
        with _writing(path):
            path.unlink()
            durable.sweep(path.parent, FILE)
            with contextlib.suppress(OSError):  # what somebody else put there is left alone
                path.parent.rmdir()
            durable.sync_directory(self.directory)

    def users(self, name: str) -> list[str]:
        """Return the workspaces that have the agent."""
        try:
            directories = sorted(path for path in (self.paths.config / "secrets").iterdir() if path.is_dir())
        except OSError:
            return []
        return [path.name for path in directories if choice.agent_of(path) == name]

    def _path(self, name: str) -> Path | None:
        return self.directory / name / FILE if re.fullmatch(AGENT_NAME, name) else None


def _no_agent(name: str) -> NotFound:
    return NotFound(
        f"there is no agent {name}", hint="`polis agent list` shows all, `polis agent add PATH` installs one"
    )


@contextlib.contextmanager
def _writing(path: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise HostUnsuitable(f"{path} cannot be written", cause=error.strerror or str(error)) from error
