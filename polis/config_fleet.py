"""A fleet's file: which workspaces there are, and how each of them is configured.

    defaults:               # any keys of polis.yaml
      driver: incus
      memory: 4G
    members:
      - name: gate
      - name: web
        count: 3            # web-1, web-2, web-3
        labels: {tier: front}
        memory: 8G          # any keys of polis.yaml again, for these

Each entry becomes a layer of configuration like that of a polis.yaml, in which every key remembers where it stands.
Variables and options win over it as they win over a polis.yaml.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Annotated, Any

from pydantic import Field, ValidationError

from polis import config_sources as sources
from polis.config_site import Section
from polis.defaults import NAME_LIMIT, NAME_PATTERN
from polis.errors import ConfigurationError

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from pathlib import Path

    from polis.config_sources import Layer

FILE = "fleet.yaml"
KEY = "members"
"""The key that tells a fleet's file from a workspace's."""

LIMIT = 10_000
"""Members of one fleet."""

MERGED = ("env", "incus", "mirrors", "retry")
"""Keys whose mappings are merged, the entry's over the defaults'; anything else is replaced as a whole."""

OWN = ("name", "count", "labels")
"""Keys of an entry that are none of a workspace."""

At = tuple[str | int, ...]
Label = Annotated[str, Field(pattern=r"^[A-Za-z0-9]([A-Za-z0-9._/-]*[A-Za-z0-9])?$", max_length=63)]
Value = Annotated[str, Field(pattern=r"^([A-Za-z0-9]([A-Za-z0-9._-]*[A-Za-z0-9])?)?$", max_length=63)]
RESERVED = ("name", "phase")
"""What a selector asks for besides labels."""


class GroupSpec(Section):
    """What an entry says of its members besides how they are configured. With `count` they are `name-1` to `name-N`."""

    name: Annotated[str, Field(pattern=NAME_PATTERN, max_length=NAME_LIMIT)]
    count: Annotated[int, Field(ge=1, le=LIMIT)] | None = None
    labels: dict[Label, Value] = Field(default_factory=dict)


@dataclass(frozen=True)
class Entry:
    """One entry: its members' names and labels, and the layer that configures each of them."""

    names: tuple[str, ...]
    labels: Mapping[str, str]
    layer: Layer
    place: str

    @property
    def digest(self) -> str:
        """Return what is equal for entries that configure their members alike."""
        values = {key: value for key, value in self.layer.values.items() if key != "name"}
        return json.dumps(values, sort_keys=True, default=str)


@dataclass(frozen=True)
class Fleet:
    """A fleet's file as it was read; `problems` name what is wrong with it, each with its place."""

    path: Path
    entries: tuple[Entry, ...]
    problems: tuple[str, ...] = field(default=())


def read(path: Path, keys: Sequence[str]) -> Fleet:
    """Read a fleet's file; `keys` are those of a workspace. Raises ConfigurationError if it is no mapping in YAML."""
    return expand(path, sources.from_file(path), keys)


def expand(path: Path, whole: Layer, keys: Sequence[str]) -> Fleet:
    """Return the entries of a fleet's file that was read."""
    problems = [
        f"{whole.places[(key,)]}: unknown key `{key}`; a fleet's file has `defaults` and `members`"
        for key in whole.values
        if key not in ("defaults", KEY)
    ]
    defaults = whole.values.get("defaults") or {}
    if not isinstance(defaults, dict):
        problems.append(f"{whole.places[('defaults',)]}: `defaults`: must be a mapping of keys to values")
        defaults = {}
    problems += [
        f"{whole.places[('defaults', key)]}: `{key}` stands with a member, not among the defaults"
        for key in OWN
        if key in defaults
    ]
    base = sources.Layer(
        {key: value for key, value in defaults.items() if key not in OWN},
        whole.directory,
        whole.source,
        {at[1:]: text for at, text in whole.places.items() if at[0] == "defaults" and len(at) > 1},
    )
    within = _by_entry(whole.places)
    entries: list[Entry] = []
    for at, value in _listed(whole, problems):
        entry, wrong = _entry(value, within.get(at, {}), whole.places[at], base, keys)
        problems += wrong
        entries += [entry] if entry is not None else []
    problems += _clashes(entries)
    return Fleet(path, tuple(entries), tuple(problems))


def layer_of(path: Path, whole: Layer, name: str | None, keys: Sequence[str]) -> Layer:
    """Return the layer of one member, for a command on that workspace alone. Raises ConfigurationError."""
    fleet = expand(path, whole, keys)
    entry = next((each for each in fleet.entries if name in each.names), None)
    if entry is not None and not fleet.problems:
        return entry.layer
    if fleet.problems:
        raise refusal(fleet.problems)
    known = [each.names[0] for each in fleet.entries]
    raise ConfigurationError(
        f"{path} configures a fleet, and has no member {name}" if name else f"{path} configures a fleet",
        remains="nothing was changed",
        hint=f"name a member with `-n`, such as {known[0]}; or use `polis fleet`"
        if known
        else "add a member to it, or name another file with --config",
    )


