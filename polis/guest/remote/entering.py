"""Becoming a command in a service's container, on the streams of whoever called."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

from polis.guest.remote import places
from polis.guest.remote.engine import Engine, EngineError

if TYPE_CHECKING:
    from collections.abc import Callable

SHELL = ["sh", "-c", "if command -v bash >/dev/null 2>&1; then exec bash; fi; exec sh"]

_SERVICE = "com.docker.compose.service"
_ONE_OFF = "com.docker.compose.oneoff"
"""`True` on what `docker compose run` made."""


def enter(arguments: dict[str, Any], _say: Callable[[dict[str, Any]], None]) -> NoReturn:
    """Become `docker exec` of `argv` (a shell, if there are no words) in the container of `service`.

    If that cannot be, the reason is put into the file `slip` and the exit code is `refused`: all streams, and all
    exit codes, belong to the command, so only the file tells that it was not run.
    """
    try:
        containers = Engine().listed()
    except EngineError as error:
        _refuse(arguments, {"error": str(error)})
    services = [entry for entry in containers if entry["Labels"].get(_ONE_OFF) != "True"]
    running = [entry["Id"] for entry in services if _name(entry) == arguments["service"] and _runs(entry)]
    if not running:
        _refuse(arguments, {"services": _known(services)})
    # Asked here and not by the caller: a client allocates a terminal only if it has one on both sides.
    terminal = ["--tty"] if os.isatty(0) and os.isatty(1) else []
    words = ["docker", "exec", "--interactive", *terminal, running[0], *(arguments["argv"] or SHELL)]
    os.execvp(words[0], words)  # noqa: S606 -- no shell is wanted: the words are to arrive as they are


def refusal(arguments: dict[str, Any], _say: Callable[[dict[str, Any]], None]) -> dict[str, Any]:
    """Return what `enter` put into `slip`, or null if it did become the command; the file is removed."""
    slip = Path(arguments["slip"])
    found = places.read_json(slip)
    slip.unlink(missing_ok=True)
    return {"refusal": found}


def _refuse(arguments: dict[str, Any], reason: dict[str, Any]) -> NoReturn:
    places.write_json(Path(arguments["slip"]), reason)
    sys.exit(arguments["refused"])


def _known(containers: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Return the services that the bundle asks for and those that have a container, with what became of each."""
    one_shots = {service["name"]: service["one_shot"] for service in places.services()}
    states = {_name(entry): entry["State"] for entry in containers}
    return [
        {"name": name, "one_shot": one_shots.get(name, False), "state": states.get(name, "missing")}
        for name in sorted({*one_shots, *states})
    ]


def _name(container: dict[str, Any]) -> str:
    return str(container["Labels"].get(_SERVICE, ""))


def _runs(container: dict[str, Any]) -> bool:
    return bool(container["State"] == "running")
