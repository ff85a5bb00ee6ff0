"""The keys and passwords of a workspace, on the host: made once, kept until `delete --all`.

They outlive the record and the VM: a workspace that is created again has the authority that others trust already, and
the passwords that its data were written with. All are in one file, so that no crash leaves a part of them; each
certificate has beside it what must be known to judge it, so that a `status` parses none.
"""

from __future__ import annotations

import hashlib
import json
import shutil
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any, Final

from polis import durable, redaction
from polis.bundle.passwords import USERS, access_list, new_password
from polis.bundle.placed import PlacedFile
from polis.errors import ConfigurationError, HostUnsuitable

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path

    from polis.bundle.certs import Pair

FILE: Final = "keys.json"
SCHEMA: Final = 1
AUTHORITY: Final = "authority"
LEAVES: Final = ("interception", "toolbox", "valkey-client", "valkey-server")
MARGIN: Final = timedelta(days=60)
"""A certificate with less than this left is renewed by the next `up`."""

SERVICE_USER: Final = 65532
"""The user that the services run as."""

_SIZE_LIMIT: Final = 256 * 1024


@dataclass(frozen=True)
class Kept:
    """A certificate, its key, when it ends, and the fingerprint of what signed it (empty for the authority)."""

    certificate: str = field(repr=False)
    key: str = field(repr=False)
    until: datetime
    signer: str = ""

    @property
    def identity(self) -> str:
        """Return what distinguishes this certificate from every other."""
        return hashlib.sha256(self.certificate.encode()).hexdigest()


@dataclass(frozen=True)
class Credentials:
    """All that a workspace's services need: complete, whatever its age."""

    authority: Kept
    leaves: Mapping[str, Kept]
    passwords: Mapping[str, str] = field(repr=False)

    @property
    def parts(self) -> dict[str, str]:
        """Return what the fingerprint of `configured` is made of."""
        certificates = [self.authority.identity, *(self.leaves[name].identity for name in LEAVES)]
        passwords = json.dumps(dict(sorted(self.passwords.items())))
        return {"certificates": "\n".join(certificates), "secrets": passwords}

    def files(self) -> dict[str, PlacedFile]:
        """Return what is placed in the guest, by its path beside the bundle's files; the authority's key is not."""
        leaves, trusted = self.leaves, self.authority.certificate
        files = {
            "certs/ca/ca.pem": _public(trusted),
            "certs/interception/ca.pem": _public(leaves["interception"].certificate + trusted),
            "certs/interception/ca.key": _secret(leaves["interception"].key),
            "certs/valkey/ca.crt": _public(trusted),
            "certs/valkey/server.crt": _public(leaves["valkey-server"].certificate),
            "certs/valkey/server.key": _secret(leaves["valkey-server"].key),
            "certs/valkey/client.crt": _public(leaves["valkey-client"].certificate),
            "certs/valkey/client.key": _secret(leaves["valkey-client"].key),
            "certs/toolbox/toolbox.pem": _public(leaves["toolbox"].certificate),
            "certs/toolbox/toolbox.key": _secret(leaves["toolbox"].key),
            "secrets/valkey_users.acl": _secret(access_list(self.passwords)),
        }
        return files | {f"secrets/{name}": _secret(self.passwords[name]) for name in USERS}


