"""Configured: /opt/polis holds today's bundle and keys, complete and unaltered."""

from __future__ import annotations

import functools
import hashlib
import json
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from polis import fingerprint
from polis.bundle import placed
from polis.bundle.environment import in_words
from polis.errors import PolisError
from polis.events import PhaseProgress
from polis.guest.session import MARGIN
from polis.phase import Phase
from polis.states.base import HOLDS, Verdict, lacks

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from polis.bundle.archive import Bundle
    from polis.bundle.imagelock import Lock
    from polis.bundle.placed import PlacedFile
    from polis.states.base import Workbench
    from polis.states.observation import Observation
    from polis.vault import Credentials

LIMIT = 180.0
"""Seconds for unpacking and for Compose to read its files."""


class Inputs(Protocol):
    """What is placed. Reading is put off until it is asked for: a `status` without a VM reads nothing."""

    @property
    def bundle(self) -> Bundle:
        """Return the bundle. Raises ConfigurationError."""
        ...

    @property
    def environment(self) -> Mapping[str, str]:
        """Return the variables of the bundle's Compose file."""
        ...

    @property
    def lock(self) -> Lock:
        """Return what each image reference has to be. Raises ConfigurationError."""
        ...

    @property
    def agent(self) -> AgentParts | None:
        """Return what the workspace's agent needs, if it has one. Raises ConfigurationError."""
        ...


class AgentParts(Protocol):
    """An agent as it is placed: its files by their path below `.polis/agent`, and what tells it from any other."""

    @property
    def fingerprint(self) -> str:
        """Return a digest of all that is placed for it, its keys included."""
        ...

    @property
    def files(self) -> Mapping[str, PlacedFile]:
        """Return the files."""
        ...


class KeyStore(Protocol):
    """Where the workspace's keys and passwords are kept on the host."""

    def read(self) -> Credentials | None:
        """Return them, or None if they are not made yet. Raises ConfigurationError for a damaged file."""
        ...

    def lacking(self) -> str:
        """Return why `renew` has something to do, or nothing."""
        ...

    def renew(self, workspace: str) -> tuple[str, ...]:
        """Make what is missing, renew what ends soon; return the names of both."""
        ...


class Configured:
    """Sends bundle, variables and keys, and puts all in place with one rename."""

    phase = Phase.CONFIGURED

    def __init__(
        self, bench: Workbench, inputs: Inputs, keys: KeyStore, handover: Callable[[], bytes] | None = None
    ) -> None:
        """`handover` returns what is left in the guest for other operators, where there may be some."""
        self._bench = bench
        self._inputs = inputs
        self._keys = keys
        self._handover = handover

    @functools.cached_property
    def _given(self) -> dict[str, str]:
        """Return the parts of the fingerprint that do not change while a command works."""
        environment = {key: value for key, value in self._inputs.environment.items() if value}
        agent = self._inputs.agent
        return {
            "bundle": self._inputs.bundle.digest,
            **({"images-lock": json.dumps(self._inputs.lock, sort_keys=True)} if self._inputs.lock else {}),
            **({"agent": agent.fingerprint} if agent is not None else {}),
            **environment,
        }

    @property
    def _fingerprint(self) -> str:
        known = self._keys.read()
        return fingerprint.of({**self._given, **(known.parts if known is not None else {})})

    def fingerprint(self, observation: Observation) -> str:  # noqa: ARG002 -- the protocol of all states
        """Return the fingerprint of the bundle, the keys and each variable."""
        return self._fingerprint

    def judge(self, observation: Observation) -> Verdict:
        """Return whether the marker names today's inputs and the files are those that were placed."""
        bundle = observation.report.bundle if observation.report is not None else None
        if bundle is None:
            return lacks("the configuration is not in place")
        try:
            lacking = self._keys.lacking()
        except PolisError as damage:  # stops `up`, when it gets here; all else goes on without
            return lacks(damage.message)
        today = self._fingerprint
        if bundle.fingerprint != today:
            names = in_words(fingerprint.changed(bundle.fingerprint, today))
            return lacks(f"changed: {', '.join(names)}")
        if lacking:
            return lacks(lacking)
        if not bundle.intact:
            return lacks("files in /opt/polis were changed in the guest")
        return HOLDS

    def has_traces(self, observation: Observation) -> bool:
        """Return whether anything lies in /opt/polis that was not there before it was last configured."""
        report = observation.report
        restored = report is not None and report.bundle is not None and report.bundle.restored
        return report is not None and bool(report.leftovers) and not restored

    def enter(self, observation: Observation) -> None:  # noqa: ARG002 -- the protocol of all states
        """Make what keys are missing; push the archives, verify them there, unpack beside the old ones, swap, mark."""
        if made := self._keys.renew(self._bench.name):
            self._tell(f"new on this machine: {', '.join(made)}")
        if self._handover is not None:
            self._leave_for_others(self._handover())
        bundle, today = self._inputs.bundle, self._fingerprint
        self._tell(f"sending {bundle.files} files, {bundle.size // 1024} KiB")
        with tempfile.TemporaryDirectory(prefix="polis-") as directory:
            archive, secrets = Path(directory) / "bundle.tar", Path(directory) / "secrets.tar"
            bundle.write(archive)
            digest = placed.write(self._private_files(), secrets)
            targets = [self._bench.guest.push(path, path.name) for path in (archive, secrets)]
        self._tell("putting them in place")
        self._bench.guest.call(
            "place",
            {
                "archive": targets[0],
                "digest": bundle.digest,
                "secrets": {"archive": targets[1], "digest": digest},
                "release": fingerprint.of({"release": today}).partition("=")[2],
                "environment": dict(self._inputs.environment),
                "pins": self._inputs.lock,
                "marker": {"fingerprint": today},
            },
            timeout=LIMIT,
        )

    def leave(self, observation: Observation) -> None:  # noqa: ARG002 -- the protocol of all states
        """Remove what was placed, or put back what it replaced; volumes stay, and so do the keys on the host."""
        self._tell("removing what was placed")
        self._bench.guest.call("remove-bundle", {}, timeout=MARGIN)

    def _leave_for_others(self, content: bytes) -> None:
        with tempfile.TemporaryDirectory(prefix="polis-") as directory:
            path = Path(directory) / "vault.json"
            path.write_bytes(content)
            target = self._bench.guest.push(path, path.name)
        arguments: dict[str, object] = {"path": target, "digest": hashlib.sha256(content).hexdigest()}
        self._bench.guest.call("keep-vault", arguments, timeout=MARGIN)

    def _private_files(self) -> dict[str, PlacedFile]:
        known = self._keys.read()
        if known is None:
            raise AssertionError("keys that were just made are gone")
        agent = self._inputs.agent
        own = {f"agent/{name}": file for name, file in agent.files.items()} if agent is not None else {}
        return {**known.files(), **own}

    def _tell(self, detail: str) -> None:
        self._bench.emit(PhaseProgress(phase=self.phase, detail=detail))
