"""Pulling images through the engine: progress in bytes, a limit on silence, and no name for what is not as locked."""

from __future__ import annotations

import json
from http import HTTPStatus
from http.client import HTTPException
from typing import TYPE_CHECKING, Any

from polis.guest.remote import alone
from polis.guest.remote.engine import Engine, EngineError, EngineSilent

if TYPE_CHECKING:
    from collections.abc import Callable


class _Mismatch(Exception):
    """The registry serves another image than the release locks."""


def pull(arguments: dict[str, Any], say: Callable[[dict[str, Any]], None]) -> dict[str, Any]:
    """Pull `images` one after the other, telling which is begun; stop at the first that fails.

    What is there is not asked of the registry again: a caller who lost an answer asks for all. Returns which are there
    now, and the engine's words about the one that failed; `expected` and `actual` if it is not what it should be.
    `silence` is the number of seconds without a word after which the registry is taken to hang; the engine ends a pull
    when the connection closes.
    """
    alone.take_over()
    pulled: list[str] = []
    for wanted in arguments["images"]:
        reference = wanted["reference"]
        say({"progress": {"reference": reference, "pulled": len(pulled)}})
        failed: dict[str, str] = {}
        try:
            if not fits(Engine().find(f"/images/{wanted['image']}/json"), wanted):
                _stream(reference, float(arguments["silence"]), len(pulled), say)
                accept(wanted)
        except _Mismatch as mismatch:
            failed = {"error": "", "expected": wanted["digest"], "actual": str(mismatch)}
        except EngineSilent as silent:
            # The engine speaks while it works: what it waits for is the registry.
            failed = {"error": f"the registry hangs: {silent}"}
        except EngineError as error:
            failed = {"error": str(error)}
        if failed:
            return {"pulled": pulled, "failed": {"reference": reference, **failed}}
        pulled.append(wanted["image"])
    return {"pulled": pulled}


def accept(wanted: dict[str, str]) -> None:
    """Give an image that was just pulled the name that it runs under; one that is not as locked is removed.

    Raises _Mismatch, EngineError.
    """
    found = Engine().get(f"/images/{wanted['reference']}/json")
    if not fits(found, wanted):
        Engine().call("DELETE", f"/images/{wanted['reference']}", force="1")
        raise _Mismatch(", ".join(_digests(found)) or str(found["Id"]))
    if wanted["image"] != wanted["reference"]:
        repository, _, tag = wanted["image"].rpartition(":")
        Engine().call("POST", f"/images/{found['Id']}/tag", repo=repository, tag=tag)


def fits(found: dict[str, Any] | None, wanted: dict[str, str]) -> bool:
    """Return whether an image is there and is what the release locks, if it locks it.

    One that came from a file and not from a registry has no digest; its id is the hash of its configuration, which
    names all its layers by their hashes.
    """
    if found is None:
        return False
    if wanted["id"] and found["Id"] != wanted["id"]:
        return False
    digests = _digests(found)
    if not wanted["digest"] or (wanted["id"] and not digests):
        return True
    return wanted["digest"] in digests


def remove(arguments: dict[str, Any], _say: Callable[[dict[str, Any]], None]) -> dict[str, Any]:
    """Remove the images named by `references` that are there."""
    alone.take_over()
    engine = Engine(timeout=120.0)
    problems = []
    for reference in arguments["references"]:
        try:
            engine.call("DELETE", f"/images/{reference}", force="1")
        except EngineError as error:
            if error.status != HTTPStatus.NOT_FOUND:
                problems.append(f"{reference}: {error}")
    return {"problems": problems}


def _digests(found: dict[str, Any]) -> list[str]:
    return [str(each).partition("@")[2] for each in found.get("RepoDigests") or []]


def _stream(reference: str, silence: float, pulled: int, say: Callable[[dict[str, Any]], None]) -> None:
    connection, response = Engine(timeout=silence).open("POST", "/images/create", **_source(reference))
    layers: dict[str, tuple[int, int]] = {}
    told = -1
    try:
        while line := response.readline():
            news = json.loads(line)
            if "error" in news:
                raise EngineError(0, str(news["error"]))
            detail = news.get("progressDetail") or {}
            if news.get("status") == "Downloading" and detail.get("total"):
                layers[str(news.get("id"))] = (int(detail["current"]), int(detail["total"]))
            done, total = (sum(figures) for figures in zip(*layers.values(), strict=True)) if layers else (0, 0)
            if total and done * 20 // total != told:  # a word for each twentieth is enough
                told = done * 20 // total
                say({"progress": {"reference": reference, "pulled": pulled, "bytes": done, "of": total}})
    except TimeoutError as error:
        raise EngineSilent(silence) from error
    except (OSError, HTTPException, ValueError) as error:
        raise EngineError(0, f"the Docker engine broke off: {error}") from error
    finally:
        connection.close()


def _source(reference: str) -> dict[str, Any]:
    name, at, digest = reference.partition("@")
    if at:
        return {"fromImage": name, "tag": digest}
    name, _, tag = reference.rpartition(":")
    return {"fromImage": name, "tag": tag}
