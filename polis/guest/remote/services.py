"""Starting, watching and stopping the workspace's services."""

from __future__ import annotations

import subprocess  # noqa: TID251 -- this runs in the guest, where polis.process is not
import tempfile
import time
from typing import TYPE_CHECKING, Any

from polis.guest.remote import alone, places
from polis.guest.remote.containers import booted_at, condition, has_failed, summary
from polis.guest.remote.engine import PROJECT, Engine, EngineError
from polis.guest.remote.resolving import compose_words

if TYPE_CHECKING:
    from collections.abc import Callable

INTERVAL = 0.5
GRACE = "10"
"""Seconds that a service has to end by itself."""

LOG_LINES = "10"
WORDS_LIMIT = 2000


def up(arguments: dict[str, Any], say: Callable[[dict[str, Any]], None]) -> dict[str, Any]:
    """Start what is not running from its current configuration; return Compose's exit code and words.

    Compose holds back each service until those it depends on are healthy, which may take minutes: meanwhile each
    change of a service is reported.
    """
    alone.take_over()
    until = time.monotonic() + float(arguments["seconds"])
    words = compose_words("--progress", "plain", "up", "--detach", "--remove-orphans", "--no-build", "--pull", "never")
    with tempfile.TemporaryFile("w+", encoding="utf-8", errors="replace") as output:
        child = subprocess.Popen(words, stdin=subprocess.DEVNULL, stdout=output, stderr=subprocess.STDOUT)
        try:
            _follow(child, until, say)
        finally:
            child.terminate()
            child.wait()
        output.seek(0)
        text = output.read()
    failed = child.returncode != 0
    return {"code": child.returncode, "words": text.strip()[-WORDS_LIMIT:], "logs": _failing_logs() if failed else {}}


def down(arguments: dict[str, Any], _say: Callable[[dict[str, Any]], None]) -> dict[str, Any]:
    """Remove the project's containers and networks; its volumes only if `volumes` says so."""
    alone.take_over()
    volumes = ["--volumes"] if arguments.get("volumes") else []
    return _project("down", "--remove-orphans", "--timeout", GRACE, *volumes)


def stop(_arguments: dict[str, Any], _say: Callable[[dict[str, Any]], None]) -> dict[str, Any]:
    """Stop the services and keep their containers, so that starting again takes seconds."""
    alone.take_over()
    return _project("stop", "--timeout", GRACE)


def watch(arguments: dict[str, Any], say: Callable[[dict[str, Any]], None]) -> dict[str, Any]:
    """Report each change of a service until all are well, one is beyond hope, or `seconds` are over."""
    until = time.monotonic() + float(arguments["seconds"])
    told: dict[str, str] = {}
    while True:
        told = _tell(told, say)
        waiting = {name: told.get(name, "missing") for name in _one_shots() if told.get(name) != "ok"}
        hopeless = any(_one_shots()[name] and word.startswith("exited") for name, word in waiting.items())
        if not waiting or hopeless or time.monotonic() >= until:
            return {"waiting": waiting, "logs": _failing_logs() if waiting else {}}
        time.sleep(INTERVAL)


def _follow(child: subprocess.Popen[bytes], until: float, say: Callable[[dict[str, Any]], None]) -> None:
    told: dict[str, str] = {}
    while child.poll() is None:
        told = _tell(told, say)
        if time.monotonic() >= until:
            child.terminate()
        time.sleep(INTERVAL)


def _tell(told: dict[str, str], say: Callable[[dict[str, Any]], None]) -> dict[str, str]:
    one_shots = _one_shots()
    try:
        seen = [summary(container, booted_at()) for container in Engine().containers()]
    except EngineError:
        return told
    now = {entry["service"]: condition(entry, one_shot=one_shots.get(entry["service"], False)) for entry in seen}
    if now != told:
        say({"progress": {"services": now, "expected": len(one_shots)}})
    return now


def _one_shots() -> dict[str, bool]:
    return {service["name"]: service["one_shot"] for service in places.services()}


def _project(*arguments: str) -> dict[str, Any]:
    done = subprocess.run(
        ["docker", "compose", "--project-name", PROJECT, *arguments],
        capture_output=True,
        text=True,
        errors="replace",
        check=False,
        stdin=subprocess.DEVNULL,
    )
    return {"code": done.returncode, "words": done.stderr.strip()[-WORDS_LIMIT:]}


def _failing_logs() -> dict[str, str]:
    try:
        seen = [(summary(container, booted_at()), container["Id"]) for container in Engine().containers()]
    except EngineError:
        return {}
    return {entry["service"]: _log(identity) for entry, identity in seen if has_failed(entry)}


def _log(container: str) -> str:
    done = subprocess.run(
        ["docker", "logs", "--tail", LOG_LINES, container],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        errors="replace",
        check=False,
        stdin=subprocess.DEVNULL,
    )
    return done.stdout.strip()[-WORDS_LIMIT:]
