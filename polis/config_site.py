"""The part of the configuration that says how this site reaches the world: mirrors, a proxy, certificates."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated
from urllib.parse import urlsplit

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, model_validator

LOOPBACK = ("localhost", "127.0.0.1", "::1")

INSIDE = (
    *LOOPBACK,
    *("10.10.1.0/24", "10.20.1.0/24", "10.30.1.0/24"),  # the stack's own networks
    *("resolver", "certgen", "gate", "sentinel", "scanner", "state", "toolbox", "workspace", "valkey"),
)
"""What no proxy is ever asked for: the VM itself, and the services in it, which reach each other by name."""


class Section(BaseModel):
    """A part of the configuration: unknown keys are errors."""

    model_config = ConfigDict(extra="forbid", frozen=True, defer_build=True)


def _address(text: str) -> str:
    """Return an address that can stand in an apt source and in a shell script as it is."""
    if any(character in " '\"\\\\$`<>" or not character.isprintable() for character in text):
        raise ValueError("must be an address without blanks, quotes and control characters")
    if "@" in text:  # anywhere: a `/` in a password ends, for whoever splits the address, the part with the login
        raise ValueError("must not hold a user name or password, nor any `@`: every process in the VM could read it")
    parts = urlsplit(text)
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise ValueError("must be an http:// or https:// address")
    return text


def _encrypted(text: str) -> str:
    if urlsplit(text).scheme != "https":
        raise ValueError("must be an https:// address, for nothing else tells who answers")
    return text


Sha256 = Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]
Address = Annotated[str, AfterValidator(_address)]
HttpsAddress = Annotated[str, AfterValidator(_address), AfterValidator(_encrypted)]


class DockerMirrorSpec(Section):
    """A copy of Docker's apt repository, and the public key (a file) if it is signed by another than Docker's."""

    location: Address
    key: Path | None = None


class SysboxMirrorSpec(Section):
    """Where the Sysbox package is fetched from, in this order, and its hash if it is another package."""

    places: Annotated[tuple[Address, ...], Field(min_length=1)]
    sha256: Sha256 | None = None


class RegistryMirrorSpec(Section):
    """A pull-through mirror of Docker Hub, and the CA (a PEM file) of it and of `registry`."""

    location: HttpsAddress | None = None
    ca: Path | None = None


class MirrorsSpec(Section):
    """Places to use instead of the public ones. What is fetched is verified as before."""

    archive: Address | None = None
    docker: DockerMirrorSpec | None = None
    sysbox: SysboxMirrorSpec | None = None
    registry: RegistryMirrorSpec | None = None


class ProxySpec(Section):
    """HTTP proxies for what the VM fetches, and names that need none.

    `url` stands for the one of `http` and `https` that is not given; an address alone is short for `url`.
    """

    url: Address | None = None
    http: Address | None = None
    https: Address | None = None
    no_proxy: tuple[Annotated[str, Field(pattern=r"^[A-Za-z0-9.:*/_-]+$")], ...] = ()

    @property
    def for_http(self) -> str:
        """Return the proxy for http:// addresses, empty if there is none."""
        return self.http or self.url or ""

    @property
    def for_https(self) -> str:
        """Return the proxy for https:// addresses, empty if there is none."""
        return self.https or self.url or ""

    @property
    def exceptions(self) -> str:
        """Return what is fetched without a proxy, with commas between: always what is inside the VM."""
        return ",".join(dict.fromkeys([*INSIDE, *self.no_proxy]))

    @property
    def variables(self) -> tuple[tuple[str, str], ...]:
        """Return http, https and no, each with its value, where it has one."""
        pairs = (("http", self.for_http), ("https", self.for_https), ("no", self.exceptions))
        return tuple((name, value) for name, value in pairs if value)

    @model_validator(mode="before")
    @classmethod
    def _from_text(cls, value: object) -> object:
        return {"url": value} if isinstance(value, str) else value

    @model_validator(mode="after")
    def _is_reachable(self) -> ProxySpec:
        addresses = [address for address in (self.url, self.http, self.https) if address]
        if not addresses:
            raise ValueError("needs an address: `http`, `https`, or `url` for both")
        if any(urlsplit(address).hostname in LOOPBACK for address in addresses):
            raise ValueError("is this machine's loopback address, which the VM cannot reach; name one that it can")
        return self


class OfflineSpec(Section):
    """A file with everything in it: its path, or its path and the sha256 that it must have."""

    file: Path
    sha256: Sha256 | None = None

    @model_validator(mode="before")
    @classmethod
    def _from_text(cls, value: object) -> object:
        return {"file": value} if isinstance(value, str | Path) else value