def refusal(problems: Sequence[str]) -> ConfigurationError:
    """Return the error that tells all problems of a configuration at once."""
    several = list(dict.fromkeys(problems))
    many = len(several) > 1
    return ConfigurationError(
        f"the configuration has {len(several)} problems" if many else several[0],
        cause="\n".join(several) if many else "",
        remains="nothing was changed",
        hint="correct it and run the command again",
    )


def _listed(whole: Layer, problems: list[str]) -> Iterator[tuple[At, dict[str, Any]]]:
    """Yield the place and the keys of each entry of `members`: a list, or a mapping by name."""
    members = whole.values.get(KEY)
    if members is None:
        problems.append(f"{whole.source}: `{KEY}`: is missing; it lists the workspaces of the fleet")
    elif isinstance(members, dict):
        for name, value in members.items():
            at: At = (KEY, name)
            if value is not None and not isinstance(value, dict):
                problems.append(f"{whole.places[at]}: `{name}`: must be a mapping of keys to values")
            elif value is not None and "name" in value:
                problems.append(f"{whole.places[(*at, 'name')]}: `name` stands before the colon already")
            else:
                yield at, {"name": name, **(value or {})}
    elif isinstance(members, list):
        for index, value in enumerate(members):
            if isinstance(value, str | dict):
                yield (KEY, index), {"name": value} if isinstance(value, str) else value
            else:
                problems.append(f"{whole.places[(KEY, index)]}: a member must be a name or a mapping with `name`")
    else:
        problems.append(f"{whole.places[(KEY,)]}: `{KEY}`: must be a list, or a mapping by name")


def _entry(
    value: dict[str, Any], places: dict[At, str], place: str, base: Layer, keys: Sequence[str]
) -> tuple[Entry | None, list[str]]:
    """Return an entry, or None and what is wrong with it."""
    places = {("name",): place, **places}
    try:
        group = GroupSpec.model_validate({key: value[key] for key in OWN if key in value})
    except ValidationError as error:
        known = (*OWN, *keys)
        return None, [sources.locate(dict(problem), {(): place, **places}, known) for problem in error.errors()]
    names = tuple(f"{group.name}-{number}" for number in range(1, group.count + 1)) if group.count else (group.name,)
    wrong = [
        f"{place}: `labels`: `{label}` means something else in a selector"
        for label in RESERVED
        if label in group.labels
    ]
    if len(names[-1]) > NAME_LIMIT or re.fullmatch(NAME_PATTERN.removesuffix("$"), names[-1]) is None:
        wrong.append(f"{place}: `name`: {names[-1]} cannot be the name of a workspace")
    own = {key: each for key, each in value.items() if key not in ("count", "labels")}
    layer = sources.Layer(
        {**base.values, **{key: _over(key, each, base.values.get(key)) for key, each in own.items()}, "name": names[0]},
        base.directory,
        base.source,
        {**_without(base.places, own), **places},
    )
    return Entry(names, group.labels, layer, place), wrong


def _over(key: str, value: Any, default: Any) -> Any:
    """Return an entry's value over that of the defaults."""
    return _merged(default, value) if key in MERGED else value


def _merged(below: Any, above: Any) -> Any:
    if not isinstance(below, dict) or not isinstance(above, dict):
        return above
    return {**below, **{key: _merged(below.get(key), value) for key, value in above.items()}}


def _without(places: Mapping[At, str], own: Mapping[str, Any]) -> dict[At, str]:
    """Return the places of the defaults' keys but for those that an entry replaces."""
    return {at: text for at, text in places.items() if at[0] in MERGED or at[0] not in own}


def _by_entry(places: Mapping[At, str]) -> dict[At, dict[At, str]]:
    """Return the places of the keys within each entry, by the entry's own: looked through once, however many."""
    found: dict[At, dict[At, str]] = {}
    for (first, *rest), text in places.items():
        if first == KEY and len(rest) > 1:
            found.setdefault((KEY, rest[0]), {})[tuple(rest[1:])] = text
    return found


def _clashes(entries: Sequence[Entry]) -> list[str]:
    """Return what no two members can have, and whether there are too many."""
    problems: list[str] = []
    seen: dict[str, str] = {}
    for entry in entries:
        for name in entry.names:
            if name in seen:
                problems.append(f"{entry.place}: there is a member {name} already, at {seen[name]}")
                break
            seen[name] = entry.place
    if len(seen) > LIMIT:
        problems.append(f"a fleet has at most {LIMIT} members; this one has {len(seen)}")
    return problems
