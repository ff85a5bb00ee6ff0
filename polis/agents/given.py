"""The values that an agent is given, and where each comes from: a file, the environment, polis.yaml, or kept before."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from polis.agents import envfile
from polis.config_agent import env_value, looks_secret
from polis.errors import ConfigurationError

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping

    from polis.agents.manifest import Manifest
    from polis.config import Spec

NOTHING_CHANGED = "nothing was changed"


@dataclass(frozen=True)
class Given:
    """`values` by name, `kept` of them for later, and what is to be told: `notes` are news, `warnings` are not good."""

    values: Mapping[str, str] = field(repr=False)
    kept: Mapping[str, str] = field(repr=False)
    notes: tuple[str, ...] = ()
    warnings: tuple[str, ...] = ()


def gather(manifest: Manifest, spec: Spec, environ: Mapping[str, str], kept: Mapping[str, str]) -> Given:
    """Return what the agent is given; only names that its manifest asks for are looked up outside of polis.yaml.

    The file wins over the environment, that over polis.yaml, and that over what was kept. Raises ConfigurationError for
    values that cannot be written down, and if none of `envOneOf` has one.
    """
    filed = envfile.read(spec.env_file) if spec.env_file is not None else {}
    names = (*manifest.variables, *_port_variables(manifest))
    values: dict[str, str] = {name: text for name, text in spec.env.items() if name not in _port_variables(manifest)}
    fresh: dict[str, str] = {}
    notes: list[str] = []
    for name in names:
        value, source = filed.get(name), str(spec.env_file)
        if value is None and environ.get(name):
            value, source = _checked(name, environ[name]), "the environment"
        if value is not None:
            fresh[name] = value
            notes += _news(manifest.name, name, source, value, kept)
        value = value or spec.env.get(name) or kept.get(name)
        if value is not None:
            values[name] = value
    _require_one(manifest, values)
    remembered = {name: text for name, text in kept.items() if name in names}
    return Given(values, {**remembered, **fresh}, tuple(notes), tuple(_warnings(manifest, spec, filed)))


def host_ports(manifest: Manifest, values: Mapping[str, str], taken: Collection[int]) -> tuple[tuple[int, int], ...]:
    """Return each port of the agent with the host's port that leads to it, host first.

    Raises ConfigurationError for a variable that holds no port, and for a port that is `taken` by another.
    """
    found: dict[int, int] = {}
    for port in manifest.spec.ports:
        text = values.get(port.host_env, "") if port.host_env else ""
        if text and not (re.fullmatch(r"[0-9]{1,5}", text) and 0 < int(text) < 2**16):
            raise ConfigurationError(f"{port.host_env} is not a port", remains=NOTHING_CHANGED)
        host = int(text or port.default)
        if host in found or host in taken:
            raise ConfigurationError(
                f"port {host} of this machine is asked for twice",
                cause=f"by the agent {manifest.name}, and by {'its other port' if host in found else '`ports`'}",
                remains=NOTHING_CHANGED,
                hint=f"set {port.host_env} to another port" if port.host_env else "take the other one from `ports`",
            )
        found[host] = port.container
    return tuple(found.items())


def _port_variables(manifest: Manifest) -> tuple[str, ...]:
    return tuple(port.host_env for port in manifest.spec.ports if port.host_env)


def _checked(name: str, value: str) -> str:
    try:
        return env_value(value)
    except ValueError as error:
        raise ConfigurationError(f"the variable {name} {error}", remains=NOTHING_CHANGED) from None


def _news(agent: str, name: str, source: str, value: str, kept: Mapping[str, str]) -> list[str]:
    if name not in kept:
        return [f"the agent {agent} is given {name} from {source}; it is kept for the next time"]
    return [] if kept[name] == value else [f"the agent {agent} is given another {name}, from {source}"]


def _require_one(manifest: Manifest, values: Mapping[str, str]) -> None:
    needed = manifest.spec.requirements.env_one_of
    if needed and not any(name in values for name in needed):
        names = ", ".join(needed)
        lacking = f"{names}, which is not set" if len(needed) == 1 else f"one of {names}, of which none is set"
        raise ConfigurationError(
            f"the agent {manifest.name} needs {lacking}",
            remains=NOTHING_CHANGED,
            hint=f"set {needed[0]} in the environment, or put it into a file: `polis up --env-file FILE`",
        )


def _warnings(manifest: Manifest, spec: Spec, filed: Mapping[str, str]) -> list[str]:
    found = []
    if spec.env_file is not None and envfile.is_open(spec.env_file):
        found.append(f"others than you may read {spec.env_file}: `chmod 600 {spec.env_file}`")
    unasked = sorted(set(filed) - set(manifest.variables) - set(_port_variables(manifest)))
    if unasked:
        found.append(f"the agent {manifest.name} does not ask for {', '.join(unasked)}: left out")
    secret = sorted(name for name in spec.env if looks_secret(name))
    if secret:
        found.append(f"`env` of the configuration holds {', '.join(secret)}: a key is safer in --env-file")
    return found
