"""What must be true of a cloud-init document before anything is launched, and what is worth a warning.

Sources of the rules: cloud-init's own handling of user data, and what Multipass does with a document before it passes
it on (it is parsed, edited and written again without comments and quotes; its key is appended to `users` and
`ssh_authorized_keys` only where these are lists).
"""

from __future__ import annotations

import difflib
import functools
import re
from typing import TYPE_CHECKING, Any, NamedTuple

from polis import yamltext
from polis.errors import ConfigurationError

if TYPE_CHECKING:
    from collections.abc import Iterator

HEADER = "#cloud-config"

SIZE_LIMIT = 64 * 1024
"""Bytes; the smallest of the limits that hypervisors and clouds set for user data."""

DOCUMENTS = 8
"""Documents whose judgement is kept in memory: parsing one takes longer than all else that polis does for a launch."""

SENTINEL = "provisioned.json"
KNOWN_KEYS = (
    *("apt", "bootcmd", "ca_certs", "chpasswd", "disable_root", "disk_setup", "fqdn", "fs_setup", "groups", "growpart"),
    *("hostname", "locale", "manage_etc_hosts", "merge_how", "mounts", "network", "ntp", "output", "package_update"),
    *("package_upgrade", "packages", "password", "phone_home", "power_state", "resize_rootfs", "runcmd", "snap", "ssh"),
    *("ssh_authorized_keys", "ssh_import_id", "ssh_keys", "ssh_pwauth", "swap", "system_info", "timezone", "user"),
    *("users", "vendor_data", "write_files", "yum_repos", "ssh_genkeytypes", "package_reboot_if_required"),
)
"""Top-level keys of cloud-init, to recognise what was meant by one that is nearly the same."""

_POWER = re.compile(r"(?<![\w/.-])(?:systemctl\s+)?(?:/s?bin/)?(reboot|poweroff|halt|shutdown)(?![\w.-])")


class Finding(NamedTuple):
    """Something about a document: where (1-based; line 0 for the whole), what, and whether it is refused."""

    line: int
    column: int
    text: str
    refused: bool

    def at(self, name: str) -> str:
        """Return the finding with its place."""
        return f"{name}:{self.line}:{self.column}: {self.text}" if self.line else f"{name}: {self.text}"


def check(text: str, name: str) -> list[str]:
    """Return the warnings about a document, each with line and column.

    Raises ConfigurationError with all reasons for which it cannot be used.
    """
    return list(_warnings(text, name))


@functools.lru_cache(maxsize=DOCUMENTS)
def _warnings(text: str, name: str) -> tuple[str, ...]:
    """Return the warnings: of the many workspaces of a fleet, nearly all have the same document."""
    findings = sorted(examine(parse(text, name)))
    refused = [finding.at(name) for finding in findings if finding.refused]
    if refused:
        many = len(refused) > 1
        raise ConfigurationError(
            f"{name} cannot be used, for {len(refused)} reasons" if many else refused[0],
            cause="\n".join(refused) if many else "",
            remains="nothing was changed",
            hint="correct it, then look at it again with `polis cloud-init check`",
        )
    return tuple(finding.at(name) for finding in findings)


def parse(text: str, name: str) -> dict[str, Any]:
    """Return the parsed document, which remembers comments, quotes and places.

    Raises ConfigurationError, with line and column, if cloud-init would not understand it.
    """
    from ruamel.yaml.comments import CommentedMap

    if len(text.encode()) > SIZE_LIMIT:
        raise ConfigurationError(f"{name} is larger than {SIZE_LIMIT} bytes")
    if text.split("\n", 1)[0].strip() != HEADER:
        raise ConfigurationError(
            f"{name}:1:1: a cloud-init document begins with the line `{HEADER}`",
            hint="templates, scripts and multipart files do not survive Multipass: write plain cloud-config",
        )
    document = yamltext.load(text, name, quotes=True)
    if not isinstance(document, CommentedMap):
        raise ConfigurationError(f"{name}:2:1: the top of the document must be a mapping of keys to values")
    return document


def examine(document: Any) -> Iterator[Finding]:
    """Yield what is wrong or doubtful, in no order."""
    for rule in (_users, _keys, _default_user, _power, _names, _logins, _sentinel, _misspelt):
        yield from rule(document)
    yield from _quotes(document)


def _users(document: Any) -> Iterator[Finding]:
    if "users" not in document:
        return
    users = document["users"]
    if not isinstance(users, list):
        yield _refuse(
            document, "users", "`users` must be a list, or the VM cannot be reached: write `users: [default]`"
        )
        return
    if "default" not in users:
        yield _refuse(document, "users", "`users` must contain `default`, the user whom polis logs in as")
    for user in users:
        if isinstance(user, dict):
            yield from _keys(user)
            if user.get("lock_passwd") is False:
                yield _warn(user, "lock_passwd", "an open password can be guessed from inside the VM")