class Vault:
    """The directory of one workspace's secrets. Whoever changes it holds the workspace's lock."""

    def __init__(self, directory: Path, now: Callable[[], datetime] = lambda: datetime.now(UTC)) -> None:
        self.directory = directory
        self._now = now

    def read(self) -> Credentials | None:
        """Return what is kept, or None if it is not complete. Raises ConfigurationError for a damaged file."""
        pairs, passwords = self._load()
        if {AUTHORITY, *LEAVES} - pairs.keys() or USERS.keys() - passwords.keys():
            return None
        return Credentials(pairs[AUTHORITY], {name: pairs[name] for name in LEAVES}, passwords)

    def lacking(self) -> str:
        """Return why `renew` has something to do, or nothing. Raises ConfigurationError for a damaged file."""
        pairs, passwords = self._load()
        due = self._due(pairs, passwords)
        if due and AUTHORITY not in pairs:
            return "keys and passwords are not made yet"
        return f"due for renewal: {', '.join(due)}" if due else ""

    def renew(self, workspace: str) -> tuple[str, ...]:
        """Make what is missing and renew what ends soon, and nothing else; return the names of both.

        An authority that is still valid is never made anew: others trust it. Raises HostUnsuitable if the file cannot
        be written.
        """
        pairs, known = self._load()
        due = self._due(pairs, known)
        if not due:
            return ()
        from polis.bundle import certs

        now = self._now()
        if AUTHORITY in due:
            pairs[AUTHORITY] = _kept(certs.authority(workspace, now))
        authority = pairs[AUTHORITY]
        signer = certs.Pair(authority.certificate.encode(), authority.key.encode(), authority.until)
        for name in LEAVES:
            if name in due:
                pairs[name] = _kept(certs.issue(certs.PROFILES[name], signer, now), authority.identity)
        self._save(pairs, {**{name: new_password() for name in USERS}, **known})
        return due

    def destroy(self) -> bool:
        """Remove the directory with all that is in it; return False if there was none. Raises HostUnsuitable."""
        if not self.directory.is_dir():
            return False
        try:
            shutil.rmtree(self.directory)
            durable.sync_directory(self.directory.parent)
        except OSError as error:
            raise self._unusable("removed", error) from error
        return True

    def _due(self, pairs: Mapping[str, Kept], passwords: Mapping[str, str]) -> tuple[str, ...]:
        now, authority = self._now(), pairs.get(AUTHORITY)
        if authority is None or authority.until <= now:
            due = [AUTHORITY, *LEAVES]
        else:
            due = [name for name in LEAVES if _is_due(pairs.get(name), authority, now)]
        return (*due, *(["passwords"] if USERS.keys() - passwords.keys() else []))

    def _load(self) -> tuple[dict[str, Kept], dict[str, str]]:
        try:
            with (self.directory / FILE).open("rb") as file:
                data = file.read(_SIZE_LIMIT)
        except FileNotFoundError:
            return {}, {}
        except OSError as error:
            raise self._unusable("read", error) from error
        try:
            pairs, passwords = _parse(data)
        except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
            raise self._damaged() from error
        redaction.hide(passwords.values())
        redaction.hide(
            line for pair in pairs.values() for line in pair.key.splitlines() if not line.startswith("-----")
        )
        return pairs, passwords

    def _save(self, pairs: Mapping[str, Kept], passwords: Mapping[str, str]) -> None:
        content = {"pairs": {name: _plain(pair) for name, pair in pairs.items()}, "passwords": dict(passwords)}
        path = self.directory / FILE
        try:
            durable.private_directory(self.directory)
            durable.anchor(path)
            durable.sweep(self.directory, FILE)
            durable.write(path, sealed(content))
        except OSError as error:
            raise self._unusable("written", error) from error

    def _unusable(self, what: str, error: OSError) -> HostUnsuitable:
        return HostUnsuitable(
            f"the workspace's keys in {self.directory} cannot be {what}", cause=error.strerror or str(error)
        )

    def _damaged(self) -> ConfigurationError:
        return ConfigurationError(
            f"{self.directory / FILE} is damaged",
            remains="nothing was changed",
            hint="restore it from a copy; or remove it, and `polis up` makes new keys and passwords",
        )


def sealed(content: Mapping[str, Any]) -> bytes:
    """Return the file for `pairs` and `passwords`; it has their hash in it, so that no damage passes for a key."""
    return json.dumps({**content, "schema": SCHEMA, "sha256": _hash(content)}, indent=1).encode()


def _hash(content: Mapping[str, Any]) -> str:
    parts = {name: content[name] for name in ("pairs", "passwords")}
    return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()


def _parse(data: bytes) -> tuple[dict[str, Kept], dict[str, str]]:
    """Return what a file holds. Raises ValueError, KeyError, TypeError, AttributeError."""
    content = json.loads(data)
    if content["schema"] != SCHEMA or content["sha256"] != _hash(content):
        raise ValueError("not as it was written")
    pairs = {str(name): _parse_pair(entry) for name, entry in content["pairs"].items()}
    passwords = {str(name): _word(value) for name, value in content["passwords"].items()}
    return pairs, passwords


def _parse_pair(entry: dict[str, Any]) -> Kept:
    certificate, key = _word(entry["certificate"]), _word(entry["key"])
    return Kept(certificate, key, datetime.fromisoformat(entry["until"]), str(entry["signer"]))


def _word(value: Any) -> str:
    if not isinstance(value, str):
        raise TypeError("no text")
    return value


def _plain(pair: Kept) -> dict[str, str]:
    return {
        "certificate": pair.certificate,
        "key": pair.key,
        "until": pair.until.isoformat(),
        "signer": pair.signer,
    }


def _kept(pair: Pair, signer: str = "") -> Kept:
    return Kept(pair.certificate.decode(), pair.key.decode(), pair.until, signer)


def _is_due(leaf: Kept | None, authority: Kept, now: datetime) -> bool:
    """Return whether a leaf is missing, another authority's, or near an end that a new one would put off."""
    if leaf is None or leaf.signer != authority.identity:
        return True
    return leaf.until - now < MARGIN and leaf.until < authority.until


def _public(text: str) -> PlacedFile:
    return PlacedFile(text.encode(), mode=0o444)


def _secret(content: str | bytes) -> PlacedFile:
    return PlacedFile(content.encode() if isinstance(content, str) else content, mode=0o400, owner=SERVICE_USER)
