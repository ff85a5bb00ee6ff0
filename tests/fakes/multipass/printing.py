"""What is printed, byte for byte as it was observed."""

from __future__ import annotations

import json
import sys
import threading
from typing import Any, BinaryIO

CLEAR = "\x1b[2K\x1b[0A\x1b[0E"
SPIN = "|\b/\b-\b\\\b \b"
BLUEPRINTS = (
    "[2026-11-23T02:19:48.445] [error] [blueprint provider] Error fetching Blueprints: failed to download from "
    "'https://codeload.github.com/canonical/multipass-blueprints/zip/refs/heads/main': Error opening "
    "https://codeload.github.com/canonical/multipass-blueprints/zip/refs/heads/main\n"
)


class Streams(threading.local):
    """The standard streams: the process' own, or those of a call in a thread (install.InProcess)."""

    stdin: BinaryIO | None = None
    stdout: BinaryIO | None = None
    stderr: BinaryIO | None = None


streams = Streams()


def stdin() -> BinaryIO:
    return streams.stdin or sys.stdin.buffer


def stdout() -> BinaryIO:
    return streams.stdout or sys.stdout.buffer


def stderr() -> BinaryIO:
    return streams.stderr or sys.stderr.buffer


def out(text: str) -> None:
    stdout().write(text.encode())
    stdout().flush()


def err(text: str) -> None:
    stderr().write(text.encode())
    stderr().flush()


def spinner(text: str) -> None:
    """Begin a line of progress: on stdout, whether or not that is a terminal."""
    out(f"{CLEAR}{text}  {SPIN}")


def as_json(value: Any) -> str:
    """Return JSON with Multipass' indentation: empty lists and objects take two lines."""
    return _json(value, "") + "\n"


def _json(value: Any, indent: str) -> str:
    deeper = indent + "    "
    if isinstance(value, dict):
        parts = [f"{deeper}{json.dumps(key)}: {_json(each, deeper)}" for key, each in value.items()]
        return "{\n" + (",\n".join(parts) + "\n" if parts else "") + indent + "}"
    if isinstance(value, list):
        parts = [deeper + _json(each, deeper) for each in value]
        return "[\n" + (",\n".join(parts) + "\n" if parts else "") + indent + "]"
    return json.dumps(value)