def _keys(mapping: Any) -> Iterator[Finding]:
    if "ssh_authorized_keys" in mapping and not isinstance(mapping["ssh_authorized_keys"], list):
        reason = (
            "`ssh_authorized_keys` must be a list, or the VM cannot be reached: Multipass appends its own key to it"
        )
        yield _refuse(mapping, "ssh_authorized_keys", reason)


def _default_user(document: Any) -> Iterator[Finding]:
    if "user" in document:
        yield _refuse(document, "user", "`user` changes the default user, whom polis logs in as")
    info = document.get("system_info")
    if isinstance(info, dict) and "default_user" in info:
        yield _refuse(info, "default_user", "`system_info.default_user` changes the user whom polis logs in as")


def _power(document: Any) -> Iterator[Finding]:
    if "power_state" in document:
        yield _refuse(document, "power_state", "a first boot that switches the VM off or over is never seen to end")
    if document.get("package_reboot_if_required"):
        yield _refuse(document, "package_reboot_if_required", "a reboot in the first boot is never seen to end")
    for key in ("bootcmd", "runcmd"):
        entries = document.get(key)
        for index, entry in enumerate(entries if isinstance(entries, list) else []):
            words = " ".join(map(str, entry)) if isinstance(entry, list) else str(entry)
            if match := _POWER.search(words):
                text = f"`{match[1]}` in {key}: a reboot in the first boot is never seen to end"
                yield Finding(*yamltext.place(entries, index), text, refused=False)


def _names(document: Any) -> Iterator[Finding]:
    for key in ("hostname", "fqdn"):
        if key in document:
            text = f"`{key}`: on Hyper-V the VM is reached by the name of the instance, and by no other"
            yield _warn(document, key, text)


def _logins(document: Any) -> Iterator[Finding]:
    for key, bad in (("ssh_pwauth", True), ("disable_root", False)):
        if key in document and document[key] is bad:
            yield _warn(document, key, f"`{key}: {str(bad).lower()}` opens the VM to guessed passwords")
    for key in ("password", "chpasswd"):
        if key in document:
            yield _warn(document, key, f"`{key}`: a password can be guessed from inside the VM")


def _sentinel(document: Any) -> Iterator[Finding]:
    if not any(SENTINEL in text for text in _strings(document)):
        text = f"nothing in it writes /var/lib/polis/{SENTINEL}: without it the phase launched is never reached"
        yield Finding(0, 0, text, refused=False)


def _misspelt(document: Any) -> Iterator[Finding]:
    for key in document:
        near = difflib.get_close_matches(str(key), KNOWN_KEYS, n=1, cutoff=0.8)
        if near and key not in KNOWN_KEYS:
            yield _warn(document, key, f"cloud-init knows no `{key}`; did you mean `{near[0]}`?")


def _quotes(node: Any) -> Iterator[Finding]:
    """Yield values that mean something else without their quotes, which Multipass drops."""
    is_mapping = isinstance(node, dict)
    for key, value in node.items() if is_mapping else enumerate(node):
        if isinstance(value, dict | list):
            yield from _quotes(value)
        elif _is_quoted(value) and (tag := _meaning(str(value))):
            text = f'"{value}" arrives as {tag}, for Multipass drops the quotes; write it so that it needs none'
            yield Finding(*yamltext.place(node, key, of_value=True), text, refused=False)


def _is_quoted(value: object) -> bool:
    from ruamel.yaml.scalarstring import DoubleQuotedScalarString, SingleQuotedScalarString

    return isinstance(value, DoubleQuotedScalarString | SingleQuotedScalarString)


def _meaning(text: str) -> str:
    """Return in words what YAML 1.1, which cloud-init reads, makes of a plain scalar; empty for a string."""
    from ruamel.yaml.resolver import implicit_resolvers

    if not text or ":" in text or text in ("~", "null"):
        return ""  # these keep their quotes
    for versions, tag, pattern, first in implicit_resolvers:
        if (1, 1) in versions and text[0] in first and pattern.match(text):
            kind = tag.rpartition(":")[2]
            return {"int": "a number", "float": "a number", "bool": "true or false", "timestamp": "a date"}.get(
                kind, ""
            )
    return ""


def _strings(node: Any) -> Iterator[str]:
    if isinstance(node, str):
        yield node
    for value in node.values() if isinstance(node, dict) else node if isinstance(node, list) else ():
        yield from _strings(value)


def _refuse(mapping: Any, key: str, text: str) -> Finding:
    return Finding(*yamltext.place(mapping, key), text, refused=True)


def _warn(mapping: Any, key: str, text: str) -> Finding:
    return _refuse(mapping, key, text)._replace(refused=False)
