"""The manifest of an agent, `agent.yaml`: what it says, and everything that it must not say.

An agent comes from anywhere. What its manifest names ends up in a unit that systemd starts as root and in a Compose
file, so each value has a type of `words` that none of them can misread.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator
from pydantic.alias_generators import to_camel

from polis.agents.words import (  # noqa: TC001 -- pydantic reads annotations when it runs
    Check,
    Command,
    Directory,
    Inside,
    OwnDirectory,
    Part,
    Port,
    Quota,
    Setting,
    Text,
    User,
)
from polis.config import Seconds, Size
from polis.config_agent import AgentName, EnvName  # noqa: TC001 -- the same

if TYPE_CHECKING:
    from collections.abc import Hashable, Iterable

API_VERSION = "polis.dev/v1"
KIND = "AgentPlugin"

Span = Annotated[Seconds, Field(ge=1, le=3600)]
Memory = Annotated[Size, Field(ge=32 << 20, le=1 << 40)]


class Section(BaseModel):
    """A part of the manifest: keys are written in camelCase, unknown ones are errors."""

    model_config = ConfigDict(extra="forbid", frozen=True, defer_build=True, alias_generator=to_camel)


class Metadata(Section):
    """Who the agent is. All but the name is told to people and goes nowhere else."""

    name: AgentName
    display_name: Text
    version: Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._+-]{0,63}$")]
    description: Text
    author: Text | None = None
    license: Text | None = None
    provider: Text | None = None
    capabilities: tuple[Text, ...] = ()


class Runtime(Section):
    """How the agent is started. `env_file` is a file in the workspace, read if it is there."""

    command: Command
    workdir: Directory | None = None
    user: User
    env_file: Directory | None = None
    env: dict[EnvName, Setting] = Field(default_factory=dict)


class Health(Section):
    """When the agent is well: the command ends with 0. Times are seconds; `start_period` includes the installation."""

    command: Check
    interval: Span = 30.0
    timeout: Span = 10.0
    retries: Annotated[int, Field(ge=1, le=100, strict=True)] = 3
    start_period: Span = 120.0


class Security(Section):
    """What systemd takes from the agent. Sizes are bytes."""

    protect_system: Literal["strict", "full", True] = "strict"
    protect_home: Literal["read-only", "tmpfs", True, False] = "read-only"
    read_write_paths: tuple[OwnDirectory, ...] = ()
    no_new_privileges: Literal[True] = True
    private_tmp: Annotated[bool, Field(strict=True)] = True
    memory_max: Memory | None = None
    cpu_quota: Quota | None = None


class AgentPort(Section):
    """A port of the agent, and where it is found on the host's 127.0.0.1: `host_env` names what overrides `default`."""

    container: Port
    host_env: EnvName | None = None
    default: Port


class Resources(Section):
    """Limits of the whole workspace, in bytes: the agent and what it starts."""

    memory_limit: Memory | None = None
    memory_reservation: Memory | None = None

    @model_validator(mode="after")
    def _fit(self) -> Resources:
        if self.memory_limit and self.memory_reservation and self.memory_reservation > self.memory_limit:
            raise ValueError("memoryReservation is more than memoryLimit")
        return self


class Requirements(Section):
    """The variables that the agent may be given: one of the first must be there."""

    env_one_of: tuple[EnvName, ...] = ()
    env_optional: tuple[EnvName, ...] = ()

    @model_validator(mode="after")
    def _are_distinct(self) -> Requirements:
        _refuse_twice([*self.env_one_of, *self.env_optional], "the variable")
        return self


class Persistence(Section):
    """A directory that outlives the workspace's container."""

    name: Part
    container_path: OwnDirectory


class Capabilities(Section):
    """What the agent says that it uses. It is told to people; nothing is granted for it."""

    network: bool | None = None
    filesystem: tuple[Directory, ...] = ()
    mcp: bool | None = None
    docker_in_docker: bool | None = None


class Onboarding(Section):
    """A step for the user after the first start, told by `polis agent show`."""

    title: Text
    command: Text


class AgentSpec(Section):
    """How the agent is installed, started, watched and confined."""

    packaging: Literal["script"]
    install: Inside | None = None
    init: Inside | None = None
    commands: Inside | None = None
    runtime: Runtime
    health: Health
    security: Security = Field(default_factory=Security)
    ports: Annotated[tuple[AgentPort, ...], Field(max_length=16)] = ()
    resources: Resources = Field(default_factory=Resources)
    requirements: Requirements = Field(default_factory=Requirements)
    persistence: Annotated[tuple[Persistence, ...], Field(max_length=16)] = ()
    capabilities: Capabilities = Field(default_factory=Capabilities)
    onboarding: tuple[Onboarding, ...] = ()

    @field_validator("ports")
    @classmethod
    def _distinct_ports(cls, ports: tuple[AgentPort, ...]) -> tuple[AgentPort, ...]:
        _refuse_twice((port.container for port in ports), "the port")
        _refuse_twice((port.default for port in ports), "the host's port")
        _refuse_twice((port.host_env for port in ports if port.host_env), "the variable")
        return ports

    @field_validator("persistence")
    @classmethod
    def _distinct_places(cls, places: tuple[Persistence, ...]) -> tuple[Persistence, ...]:
        _refuse_twice((place.name for place in places), "the name")
        _refuse_twice((place.container_path for place in places), "the directory")
        return places

    @model_validator(mode="after")
    def _keys_are_not_set(self) -> AgentSpec:
        both = sorted(set(self.runtime.env) & {*self.requirements.env_one_of, *self.requirements.env_optional})
        if both:
            raise ValueError(f"runtime.env and requirements both have {', '.join(both)}")
        return self


class Manifest(Section):
    """All of `agent.yaml`."""

    api_version: Literal["polis.dev/v1"]
    kind: Literal["AgentPlugin"]
    metadata: Metadata
    spec: AgentSpec

    @property
    def name(self) -> str:
        """Return the agent's name."""
        return self.metadata.name

    @property
    def variables(self) -> tuple[str, ...]:
        """Return the names of all variables that the agent may be given."""
        return (*self.spec.requirements.env_one_of, *self.spec.requirements.env_optional)


def _refuse_twice(values: Iterable[Hashable], what: str) -> None:
    seen: set[Hashable] = set()
    for value in values:
        if value in seen:
            raise ValueError(f"{what} {value} is there twice")
        seen.add(value)
