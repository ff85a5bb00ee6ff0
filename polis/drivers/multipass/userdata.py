"""The cloud-init document as Multipass must get it.

Client and daemon parse it and write it anew without quotes, so that cloud-init reads `"yes"`, `"0755"` or `"1.10"` as
something else than text (#4176); an explicit tag survives. And the owner's id travels in it.
"""

from __future__ import annotations

import io
import re
from typing import TYPE_CHECKING, Any

from polis.errors import ConfigurationError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

STAMP = "/etc/polis-owner"
"""The file of the guest that tells which workspace created it; written before sshd starts."""

_HEADER = "#cloud-config\n"

# ruamel.yaml leaves the tag of a text away where it is quoted, but keeps one that it does not know.
_TAG = "!polis-text"

# What YAML 1.1, which cloud-init reads, takes for a boolean, null, a number (octal, binary, sexagesimal too), a date.
_RETYPED = re.compile(
    r"(?ix) yes|no|on|off|true|false|y|n|null|~|"
    r"[-+]?(0b[01_]+|0x[0-9a-f_]+|0o?[0-7_]+|[0-9][0-9_]*(:[0-5]?[0-9])*)|"
    r"[-+]?([0-9][0-9_]*)?\.?[0-9_]*([e][-+]?[0-9]+)?|[-+]?\.(inf|nan)|"
    r"[0-9]{4}-[0-9]{1,2}-[0-9]{1,2}([Tt ].*)?|=|<<"
)


def prepared(text: str, owner: str, *, system: str) -> str:
    """Return the document with the owner's stamp, every text safe from being retyped.

    `system` is the host's sys.platform. Raises ConfigurationError if it is no YAML mapping, or would lock Multipass
    out of its own instance.
    """
    from ruamel.yaml import YAML
    from ruamel.yaml.error import YAMLError

    yaml = YAML(typ="rt")
    yaml.preserve_quotes = True
    yaml.width = 1_000_000
    try:
        document = yaml.load(text)
    except YAMLError as error:
        raise ConfigurationError("the cloud-init document is not YAML", cause=str(error)) from error
    if not isinstance(document, dict):
        raise ConfigurationError("the cloud-init document is not a mapping", hint="`polis cloud-init check` tells more")
    _refuse_lockout(document, system)
    _stamp(document, owner)
    _each_text(document, _tagged)
    target = io.StringIO()
    yaml.dump(document, target)
    text = target.getvalue().replace(f'{_TAG} "', '!!str "')
    return _HEADER + re.sub(r"\A(#cloud-config[^\n]*\n)?", "", text)


def owner(text: str) -> str:
    """Return the owner's id from the content of STAMP, or an empty string."""
    found = re.fullmatch(r"polis workspace (.+)\n?", text)
    return found[1] if found else ""


def _stamp(document: dict[str, Any], owner: str) -> None:
    files = document.setdefault("write_files", [])
    if not isinstance(files, list):
        raise ConfigurationError("`write_files` of the cloud-init document is not a list")
    # First: an entry that cannot be written ends the whole module. The newline keeps the quotes, "0o444" is safe.
    content = f"polis workspace {owner}\n"
    files.insert(0, {"path": STAMP, "content": content, "permissions": "0o444"})


def _refuse_lockout(document: Mapping[str, Any], system: str) -> None:
    problems = [
        f"`{key}` is not a list, so Multipass cannot add what it needs"
        for key in ("users", "ssh_authorized_keys", "packages")
        if key in document and not isinstance(document[key], list)
    ]
    user = (document.get("system_info") or {}).get("default_user") or {}
    if user.get("name", "ubuntu") != "ubuntu":
        problems.append("`system_info.default_user.name` is not ubuntu, whom Multipass logs in as")
    if system == "win32" and {"hostname", "fqdn"} & set(document):
        problems.append("`hostname` or `fqdn` would take away the name by which Hyper-V's network knows the VM")
    if problems:
        raise ConfigurationError(
            "the cloud-init document would lock Multipass out of the VM",
            cause="\n".join(problems),
            remains="nothing was changed",
        )


def _each_text(node: Any, change: Callable[[Any], Any]) -> None:
    """Replace every string value, at any depth, by what `change` makes of it; keys stay."""
    places = node.items() if isinstance(node, dict) else enumerate(node)
    for place, value in list(places):
        if isinstance(value, dict | list):
            _each_text(value, change)
        elif isinstance(value, str):
            node[place] = change(value)


def _tagged(value: str) -> Any:
    from ruamel.yaml.comments import TaggedScalar

    if not value or not _RETYPED.fullmatch(value):
        return value
    return TaggedScalar(value, style='"', tag=_TAG)
