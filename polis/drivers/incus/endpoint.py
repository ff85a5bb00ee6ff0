"""Where the server's interface is: the client's own configuration of its remotes, read as the client reads it.

A remote is a Unix socket, or an HTTPS address with a certificate of ours and, as a rule, the server's own certificate
as it was when the remote was added (`servercerts/NAME.crt`): only that very one is talked to.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from polis.drivers.incus import table
from polis.drivers.incus.failures import Failure, ToolFailure
from polis.errors import HostUnsuitable

if TYPE_CHECKING:
    from collections.abc import Mapping

    from polis.drivers.incus.settings import Settings
    from polis.drivers.incus.tool import Tool

PORT = 8443
LOCAL = "local"
SIZE_LIMIT = 1024 * 1024
"""Bytes of a configuration file above which it is none."""

CERTIFICATES = ("tls", "")
"""Ways to prove who we are that need no more than files."""


@dataclass(frozen=True)
class Endpoint:
    """A server. Either `socket` or `host` is set; `directory` and `remote` say where its certificates are.

    `project` is what the client would use there; empty means the server's `default`.
    """

    socket: str = ""
    host: str = ""
    port: int = PORT
    directory: Path = Path()
    remote: str = LOCAL
    project: str = ""

    @property
    def certificate(self) -> Path:
        """Return where the server's certificate is kept, if it was when the remote was added."""
        return self.directory / "servercerts" / f"{self.remote}.crt"


def find(tool: Tool, settings: Settings, environ: Mapping[str, str] | None = None) -> Endpoint:
    """Return the server that the tool would use. Raises ToolFailure for an unknown remote, HostUnsuitable."""
    environ = os.environ if environ is None else environ
    prefix = tool.prefix
    directory = _directory(tool, environ)
    known = _configuration(directory / "config.yml")
    name = settings.remote or environ.get(f"{prefix}_REMOTE") or str(known.get("default-remote") or LOCAL)
    remotes = _remotes(tool, environ) | (known.get("remotes") or {})
    remote = remotes.get(name, {"addr": "unix://"} if name == LOCAL else None)
    if not isinstance(remote, dict):
        raise ToolFailure(Failure(table.named("unknown-remote"), "remote", 1, f'The remote "{name}" doesn\'t exist'))
    address = str(remote.get("last_working_address") or str(remote.get("addr") or "unix://").partition(",")[0])
    project = settings.project or environ.get(f"{prefix}_PROJECT") or str(remote.get("project") or "")
    if address.startswith("unix:"):
        path = address.removeprefix("unix:").removeprefix("//")
        socket, implied = (path, "") if path else _socket(tool, environ)
        return Endpoint(socket=socket, directory=directory, remote=name, project=project or implied)
    if remote.get("auth_type", "") not in CERTIFICATES or remote.get("protocol") not in (None, tool.protocol):
        raise HostUnsuitable(
            f"the remote {name} cannot keep the record of a workspace",
            cause=f"protocol {remote.get('protocol')}, login {remote.get('auth_type')}",
            hint=f"add it with a certificate: `{tool.command} remote add`",
        )
    found = urlsplit(address if "//" in address else f"https://{address}")
    return Endpoint("", found.hostname or "", found.port or PORT, directory, name, project)


def _socket(tool: Tool, environ: Mapping[str, str]) -> tuple[str, str]:
    """Return the local server's socket, and the project that goes with it, if one does."""
    if given := environ.get(f"{tool.prefix}_SOCKET"):
        return given, ""
    places = [environ[f"{tool.prefix}_DIR"]] if f"{tool.prefix}_DIR" in environ else list(tool.directories)
    path = next((place for place in places if os.path.lexists(f"{place}/unix.socket")), places[-1])
    users = f"{path}/unix.socket.user"  # of incus-user: each user has a project of their own
    if not os.access(f"{path}/unix.socket", os.W_OK) and os.access(users, os.W_OK):
        return users, f"user-{os.geteuid()}"
    return f"{path}/unix.socket", ""


def _directory(tool: Tool, environ: Mapping[str, str]) -> Path:
    if given := environ.get(f"{tool.prefix}_CONF"):
        return Path(given)
    home = Path(environ.get("HOME") or "~").expanduser()
    places = [home / place for place in tool.configurations]
    return next((place for place in places if place.is_dir()), places[0])


def _remotes(tool: Tool, environ: Mapping[str, str]) -> dict[str, Any]:
    """Return the remotes of all users of this machine."""
    directory = environ.get(f"{tool.prefix}_GLOBAL_CONF", f"/etc/{tool.group.partition('-')[0]}")
    remotes = _configuration(Path(directory) / "config.yml").get("remotes")
    return remotes if isinstance(remotes, dict) else {}


def _configuration(path: Path) -> dict[str, Any]:
    try:
        with path.open("rb") as file:
            data = file.read(SIZE_LIMIT)
    except FileNotFoundError:
        return {}
    except OSError as error:
        raise HostUnsuitable(f"{path} cannot be read", cause=error.strerror or str(error)) from error
    from ruamel.yaml import YAML
    from ruamel.yaml.error import YAMLError

    try:
        content = YAML(typ="safe", pure=True).load(data)
    except (YAMLError, ValueError, RecursionError) as error:
        raise HostUnsuitable(f"{path} is no YAML", cause=str(error)) from error
    return content if isinstance(content, dict) and isinstance(content.get("remotes") or {}, dict) else {}
