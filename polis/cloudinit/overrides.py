"""What differs from site to site, as structural edits of the parsed document (DESIGN section 9).

Nothing is filled into text: an edit finds its place in the document, or the document is refused for not having it.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

from polis.errors import ConfigurationError

if TYPE_CHECKING:
    from collections.abc import Callable

SOURCE = "/etc/apt/sources.list.d/docker.list"
KEY = "/etc/apt/keyrings/docker.asc"
DAEMON = "/etc/docker/daemon.json"
PLACES = "/etc/polis/sysbox.places"
SHA256 = "/etc/polis/sysbox.sha256"
PROXY = "/etc/polis/proxy.sh"
MEDIUM = "/etc/polis/medium"
APT_OFFLINE = "/etc/polis/medium-apt.conf"
APT_SOURCE = "/etc/polis/medium.list"

MEDIUM_LABEL = "POLIS_OFFLINE"
"""Of the read-only medium with the packages, by which the VM finds it."""
MOUNTED = "/run/polis-medium"
"""Where the script mounts it."""


@dataclass(frozen=True)
class Overrides:
    """The edits, with the contents of the files that they came from. Empty values change nothing.

    `docker_key`, `registry_ca` and `ca_certs` are PEM or armoured text; addresses are URLs; `registry` is the
    `host[:port]` that the workspace's images come from; `proxies` are pairs of http, https or no, and what it is set
    to; `medium` says that the packages come from a medium.
    """

    archive: str = ""
    docker_archive: str = ""
    docker_key: str = ""
    sysbox_places: tuple[str, ...] = ()
    sysbox_sha256: str = ""
    registry_mirror: str = ""
    registry_ca: str = ""
    registry: str = ""
    proxies: tuple[tuple[str, str], ...] = ()
    ca_certs: tuple[str, ...] = ()
    medium: bool = False

    @property
    def is_any(self) -> bool:
        """Return whether there is anything to edit."""
        return any(getattr(self, key) for key in EDITS)

    @property
    def digest(self) -> str:
        """Return a hash of all edits that make a difference to the VM, empty if there are none; parses nothing.

        Where the same packages came from makes none.
        """
        values = {name: value for name, value in asdict(self).items() if value and name not in ("registry", "medium")}
        if self.registry_ca:
            values["registry"] = self.registry
        return hashlib.sha256(json.dumps(values, sort_keys=True).encode()).hexdigest() if values else ""

    def apply(self, document: dict[str, Any]) -> None:
        """Edit the parsed document in place.

        Raises ConfigurationError if it has no place for an edit: a document of the user's own may be that different.
        """
        for key, edit in EDITS.items():
            if getattr(self, key):
                edit(document, self)


def _edit_archive(document: dict[str, Any], wanted: Overrides) -> None:
    for key in ("primary", "security"):
        _mapping(document, "apt")[key] = [{"arches": ["default"], "uri": wanted.archive}]


def _edit_docker_archive(document: dict[str, Any], wanted: Overrides) -> None:
    words = str(_file(document, SOURCE, "mirrors.docker").get("content")).split(" ")
    places = [index for index, word in enumerate(words) if "://" in word]
    if not places:
        raise _no_place("mirrors.docker", f"address in {SOURCE}")
    words[places[0]] = wanted.docker_archive
    _set_file(document, SOURCE, " ".join(words), "mirrors.docker")


def _edit_docker_key(document: dict[str, Any], wanted: Overrides) -> None:
    _set_file(document, KEY, wanted.docker_key, "mirrors.docker.key")


def _edit_sysbox_places(document: dict[str, Any], wanted: Overrides) -> None:
    _set_file(document, PLACES, "".join(f"{place}\n" for place in wanted.sysbox_places), "mirrors.sysbox.places")


def _edit_sysbox_sha256(document: dict[str, Any], wanted: Overrides) -> None:
    _set_file(document, SHA256, f"{wanted.sysbox_sha256}\n", "mirrors.sysbox.sha256")


def _edit_registry_mirror(document: dict[str, Any], wanted: Overrides) -> None:
    _edit_daemon(document, "mirrors.registry", {"registry-mirrors": [wanted.registry_mirror]})


def _edit_registry_ca(document: dict[str, Any], wanted: Overrides) -> None:
    hosts = {wanted.registry, wanted.registry_mirror.partition("://")[2].partition("/")[0]} - {""}
    for host in sorted(hosts):
        _add_file(document, f"/etc/docker/certs.d/{host}/ca.crt", wanted.registry_ca, "mirrors.registry.ca")


def _edit_proxies(document: dict[str, Any], wanted: Overrides) -> None:
    apt = _mapping(document, "apt")
    apt.update({f"{name}_proxy": value for name, value in wanted.proxies if name != "no"})
    _edit_daemon(document, "proxy", {"proxies": {f"{name}-proxy": value for name, value in wanted.proxies}})
    text = "".join(f"export {name}_proxy='{value}'\n" for name, value in wanted.proxies)
    _add_file(document, PROXY, text, "proxy")


def _edit_ca_certs(document: dict[str, Any], wanted: Overrides) -> None:
    _mapping(document, "ca_certs")["trusted"] = [_literal(text) for text in wanted.ca_certs]


def _edit_medium(document: dict[str, Any], wanted: Overrides) -> None:  # noqa: ARG001 -- as all edits
    _set_file(document, PLACES, f"file://{MOUNTED}/sysbox.deb\n", "offline")
    _add_file(document, MEDIUM, f"{MEDIUM_LABEL} {MOUNTED}\n", "offline")
    # Copied, so that what is installed is kept as if it had been fetched. Nothing is signed: the file that it came from
    # was compared with its manifest, and apt compares again.
    _add_file(document, APT_SOURCE, f"deb [trusted=yes] copy:{MOUNTED} ./\n", "offline")
    lines = (f'Dir::Etc::sourcelist "{APT_SOURCE}";\n', 'Dir::Etc::sourceparts "-";\n')
    _add_file(document, APT_OFFLINE, "".join(lines), "offline")


EDITS: dict[str, Callable[[dict[str, Any], Overrides], None]] = {
    "archive": _edit_archive,
    "docker_archive": _edit_docker_archive,
    "docker_key": _edit_docker_key,
    "sysbox_places": _edit_sysbox_places,
    "sysbox_sha256": _edit_sysbox_sha256,
    "registry_mirror": _edit_registry_mirror,
    "registry_ca": _edit_registry_ca,
    "proxies": _edit_proxies,
    "ca_certs": _edit_ca_certs,
    "medium": _edit_medium,
}
"""One edit for each field that changes the document when it is not empty."""


def _mapping(document: dict[str, Any], key: str) -> dict[str, Any]:
    if not isinstance(document.get(key), dict):
        document[key] = {}
    value: dict[str, Any] = document[key]
    return value


def _file(document: dict[str, Any], path: str, key: str) -> dict[str, Any]:
    entries = document.get("write_files")
    for entry in entries if isinstance(entries, list) else []:
        if isinstance(entry, dict) and entry.get("path") == path:
            return entry
    raise _no_place(key, f"file {path} in write_files")


def _set_file(document: dict[str, Any], path: str, text: str, key: str) -> None:
    _file(document, path, key)["content"] = _literal(text)


def _add_file(document: dict[str, Any], path: str, text: str, key: str) -> None:
    if document.get("write_files") is None:
        document["write_files"] = []
    entries = document["write_files"]
    if not isinstance(entries, list):
        raise _no_place(key, "list write_files")
    # Before the last one: the comment that introduces what follows in the document belongs to that.
    entries.insert(max(0, len(entries) - 1), {"path": path, "content": _literal(text)})


def _edit_daemon(document: dict[str, Any], key: str, values: dict[str, Any]) -> None:
    entry = _file(document, DAEMON, key)
    try:
        settings = {**json.loads(entry["content"]), **values}
    except (KeyError, TypeError, ValueError, RecursionError) as error:
        raise _no_place(key, f"JSON object in {DAEMON}") from error
    entry["content"] = _literal(json.dumps(settings, indent=2) + "\n")


def _literal(text: str) -> str:
    from ruamel.yaml.scalarstring import LiteralScalarString

    literal: str = LiteralScalarString(text)
    return literal


def _no_place(key: str, what: str) -> ConfigurationError:
    return ConfigurationError(
        f"`{key}` cannot be applied: the cloud-init document has no {what}",
        remains="nothing was changed",
        hint="`polis cloud-init show` prints the shipped document to begin from",
    )
