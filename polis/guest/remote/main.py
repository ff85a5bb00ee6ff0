"""The entry in the guest: run one function of one module, print JSON lines, the answer last."""

from __future__ import annotations

import importlib
import json
import sys
from typing import Any


def main(module: str, function: str, arguments: str) -> int:
    """Call `function(arguments, say)` of a module of this package; 1 and a word on stderr if the guest refuses."""
    try:
        answer = getattr(importlib.import_module(f"polis.guest.remote.{module}"), function)(json.loads(arguments), _say)
    except SystemExit:
        raise
    except BaseException as error:  # noqa: BLE001 -- the host must get a sentence, whatever happened here
        print(f"{type(error).__name__}: {error}", file=sys.stderr)  # noqa: T201
        return 1
    _say({"answer": answer})
    return 0


def _say(value: dict[str, Any]) -> None:
    print(json.dumps(value, separators=(",", ":")), flush=True)  # noqa: T201
