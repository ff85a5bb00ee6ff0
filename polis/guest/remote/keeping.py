"""What operators of one workspace leave for each other: a file for root only, which outlives all but the VM."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

from polis.guest.remote import places

if TYPE_CHECKING:
    from collections.abc import Callable

VAULT = places.STATE / "vault.json"
LIMIT = 8 << 20
"""Bytes above which it is not handed out."""


def keep(arguments: dict[str, Any], _say: Callable[[dict[str, Any]], None]) -> dict[str, Any]:
    """Put the pushed file `path`, whose sha256 is `digest`, in the place of the one before."""
    pushed = Path(arguments["path"])
    if places.sha256(pushed) != arguments["digest"]:
        raise ValueError(f"{pushed} arrived damaged")
    places.write_json(VAULT, json.loads(pushed.read_text(encoding="utf-8")))
    os.chown(VAULT, 0, 0)
    pushed.unlink()
    return {}


def lend(_arguments: dict[str, Any], _say: Callable[[dict[str, Any]], None]) -> dict[str, Any]:
    """Return what was left, or None."""
    try:
        if VAULT.stat().st_size > LIMIT:
            return {"vault": None}
    except FileNotFoundError:
        return {"vault": None}
    return {"vault": places.read_json(VAULT)}
