"""The places that `polis up` fetches from: whether their names are known, and whether they answer on their port."""

from __future__ import annotations

import http.client
import socket
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple
from urllib.parse import urlsplit

from polis.doctor.findings import Finding, ok, problem, warning

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from polis.config import Spec

LIMIT = 10.0
"""Seconds for one place to answer."""

HTTP, HTTPS = 80, 443
QEMU_GATEWAY = "10.0.2.2"
"""This machine, as a guest of QEMU's user network sees it."""


@dataclass(frozen=True)
class Place:
    """Something that is fetched from: what for, host and port. One of those for the same is enough."""

    what: str
    host: str
    port: int


def places(spec: Spec, addresses: Sequence[str]) -> list[Place]:
    """Return the registry and the places that the cloud-init document names, each once."""
    registry = urlsplit(f"//{spec.registry}")
    found = [Place("registry", registry.hostname or "", registry.port or HTTPS)]
    for address in addresses:
        parts = urlsplit(address)
        what = "Sysbox" if parts.path.endswith(".deb") else "packages"
        place = Place(what, parts.hostname or "", parts.port or (HTTPS if parts.scheme == "https" else HTTP))
        if place not in found:
            found.append(place)
    return found


def examine(wanted: Sequence[Place], *, proxy: str | None, environ: Mapping[str, str]) -> Iterator[Finding]:
    """Yield for each place whether it can be reached from this machine, all at the same time."""
    with ThreadPoolExecutor(max_workers=max(1, len(wanted))) as pool:
        troubles = list(pool.map(lambda place: _trouble(place, proxy), wanted))
    served = {place.what for place, trouble in zip(wanted, troubles, strict=True) if trouble is None}
    for place, trouble in zip(wanted, troubles, strict=True):
        name = f"{place.what} {place.host}:{place.port}"
        if trouble is None:
            yield ok(name, f"answers through {urlsplit(proxy).netloc}" if proxy is not None else "answers")
        elif place.what in served:
            yield warning(name, trouble.what, why="another place for the same answers", mend=trouble.mend)
        else:
            yield problem(name, trouble.what, why=trouble.why, mend=trouble.mend)
    variables = [name for name in ("https_proxy", "HTTPS_PROXY", "http_proxy", "HTTP_PROXY") if environ.get(name)]
    if variables and proxy is None:
        yield warning(
            "proxy",
            f"{variables[0]} is set, and `proxy` is not configured",
            why="the VM does not inherit this shell's environment: what it fetches goes out directly",
            mend="set `proxy` in polis.yaml to an address that the VM can reach",
        )


class _Trouble(NamedTuple):
    what: str
    why: str
    mend: str


def _trouble(place: Place, proxy: str | None) -> _Trouble | None:
    """Return why a place cannot be reached, or None."""
    host = "127.0.0.1" if place.host == QEMU_GATEWAY else place.host
    try:
        if proxy is not None and place.host != QEMU_GATEWAY:
            _through(proxy, host, place.port)
        else:
            socket.create_connection((host, place.port), timeout=LIMIT).close()
    except socket.gaierror as error:
        return _Trouble(
            f"the name is not known here: {error.strerror}",
            why="nothing can be fetched from it, if the VM sees the network as this machine does",
            mend=f"check the name server (getent hosts {host}), or configure a mirror or proxy that is known",
        )
    except (OSError, http.client.HTTPException) as error:
        return _Trouble(
            f"it does not answer: {str(error) or type(error).__name__}",
            why="`polis up` waits for it as long as `retry` allows, and then ends with 75",
            mend="check the network, the proxy and the firewall; `polis up` goes on from where it was",
        )
    return None


def _through(proxy: str, host: str, port: int) -> None:
    """Ask an HTTP proxy for a tunnel. Raises OSError with its words if it refuses."""
    parts = urlsplit(proxy)
    kind = http.client.HTTPSConnection if parts.scheme == "https" else http.client.HTTPConnection
    connection = kind(parts.hostname or "", parts.port or HTTP, timeout=LIMIT)
    connection.set_tunnel(host, port)
    try:
        connection.connect()
    finally:
        connection.close()
