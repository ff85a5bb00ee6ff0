"""This site's mirrors, proxy and certificates, read from their files: what is edited in the cloud-init document."""

from __future__ import annotations

from typing import TYPE_CHECKING

from polis.cloudinit.overrides import Overrides
from polis.errors import ConfigurationError

if TYPE_CHECKING:
    from pathlib import Path

    from polis.config import Spec

SIZE_LIMIT = 256 * 1024
"""Bytes of a key or certificate file; real ones have a few thousand."""

PGP = "-----BEGIN PGP PUBLIC KEY BLOCK-----"
CERTIFICATE = "-----BEGIN CERTIFICATE-----"
END = "-----END CERTIFICATE-----"


def overrides(spec: Spec) -> Overrides:
    """Return the edits that the configuration asks for.

    Raises ConfigurationError if a file it names is not what it is said to be.
    """
    mirrors, proxy = spec.mirrors, spec.proxy
    docker, sysbox, registry = mirrors.docker, mirrors.sysbox, mirrors.registry
    return Overrides(
        archive=mirrors.archive or "",
        docker_archive=docker.location if docker else "",
        docker_key=_read(docker.key, PGP, "mirrors.docker.key") if docker and docker.key else "",
        sysbox_places=sysbox.places if sysbox else (),
        sysbox_sha256=(sysbox.sha256 or "") if sysbox else "",
        registry_mirror=(registry.location or "") if registry else "",
        registry_ca=_read(registry.ca, CERTIFICATE, "mirrors.registry.ca") if registry and registry.ca else "",
        registry=spec.registry.partition("/")[0],
        proxies=proxy.variables if proxy else (),
        medium=spec.offline is not None,
        ca_certs=tuple(each for path in spec.ca_certs for each in _certificates(_read(path, CERTIFICATE, "ca_certs"))),
    )


def _certificates(text: str) -> list[str]:
    """Return the certificates of a PEM file one by one: the VM's tools index only the first of a file."""
    parts = [part.partition(END)[0] for part in text.split(CERTIFICATE)[1:]]
    return [f"{CERTIFICATE}{part}{END}\n" for part in parts]


def _read(path: Path, mark: str, key: str) -> str:
    """Return the text of a public key or certificate; a private key in it would end up in every VM."""
    try:
        with path.open("rb") as file:
            text = file.read(SIZE_LIMIT + 1).decode("ascii")
    except (OSError, ValueError) as error:
        raise _refusal(key, path, str(error)) from error
    if mark not in text or len(text) > SIZE_LIMIT:
        raise _refusal(key, path, f"it has no `{mark}`")
    if "PRIVATE KEY" in text:
        raise _refusal(key, path, "it holds a private key, which must not leave this machine")
    return text.replace("\r\n", "\n").rstrip("\n") + "\n"


def _refusal(key: str, path: Path, reason: str) -> ConfigurationError:
    return ConfigurationError(f"`{key}`: {path} cannot be used", cause=reason, remains="nothing was changed")
