"""What is logged in the guest, handed out line by line: by the services, by its journal, by its first boot."""

from __future__ import annotations

import os
import re
import select
import subprocess  # noqa: TID251 -- this runs in the guest, where polis.process is not
import time
from typing import TYPE_CHECKING, Any

from polis.guest.remote import places
from polis.guest.remote.engine import PROJECT, Engine

if TYPE_CHECKING:
    from collections.abc import Callable

    Say = Callable[[dict[str, Any]], None]

LINE = 4096
"""Bytes of a line; what is longer is cut, and said to be."""

HEARTBEAT = 5.0
"""Seconds of silence after which the host is told that we are here. If it is not, that ends us: closing a connection
does not."""

OWN_PROGRAM = re.compile(rb" sudo\[\d+\]: .*\(command continued\)")
"""What sudo says in the journal of a command that is too long for one line: the program that polis ran, in pages. The
first line of each stays, and says who ran what."""

PIECE = 65536
DETAIL = "/var/log/cloud-init.log"


def show(arguments: dict[str, Any], say: Say) -> dict[str, Any]:
    """Report the last `lines` of a `source`, with `follow` what is added too; return the exit code of what read it.

    Of the source `services` only those named, if any are. `known` are all services, asked for only if there are names;
    if one is not among them, nothing is reported. `since` is seconds before now, or null.
    """
    names = arguments.get("services") or []
    known = _known() if names else []
    if set(names) - set(known):
        return {"known": known, "code": 0}
    words = _words(arguments, names)
    with subprocess.Popen(words, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT) as child:
        try:
            _relay(child.stdout.fileno() if child.stdout is not None else -1, say)
        except BaseException:
            child.kill()
            raise
    return {"known": known, "code": child.returncode}


def _known() -> list[str]:
    listed = {str(entry["Labels"].get("com.docker.compose.service", "")) for entry in Engine().listed()}
    return sorted({*(service["name"] for service in places.services()), *listed} - {""})


def _words(arguments: dict[str, Any], names: list[str]) -> list[str]:
    lines, follow = str(int(arguments["lines"])), bool(arguments.get("follow"))
    ago = arguments.get("since")
    since = "" if ago is None else str(int(time.time() - float(ago)))
    source = arguments["source"]
    if source == "services":
        # By the project's name alone: it finds the containers where the bundle's files are gone, or being replaced.
        words = ["docker", "compose", "--project-name", PROJECT, "logs", "--no-color", "--timestamps", "--tail", lines]
        return [*words, *(["--since", since] if since else []), *(["--follow"] if follow else []), *names]
    if source == "guest":
        words = ["journalctl", "--no-pager", "--quiet", "--output", "short-iso", "--lines", lines]
        return [*words, *(["--since", f"@{since}"] if since else []), *(["--follow"] if follow else [])]
    if source in ("cloud-init", "cloud-init-detail"):
        path = str(places.CLOUD_LOG) if source == "cloud-init" else DETAIL
        return ["tail", "--lines", lines, *(["--follow=name", "--retry"] if follow else []), path]
    if source == "containers":
        return ["docker", "ps", "--all", "--no-trunc"]
    raise ValueError(f"no such source: {source}")


def _relay(stream: int, say: Say) -> None:
    """Report each line of an open descriptor until its end; of a line that is too long, its beginning."""
    pending, is_cut = b"", False
    while True:
        if not select.select([stream], [], [], HEARTBEAT)[0]:
            say({"progress": {}})
            continue
        piece = os.read(stream, PIECE)
        if not piece:
            break
        *lines, pending = (pending + piece).split(b"\n")
        for line in lines:
            if not is_cut:
                _report(line, say)
            is_cut = False
        if is_cut or len(pending) > LINE:
            if not is_cut:
                _report(pending, say)
            pending, is_cut = b"", True
    if pending:
        _report(pending, say)


def _report(line: bytes, say: Say) -> None:
    if OWN_PROGRAM.search(line[:LINE]):
        return
    text = line[:LINE].decode("utf-8", "replace").rstrip("\r")
    say({"progress": {"line": text, **({"cut": True} if len(line) > LINE else {})}})
