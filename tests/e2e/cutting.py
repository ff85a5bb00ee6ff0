"""Polis itself, with its real driver, that kills itself at one point of one driver call.

    python -m tests.e2e.cutting 'during exec:pull' POLIS-ARGUMENTS...

Points are `before`, `during` and `after` a call; guest commands are called `exec:<command>`. `during` is the first word
that the guest says about its progress, or, where it says none, a moment after the call began.
"""

from __future__ import annotations

import os
import signal
import sys
import threading
from collections.abc import Callable
from functools import partial
from typing import Any

from polis import __main__, assembly
from polis.guest import shipping

CALLS = ("find", "launch", "start", "stop", "delete", "push", "exec")

MOMENT = 0.4
"""Seconds after which a call without news is cut: long enough to be under way, too short to be over under emulation."""


class Cutting:
    """Passes everything on to a driver, and dies at the point."""

    def __init__(self, inner: Any, point: str) -> None:
        self._inner = inner
        self._moment, _, self._call = point.partition(" ")

    def __getattr__(self, name: str) -> Any:
        value = getattr(self._inner, name)
        return partial(self._pass, name, value) if name in CALLS else value

    def _pass(self, verb: str, call: Callable[..., Any], /, **arguments: Any) -> Any:
        if _full_name(verb, arguments) != self._call:
            return call(**arguments)
        if self._moment == "before":
            _die()
        if self._moment == "during":
            arguments = _cut_short(arguments)
        answer = call(**arguments)
        _die()
        return answer


def _full_name(name: str, arguments: dict[str, Any]) -> str:
    if name != "exec":
        return name
    entry = tuple(arguments["argv"][-3:-1])
    return f"exec:{next(command for command, known in shipping.COMMANDS.items() if known == entry)}"


def _cut_short(arguments: dict[str, Any]) -> dict[str, Any]:
    if arguments.get("on_line") is not None:
        return {**arguments, "on_line": lambda _line: _die()}
    timer = threading.Timer(MOMENT, _die)
    timer.daemon = True
    timer.start()
    return arguments


def _die() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def main() -> None:
    point = sys.argv.pop(1)
    original = assembly.driver

    def driver(*arguments: Any, **named: Any) -> Any:
        return Cutting(original(*arguments, **named), point)

    assembly.driver = driver
    __main__.main()


if __name__ == "__main__":
    main()
