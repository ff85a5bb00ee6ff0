"""A workspace's keys, passwords and agent, for its other operators: left in the VM, taken from there.

Where a driver serves several machines, whoever places keys in a VM leaves there what they were made from, for root
only; whoever finds keys in it that are not their own takes that over before anything else. Without it each would
replace the other's keys and passwords. What comes from a VM is checked like a file from anywhere; nothing of it runs.
"""

from __future__ import annotations

import base64
import contextlib
import json
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from polis import durable, fingerprint, vault
from polis.agents import choice
from polis.agents.shelf import Shelf
from polis.errors import ConfigurationError, HostUnsuitable, PolisError, UsageError

if TYPE_CHECKING:
    from polis.agents.parts import AgentParts, UnavailableAgent
    from polis.guest.session import Guest
    from polis.paths import Paths
    from polis.states.observation import Observation

SCHEMA = 1
LIMIT = 6 << 20
"""Bytes of an agent above which it is not left in the VM: other operators have to add it themselves."""

BEFORE = ".before"
"""Suffix under which keys are kept that others took the place of."""

WORDS = {choice.FILE: "the choice of its agent", vault.FILE: "keys and passwords"}

CALL_LIMIT = 60.0
"""Seconds for the guest to hand it over."""


@dataclass(frozen=True)
class Handover:
    """What of one workspace is handed over."""

    name: str
    paths: Paths

    def pack(self) -> bytes:
        """Return all of it. Raises HostUnsuitable if it cannot be read, ConfigurationError if it is damaged."""
        directory, agent = self.paths.secrets(self.name), None
        known = choice.load(directory)
        if known.agent is not None:
            with contextlib.suppress(PolisError):  # what is not there is missed elsewhere
                agent = Shelf(self.paths).get(known.agent).content
        texts = {name: _text(directory / name) for name in (vault.FILE, choice.FILE)}
        tar = base64.b64encode(agent).decode() if agent is not None and len(agent) <= LIMIT else None
        return json.dumps({"schema": SCHEMA, **texts, "agent.tar": tar}).encode()

    def take(self, found: Any) -> tuple[str, ...]:
        """Keep on this machine what was found in the VM; return in words what was new.

        Raises ConfigurationError if it is not what Polis left there, HostUnsuitable if it cannot be written.
        """
        if not isinstance(found, dict) or found.get("schema") != SCHEMA:
            raise self._refused("no handover of this Polis")
        texts = {name: found[name] for name in (choice.FILE, vault.FILE) if isinstance(found.get(name), str)}
        for name, text in texts.items():
            self._check(name, text)
        tar = found.get("agent.tar")
        taken = self._take_agent(tar) if isinstance(tar, str) else []
        taken += [WORDS[name] for name, text in texts.items() if self._put(self.paths.secrets(self.name) / name, text)]
        return tuple(taken)

    def _take_agent(self, text: str) -> list[str]:
        from polis.agents import reading

        with tempfile.TemporaryDirectory(prefix="polis-") as directory:
            path = Path(directory) / "agent.tar"
            try:
                path.write_bytes(base64.b64decode(text, validate=True))
            except ValueError as error:
                raise self._refused("an agent that is no archive") from error
            agent = reading.read(path)
        try:
            return [f"the agent {agent.name}"] if Shelf(self.paths).add(agent) else []
        except UsageError:
            return []  # another of that name is installed here, and stays: `up` tells that its content differs

    def _check(self, name: str, text: str) -> None:
        """Refuse a file of keys or of the agent that could not be read again."""
        with tempfile.TemporaryDirectory(prefix="polis-") as directory:
            (Path(directory) / name).write_text(text, encoding="utf-8", errors="replace")
            try:
                choice.load(Path(directory))
                vault.Vault(Path(directory)).read()
            except ConfigurationError as error:
                raise self._refused(f"its {name} is damaged") from error

    def _put(self, path: Path, text: str) -> bool:
        """Write a file unless it is as it should be; the one before is kept."""
        if _text(path) == text:
            return False
        try:
            durable.private_directory(path.parent)
            durable.sweep(path.parent, path.name)
            durable.write(path, text.encode(), backup=path.with_name(f"{path.name}{BEFORE}"))
            durable.anchor(path)
        except OSError as error:
            raise HostUnsuitable(f"{path} cannot be written", cause=error.strerror or str(error)) from error
        return True

    def _refused(self, reason: str) -> ConfigurationError:
        return ConfigurationError(
            f"what other operators left in the VM of {self.name} cannot be used",
            cause=reason,
            remains="nothing was changed",
            hint="whoever made the workspace can place it anew: `polis reset --to launched`, then `polis up`",
        )


def is_due(
    seen: Observation, name: str, paths: Paths, agent: AgentParts | UnavailableAgent | None, *, agent_matters: bool
) -> bool:
    """Return whether the VM has keys that are not this machine's, or, unless one was asked for, another `agent`."""
    if seen.report is None or not seen.report.cloud_init.finished:
        return False
    bundle = seen.report.bundle
    try:
        known = vault.Vault(paths.secrets(name)).read()
    except PolisError:
        return False  # stops `up`, which says so: nothing here replaces a damaged file
    if known is None or bundle is None:
        return True
    ours = fingerprint.of({**known.parts, **({"agent": agent.fingerprint} if agent is not None else {})})
    matters = {*known.parts, *(["agent"] if agent_matters else [])}
    return bool(matters & set(fingerprint.changed(bundle.fingerprint, ours)))


def ask(guest: Guest) -> Any:
    """Return what was left in the VM, or None. Raises what `Guest.call` raises."""
    return guest.call("lend-vault", {}, timeout=CALL_LIMIT).get("vault")


def _text(path: Path) -> str | None:
    try:
        return path.read_text(encoding="utf-8")
    except FileNotFoundError:
        return None
    except (OSError, ValueError) as error:
        raise HostUnsuitable(f"{path} cannot be read", cause=str(error)) from error
