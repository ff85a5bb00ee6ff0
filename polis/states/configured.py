"""Configured: /opt/polis holds today's bundle, complete and unaltered."""

from __future__ import annotations

import functools
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

from polis import fingerprint
from polis.bundle.environment import in_words
from polis.events import PhaseProgress
from polis.guest.session import MARGIN
from polis.phase import Phase
from polis.states.base import HOLDS, Verdict, lacks

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from polis.bundle.archive import Bundle
    from polis.states.base import Workbench
    from polis.states.observation import Observation

LIMIT = 180.0
"""Seconds for unpacking and for Compose to read its files."""


class Configured:
    """Sends the bundle and its variables, and puts both in place with one rename."""

    phase = Phase.CONFIGURED

    def __init__(self, bench: Workbench, load: Callable[[], Bundle], environment: Mapping[str, str]) -> None:
        self._bench = bench
        self._load = load
        self._environment = dict(environment)

    @functools.cached_property
    def _bundle(self) -> Bundle:
        """Read the bundle when it is first asked for: a `status` without a VM never does."""
        return self._load()

    @functools.cached_property
    def _fingerprint(self) -> str:
        parts = {key: value for key, value in self._environment.items() if value}
        return fingerprint.of({"bundle": self._bundle.digest, **parts})

    def fingerprint(self, observation: Observation) -> str:  # noqa: ARG002 -- the protocol of all states
        """Return the fingerprint of the bundle and of each variable."""
        return self._fingerprint

    def judge(self, observation: Observation) -> Verdict:
        """Return whether the marker names today's inputs and the files are those that were placed."""
        bundle = observation.report.bundle if observation.report is not None else None
        if bundle is None:
            return lacks("the configuration is not in place")
        if bundle.fingerprint != self._fingerprint:
            names = in_words(fingerprint.changed(bundle.fingerprint, self._fingerprint))
            return lacks(f"changed: {', '.join(names)}")
        if not bundle.intact:
            return lacks("files in /opt/polis were changed in the guest")
        return HOLDS

    def has_traces(self, observation: Observation) -> bool:
        """Return whether anything lies in /opt/polis."""
        return observation.report is not None and bool(observation.report.leftovers)

    def enter(self, observation: Observation) -> None:  # noqa: ARG002 -- the protocol of all states
        """Push the archive, verify it there, unpack it beside the old one, swap, mark."""
        self._tell(f"sending {self._bundle.files} files, {self._bundle.size // 1024} KiB")
        with tempfile.TemporaryDirectory(prefix="polis-") as directory:
            archive = Path(directory) / "bundle.tar"
            self._bundle.write(archive)
            target = self._bench.guest.push(archive, "bundle.tar")
        self._tell("putting them in place")
        self._bench.guest.call(
            "place",
            {
                "archive": target,
                "digest": self._bundle.digest,
                "release": fingerprint.of({"release": self._fingerprint}).partition("=")[2],
                "environment": self._environment,
                "marker": {"fingerprint": self._fingerprint},
            },
            timeout=LIMIT,
        )

    def leave(self, observation: Observation) -> None:  # noqa: ARG002 -- the protocol of all states
        """Remove what was placed; volumes stay."""
        self._bench.guest.call("remove-bundle", {}, timeout=MARGIN)

    def _tell(self, detail: str) -> None:
        self._bench.emit(PhaseProgress(phase=self.phase, detail=detail))
