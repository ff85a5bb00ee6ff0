"""What the user wants: the Spec, and where its values come from (DESIGN section 8).

Precedence: flag, then `POLIS_<KEY>`, then the file, then the default. Problems of a file are reported all at once,
each with line and column, before anything is touched.
"""

from __future__ import annotations

import os
import re
from pathlib import Path  # noqa: TC003 -- pydantic reads annotations when it runs
from typing import TYPE_CHECKING, Annotated, Any, Literal, NoReturn

from pydantic import BeforeValidator, Field, ValidationError, field_validator, model_validator

from polis import __version__, defaults
from polis.config_agent import AgentChoice, EnvName, EnvValue  # noqa: TC001 -- the same
from polis.config_incus import IncusSpec
from polis.config_site import MirrorsSpec, OfflineSpec, ProxySpec, Section, Sha256
from polis.errors import ConfigurationError
from polis.paths import at_home

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from polis.config_sources import Layer

_GIB = 1024**3
_UNITS = {"": 1, "K": 1024, "M": 1024**2, "G": _GIB, "T": 1024**4}
_FIGURE = r"[0-9]{1,18}(?:\.[0-9]{1,18})?"
_SIZE = re.compile(rf"(?P<figure>{_FIGURE})\s*(?P<unit>[KMGT]?)(?:i?B)?", re.IGNORECASE)
_DURATION = re.compile(rf"({_FIGURE})\s*(s|m|min|h)?")
_WEEK = 7 * 24 * 3600.0

CATALOG: Mapping[str, dict[str, str]] = {
    # Canonical's own release of the image, by date, so that its bytes never change under the hash.
    "24.04": {
        "alias": "24.04",
        "location": "https://cloud-images.ubuntu.com/releases/noble/release-20260705/"
        "ubuntu-24.04-server-cloudimg-amd64.img",
        "sha256": "ffe6203da54deeb6db5d2a98a83f9ec8e55f149d3f7ba622e1abe5fa966ee3d6",
    },
}
"""Base images that can be named."""


def size(text: object) -> int:
    """Return the bytes of `8G`, `512MiB`, `1.5g` or a plain number; units are powers of 1024.

    Raises ValueError if it is none of these.
    """
    match = _SIZE.fullmatch(str(text).strip())
    if match is None or isinstance(text, bool):
        raise ValueError("not a size; write for example 8G or 512MiB")
    return int(float(match["figure"]) * _UNITS[match["unit"].upper()])


def _seconds(value: object) -> float:
    match = _DURATION.fullmatch(str(value).strip())
    if match is None or isinstance(value, bool):
        raise ValueError("not a duration; write seconds, or for example 15m")
    return float(match[1]) * {"s": 1, "m": 60, "min": 60, "h": 3600}[match[2] or "s"]


Size = Annotated[int, BeforeValidator(size)]
Seconds = Annotated[float, BeforeValidator(_seconds), Field(le=_WEEK)]
Name = Annotated[str, Field(pattern=defaults.NAME_PATTERN, max_length=defaults.NAME_LIMIT)]
# What goes into an image reference, and from there into a `.env` file: nothing that either could misread.
Reference = Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._:/-]*$", max_length=200)]
Tag = Annotated[str, Field(pattern=r"^[A-Za-z0-9_][A-Za-z0-9._-]{0,127}$")]


class ArtifactSpec(Section):
    """A file or https URL with the sha256 that its bytes must have."""

    location: str
    sha256: Sha256

    @field_validator("location")
    @classmethod
    def _is_verifiable(cls, location: str) -> str:
        if "\0" in location:
            raise ValueError("must not hold a NUL")
        scheme = re.match(r"([a-z]+)://", location)
        if scheme and scheme[1] != "https":
            raise ValueError("must be a path or an https:// address")
        return location


class ImageSpec(ArtifactSpec):
    """A base image: a disk, and optionally a kernel and an initrd of its own.

    `alias` is the name by which a driver with images of its own (Multipass) takes it instead, verified by itself.
    """

    alias: Annotated[str, Field(pattern=r"^[A-Za-z0-9.:_-]*$")] = ""
    user: Annotated[str, Field(pattern=r"^[a-z_][a-z0-9_-]{0,31}$")] = "ubuntu"
    kernel: ArtifactSpec | None = None
    initrd: ArtifactSpec | None = None
    cmdline: Annotated[str, Field(pattern=r"^[ -~]*$")] = ""

    def relative_to(self, directory: Path) -> ImageSpec:
        """Return the same image with its paths made absolute."""
        changes: dict[str, object] = {"location": _absolute(self.location, directory)}
        for key in ("kernel", "initrd"):
            part: ArtifactSpec | None = getattr(self, key)
            if part is not None:
                changes[key] = part.model_copy(update={"location": _absolute(part.location, directory)})
        return self.model_copy(update=changes)


class RetrySpec(Section):
    """How often and how long transient failures are tried again. Times are seconds.

    `silence` is how long a registry may send nothing before it is taken to hang.
    """

    attempts: Annotated[int, Field(ge=1, le=100)] = defaults.RETRY.attempts
    base: Annotated[Seconds, Field(gt=0)] = defaults.RETRY.base
    cap: Annotated[Seconds, Field(gt=0)] = defaults.RETRY.cap
    deadline: Annotated[Seconds, Field(gt=0)] = defaults.RETRY.deadline
    silence: Annotated[Seconds, Field(ge=1)] = defaults.RETRY.silence


