"""The members of a fleet, each with what is wanted of it (`polis.config_fleet` reads the file)."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from polis import config, config_fleet
from polis import config_sources as sources
from polis.errors import ConfigurationError

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from polis.config import Spec
    from polis.config_fleet import Entry


@dataclass(frozen=True, slots=True)
class Member:
    """One workspace of a fleet. Members that are configured alike share what that is."""

    name: str
    labels: Mapping[str, str]
    alike: Spec

    @property
    def spec(self) -> Spec:
        """Return what is wanted of it, made when it is asked for: of thousands, few are at work at a time."""
        return self.alike.model_copy(update={"name": self.name})


@dataclass(frozen=True)
class Fleet:
    """A fleet's file and its members, in the file's order."""

    file: Path
    members: tuple[Member, ...]


def find(file: Path | None) -> Path:
    """Return the fleet's file: the one that is named, or ./fleet.yaml. Raises ConfigurationError if it is not there."""
    path = file or Path(config_fleet.FILE)
    try:
        is_there, cause = path.is_file(), ""
    except OSError as error:  # a name that is too long, a place that may not be looked at
        is_there, cause = False, error.strerror or ""
    if not is_there:
        raise ConfigurationError(
            f"{path} is not a file",
            cause=cause,
            remains="nothing was changed",
            hint="name the fleet's file with -f; docs/fleets.md says what is in one",
        )
    return path


def load(file: Path | None, flags: Mapping[str, Any], environ: Mapping[str, str] = os.environ) -> Fleet:
    """Return the fleet that a file describes; variables and `flags` win over it for every member, but for the name.

    Raises ConfigurationError with every problem, each with its place.
    """
    path = find(file)
    keys = tuple(config.Spec.model_fields)
    found = config_fleet.read(path, keys)
    variables = sources.from_environment(environ, tuple(key for key in keys if key != "name"))
    above = (variables, sources.from_flags({key: value for key, value in flags.items() if key != "name"}))
    members, problems = _members(found.entries, above)
    problems = [*found.problems, *problems, *_port_clashes(members)]
    if problems:
        raise config_fleet.refusal(problems)
    return Fleet(path, tuple(members))


def _members(entries: Sequence[Entry], above: Sequence[sources.Layer]) -> tuple[list[Member], list[str]]:
    """Return the members and what is wrong. What two entries have alike is judged, and kept in memory, once."""
    known: dict[str, Spec] = {}
    members: list[Member] = []
    problems: list[str] = []
    for entry in entries:
        alike = known.get(entry.digest)
        if alike is None:
            alike, _, wrong = config.resolve([entry.layer, *above])
            problems += wrong
        if alike is not None:
            known[entry.digest] = alike
            members += [Member(name, entry.labels, alike) for name in entry.names]
    return members, problems


def _port_clashes(members: Sequence[Member]) -> Iterator[str]:
    """Yield which members want a port of this machine that another one has."""
    taken: dict[int, str] = {}
    for member in members:
        for port in member.alike.ports:
            first = taken.setdefault(port.host, member.name)
            if first != member.name:
                yield f"`ports`: {member.name} and {first} cannot both have port {port.host} of this machine"
                return
