"""Pulling images through the engine, with progress in bytes and a limit on silence."""

from __future__ import annotations

import json
from http import HTTPStatus
from http.client import HTTPException
from typing import TYPE_CHECKING, Any

from polis.guest.remote import alone
from polis.guest.remote.engine import Engine, EngineError, EngineSilent

if TYPE_CHECKING:
    from collections.abc import Callable


def pull(arguments: dict[str, Any], say: Callable[[dict[str, Any]], None]) -> dict[str, Any]:
    """Pull `references` one after the other, telling which is begun; stop at the first that fails.

    What is there is not asked of the registry again: a caller who lost an answer asks for all. Returns which are there
    now, and the engine's words about the one that failed. `silence` is the number of seconds without a word after which
    the registry is taken to hang; the engine ends a pull when the connection closes.
    """
    alone.take_over()
    pulled: list[str] = []
    for reference in arguments["references"]:
        say({"progress": {"reference": reference, "pulled": len(pulled)}})
        try:
            if Engine().find(f"/images/{reference}/json") is None:
                _stream(reference, float(arguments["silence"]), len(pulled), say)
        except EngineSilent as silent:
            # The engine speaks while it works: what it waits for is the registry.
            return {"pulled": pulled, "failed": {"reference": reference, "error": f"the registry hangs: {silent}"}}
        except EngineError as error:
            return {"pulled": pulled, "failed": {"reference": reference, "error": str(error)}}
        pulled.append(reference)
    return {"pulled": pulled}


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


def _source(reference: str) -> dict[str, str]:
    name, at, digest = reference.partition("@")
    if at:
        return {"fromImage": name, "tag": digest}
    name, _, tag = reference.rpartition(":")
    return {"fromImage": name, "tag": tag}