class PortSpec(Section):
    """A port of the host's 127.0.0.1 that leads into the guest: `8080` or `18080:8080` (host:guest)."""

    host: Annotated[int, Field(ge=1, le=65535)]
    guest: Annotated[int, Field(ge=1, le=65535)]

    @model_validator(mode="before")
    @classmethod
    def _from_text(cls, value: object) -> object:
        if isinstance(value, int | str):
            host, _, guest = str(value).partition(":")
            return {"host": host, "guest": guest or host}
        return value


class Spec(Section):
    """All that can be configured, with its defaults."""

    name: Name = defaults.NAME
    driver: Literal["qemu", "multipass", "incus"] | None = None
    image: ImageSpec = Field(default_factory=lambda: ImageSpec.model_validate(CATALOG["24.04"]))
    cpus: Annotated[int, Field(ge=1, le=512)] = 4
    memory: Annotated[Size, Field(ge=_GIB // 2, le=1024 * _GIB)] = 8 * _GIB
    disk: Annotated[Size, Field(ge=4 * _GIB, le=64 * 1024 * _GIB)] = 20 * _GIB
    timeout: Annotated[Seconds, Field(ge=10)] = defaults.TIMEOUT
    version: Tag = f"v{__version__}"
    registry: Reference = "ghcr.io/odralabshq"
    image_suffix: Annotated[str, Field(pattern=r"^[a-z0-9._-]*$")] = ""
    bundle: Path | None = None
    offline: OfflineSpec | None = None
    images_lock: Path | None = None
    cloud_init: Path | None = None
    accel: Literal["auto", "kvm", "hvf", "tcg"] = defaults.ACCEL
    snapshots: bool = defaults.SNAPSHOTS
    incus: IncusSpec = Field(default_factory=IncusSpec)
    retry: RetrySpec = Field(default_factory=RetrySpec)
    ports: tuple[PortSpec, ...] = ()
    mirrors: MirrorsSpec = Field(default_factory=MirrorsSpec)
    proxy: ProxySpec | None = None
    ca_certs: tuple[Path, ...] = ()
    agent: AgentChoice | None = None
    env: dict[EnvName, EnvValue] = Field(default_factory=dict)
    env_file: Path | None = None

    @field_validator("image", mode="before")
    @classmethod
    def _named_image(cls, value: object) -> object:
        if isinstance(value, str):
            if value not in CATALOG:
                raise ValueError(f"unknown image; known by name: {', '.join(CATALOG)}, else a descriptor or a mapping")
            return dict(CATALOG[value])
        return value

    @field_validator("ports")
    @classmethod
    def _distinct_ports(cls, ports: tuple[PortSpec, ...]) -> tuple[PortSpec, ...]:
        hosts = [port.host for port in ports]
        if len(hosts) != len(set(hosts)):
            raise ValueError("a host port is given twice")
        return ports


def load(
    flags: Mapping[str, Any], *, file: Path | None, user_directory: Path, environ: Mapping[str, str] = os.environ
) -> Spec:
    """Return what the user wants; `flags` holds only what was given on the command line.

    Raises ConfigurationError with every problem, each with its place.
    """
    return trace(flags, file=file, user_directory=user_directory, environ=environ)[0]


def trace(
    flags: Mapping[str, Any], *, file: Path | None, user_directory: Path, environ: Mapping[str, str] = os.environ
) -> tuple[Spec, dict[str, str]]:
    """Return what the user wants, and for each key that was given where: file and line, variable or option.

    Raises ConfigurationError as `load` does.
    """
    from polis import config_sources as sources

    path = sources.find(file, environ, user_directory)
    above = [sources.from_environment(environ, tuple(Spec.model_fields)), sources.from_flags(flags)]
    merged, origins = sources.merge(above)
    layers = [*([_from_file(path, merged.get("name"))] if path is not None else []), *above]
    spec, origins, problems = resolve(layers)
    if spec is None:
        _refuse(problems)
    return spec, {str(at[0]): place for at, place in origins.items() if len(at) == 1}


def resolve(layers: Sequence[Layer]) -> tuple[Spec | None, dict[tuple[str | int, ...], str], list[str]]:
    """Return what the layers say together, the place of each key, and what is wrong: the first is None then.

    Raises ConfigurationError for a file that a key names and that cannot be read.
    """
    from polis import config_sources as sources

    _hide_credentials([layer.values for layer in layers])
    merged, origins = sources.merge(layers)
    try:
        spec = Spec.model_validate(merged)
    except ValidationError as error:
        keys = tuple(Spec.model_fields)
        return None, origins, [sources.locate(dict(problem), origins, keys) for problem in error.errors()]
    parts = (spec.image, spec.image.kernel, spec.image.initrd)  # which a descriptor may have brought
    _hide_credentials([part.location for part in parts if part is not None])
    return spec, origins, []


def _from_file(path: Path, name: str | None) -> Layer:
    """Read a workspace's file; or a fleet's, of which the member of this name is meant."""
    from polis import config_sources as sources

    layer = sources.from_file(path)
    if "members" not in layer.values:
        return layer
    from polis import config_fleet

    return config_fleet.layer_of(path, layer, name, tuple(Spec.model_fields))


def _hide_credentials(values: list[Any]) -> None:
    """Let no message, event or log repeat the logins and signatures that stand in addresses."""
    from polis import redaction
    from polis.addresses import credentials_of_values

    redaction.hide(credentials_of_values(values))


def _refuse(problems: list[str]) -> NoReturn:
    many = len(problems) > 1
    raise ConfigurationError(
        f"the configuration has {len(problems)} problems" if many else problems[0],
        cause="\n".join(problems) if many else "",
        remains="nothing was changed",
        hint="correct it and run the command again",
    )


def _absolute(location: str, directory: Path) -> str:
    return location if "://" in location else str((directory / at_home(location)).absolute())
